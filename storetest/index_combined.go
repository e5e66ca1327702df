package storetest

import (
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// endCombinations changes and ends tokens with each combination of a slot, an expiry, a retired key
// and an origin. A store may forget an index entry for only some of them.
func endCombinations(t *tester) {
	var all []tokenauth.Record
	for _, end := range []string{"Prune", "Revoke", "RevokeExpired", "RevokeAll"} {
		of := combinations(end)
		t.create(of...)
		for i, r := range of {
			of[i] = t.changeCombined(i, r)
		}
		if end == "Prune" { // the tokens of the other users have the same values
			for i, r := range of {
				t.lists(tokenauth.Query{UserID: end, Name: r.Token.Name}, r)
				t.lists(tokenauth.Query{UserID: end, Name: r.Token.Name, IncludeRevoked: true}, r)
				t.lists(tokenauth.Query{UserID: end, Name: fmt.Sprint("token ", i), IncludeRevoked: true})
			}
		}
		t.endCombined(end, of)
		t.lists(tokenauth.Query{UserID: end}, where(inOrder(of...), live)...)
		t.lists(tokenauth.Query{UserID: end, IncludeRevoked: true}, inOrder(of...)...)
		all = append(all, of...)
	}
	t.lists(tokenauth.Query{AllUsers: true}, where(inOrder(all...), live)...)
	rest := t.pruned(all, after(38), after(10))
	rest = t.pruned(rest, after(42), time.Time{})
	rest = t.pruned(rest, after(50), after(30))
	var successors []tokenauth.Record
	for i, r := range all {
		if live(r) && r.Token.Origin != "" {
			continue // Prune kept the token
		}
		first := newRecord(r.Token.UserID, fmt.Sprint("token ", i%16), fmt.Sprint("first successor ", i))
		second := newRecord(r.Token.UserID, r.Token.Name, fmt.Sprint("second successor ", i))
		if first.Slot = i%16 + 1; r.Token.Origin == "" {
			second.Digest, second.Retired = r.Digest, r.Retired
		}
		successors = append(successors, first, second)
	}
	t.create(successors...)
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, inOrder(append(rest, successors...)...)...)
}

// combinations returns 16 live records of a user, with each combination of values.
func combinations(userID string) []tokenauth.Record {
	all := make([]tokenauth.Record, 16)
	for i := range all {
		r := newRecord(userID, fmt.Sprint("token ", i), fmt.Sprint(userID, i))
		if i&1 != 0 {
			r.Slot = i + 1
		}
		if i&2 != 0 {
			r.Token.ExpiresAt = after([]int{35, 80}[i&1])
		}
		if i&4 != 0 {
			r.Token.Scopes, r.Token.LastUsedAt = []string{"a"}, after(1)
			r.Retired = &tokenauth.RetiredKey{Digest: digest(fmt.Sprint("retired ", userID, i)), Until: after(60)}
		}
		if i&8 != 0 {
			r.Token.Origin = "knox"
		}
		all[i] = r
	}
	return all
}

// changeCombined renames record i of combinations. It also moves the expiry, if there is one, and
// uses and rotates the token, if it was used or rotated before. It returns the changed record.
func (t *tester) changeCombined(i int, r tokenauth.Record) tokenauth.Record {
	t.Helper()
	p := rename(r.Token.Name + ", renamed")
	if i&2 != 0 {
		p.ExpiresAt = new(after([]int{80, 40}[i&1])) // later or earlier
		r.Token.ExpiresAt = *p.ExpiresAt
	}
	t.update(r, p)
	r.Token.Name = *p.Name
	if i&4 != 0 {
		rot := rotation(1, fmt.Sprint("second of ", r.Token.UserID, i))
		t.rotate(r, rot)
		t.touch(use(r, after(20)))
		r = used(rotated(r, rot), after(20))
	}
	return r
}

// endCombined revokes the tokens of a user by the method with the given name, and changes the given
// records accordingly. If the method is Prune, endCombined leaves the tokens live.
func (t *tester) endCombined(method string, of []tokenauth.Record) {
	t.Helper()
	at := after(45)
	for i, r := range of {
		switch method {
		case "Prune":
			continue
		case "Revoke":
			t.revoke(r, at)
		case "RevokeExpired":
			t.wants(nil, t.store.RevokeExpired(t.ctx, method, r.Token.ID, at, revoker, after(30)), "RevokeExpired of an idle token")
		case "RevokeAll":
			if i > 0 {
				break
			}
			if n, err := t.store.RevokeAll(t.ctx, method, at, revoker, 100); err != nil || n != len(of) {
				t.failf("RevokeAll returned %d and %s, want %d and no error", n, describe(err), len(of))
			}
		}
		of[i] = revoked(r, at)
	}
}
