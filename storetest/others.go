package storetest

import "github.com/go-tokenauth/tokenauth"

// otherTokensCases are about what many tokens per user are for: what is done to
// one is not done to another.
var otherTokensCases = []testCase{
	others("rotated", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.rotate(foo, rotation(2, "second"))
		return []tokenauth.Record{rotated(foo, rotation(2, "second"))}
	}),
	others("renamed", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, rename("Baz"))
		foo.Token.Name = "Baz"
		return []tokenauth.Record{foo}
	}),
	others("given other scopes", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, rescope("other"))
		foo.Token.Scopes = []string{"other"}
		return []tokenauth.Record{foo}
	}),
	others("given another expiry", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.update(foo, expire(after(50)))
		return []tokenauth.Record{expiring(foo, after(50))}
	}),
	others("used", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.touch(use(foo, after(70)))
		return []tokenauth.Record{usedAt(foo, after(70))}
	}),
	others("revoked", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		return []tokenauth.Record{revoked(foo, after(9))}
	}),
	others("revoked because it is expired", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(nil, t.revokeExpired(foo, after(1000)), "RevokeExpired")
		return []tokenauth.Record{revoked(foo, after(1000))}
	}),
	others("pruned", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.revoke(foo, after(9))
		t.prune(after(10), 10)
		return nil
	}),
	others("replaced by one of the same name", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		successor := newRecord(alice, "Foo", "successor")
		t.revoke(foo, after(9))
		t.create(successor)
		return []tokenauth.Record{revoked(foo, after(9)), successor}
	}),
	others("refused a change", func(t *tester, foo tokenauth.Record) []tokenauth.Record {
		t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, foo.Token.ID, rename("Bar"), after(5)), "renaming to a taken name")
		t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(1, "second"), after(5)), "rotating another generation")
		t.wants(tokenauth.ErrKeyTaken, t.store.Rotate(t.ctx, alice, foo.Token.ID, rotation(2, "Bar"), after(5)), "rotating to a taken digest")
		t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, bob, foo.Token.ID, after(5)), "revoking as another user")
		return []tokenauth.Record{foo}
	}),
}

// others returns the case of alice's token Foo, beside her token Bar and tokens
// of bob with the same names. The function changes Foo, and returns what has to
// become of it.
func others(verb string, change func(t *tester, foo tokenauth.Record) []tokenauth.Record) testCase {
	return testCase{"", "leave every field and digest of other tokens as it was when one is " + verb, func(t *tester) {
		foo, bar, barOfBob := full("Foo"), full("Bar"), newRecord(bob, "Bar", "Bar of bob")
		bar.Slot = 8
		fooOfBob := full("Foo of bob")
		fooOfBob.Token.UserID, fooOfBob.Token.Name = bob, "Foo"
		t.create(foo, bar, fooOfBob, barOfBob)
		t.holds(append(change(t, foo), bar, fooOfBob, barOfBob)...)
	}}
}
