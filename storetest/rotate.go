package storetest

import (
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var rotateCases = []testCase{
	// Cases S1, E12.
	{"replace the key, retire the old digest until GraceUntil, and change nothing else", rotateOnce},
	// Case E11.
	{"find a token by its two latest digests, but not by its first digest, after a second rotation", rotateTwice},
	// Case S12.
	{"store GraceUntil in UTC, rounded down to the microsecond", rotateTimes},
	{"accept a rotation to the digest that is already the token's current digest, and change nothing", rotateRepeated},
	{"return ErrConflict if Replaces is not the token's generation, and change nothing", rotateGeneration},
	// Case S8.
	{"return ErrKeyTaken if another record has the new digest as its current or retired digest, and change nothing", rotateTaken},
	// Cases S9, S10, E12.
	{"return ErrNotFound for a rotation of an unknown token, another user's token or a revoked token", rotateNotFound},
	// Case E12.
	{"return ErrConflict for a rotation of a token at or after its expiry", rotateExpired},
}

func rotateOnce(t *tester) {
	r, imported, unhinted := full("Foo"), named("imported"), named("without a hint")
	imported.Token.Generation, imported.Token.Origin = 0, "drf"
	t.create(r, imported, unhinted)
	t.rotate(r, rotation(2, "new"))
	rot := rotation(0, "new of imported")
	rot.Hint = "0012"
	t.rotate(imported, rot)
	empty := rotation(1, "new of unhinted")
	empty.Hint = ""
	t.rotate(unhinted, empty)
	t.holds(rotated(r, rotation(2, "new")), rotated(imported, rot), rotated(unhinted, empty))
}

func rotateTwice(t *tester) {
	r := named("Foo")
	t.create(r)
	t.finds(r.Digest, r)
	t.rotate(r, rotation(1, "second"))
	t.rotate(r, rotation(2, "third"))
	t.misses(r.Digest, "the first digest of a token that was rotated twice")
	r = rotated(rotated(r, rotation(1, "second")), rotation(2, "third"))
	t.finds(digest("second"), r)
	t.finds(digest("third"), r)
	t.holds(r)
}

func rotateTimes(t *tester) {
	r := named("Foo")
	t.create(r)
	for i, odd := range oddTimes[1:] { // oddTimes[0] is the zero time, which is not a valid GraceUntil
		rot := rotation(i+1, odd.name)
		rot.GraceUntil = odd.given
		t.rotate(r, rot)
		rot.GraceUntil = odd.kept
		r = rotated(r, rot)
		t.holds(r)
	}
}

func rotateRepeated(t *tester) {
	r := full("Foo")
	t.create(r)
	rot := rotation(2, "new")
	t.rotate(r, rot)
	want := rotated(r, rot)
	t.rotate(r, rot)
	t.holds(want)
	rot.Hint, rot.GraceUntil = "none", after(500)
	for _, rot.Replaces = range []int{2, 3, 4} { // 3 is the generation of the token now
		t.rotate(r, rot)
		t.holds(want)
	}
}

func rotateGeneration(t *tester) {
	r := full("Foo")
	r.Token.Generation = 5
	t.create(r)
	for _, replaces := range []int{-1, 0, 1, 4, 6} {
		err := t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(replaces, "new"), after(5))
		t.wants(tokenauth.ErrConflict, err, "Rotate with Replaces %d of a token of generation 5", replaces)
		t.holds(r)
	}
}

func rotateTaken(t *tester) {
	r, other, gone, ofBob := named("Foo"), full("other"), revoked(full("revoked"), after(1)), full("of bob")
	ofBob.Token.UserID = bob
	t.create(r, other, gone, ofBob)
	for what, taken := range map[string]tokenauth.Digest{
		"the current digest of another token":   other.Digest,
		"the retired digest of another token":   other.Retired.Digest,
		"the current digest of a revoked token": gone.Digest,
		"the retired digest of a revoked token": gone.Retired.Digest,
		"the current digest of another user":    ofBob.Digest,
		"the retired digest of another user":    ofBob.Retired.Digest,
	} {
		rot := rotation(1, "new")
		rot.Digest = taken
		t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5)), "Rotate to %s", what)
		t.holds(r, other, gone, ofBob)
	}
}

func rotateNotFound(t *tester) {
	r, gone, later := full("Foo"), expiring(full("revoked"), after(2)), revoked(full("revoked later"), after(99))
	gone.Slot = 1
	t.create(r, gone, later)
	t.revoke(gone, after(1))
	for what, target := range map[string][2]string{
		"an unknown token":                         {alice, newID("unknown")},
		"another user's token":                     {bob, r.Token.ID},
		"alice's token as user Alice":              {"Alice", r.Token.ID},
		"a revoked and expired token":              {alice, gone.Token.ID},
		"a token that was revoked at a later time": {alice, later.Token.ID}, // the clocks of two servers differ
	} {
		t.wants(tokenauth.ErrNotFound, t.store.Rotate(t.ctx, target[0], target[1], rotation(2, "new"), after(5)), "Rotate of %s", what)
	}
	t.holds(r, revoked(gone, after(1)), later)
}

func rotateExpired(t *tester) {
	r := expiring(full("Foo"), after(10))
	t.create(r)
	for _, at := range []time.Time{after(10), after(10).Add(time.Microsecond), after(9000)} {
		t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(2, "new"), at), "Rotate at %v of a token that expires at %v", at, after(10))
	}
	t.holds(r)
	justBefore := after(10).Add(-time.Nanosecond) // rounded down to a microsecond before
	t.wants(nil, t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(2, "new"), justBefore), "Rotate of a token one nanosecond before its expiry")
	t.holds(rotated(r, rotation(2, "new")))
}
