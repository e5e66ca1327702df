package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// lineageCases test what a store keeps about the actors that created and revoked tokens.
var lineageCases = []testCase{
	{"return CreatedBy and RevokedBy exactly as they were created, up to 255 bytes of UTF-8", createActors},
	{"store who revokes a token as RevokedBy, with Revoke, RevokeExpired and RevokeAll", revokeActors},
	{"leave RevokedBy of a revoked token unchanged, whoever revokes the token again", revokeAgain},
	{"leave CreatedBy unchanged with each change of a token", keepCreator},
	{"list the tokens with a given CreatedBy, which is compared byte by byte", listCreator},
}

// actors are the texts of CreatedBy and RevokedBy in the test cases. Some of them differ only in
// ways that a database may overlook.
var actors = append([]string{
	creator, "login", "Login", "LOGIN", "login ", " login", "logi", "login2", "lógin", "lo\u0301gin", "login:", "token:" + newID("Foo"), "ﬁ", "fi",
	strings.Repeat("x", 254) + "a", strings.Repeat("x", 254) + "b", strings.Repeat("\U0001f98a", 63) + "abc",
}, oddTexts...)

func createActors(t *tester) {
	var all []tokenauth.Record
	for i, by := range actors {
		r, gone := named(fmt.Sprint("live ", i)), named(fmt.Sprint("revoked ", i))
		r.Token.CreatedBy, gone.Token.CreatedBy = by, by
		all = append(all, r, revokedBy(gone, after(9), by))
		t.create(all[len(all)-2:]...)
	}
	unknown := revokedBy(named("by an unknown actor"), after(9), "")
	t.create(unknown)
	t.holds(append(all, unknown)...)
}

func revokeActors(t *tester) {
	var want []tokenauth.Record
	for i, by := range append(actors, "") {
		foo, bar, baz := full(fmt.Sprint("Foo ", i)), expiring(named(fmt.Sprint("Bar ", i)), after(5)), newRecord(fmt.Sprint("user ", i), "Baz", fmt.Sprint("Baz ", i))
		foo.Slot = i + 1
		second := newRecord(baz.Token.UserID, "second", fmt.Sprint("second ", i))
		t.create(foo, bar, baz, second)
		t.wants(nil, t.store.Revoke(t.ctx, alice, foo.Token.ID, after(9), by), "Revoke by %q", by)
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, bar.Token.ID, after(9), by, time.Time{}), "RevokeExpired by %q", by)
		if n, err := t.store.RevokeAll(t.ctx, baz.Token.UserID, after(9), by, 10); err != nil || n != 2 {
			t.failf("RevokeAll by %q of a user with two live tokens returned %d and %s, want 2 and no error", by, n, describe(err))
		}
		for _, r := range []tokenauth.Record{foo, bar, baz, second} {
			want = append(want, revokedBy(r, after(9), by))
		}
	}
	idle := named("idle")
	t.create(idle)
	t.wants(nil, t.store.RevokeExpired(t.ctx, alice, idle.Token.ID, after(9), "cleaner", after(1)), "RevokeExpired of an idle token")
	t.holds(append(want, revokedBy(idle, after(9), "cleaner"))...)
}

func revokeAgain(t *tester) {
	first, unknown, created := full("Foo"), expiring(named("by an unknown actor"), after(10)), revokedBy(named("created as revoked"), after(1), "admin")
	t.create(first, unknown, created)
	t.revoke(first, after(9))
	t.wants(nil, t.store.RevokeExpired(t.ctx, alice, unknown.Token.ID, after(10), "", time.Time{}), "RevokeExpired by an unknown actor")
	want := []tokenauth.Record{revoked(first, after(9)), revokedBy(unknown, after(10), ""), created}
	for _, by := range []string{"another", "", revoker, strings.ToUpper(revoker)} {
		for _, r := range want {
			for _, at := range []time.Time{r.Token.RevokedAt, after(20)} {
				t.wants(nil, t.store.Revoke(t.ctx, alice, r.Token.ID, at, by), "Revoke by %q of a revoked token", by)
				t.wants(nil, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, at, by, after(9000)), "RevokeExpired by %q of a revoked token", by)
			}
		}
		if n, err := t.store.RevokeAll(t.ctx, alice, after(20), by, 10); err != nil || n != 0 {
			t.failf("RevokeAll of a user without live tokens returned %d and %s, want 0 and no error", n, describe(err))
		}
		t.holds(want...)
	}
	foreign := newRecord(bob, "Foo", "of bob")
	t.create(foreign)
	t.wants(tokenauth.ErrNotFound, t.store.Revoke(t.ctx, alice, foreign.Token.ID, after(9), "another"), "Revoke of another user's token")
	t.wants(tokenauth.ErrConflict, t.store.RevokeExpired(t.ctx, bob, foreign.Token.ID, after(9), "another", time.Time{}), "RevokeExpired of a token that is not expired")
	t.holds(append(want, foreign)...)
}

func keepCreator(t *tester) {
	var want []tokenauth.Record
	for i, c := range tokenChanges {
		r := full(c.method)
		r.Token.UserID, r.Token.CreatedBy = "user of "+c.method, actors[i]
		unknown := r
		unknown.Token.ID, unknown.Digest, unknown.Retired = newID("unknown "+c.method), digest("unknown "+c.method), &tokenauth.RetiredKey{Digest: digest("first unknown " + c.method), Until: after(60)}
		unknown.Token.UserID, unknown.Token.CreatedBy = "another user of "+c.method, ""
		for _, r := range []tokenauth.Record{r, unknown} {
			t.create(r)
			r = c.change(t, r)
			again := r
			again.Token.CreatedBy = "another"
			t.create(again) // which changes nothing
			want = append(want, r)
		}
	}
	t.holds(want...)
	t.lists(tokenauth.Query{AllUsers: true, CreatedBy: "another", IncludeRevoked: true})
}

func listCreator(t *tester) {
	var all []tokenauth.Record
	for i, by := range append(actors, "") {
		for j, user := range []string{alice, bob, alice, alice} {
			r := newRecord(user, fmt.Sprint("token ", i, " ", j), fmt.Sprint(i, " ", j))
			r.Token.CreatedAt, r.Token.CreatedBy = after(3-j), by
			if j == 2 {
				r = revoked(r, after(9))
			}
			all = append(all, r)
		}
	}
	t.create(all...)
	all = inOrder(all...)
	for _, by := range append(actors, "%", "_", "logi_", "l%", "log", creator+" ", "user:4", strings.Repeat("x", 255), strings.Repeat("x", 254), "unknown") {
		for _, q := range []tokenauth.Query{
			{AllUsers: true}, {UserID: alice}, {UserID: bob}, {UserID: "carol"}, {AllUsers: true, IncludeRevoked: true}, {UserID: alice, IncludeRevoked: true},
			{AllUsers: true, After: tokenauth.Cursor{CreatedAt: after(1)}}, {UserID: alice, Limit: 1}, {AllUsers: true, Limit: 1, IncludeRevoked: true},
		} {
			q.CreatedBy = by
			t.lists(q, selected(q, all)...)
		}
	}
	for _, q := range []tokenauth.Query{{AllUsers: true, IncludeRevoked: true}, {UserID: alice}, {AllUsers: true}} {
		q.CreatedBy = "login"
		t.pages(q, selected(q, all))
	}
}
