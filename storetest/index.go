package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// indexCases test stores that keep indices of their own, for example of live names, of list
// positions or of expiries. After each kind of change, every index must agree with the records.
var indexCases = []testCase{
	indexed("a token is created", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.create(named("another"))
		return []tokenauth.Record{foo, named("another")}
	}),
	indexed("a record is created that is already revoked", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		gone := newRecord(alice, "Foo", "created as revoked")
		gone.Slot, gone.Token.RevokedAt, gone.Token.RevokedBy = foo.Slot, after(9), revoker
		t.create(gone)
		return []tokenauth.Record{revoked(foo, after(9)), revoked(gone, after(9))}
	}),
	indexed("Create of several records fails", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		records := func(label string) []tokenauth.Record {
			all := []tokenauth.Record{expiring(named("other"), after(40)), named("another"), revoked(named("created as revoked"), after(9))}
			all[0].Slot, all[0].Retired = 9, &tokenauth.RetiredKey{Digest: digest("retired other"), Until: after(60)}
			for i := range all {
				all[i].Token.ID = newID(fmt.Sprint(label, i))
			}
			return all
		}
		failing := append(records("failing"), foo, newRecord(alice, "Foo", "rival")) // foo is skipped
		for range 2 {
			t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, failing...), "Create of records, the last of which has a taken name")
		}
		all := records("other")
		for i, r := range records("failing") { // the same IDs with other values
			r.Token.Name, r.Digest, r.Slot, r.Retired = fmt.Sprint("later ", i), digest(fmt.Sprint("later ", i)), 0, nil
			r.Token.CreatedAt, r.Token.ExpiresAt, r.Token.RevokedAt, r.Token.RevokedBy = after(60), after(5000), time.Time{}, ""
			all = append(all, r)
		}
		t.create(all...)
		return append(all, foo)
	}),
	indexed("records are created again after they were renamed and revoked", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		bar, gone := expiring(named("Bar"), after(40)), named("gone")
		bar.Slot, gone.Slot = 2, 3
		t.create(bar, gone)
		t.update(bar, rename("Qux"))
		t.update(bar, expire(after(300)))
		t.touch(use(bar, after(720)))
		t.revoke(gone, after(9))
		t.create(bar, gone, foo)
		t.create(gone)
		renamed, successor := used(expiring(bar, after(300)), after(720)), newRecord(alice, "gone", "successor of gone")
		renamed.Token.Name, successor.Slot = "Qux", 3
		t.create(newRecord(alice, "Bar", "successor of Bar"), successor)
		return []tokenauth.Record{foo, renamed, revoked(gone, after(9)), newRecord(alice, "Bar", "successor of Bar"), successor}
	}),
	indexed("an update changes nothing", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		for _, p := range []tokenauth.Patch{{}, rename("Foo"), expire(after(100)), rescope(foo.Token.Scopes...)} {
			t.update(foo, p)
		}
		return []tokenauth.Record{foo}
	}),
	indexed("a token is renamed", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		for _, name := range []string{"Baz", "Foo", "Qux"} {
			t.update(foo, rename(name))
			foo.Token.Name = name
		}
		return []tokenauth.Record{foo}
	}),
	indexed("two tokens swap their names", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		bar := named("Bar")
		t.create(bar)
		t.update(foo, rename("third"))
		t.update(bar, rename("Foo"))
		t.update(foo, rename("Bar"))
		foo.Token.Name, bar.Token.Name = "Bar", "Foo"
		return []tokenauth.Record{foo, bar}
	}),
	indexed("the scopes of a token change", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, rescope("other"))
		foo.Token.Scopes = []string{"other"}
		return []tokenauth.Record{foo}
	}),
	indexed("the expiry of a token moves to a later time", changeExpiry(after(300))),
	indexed("the expiry of a token moves to an earlier time", changeExpiry(after(20))),
	indexed("the expiry of a token is removed", changeExpiry(time.Time{})),
	indexed("the expiry of a token changes several times", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		for _, at := range []time.Time{after(20), {}, after(30), after(400)} {
			t.update(foo, expire(at))
		}
		endless := named("endless")
		t.create(endless)
		t.update(endless, expire(after(30)))
		return []tokenauth.Record{expiring(foo, after(400)), expiring(endless, after(30))}
	}),
	indexed("a token is rotated", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.rotate(foo, rotation(2, "second"))
		t.rotate(foo, rotation(2, "second"))
		return []tokenauth.Record{rotated(foo, rotation(2, "second"))}
	}),
	indexed("a token is rotated several times and a new token has its first digest", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		first := newRecord(bob, "with the first digest", "first")
		first.Digest = foo.Retired.Digest
		for i := range 3 {
			rot := rotation(2+i, fmt.Sprint("rotation ", i))
			t.rotate(foo, rot)
			foo = rotated(foo, rot)
		}
		t.create(first)
		return []tokenauth.Record{foo, first}
	}),
	indexed("a change is refused", refusedChanges),
	indexed("a token is revoked twice", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		t.revoke(foo, after(10))
		return []tokenauth.Record{revoked(foo, after(9))}
	}),
	indexed("a token is revoked again after a successor took its name and its slot", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		successor := used(newRecord(alice, "Foo", "first successor"), after(700))
		successor.Slot = foo.Slot
		t.create(successor)
		t.revoke(foo, after(10))
		t.wants(nil, t.revokeExpired(foo, after(10)), "RevokeExpired of a revoked token")
		return []tokenauth.Record{revoked(foo, after(9)), successor}
	}),
	indexed("RevokeExpired revokes an expired token", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(nil, t.revokeExpired(foo, after(150)), "RevokeExpired of an expired token")
		return []tokenauth.Record{revoked(foo, after(150))}
	}),
	indexed("RevokeExpired revokes an idle token", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, foo.Token.ID, after(9), revoker, after(700)), "RevokeExpired of an idle token")
		return []tokenauth.Record{revoked(foo, after(9))}
	}),
	indexed("RevokeAll revokes the tokens of another user", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		var all []tokenauth.Record
		for i, r := range []tokenauth.Record{full("Foo"), named("endless"), expiring(named("expired"), after(2)), revoked(named("revoked"), after(1))} {
			r.Token.UserID, r.Token.ID, r.Digest, r.Retired = "carol", newID(fmt.Sprint("carol ", i)), digest(fmt.Sprint("carol ", i)), nil
			all = append(all, r)
		}
		t.create(all...)
		for _, want := range []int{2, 1, 0} {
			if n, err := t.store.RevokeAll(t.ctx, "carol", after(9), revoker, 2); err != nil || n != want {
				t.failf("RevokeAll with limit 2 returned %d and %s, want %d and no error", n, describe(err), want)
			}
		}
		for i := range all[:3] {
			all[i] = revoked(all[i], after(9))
		}
		successor := newRecord("carol", "Foo", "successor of carol")
		successor.Slot = 7
		t.create(successor)
		return append(all, successor, foo)
	}),
	indexed("Touch moves LastUsedAt of tokens", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		fresh, gone := named("never used"), revoked(named("revoked, used later"), after(10))
		t.create(fresh, gone)
		t.touch(use(foo, after(701)), use(foo, after(770)), use(foo, after(5)), use(fresh, after(-9)), use(gone, after(31)))
		t.touch(use(foo, after(5)), use(fresh, after(7)), use(gone, after(5)))
		return []tokenauth.Record{used(foo, after(770)), used(fresh, after(7)), used(gone, after(31))}
	}),
	indexed("imported tokens are changed, used and revoked", changeImported),
	indexed("tokens are revoked and deleted after all their values have changed", endChanged),
	{"give the same answer from every method after tokens with each combination of values are changed and ended", endCombinations},
	indexed("expired, revoked and idle tokens are pruned", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		dead := []tokenauth.Record{expiring(named("expired"), after(-60)), revoked(named("revoked"), after(-60)), used(createdAt(-90, "idle"), after(-80))}
		dead[0].Slot, dead[2].Slot = 2, 3
		dead = append(dead, expiring(createdAt(-90, "expired and idle"), after(-60)))
		t.create(dead...)
		if n, err := t.store.Prune(t.ctx, after(-50), after(-70), len(dead)); err != nil || n != len(dead) {
			t.failf("Prune returned %d and %s, want %d and no error", n, describe(err), len(dead))
		}
		t.create(dead...)
		return append(dead, foo)
	}),
}

// indexed returns a test case for one kind of change, which event describes. The function change
// changes the record foo in the store, and may create other records. It returns the records that
// the store should then hold instead of foo. The test case then checks queries, and conflicts with
// new records. It also does so after a successor of foo was created, after several calls of Prune,
// and after records with the IDs of deleted records were created.
func indexed(event string, change func(t *tester, foo tokenauth.Record) []tokenauth.Record) testCase {
	return testCase{"give the same answer from every method after " + event, func(t *tester) {
		foo, early, late := used(expiring(full("Foo"), after(100)), after(700)), createdAt(-2, "early"), createdAt(2, "late")
		early.Slot, late.Slot = 1, 8
		ofBob, imported := newRecord(bob, "Foo", "Foo of bob"), expiring(newRecord(bob, "imported", "imported"), after(1))
		ofBob.Slot, imported.Token.Origin = foo.Slot, "knox"
		rest := []tokenauth.Record{early, late, ofBob, imported, revoked(newRecord(alice, "Foo", "predecessor"), after(1))}
		t.create(append(rest, foo)...)
		want := inOrder(append(change(t, foo), rest...)...)
		t.holds(want...)
		t.pages(tokenauth.Query{UserID: alice}, where(want, func(r tokenauth.Record) bool { return live(r) && r.Token.UserID == alice }))
		t.pages(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, want)
		want = t.succeeds(foo, want)
		t.agrees(want)
		all := want
		for _, p := range []struct{ before, unusedSince time.Time }{
			{time.Time{}, after(6)}, {after(50), time.Time{}}, {after(200), time.Time{}}, {time.Time{}, after(750)}, {after(2000), after(2000)},
		} {
			want = t.pruned(want, p.before, p.unusedSince)
			t.holds(want...)
			if p.before.Equal(after(50)) {
				t.agrees(want)
			}
		}
		want = append(want, t.createAgain(all)...)
		t.listsAll(want)
		t.holds(t.pruned(want, after(3000), after(2999))...)
	}}
}

// createAgain creates live records with the IDs of deleted records, but with other values. An
// outdated entry of an index now leads to a wrong record. The tokens early and late get each
// other's name and slot. Each token gets the retired or the current digest of the token before.
func (t *tester) createAgain(records []tokenauth.Record) (created []tokenauth.Record) {
	t.Helper()
	previous := digest("again")
	for i, r := range records {
		if r.Token.Origin != "" {
			continue // not deleted
		}
		r.Token.CreatedAt, r.Token.ExpiresAt = after(3000), after(9000)
		r.Token.LastUsedAt, r.Token.RevokedAt, r.Token.RevokedBy = time.Time{}, time.Time{}, ""
		switch r.Token.Name {
		case "early":
			r.Token.Name, r.Slot = "late", 8
		case "late":
			r.Token.Name, r.Slot = "early", 1
		default:
			r.Token.Name, r.Slot = fmt.Sprint("again ", i), 0
		}
		current := r.Digest
		if r.Retired != nil {
			current = r.Retired.Digest
		}
		r.Digest, r.Retired, previous = previous, nil, current
		created = append(created, r)
	}
	t.create(created...)
	t.misses(previous, "the digest of a deleted record")
	return created
}

func changeExpiry(at time.Time) func(*tester, tokenauth.Record) []tokenauth.Record {
	return func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, expire(at))
		return []tokenauth.Record{expiring(foo, at)}
	}
}

func refusedChanges(t *tester, foo tokenauth.Record) []tokenauth.Record {
	bar := full("Bar")
	bar.Slot = 3
	t.create(bar)
	change := tokenauth.Patch{Name: new("Bar"), ExpiresAt: new(after(20))}
	t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, foo.Token.ID, change, after(5)), "Update to a taken name")
	change = tokenauth.Patch{Name: new("free"), ExpiresAt: new(after(20)), Replaces: &tokenauth.Token{}}
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, foo.Token.ID, change, after(5)), "Update with outdated Replaces")
	t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(2, "Bar"), after(5)), "Rotate to a taken digest")
	t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(1, "free"), after(5)), "Rotate with the wrong generation")
	t.wants(tokenauth.ErrConflict, t.revokeExpired(foo, after(5)), "RevokeExpired of a token that is not expired")
	for _, c := range []struct {
		userID string
		at     time.Time
		want   error
	}{{alice, after(150), tokenauth.ErrConflict}, {bob, after(5), tokenauth.ErrNotFound}} {
		t.wants(c.want, t.store.Update(t.ctx, c.userID, foo.Token.ID, rename("free"), c.at), "Update as user %q at %s", c.userID, timeText(c.at))
		t.wants(c.want, t.store.Rotate(t.ctx, c.userID, foo.Token.ID, rotation(2, "free"), c.at), "Rotate as user %q at %s", c.userID, timeText(c.at))
	}
	t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, bob, foo.Token.ID, after(5), revoker), "Revoke of another user's token")
	t.wants(tokenauth.ErrNotFound, t.store.RevokeExpired(t.ctx, bob, foo.Token.ID, after(150), revoker, after(800)), "RevokeExpired of another user's token")
	free := newRecord(alice, "free", "free") // with the name and the digest that were refused
	t.create(free)
	return []tokenauth.Record{foo, bar, free}
}

// changeImported changes imported tokens, which Prune must keep, in each way.
func changeImported(t *tester, foo tokenauth.Record) []tokenauth.Record {
	all := make([]tokenauth.Record, 6)
	for i := range all {
		all[i] = expiring(newRecord("carol", fmt.Sprint("imported ", i), fmt.Sprint("imported ", i)), after(10))
		all[i].Token.Origin, all[i].Slot = "knox", i+1
	}
	t.create(all...)
	rot := rotation(1, "second of imported")
	t.update(all[0], expire(after(20)))
	t.rotate(all[1], rot)
	t.touch(use(all[2], after(3)))
	t.revoke(all[3], after(9))
	t.wants(nil, t.revokeExpired(all[4], after(10)), "RevokeExpired of an expired token")
	if n, err := t.store.RevokeAll(t.ctx, "carol", after(9), revoker, 10); err != nil || n != 4 {
		t.failf("RevokeAll returned %d and %s, want 4 and no error", n, describe(err))
	}
	all[0], all[1], all[2], all[5] = revoked(expiring(all[0], after(20)), after(9)), revoked(rotated(all[1], rot), after(9)), revoked(used(all[2], after(3)), after(9)), revoked(all[5], after(9))
	all[3], all[4] = revoked(all[3], after(9)), revoked(all[4], after(10))
	stays := newRecord("carol", "imported 0", "stays live")
	stays.Token.Origin, rot = "knox", rotation(1, "second of stays live")
	t.create(stays)
	t.update(stays, expire(after(30)))
	t.rotate(stays, rot)
	t.touch(use(stays, after(4)))
	return append(all, used(expiring(rotated(stays, rot), after(30)), after(4)), foo)
}

// endChanged renames, rotates and uses tokens, and changes their expiry. Then it revokes or deletes
// each token in another way, and creates successors with the names and slots that are free again.
func endChanged(t *tester, foo tokenauth.Record) []tokenauth.Record {
	all := make([]tokenauth.Record, 4)
	for i := range all {
		r := newRecord("carol", fmt.Sprint("token ", i), fmt.Sprint("changed ", i))
		r.Slot, r.Token.ExpiresAt, r.Token.LastUsedAt = i+1, after(30), after(1)
		t.create(r)
		rot, expiresAt := rotation(1, fmt.Sprint("second of changed ", i)), after([]int{40, 40, 40, -60}[i])
		t.rotate(r, rot)
		t.update(r, tokenauth.Patch{Name: new(r.Token.Name + ", renamed"), ExpiresAt: &expiresAt})
		t.touch(use(r, after(720)))
		r.Token.Name += ", renamed"
		all[i] = used(expiring(rotated(r, rot), expiresAt), after(720))
	}
	if n := t.prune(after(-50), 10); n != 1 { // all[3]
		t.failf("Prune returned %d, want 1", n)
	}
	t.revoke(all[0], after(9))
	t.wants(nil, t.revokeExpired(all[1], after(40)), "RevokeExpired of an expired token")
	if n, err := t.store.RevokeAll(t.ctx, "carol", after(9), revoker, 10); err != nil || n != 1 {
		t.failf("RevokeAll returned %d and %s, want 1 and no error", n, describe(err))
	}
	for i, r := range all {
		successor := newRecord("carol", r.Token.Name, fmt.Sprint("successor ", i))
		successor.Slot = r.Slot
		if i == 3 {
			successor.Digest, successor.Retired = r.Digest, r.Retired
		}
		t.create(successor)
		all = append(all, successor)
	}
	all[0], all[1], all[2] = revoked(all[0], after(9)), revoked(all[1], after(40)), revoked(all[2], after(9))
	return append(slices.Delete(all, 3, 4), foo)
}

// succeeds creates live records of the user of foo, with the name or the slot of foo if they are
// free, and returns want with these records.
func (t *tester) succeeds(foo tokenauth.Record, want []tokenauth.Record) []tokenauth.Record {
	t.Helper()
	name := used(newRecord(alice, foo.Token.Name, "successor by name"), after(700))
	slot := used(newRecord(alice, "successor", "successor by slot"), after(700))
	slot.Slot = foo.Slot
	if !slices.ContainsFunc(want, func(r tokenauth.Record) bool { return conflicts(r, name) }) {
		t.create(name)
		want = append(want, name)
	}
	if !slices.ContainsFunc(want, func(r tokenauth.Record) bool { return conflicts(r, slot) }) {
		t.create(slot)
		want = append(want, slot)
	}
	return want
}

// conflicts reports whether two live records of one user have the same name or slot.
func conflicts(a, b tokenauth.Record) bool {
	return live(a) && live(b) && a.Token.UserID == b.Token.UserID && (a.Token.Name == b.Token.Name || a.Slot != 0 && a.Slot == b.Slot)
}
