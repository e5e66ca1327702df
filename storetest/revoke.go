package storetest

import (
	"fmt"
	"math"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var revokeCases = []testCase{
	// Case S1.
	{"set RevokedAt and RevokedBy, free the slot, and change nothing else", revokeOnce},
	// Case S12.
	{"store the given revocation time, not the current time, rounded down to the microsecond", revokeTimes},
	// Case E6.
	{"accept Revoke of a revoked token, and leave the token unchanged", revokeTwice},
	// Case S9.
	{"return ErrNotFound from Revoke for an unknown token", revokeUnknown},
	// Case S10.
	{"return ErrNotFound from Revoke for another user's token, and leave the token unchanged", revokeForeign},
	// Case E13.
	{"return a token as revoked from every Find after Revoke, for its current and its retired digest", revokeFinds},
	{"revoke a token with RevokeExpired at or after its expiry", revokeExpired},
	{"return ErrConflict from RevokeExpired for a live token that is not expired, and leave the token unchanged", revokeNotExpired},
	// Case E6.
	{"accept RevokeExpired of a revoked token, and leave the token unchanged", revokeExpiredTwice},
	{"revoke an idle token with RevokeExpired, that is, a token with neither CreatedAt nor LastUsedAt after unusedSince", revokeIdle},
	{"return ErrConflict from RevokeExpired for a token that was created or used after unusedSince, or if unusedSince is the zero time", revokeNotIdle},
	// Cases S9, S10.
	{"return ErrNotFound from RevokeExpired for an unknown token or another user's token", revokeExpiredNotFound},
	// Case E15.
	{"revoke all live tokens of a user with RevokeAll, return their number, and leave all other tokens unchanged", revokeAll},
	{"revoke at most limit tokens with each RevokeAll, and return 0 when no live token is left", revokeAllLimit},
	{"return an error that is not a sentinel error from RevokeAll and change nothing if the limit is not positive", revokeAllBadLimit},
}

func revokeOnce(t *tester) {
	r, expired, plain, imported := full("Foo"), expiring(named("expired"), after(-1)), named("plain"), named("imported")
	imported.Token.Generation, imported.Token.Origin = 0, "knox"
	r.Retired.Until = after(-60) // a retired key that is no longer accepted is still a value of the token
	t.create(r, expired, plain, imported)
	for _, each := range []tokenauth.Record{r, expired, plain, imported} {
		t.revoke(each, after(9))
	}
	t.holds(revoked(r, after(9)), revoked(expired, after(9)), revoked(plain, after(9)), revoked(imported, after(9)))
}

func revokeTimes(t *tester) {
	var want []tokenauth.Record
	for _, odd := range oddTimes[1:] { // oddTimes[0] is the zero time, which is not a valid revocation time
		r := named(odd.name)
		t.create(r)
		t.finds(r.Digest, r) // a store may cache the record
		t.revoke(r, odd.given)
		t.revoke(r, after(9))
		want = append(want, revoked(r, odd.kept))

		r = newRecord("user of "+odd.name, "Foo", "by RevokeAll "+odd.name)
		t.create(r)
		t.finds(r.Digest, r)
		_, err := t.store.RevokeAll(t.ctx, r.Token.UserID, odd.given, revoker, 1000)
		t.wants(nil, err, "RevokeAll at %v", odd.given)
		want = append(want, revoked(r, odd.kept))

		r = expiring(named("expired "+odd.name), odd.kept)
		t.create(r)
		t.finds(r.Digest, r)
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, odd.given, revoker, time.Time{}), "RevokeExpired at %v of a token that expires at that time", odd.given)
		want = append(want, revoked(r, odd.kept))
	}
	t.holds(want...)
	t.lists(tokenauth.Query{AllUsers: true}) // also if the tokens were revoked before 1970
}

func revokeTwice(t *tester) {
	r := full("Foo")
	t.create(r)
	for _, at := range []time.Time{after(9), after(10), after(8)} {
		t.revoke(r, at)
		t.holds(revoked(r, after(9)))
	}
}

func revokeUnknown(t *tester) {
	t.create(full("Foo"))
	t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, alice, newID("unknown"), after(9), revoker), "Revoke of an unknown token")
	t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, alice, "", after(9), revoker), "Revoke with an empty token ID")
	t.holds(full("Foo"))
}

func revokeForeign(t *tester) {
	r, gone := full("Foo"), named("revoked")
	t.create(r, gone)
	t.revoke(gone, after(1))
	for _, userID := range []string{bob, "Alice", "alice ", "", "%"} {
		t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, userID, r.Token.ID, after(9), revoker), "Revoke as user %q of a token of %q", userID, alice)
		t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, userID, gone.Token.ID, after(9), revoker), "Revoke as user %q of a revoked token of %q", userID, alice)
		t.holds(r, revoked(gone, after(1)))
	}
}

func revokeFinds(t *tester) {
	r := named("Foo")
	t.create(r)
	t.finds(r.Digest, r)
	t.rotate(r, rotation(1, "second"))
	r = rotated(r, rotation(1, "second"))
	t.finds(r.Digest, r)
	t.finds(r.Retired.Digest, r)
	t.revoke(r, after(9))
	t.finds(r.Digest, revoked(r, after(9)))
	t.finds(r.Retired.Digest, revoked(r, after(9)))
}

func (t *tester) revokeExpired(r tokenauth.Record, at time.Time) error {
	return t.store.RevokeExpired(t.ctx, r.Token.UserID, r.Token.ID, at, revoker, time.Time{})
}

func revokeExpired(t *tester) {
	for _, at := range []time.Time{after(10), after(10).Add(time.Microsecond), after(9000)} {
		r := expiring(full(at.String()), after(10))
		t.create(r)
		t.wants(nil, t.revokeExpired(r, at), "RevokeExpired at %v of a token that expires at %v", at, after(10))
		t.finds(r.Digest, revoked(r, at))
	}
	successor := full("in the freed slot")
	t.create(successor)
	t.finds(successor.Digest, successor)
	inUse, imported := used(expiring(named("in use"), after(10)), after(9)), expiring(named("imported"), after(10))
	imported.Token.Origin = "knox"
	t.create(inUse, imported)
	for _, r := range []tokenauth.Record{inUse, imported} {
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, after(11), revoker, start.Add(-1)), "RevokeExpired of an expired token that is not idle: %s", r.Token.Name)
		t.finds(r.Digest, revoked(r, after(11)))
	}
}

func revokeNotExpired(t *tester) {
	r, endless := expiring(full("Foo"), after(10)), named("endless")
	t.create(r, endless)
	justBefore := after(10).Add(-time.Nanosecond) // rounded down to a microsecond before
	t.wants(tokenauth.ErrConflict, t.revokeExpired(r, justBefore), "RevokeExpired one nanosecond before the expiry")
	t.wants(tokenauth.ErrConflict, t.revokeExpired(endless, after(5e6)), "RevokeExpired of a token that never expires")
	t.holds(r, endless)
}

func revokeExpiredTwice(t *tester) {
	r, endless := expiring(full("Foo"), after(10)), named("endless")
	t.create(r, endless)
	t.wants(nil, t.revokeExpired(r, after(11)), "RevokeExpired of an expired token")
	t.revoke(endless, after(11))
	for _, at := range []time.Time{after(1), after(11), after(12)} {
		t.wants(nil, t.revokeExpired(r, at), "a second RevokeExpired of an expired token")
		t.wants(nil, t.revokeExpired(endless, at), "RevokeExpired of a token that is revoked and never expires")
	}
	t.holds(revoked(r, after(11)), revoked(endless, after(11)))
}

// used returns a copy of r whose LastUsedAt is the time at.
func used(r tokenauth.Record, at time.Time) tokenauth.Record {
	r.Token.LastUsedAt = at
	return r
}

func revokeIdle(t *tester) {
	never, once, imported := named("never used"), used(full("used"), after(3)), used(named("used before its creation"), after(-5))
	imported.Token.Origin = "drf"
	t.create(never, once, imported)
	for _, idle := range []struct {
		r     tokenauth.Record
		since time.Time
	}{{never, start}, {once, after(3)}, {imported, start.Add(999 * time.Nanosecond)}} {
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, idle.r.Token.ID, after(9), revoker, idle.since), "RevokeExpired of an idle token: %s", idle.r.Token.Name)
		t.finds(idle.r.Digest, revoked(idle.r, after(9)))
	}
}

func revokeNotIdle(t *tester) {
	r, never := used(full("used"), after(3)), named("never used")
	t.create(r, never)
	conflict := func(r tokenauth.Record, since time.Time, what string) {
		t.wants(tokenauth.ErrConflict, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, after(9), revoker, since), "RevokeExpired of a token %s", what)
	}
	conflict(r, after(3).Add(-time.Nanosecond), "that was used one nanosecond after unusedSince")
	conflict(never, start.Add(-time.Nanosecond), "that was created one nanosecond after unusedSince")
	conflict(r, time.Time{}, "with unusedSince of zero")
	conflict(never, time.Time{}, "that was never used, with unusedSince of zero")
	imported := used(named("imported"), after(-5))
	t.create(imported)
	conflict(imported, after(-1), "that was used before unusedSince, but created after it")
	t.touch(tokenauth.Use{ID: never.Token.ID, At: after(4)})
	never = used(never, after(4))
	conflict(never, after(3), "that Touch has marked as used after unusedSince")
	t.holds(r, never, imported)
}

func revokeAllLimit(t *tester) {
	var ofBob []tokenauth.Record
	for i := range 25 {
		r := named(fmt.Sprint("live ", i))
		r.Slot = i + 1
		r.Token.CreatedAt = after(i % 7)
		t.create(r, revoked(named(fmt.Sprint("revoked ", i)), after(1)))
		ofBob = append(ofBob, newRecord(bob, r.Token.Name, fmt.Sprint("of bob ", i)))
	}
	t.create(ofBob...)
	for i, want := range []int{10, 10, 5, 0, 0} {
		n, err := t.store.RevokeAll(t.ctx, alice, after(9), revoker, 10)
		t.wants(nil, err, "RevokeAll with limit 10")
		if live := len(t.list(tokenauth.Query{UserID: alice})); n != want || live != max(0, 15-10*i) {
			t.failf("RevokeAll with limit 10 returned %d and left %d live tokens, want %d and %d", n, live, want, max(0, 15-10*i))
		}
	}
	t.lists(tokenauth.Query{UserID: bob, IncludeRevoked: true}, inOrder(ofBob...)...)
	if n, err := t.store.RevokeAll(t.ctx, bob, after(9), revoker, math.MaxInt); err != nil || n != len(ofBob) {
		t.failf("RevokeAll with limit %d returned %d and %s, want %d and no error", math.MaxInt, n, describe(err), len(ofBob))
	}
}

func revokeAllBadLimit(t *tester) {
	t.create(full("Foo"))
	for _, limit := range []int{0, -1} {
		if n, err := t.store.RevokeAll(t.ctx, alice, after(9), revoker, limit); err == nil || sentinelOf(err) != nil || n != 0 {
			t.failf("RevokeAll with limit %d returned %d and %s, want 0 and an error that is not a sentinel error", limit, n, describe(err))
		}
	}
	t.holds(full("Foo"))
}

func revokeExpiredNotFound(t *tester) {
	r := expiring(full("Foo"), after(10))
	t.create(r)
	t.wants(tokenauth.ErrNotFound, t.store.RevokeExpired(t.ctx, alice, newID("unknown"), after(11), revoker, time.Time{}), "RevokeExpired of an unknown token")
	t.wants(tokenauth.ErrNotFound, t.store.RevokeExpired(t.ctx, "Alice", r.Token.ID, after(11), revoker, time.Time{}), "RevokeExpired of alice's token as user Alice")
	for _, at := range []time.Time{after(9), after(11)} {
		t.wants(tokenauth.ErrNotFound, t.store.RevokeExpired(t.ctx, bob, r.Token.ID, at, revoker, time.Time{}), "RevokeExpired at %s of another user's token that expires at %s", timeText(at), timeText(after(10)))
	}
	t.holds(r)
	t.revoke(r, after(5))
	t.wants(tokenauth.ErrNotFound, t.store.RevokeExpired(t.ctx, bob, r.Token.ID, after(11), revoker, time.Time{}), "RevokeExpired of another user's revoked token")
	t.holds(revoked(r, after(5)))
}

func revokeAll(t *tester) {
	foo, expired, gone, ofBob := full("Foo"), expiring(full("expired"), after(-1)), named("revoked"), newRecord(bob, "Foo", "of bob")
	expired.Slot, foo.Token.Origin = 1, "knox"
	expired.Retired.Until = after(-60)
	ofBob.Slot = 7
	t.create(foo, expired, gone, ofBob)
	t.revoke(gone, after(1))
	for _, call := range []struct {
		userID string
		want   int
	}{{alice, 2}, {alice, 0}, {"carol", 0}, {"ALICE", 0}, {"", 0}} {
		n, err := t.store.RevokeAll(t.ctx, call.userID, after(9), revoker, 1000)
		t.wants(nil, err, "RevokeAll of user %q", call.userID)
		if n != call.want {
			t.failf("RevokeAll of user %q returned %d, want %d", call.userID, n, call.want)
		}
		t.holds(revoked(foo, after(9)), revoked(expired, after(9)), revoked(gone, after(1)), ofBob)
	}
	successor := newRecord(alice, "expired", "successor of expired")
	successor.Slot = expired.Slot
	t.create(newRecord(alice, "Foo", "successor"), successor)
}
