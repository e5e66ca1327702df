package storetest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-tokenauth/tokenauth"
)

// separatorCases test stores that join several values in one text, for example a user ID and a
// name in a key.
var separatorCases = []testCase{
	// Case S22.
	{"keep users apart whose IDs and names have the same text if they are joined", separatedNames},
	// Case S22.
	{"keep scopes apart, whatever punctuation characters they contain", separatedScopes},
	{"compare token IDs byte by byte", separatedIDs},
}

// separators are texts that a store may put between two values. In a pattern, some of them match
// other characters.
var separators = []string{"", ":", "::", "/", "|", ".", ",", ";", "-", "_", "#", " ", "}", "{", `\`, "*", "?", "%", "=", "&", "@", "+", "~", "!", "'", "[a-z]", "\u00a0"}

func separatedNames(t *tester) {
	var all []tokenauth.Record
	add := func(userID, name string, slot int) {
		r := newRecord(userID, name, fmt.Sprint(len(all)))
		r.Slot = slot
		t.wants(nil, t.store.Create(t.ctx, r), "Create of the token %q of user %q with slot %d", name, userID, slot)
		all = append(all, r)
	}
	for i, sep := range separators {
		// With the separator, the user IDs and the names have the same text: "a:b:c" for ":".
		add("a", "b"+sep+"c", 11+i)
		add("a"+sep+"b", "c", 111+i)
		add("a"+sep+"1", "d", 1+i) // "a1" and 1 have the same text as "a" and 11
	}
	all = inOrder(all...)
	t.holds(all...)
	users := map[string]bool{}
	for _, r := range all {
		users[r.Token.UserID] = true
	}
	for _, user := range slices.Sorted(maps.Keys(users)) {
		of := where(all, func(r tokenauth.Record) bool { return r.Token.UserID == user })
		t.lists(tokenauth.Query{UserID: user}, of...)
		t.lists(tokenauth.Query{UserID: user, MinSlot: 1, MaxSlot: 1000}, where(of, func(r tokenauth.Record) bool { return r.Slot != 0 })...)
		t.lists(tokenauth.Query{UserID: user, Name: of[0].Token.Name, IncludeRevoked: true}, of[0])
	}
	for _, user := range slices.Sorted(maps.Keys(users)) {
		of := where(all, func(r tokenauth.Record) bool { return r.Token.UserID == user })
		if n, err := t.store.RevokeAll(t.ctx, user, after(9), revoker, 1000); err != nil || n != len(of) {
			t.failf("RevokeAll of user %q returned %d and %s, want %d and no error", user, n, describe(err), len(of))
		}
	}
}

func separatedScopes(t *tester) {
	var scopes []string
	for c := '!'; c <= '~'; c++ {
		if c != '"' && c != '\\' {
			scopes = append(scopes, "a"+string(c)+"b", string(c))
		}
	}
	slices.Sort(scopes)
	first, second, r := named("first"), named("second"), named("Foo")
	first.Token.Scopes, second.Token.Scopes = scopes[:90], scopes[90:]
	t.create(first, second, r)
	t.holds(first, second, r)
	for _, some := range [][]string{scopes[:90], scopes[90:], {"a", "b"}, {"A", "b"}, {"a,b"}, {"a", "a,b", "b"}, {"[]"}, {"null"}, {"{}"}, {"a+b"}, {"%20"}, {"0"}} {
		t.update(r, rescope(some...))
		r.Token.Scopes = some
		t.holds(first, second, r)
	}
}

func separatedIDs(t *tester) {
	ids := []string{"AAAAAAAAAAAAAAAAAAAAAAAAAA", "aAAAAAAAAAAAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "00000000000000000000000000", "00000000000000000000000001"}
	unknown := []string{"AAAAAAAAAAAAAAAAAAAAAAAAAa", "0", "1", "AAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAA ", "%", ""}
	var all []tokenauth.Record
	for i, id := range ids {
		r := named(fmt.Sprint("token ", i))
		r.Token.ID = id
		t.create(r)
		all = append(all, r)
	}
	for _, id := range unknown {
		for method, err := range map[string]error{
			"Revoke":        t.store.Revoke(t.ctx, alice, id, after(9), revoker),
			"RevokeExpired": t.store.RevokeExpired(t.ctx, alice, id, after(9), revoker, after(9)),
			"Update":        t.store.Update(t.ctx, alice, id, rename("renamed"), after(5)),
			"Rotate":        t.store.Rotate(t.ctx, alice, id, rotation(1, "second"), after(5)),
		} {
			t.wants(tokenauth.ErrNotFound, err, "%s of the unknown ID %q", method, id)
		}
		t.touch(tokenauth.Use{ID: id, At: after(5)})
		t.lists(tokenauth.Query{UserID: alice, IDs: []string{id}})
	}
	t.holds(all...)
	t.touch(use(all[1], after(6)))
	all[1] = usedAt(all[1], after(6))
	t.lists(tokenauth.Query{UserID: alice, IDs: []string{ids[1], unknown[0]}}, all[1])
	t.revoke(all[1], after(9))
	all[1] = revoked(all[1], after(9))
	t.holds(all...)
}
