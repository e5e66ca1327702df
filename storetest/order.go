package storetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// orderCases test calls for which several errors apply, and other rare calls whose result a store
// author would otherwise have to guess.
var orderCases = []testCase{
	{"return the error of the first record that fails if several records of one Create call fail", createFirstError},
	{"check in Update first whether the token exists, is revoked or is expired, then Patch.Replaces, then the name", updateOrder},
	{"check in Rotate first whether the token exists, is revoked or is expired, then its own digest, then the generation, then all digests", rotateOrder},
	{"return ErrKeyTaken for a rotation to the token's own retired digest, and change nothing", rotateToRetired},
	{"accept a rotation to a digest that no record has any more", rotateToForgotten},
	{"store a record that is created revoked with slot 0, and leave its name and its slot free", createRevoked},
	{"set LastUsedAt of expired and revoked tokens", touchEnded},
	{"delete nothing and return no error if the limit of Prune is not positive or both of its times are zero", pruneNothing},
	{"store records with values at the limits that the comment of Record states", createLimits},
	{"keep long user IDs and long names apart that differ only in their last character", createLongAlike},
}

func createFirstError(t *tester) {
	taken := full("Foo")
	t.create(taken)
	name, slot, key, ok := newRecord(alice, "Foo", "name"), named("slot"), named("key"), named("ok")
	slot.Slot, key.Digest = taken.Slot, taken.Digest
	// The second record conflicts with the first, and the third conflicts with both.
	first, second, third := full("first"), named("second"), newRecord(alice, "first", "third")
	first.Slot, second.Slot, third.Digest = 3, 3, second.Digest
	// Both conflict with a stored record and with the record ok.
	likeStored, likeGiven := newRecord(alice, "Foo", "named like a stored record"), newRecord(alice, "ok", "named like a given record")
	likeStored.Digest, likeGiven.Digest = ok.Digest, taken.Digest
	for _, c := range []struct {
		records []tokenauth.Record
		index   int // of the first record that fails
		want    error
	}{
		{[]tokenauth.Record{ok, name, slot, key}, 1, tokenauth.ErrNameTaken},
		{[]tokenauth.Record{slot, name, key, ok}, 0, tokenauth.ErrSlotTaken},
		{[]tokenauth.Record{slot, key, name}, 0, tokenauth.ErrSlotTaken},
		{[]tokenauth.Record{ok, key, slot, name}, 1, tokenauth.ErrKeyTaken},
		{[]tokenauth.Record{name, key, slot}, 0, tokenauth.ErrNameTaken},
		{[]tokenauth.Record{first, second, third}, 1, tokenauth.ErrSlotTaken},
		{[]tokenauth.Record{first, third, second}, 1, tokenauth.ErrNameTaken},
		{[]tokenauth.Record{ok, second, third, first}, 2, tokenauth.ErrKeyTaken},
		{[]tokenauth.Record{taken, ok, taken, name}, 3, tokenauth.ErrNameTaken}, // a skipped record counts
		{[]tokenauth.Record{ok, ok, key}, 2, tokenauth.ErrKeyTaken},
		{[]tokenauth.Record{first, second, key}, 1, tokenauth.ErrSlotTaken},
		{[]tokenauth.Record{ok, likeStored}, 1, tokenauth.ErrKeyTaken},
		{[]tokenauth.Record{ok, likeGiven}, 1, tokenauth.ErrKeyTaken},
	} {
		err := t.store.Create(t.ctx, c.records...)
		t.wants(c.want, err, "Create of records, of which record %d is the first that fails", c.index)
		if failed := (*tokenauth.RecordError)(nil); errors.As(err, &failed) && failed.Index != c.index {
			t.failf("Create of records, of which record %d is the first that fails, returned a RecordError with Index %d", c.index, failed.Index)
		}
		t.holds(taken)
	}
}

func updateOrder(t *tester) {
	r, bar, gone := expiring(full("Foo"), after(10)), named("Bar"), expiring(named("revoked"), after(10))
	t.create(r, bar, gone)
	t.revoke(gone, after(1))
	outdated, current := &tokenauth.Token{Scopes: []string{"outdated"}}, &r.Token
	taken := func(replaces *tokenauth.Token) tokenauth.Patch {
		return tokenauth.Patch{Name: new("Bar"), Replaces: replaces}
	}
	for _, c := range []struct {
		what, userID string
		r            tokenauth.Record
		patch        tokenauth.Patch
		at           time.Time
		want         error
	}{
		{"a revoked and expired token to a taken name", alice, gone, taken(nil), after(20), tokenauth.ErrNotFound},
		{"a revoked token with outdated Replaces", alice, gone, taken(outdated), after(5), tokenauth.ErrNotFound},
		{"another user's expired token to a taken name", bob, r, taken(outdated), after(20), tokenauth.ErrNotFound},
		{"an expired token to a taken name", alice, r, taken(nil), after(20), tokenauth.ErrConflict},
		{"an expired token to its own name", alice, r, rename("Foo"), after(20), tokenauth.ErrConflict},
		{"an expired token to a taken name with Replaces", alice, r, taken(current), after(20), tokenauth.ErrConflict},
		{"a token to a taken name with outdated Replaces", alice, r, taken(outdated), after(5), tokenauth.ErrConflict},
		{"a token to a taken name with Replaces", alice, r, taken(current), after(5), tokenauth.ErrNameTaken},
	} {
		t.wants(c.want, t.store.Update(t.ctx, c.userID, c.r.Token.ID, c.patch, c.at), "Update of %s", c.what)
	}
	unchanged := tokenauth.Patch{Name: new("Foo"), Replaces: outdated} // changes nothing, so Replaces does not matter
	t.update(r, unchanged)
	t.update(r, tokenauth.Patch{Replaces: outdated})
	t.holds(r, bar, revoked(gone, after(1)))
}

func rotateOrder(t *tester) {
	r, bar, gone := expiring(full("Foo"), after(10)), full("Bar"), expiring(full("revoked"), after(10))
	bar.Slot, gone.Slot = 1, 2
	t.create(r, bar, gone)
	t.revoke(gone, after(1))
	for _, c := range []struct {
		what, userID string
		r            tokenauth.Record
		to           tokenauth.Digest
		replaces     int
		at           time.Time
		want         error
	}{
		{"a revoked and expired token to its current digest", alice, gone, gone.Digest, 2, after(20), tokenauth.ErrNotFound},
		{"a revoked token to a taken digest from the wrong generation", alice, gone, bar.Digest, 9, after(5), tokenauth.ErrNotFound},
		{"another user's token to its current digest", bob, r, r.Digest, 2, after(5), tokenauth.ErrNotFound},
		{"another user's expired token to a taken digest", bob, r, bar.Digest, 2, after(20), tokenauth.ErrNotFound},
		{"an expired token to its current digest", alice, r, r.Digest, 2, after(20), tokenauth.ErrConflict},
		{"an expired token to a taken digest", alice, r, bar.Digest, 2, after(20), tokenauth.ErrConflict},
		{"a token to a taken digest from the wrong generation", alice, r, bar.Digest, 1, after(5), tokenauth.ErrConflict},
		{"a token to its retired digest from the wrong generation", alice, r, r.Retired.Digest, 1, after(5), tokenauth.ErrConflict},
		{"a token to its current digest from its generation", alice, r, r.Digest, 2, after(5), nil},
		{"a token to its current digest from the wrong generation", alice, r, r.Digest, 9, after(5), nil},
	} {
		rot := rotation(c.replaces, "new")
		rot.Digest = c.to
		t.wants(c.want, t.store.Rotate(t.ctx, c.userID, c.r.Token.ID, rot, c.at), "Rotate of %s", c.what)
	}
	t.holds(r, bar, revoked(gone, after(1)))
}

func rotateToRetired(t *tester) {
	r := full("Foo")
	t.create(r)
	back := rotation(2, "new")
	back.Digest = r.Retired.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, r.Token.ID, back, after(5)), "Rotate to the token's own retired digest")
	t.holds(r)
	t.rotate(r, rotation(2, "second"))
	back = rotation(3, "new")
	back.Digest = r.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, r.Token.ID, back, after(5)), "Rotate back to the previous digest")
	t.holds(rotated(r, rotation(2, "second")))
}

func rotateToForgotten(t *tester) {
	r, other := full("Foo"), named("Bar")
	t.create(r, other)
	forgotten := r.Retired.Digest
	t.rotate(r, rotation(2, "second"))
	rot := rotation(1, "new")
	rot.Digest = forgotten
	t.rotate(other, rot)
	t.holds(rotated(r, rotation(2, "second")), rotated(other, rot))
}

func createRevoked(t *tester) {
	gone := full("Foo")
	gone.Token.RevokedAt, gone.Token.RevokedBy = after(9), revoker
	again := newRecord(alice, "Foo", "also created as revoked")
	again.Slot, again.Token.RevokedAt, again.Token.RevokedBy = gone.Slot, after(9), revoker
	t.create(gone, again)
	t.holds(revoked(gone, after(9)), revoked(again, after(9)))
	successor := newRecord(alice, "Foo", "successor")
	successor.Slot = gone.Slot
	t.create(successor)
	third := newRecord(alice, "Foo", "created as revoked beside a live token")
	third.Slot, third.Token.RevokedAt, third.Token.RevokedBy = gone.Slot, after(9), revoker
	t.create(third)
	t.create(gone)
	t.revoke(gone, after(10))
	t.wants(nil, t.revokeExpired(gone, after(10)), "RevokeExpired of a token that was created revoked")
	t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, alice, gone.Token.ID, rename("free"), after(5)), "Update of a token that was created revoked")
	t.lists(tokenauth.Query{UserID: alice}, successor)
	t.holds(revoked(gone, after(9)), revoked(again, after(9)), successor, revoked(third, after(9)))
}

func touchEnded(t *tester) {
	expired, gone := expiring(full("expired"), after(-1)), named("revoked")
	t.create(expired, gone)
	t.revoke(gone, after(1))
	t.touch(use(expired, after(7)), use(gone, after(8)))
	t.holds(usedAt(expired, after(7)), usedAt(revoked(gone, after(1)), after(8)))
}

func pruneNothing(t *tester) {
	expired, gone, idle := expiring(full("expired"), after(1)), revoked(named("revoked"), after(1)), used(named("idle"), after(1))
	t.create(expired, gone, idle)
	for _, c := range []struct {
		before, unusedSince time.Time
		limit               int
	}{{after(10), after(10), 0}, {after(10), after(10), -1}, {time.Time{}, time.Time{}, 10}, {time.Time{}, time.Time{}.AddDate(-1, 0, 0), 10}} {
		n, err := t.store.Prune(t.ctx, c.before, c.unusedSince, c.limit)
		t.wants(nil, err, "Prune before %s, unused since %s, with limit %d", timeText(c.before), timeText(c.unusedSince), c.limit)
		if n != 0 {
			t.failf("Prune before %s, unused since %s, with limit %d returned %d, want 0", timeText(c.before), timeText(c.unusedSince), c.limit, n)
		}
	}
	t.wants(tokenauth.ErrConflict, t.store.RevokeExpired(t.ctx, alice, idle.Token.ID, after(9), revoker, time.Time{}.AddDate(-1, 0, 0)), "RevokeExpired with unusedSince before year 1")
	t.holds(expired, gone, idle)
}

// createLimits creates records with the longest texts and the largest numbers, and finds them by
// these values.
func createLimits(t *tester) {
	scopes := func(first string) (all []string) {
		for i := range 100 {
			all = append(all, fmt.Sprintf("%s%03d%s", first, i, strings.Repeat("x", 124)))
		}
		return all
	}
	r := newRecord(strings.Repeat("\U0001f98a", 63)+"abc", strings.Repeat("\U0001f98a", 64), "longest")
	r.Token.Scopes, r.Slot, r.Token.Generation, r.Token.Origin = scopes("a"), math.MaxInt32, math.MaxInt32-1, strings.Repeat("o", 64)
	short := newRecord("u", "n", "shortest")
	short.Token.Scopes, short.Token.Hint, short.Slot = []string{"s"}, "", 1
	t.create(r, short)
	t.holds(r, short)
	t.lists(tokenauth.Query{UserID: r.Token.UserID, Name: r.Token.Name, MinSlot: math.MaxInt32, MaxSlot: math.MaxInt32}, r)
	rival := newRecord(r.Token.UserID, "rival", "rival")
	rival.Slot = r.Slot
	t.wants(tokenauth.ErrSlotTaken, t.store.Create(t.ctx, rival), "Create with the largest slot, which is taken")
	other := strings.Repeat("\U0001f98a", 63) + "b" // differs only in the last character
	t.update(r, tokenauth.Patch{Name: &other, Scopes: new(scopes("b"))})
	r.Token.Name, r.Token.Scopes = other, scopes("b")
	t.rotate(r, rotation(math.MaxInt32-1, "new"))
	t.holds(rotated(r, rotation(math.MaxInt32-1, "new")), short)
}

func createLongAlike(t *tester) {
	var all []tokenauth.Record
	for _, user := range []string{"a", "b"} {
		for slot, name := range []string{"a", "b"} {
			r := newRecord(strings.Repeat("u", 254)+user, strings.Repeat("\U0001f98a", 63)+name, user+name)
			r.Slot = slot + 1
			t.wants(nil, t.store.Create(t.ctx, r), "Create of a token with a long user ID and a long name, which end with %q and %q", user, name)
			all = append(all, r)
		}
	}
	t.holds(all...)
	for i, r := range all {
		t.lists(tokenauth.Query{UserID: r.Token.UserID}, inOrder(all[i/2*2:i/2*2+2]...)...)
		t.lists(tokenauth.Query{UserID: r.Token.UserID, Name: r.Token.Name}, r)
	}
	if n, err := t.store.RevokeAll(t.ctx, all[0].Token.UserID, after(9), revoker, 10); err != nil || n != 2 {
		t.failf("RevokeAll of a user with two live tokens returned %d and %s, want 2 and no error", n, describe(err))
	}
	t.holds(revoked(all[0], after(9)), revoked(all[1], after(9)), all[2], all[3])
}
