package storetest

import "github.com/go-tokenauth/tokenauth"

// otherTokensCases check that a call that changes one token leaves all other tokens
// unchanged, whether they belong to the same user or to another user.
var otherTokensCases = []testCase{
	others("a token is rotated", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.rotate(foo, rotation(2, "second"))
		return []tokenauth.Record{rotated(foo, rotation(2, "second"))}
	}),
	others("a token is renamed", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, rename("Baz"))
		foo.Token.Name = "Baz"
		return []tokenauth.Record{foo}
	}),
	others("the scopes of a token change", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, rescope("other"))
		foo.Token.Scopes = []string{"other"}
		return []tokenauth.Record{foo}
	}),
	others("the expiry of a token changes", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, expire(after(50)))
		return []tokenauth.Record{expiring(foo, after(50))}
	}),
	others("Touch sets LastUsedAt of a token", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.touch(use(foo, after(70)))
		return []tokenauth.Record{usedAt(foo, after(70))}
	}),
	others("a token is revoked", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		return []tokenauth.Record{revoked(foo, after(9))}
	}),
	others("RevokeExpired revokes a token", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(nil, t.revokeExpired(foo, after(1000)), "RevokeExpired of an expired token")
		return []tokenauth.Record{revoked(foo, after(1000))}
	}),
	others("a token is pruned", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		t.prune(after(10), 10)
		return nil
	}),
	others("a token replaces a revoked token of the same name", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		successor := newRecord(alice, "Foo", "successor")
		t.revoke(foo, after(9))
		t.create(successor)
		return []tokenauth.Record{revoked(foo, after(9)), successor}
	}),
	others("Update, Rotate or Revoke of a token returns a sentinel error", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, foo.Token.ID, rename("Bar"), after(5)), "Update to a taken name")
		t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(1, "second"), after(5)), "Rotate with the wrong generation")
		t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(2, "Bar"), after(5)), "Rotate to a taken digest")
		t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, bob, foo.Token.ID, after(5), revoker), "Revoke as another user")
		return []tokenauth.Record{foo}
	}),
}

// others returns a test case for one kind of change, which event describes. The users alice
// and bob each have one token named Foo and one named Bar. The function change changes
// alice's token Foo in the store, and returns the records that the store should then hold
// instead of the record foo. The other three records must stay unchanged.
func others(event string, change func(t *tester, foo tokenauth.Record) []tokenauth.Record) testCase {
	return testCase{"leave all other tokens unchanged when " + event, func(t *tester) {
		foo, bar, barOfBob := full("Foo"), full("Bar"), newRecord(bob, "Bar", "Bar of bob")
		bar.Slot = 8
		fooOfBob := full("Foo of bob")
		fooOfBob.Token.UserID, fooOfBob.Token.Name = bob, "Foo"
		t.create(foo, bar, fooOfBob, barOfBob)
		t.holds(append(change(t, foo), bar, fooOfBob, barOfBob)...)
	}}
}
