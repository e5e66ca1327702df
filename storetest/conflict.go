package storetest

import (
	"fmt"
	"slices"

	"github.com/go-tokenauth/tokenauth"
)

var conflictCases = []testCase{
	// Case S3.
	{"compare names byte by byte", conflictNames},
	// Case S3.
	{"compare user IDs byte by byte", conflictUserIDs},
	// Case S6.
	{"allow two users to use the same name and the same slot", conflictOfOtherUser},
	// Case S6.
	{"allow the name and the slot of a revoked token to be reused", conflictOfRevoked},
	{"keep the name and the slot of an expired token taken until the token is revoked", conflictOfExpired},
	{"allow any number of tokens without a slot", conflictNoSlot},
	// Case S8.
	{"return ErrKeyTaken from Create for an ID that another record has", conflictID},
	// Case S8.
	{"return ErrKeyTaken from Create for a digest that another record has as its current or retired digest", conflictDigest},
	{"accept a record with the ID and current digest of a stored record, and leave the stored record unchanged", conflictSame},
	{"refuse to create a record a second time after its key was rotated, unless it has the new digest", conflictRotated},
	{"check ID and digests for conflicts first, then the name, then the slot", conflictOrder},
	{"create either all of the given records or none of them", conflictAllOrNone},
	{"detect conflicts between the records of one Create call", conflictAmongGiven},
}

// oddNames are names that all differ as bytes. Some of the names look alike, and some are
// equal under the default collation of a database.
var oddNames = []string{
	"ci", "CI", "Ci", "ci ", " ci", "ci\u00a0", "c i", "c\u200di", "c\u00ed", "ci\u0301", "c\u0131", "c\u0130",
	"fi", "\ufb01", "ss", "\u00df", "\u1e9e", "a", "A", "\u00e0", "\u00e4", "a\u0308",
	"\u00c5", "A\u030a", "\u212b", "k", "K", "\u212a", "\u0436", "\u0416",
	"🦊", "🦝", "👩\u200d💻", "👩", "0", "00", "\u0660", "-", "_", "%", "c  i", "\ufeffci",
}

func conflictNames(t *tester) {
	var all []tokenauth.Record
	for i, name := range oddNames {
		r := newRecord(alice, name, fmt.Sprint("first ", i))
		t.wants(nil, t.store.Create(t.ctx, r), "Create with the new name %+q", name)
		all = append(all, r)
	}
	for i, name := range oddNames {
		again := newRecord(alice, name, fmt.Sprint("second ", i))
		t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, again), "Create with the taken name %+q", name)
		t.lists(tokenauth.Query{UserID: alice, Name: name}, all[i])
		t.lists(tokenauth.Query{UserID: alice, Name: name, IncludeRevoked: true}, all[i])
	}
	t.holds(all...)
}

func conflictUserIDs(t *tester) {
	var all []tokenauth.Record
	for i, userID := range oddNames {
		r := newRecord(userID, "Foo", fmt.Sprint("of user ", i))
		r.Slot = 1
		t.create(r)
		all = append(all, r)
	}
	for i, userID := range oddNames {
		t.lists(tokenauth.Query{UserID: userID}, all[i])
		t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, userID, all[(i+1)%len(all)].Token.ID, after(9), revoker), "Revoke as user %+q of a token of another user", userID)
	}
	for _, userID := range slices.Backward(oddNames) {
		if n, err := t.store.RevokeAll(t.ctx, userID, after(9), revoker, 1000); n != 1 || err != nil {
			t.failf("RevokeAll of user %+q returned %d and %s, want 1 and no error", userID, n, describe(err))
		}
		t.lists(tokenauth.Query{UserID: userID})
	}
}

func conflictOfOtherUser(t *tester) {
	ofAlice, ofBob := full("Foo"), newRecord(bob, "Foo", "Foo of bob")
	ofBob.Slot = ofAlice.Slot
	t.create(ofAlice)
	t.create(ofBob)
	t.holds(ofAlice, ofBob)
}

func conflictOfRevoked(t *tester) {
	old, successor := full("Foo"), newRecord(alice, "Foo", "successor")
	successor.Slot = old.Slot
	t.create(old)
	t.revoke(old, after(9))
	t.create(successor)
	third := revoked(newRecord(alice, "Foo", "created as revoked"), after(9))
	t.create(third)
	t.holds(revoked(old, after(9)), successor, third)
}

func conflictOfExpired(t *tester) {
	old := expiring(full("Foo"), start)
	t.create(old)
	t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, newRecord(alice, "Foo", "second")), "Create with the name of an expired token")
	other := named("Bar")
	other.Slot = old.Slot
	t.wants(tokenauth.ErrSlotTaken, t.store.Create(t.ctx, other), "Create with the slot of an expired token")
	t.holds(old)
	t.revoke(old, after(9))
	successor := newRecord(alice, "Foo", "successor")
	successor.Slot = old.Slot
	t.create(successor)
}

func conflictNoSlot(t *tester) {
	t.create(named("Foo"))
	t.create(named("Bar"))
	t.holds(named("Foo"), named("Bar"))
}

func conflictID(t *tester) {
	first := full("Foo")
	t.create(first)
	for _, userID := range []string{alice, bob} {
		second := newRecord(userID, "Bar", "Bar")
		second.Token.ID = first.Token.ID
		t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, second), "Create of another record with the same ID for user %q", userID)
	}
	ofBob := full("Foo")
	ofBob.Token.UserID = bob
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, ofBob), "Create of the same record for another user")
	other, both := named("other"), named("Bar")
	t.create(other)
	both.Token.ID, both.Digest = first.Token.ID, other.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, both), "Create of a record with the ID of one record and the digest of another")
	t.holds(first, other)
}

func conflictDigest(t *tester) {
	first, gone := full("Foo"), full("gone")
	t.create(first)
	gone.Slot = 1
	t.create(gone)
	t.revoke(gone, after(9))
	gone = revoked(gone, after(9))
	for _, taken := range []tokenauth.Digest{first.Digest, first.Retired.Digest, gone.Digest, gone.Retired.Digest} {
		for _, userID := range []string{alice, bob} {
			second := newRecord(userID, "Bar", "Bar")
			second.Digest = taken
			t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, second), "Create of another record with a taken digest for user %q", userID)
			second = full("Baz")
			second.Slot, second.Retired.Digest = 2, taken
			t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, second), "Create of another record with a taken digest as its retired digest")
		}
	}
	t.holds(first, gone)
}

func conflictSame(t *tester) {
	live, gone := full("Foo"), full("gone")
	gone.Slot = 1
	t.create(live, gone)
	t.revoke(gone, after(9))
	for _, r := range []tokenauth.Record{live, gone} {
		t.create(r)
		r.Token.Name, r.Token.Scopes, r.Slot, r.Retired = "another", nil, 3, nil
		r.Token.ExpiresAt, r.Token.Resources, r.Token.CreatedBy = after(2), nil, "another"
		t.create(r)
		t.create(r, r)
		r.Token.RevokedAt, r.Token.RevokedBy, r.Retired = after(3), "another", &tokenauth.RetiredKey{Digest: digest("given again"), Until: after(60)}
		t.create(r)
	}
	t.holds(live, revoked(gone, after(9)))
	added := named("added")
	t.create(live, added, gone)
	t.holds(live, revoked(gone, after(9)), added)
	t.misses(digest("given again"), "the retired digest of a record that Create had to skip")
	free := newRecord(alice, "another", "given again") // a skipped record takes no name, slot or digest
	free.Slot = 3
	t.create(free)
	t.holds(live, revoked(gone, after(9)), added, free)
}

func conflictRotated(t *tester) {
	r := full("Foo")
	t.create(r)
	rot := rotation(2, "rotated")
	t.rotate(r, rot)
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, r), "Create of a record that was created and rotated before")
	t.create(rotated(r, rot)) // has the current digest
	t.holds(rotated(r, rot))
}

func conflictOrder(t *tester) {
	first, other := full("Foo"), full("Bar")
	other.Slot = 1
	t.create(first, other)

	r := newRecord(alice, "Foo", "second")
	r.Slot = other.Slot
	t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, r), "Create with a taken name and a taken slot")
	crossed := newRecord(alice, "Bar", "crossed") // whichever of the two tokens a store finds first
	crossed.Slot = first.Slot
	t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, crossed), "Create with a taken name and a taken slot")
	r.Digest = other.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, r), "Create with a taken digest, name and slot")
	r.Digest, r.Token.ID = digest("new"), other.Token.ID
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, r), "Create with a taken ID, name and slot")
	r.Token.ID, r.Digest = newID("second"), other.Retired.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, r), "Create with the retired digest of another record, and a taken name and slot")
	for _, taken := range []tokenauth.Digest{other.Digest, other.Retired.Digest} {
		r.Digest, r.Retired = digest("new"), &tokenauth.RetiredKey{Digest: taken, Until: after(60)}
		t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, r), "Create with a taken digest as its retired digest, and a taken name and slot")
	}
	r = other
	r.Token.Name, r.Slot, r.Retired = first.Token.Name, first.Slot, &tokenauth.RetiredKey{Digest: first.Digest, Until: after(60)}
	t.wants(nil, t.store.Create(t.ctx, r), "Create of a stored record, but with the name, the slot and a digest of another record")
	t.holds(first, other)
}

func conflictAllOrNone(t *tester) {
	taken := full("Foo")
	t.create(taken)
	for what, conflict := range map[string]struct {
		change func(*tokenauth.Record)
		want   error
	}{
		"ID":             {func(r *tokenauth.Record) { r.Token.ID = taken.Token.ID }, tokenauth.ErrKeyTaken},
		"digest":         {func(r *tokenauth.Record) { r.Digest = taken.Digest }, tokenauth.ErrKeyTaken},
		"retired digest": {func(r *tokenauth.Record) { r.Digest = taken.Retired.Digest }, tokenauth.ErrKeyTaken},
		"name":           {func(r *tokenauth.Record) { r.Token.Name = taken.Token.Name }, tokenauth.ErrNameTaken},
		"slot":           {func(r *tokenauth.Record) { r.Slot = taken.Slot }, tokenauth.ErrSlotTaken},
	} {
		records := []tokenauth.Record{named("first"), named("second"), named("third")}
		for i := range records {
			given := append([]tokenauth.Record(nil), records...)
			conflict.change(&given[i])
			t.wants(conflict.want, t.store.Create(t.ctx, given...), "Create of three records, of which number %d has a taken %s", i+1, what)
			t.holds(taken)
		}
	}
}

func conflictAmongGiven(t *tester) {
	first := full("first")
	for what, conflict := range map[string]struct {
		change func(*tokenauth.Record)
		want   error
	}{
		"the same ID":     {func(r *tokenauth.Record) { r.Token.ID = first.Token.ID }, tokenauth.ErrKeyTaken},
		"the same digest": {func(r *tokenauth.Record) { r.Digest = first.Digest }, tokenauth.ErrKeyTaken},
		"one digest, current in one record and retired in the other": {func(r *tokenauth.Record) { r.Digest = first.Retired.Digest }, tokenauth.ErrKeyTaken},
		"one digest, retired in one record and current in the other": {func(r *tokenauth.Record) {
			r.Retired = &tokenauth.RetiredKey{Digest: first.Digest, Until: after(60)}
		}, tokenauth.ErrKeyTaken},
		"the same retired digest":                             {func(r *tokenauth.Record) { r.Retired = first.Retired }, tokenauth.ErrKeyTaken},
		"the same name":                                       {func(r *tokenauth.Record) { r.Token.Name = first.Token.Name }, tokenauth.ErrNameTaken},
		"the same slot":                                       {func(r *tokenauth.Record) { r.Slot = first.Slot }, tokenauth.ErrSlotTaken},
		"the same name and slot":                              {func(r *tokenauth.Record) { r.Token.Name, r.Slot = first.Token.Name, first.Slot }, tokenauth.ErrNameTaken},
		"the same digest, name and slot":                      {func(r *tokenauth.Record) { r.Digest, r.Token.Name, r.Slot = first.Digest, first.Token.Name, first.Slot }, tokenauth.ErrKeyTaken},
		"the same digest, although one of the two is revoked": {func(r *tokenauth.Record) { r.Token.RevokedAt, r.Digest = after(1), first.Digest }, tokenauth.ErrKeyTaken},
		"the same ID and digest, but different users":         {func(r *tokenauth.Record) { r.Token.ID, r.Digest, r.Token.UserID = first.Token.ID, first.Digest, bob }, tokenauth.ErrKeyTaken},
	} {
		second := named("second")
		conflict.change(&second)
		t.wants(conflict.want, t.store.Create(t.ctx, first, named("between"), second), "Create of three records, two of which have %s", what)
		t.holds()
	}
	again, gone := first, revoked(newRecord(alice, "first", "created as revoked"), after(1))
	again.Token.Name, again.Slot, again.Token.Scopes = "other values", 9, nil
	before, second, other := newRecord(alice, "second", "created as revoked before"), named("second"), named("other values")
	before.Token.RevokedAt, before.Token.RevokedBy, before.Slot, second.Slot, other.Slot = after(1), revoker, 5, 5, 9
	t.create(first, again, gone, before, second, other) // again is skipped, so neither again nor a revoked record takes a name or a slot
	t.holds(first, gone, revoked(before, after(1)), second, other)
}
