package storetest

import (
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var updateCases = []testCase{
	{"change the fields that the patch sets, and no other fields", updateFields},
	{"change nothing if the patch is empty, but still return ErrNotFound or ErrConflict as for other patches", updateEmpty},
	// Case S28.
	{"accept an update to the values that the token already has", updateRepeated},
	{"accept an update that sets the token's own name again and changes other fields", updateOwnName},
	// Case S12.
	{"store a new expiry in UTC, rounded down to the microsecond, and a zero expiry as a zero time", updateTimes},
	// Case S3.
	{"compare a new name with the user's other names byte by byte", updateNames},
	// Case S6.
	{"return ErrNameTaken for the name of another live token of the user, even an expired token, and change nothing", updateTaken},
	// Case S6.
	{"accept a new name that only a revoked token or another user's token has", updateFree},
	{"allow a new token to use the old name of a renamed token, but not its new name", updateMovesName},
	// Cases S9, S10.
	{"return ErrNotFound for an update of an unknown token, another user's token or a revoked token", updateNotFound},
	{"return ErrConflict for an update of a token at or after its expiry", updateExpired},
	{"return ErrConflict and change nothing unless the token has the scopes and the expiry of Patch.Replaces", updateReplaces},
	{"compare the expiry of Patch.Replaces to the microsecond, in any time zone, and treat empty scopes like nil", updateReplacesForms},
	{"accept an outdated Patch.Replaces only if the token already has all new values", updateReplacesRepeated},
	// Case S20.
	{"store copies of the values in a patch, so that later changes by the caller have no effect", updateCopies},
	// Case S22.
	{"store a new name and new scopes unchanged, even if they contain SQL syntax", updateOddTexts},
}

func updateFields(t *tester) {
	r := full("Foo")
	r.Retired.Until = after(-60) // the retired key is no longer accepted, but is still a value of the token
	t.create(r)
	step := func(p tokenauth.Patch) {
		t.Helper()
		t.updates(&r, p)
		t.holds(r)
	}
	step(rename("Bar"))
	step(rescope("a"))
	step(restrict("p"))
	step(expire(after(2000)))
	step(expire(time.Time{}))
	step(tokenauth.Patch{Name: new("Baz"), Scopes: &[]string{"b", "c"}, Resources: &[]string{"q", "r"}, ExpiresAt: new(after(50))})

	r.Token.Scopes = nil
	for _, empty := range [][]string{nil, {}} {
		t.update(r, rescope("a"))
		t.update(r, tokenauth.Patch{Scopes: &empty})
		t.holds(r)
	}
}

func updateEmpty(t *tester) {
	r, gone := full("Foo"), named("revoked")
	t.create(r, gone)
	t.revoke(gone, after(1))
	t.update(r, tokenauth.Patch{})
	t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, bob, r.Token.ID, tokenauth.Patch{}, after(5)), "Update with an empty Patch of another user's token")
	t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, alice, gone.Token.ID, tokenauth.Patch{}, after(5)), "Update with an empty Patch of a revoked token")
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, tokenauth.Patch{}, after(1000)), "Update with an empty Patch of an expired token")
	t.holds(r, revoked(gone, after(1)))
}

func updateRepeated(t *tester) {
	r := full("Foo")
	t.create(r)
	same := tokenauth.Patch{
		Name: new("Foo"), Scopes: &[]string{"orders:read", "orders:write"}, Resources: &[]string{"project:1", "project:2"}, ExpiresAt: new(after(1000)),
	}
	t.update(r, same)
	t.holds(r)
	for range 3 {
		t.update(r, rename("Bar"))
	}
	r.Token.Name = "Bar"
	t.holds(r)
}

// updateOwnName checks updates that a form or a PUT request sends, with all fields of a token. A
// store that looks for the name without excluding the token itself refuses such updates.
func updateOwnName(t *tester) {
	r := full("Foo")
	t.create(r, named("Bar"))
	t.update(r, tokenauth.Patch{Name: new("Foo"), Scopes: &[]string{"new"}})
	r.Token.Scopes = []string{"new"}
	t.holds(r, named("Bar"))
	t.update(r, tokenauth.Patch{Name: new("Foo"), ExpiresAt: new(after(2000))})
	t.holds(expiring(r, after(2000)), named("Bar"))
}

func updateReplaces(t *tester) {
	r := full("Foo")
	r.Token.Resources = nil // see updateReplacesResources
	t.create(r, named("Bar"))
	patch := func(scopes []string, expiresAt time.Time, name string) tokenauth.Patch {
		return tokenauth.Patch{Name: &name, Scopes: &[]string{"new"}, Replaces: &tokenauth.Token{Scopes: scopes, ExpiresAt: expiresAt}}
	}
	same := r.Token.Scopes
	for name, p := range map[string]tokenauth.Patch{
		"fewer scopes":                           patch(same[:1], after(1000), "Baz"),
		"no scopes":                              patch(nil, after(1000), "Baz"),
		"other scopes":                           patch([]string{"orders:read", "x"}, after(1000), "Baz"),
		"other expiry":                           patch(same, after(1001), "Baz"),
		"no expiry":                              patch(same, time.Time{}, "Baz"),
		"a taken name":                           patch(nil, after(1000), "Bar"), // Replaces is checked before the name
		"the same name":                          patch(same, after(999), "Foo"),
		"joined scopes":                          patch([]string{"orders:read,orders:write"}, after(1000), "Baz"),
		"upper case":                             patch([]string{"ORDERS:READ", "ORDERS:WRITE"}, after(1000), "Baz"),
		"other scopes, by a patch of the expiry": {ExpiresAt: new(after(3000)), Replaces: &tokenauth.Token{ExpiresAt: after(1000)}},
		"other scopes, by a patch of the name":   {Name: new("Baz"), Replaces: &tokenauth.Token{ExpiresAt: after(1000)}},
		"another expiry, by a patch of the name": {Name: new("Baz"), Replaces: &tokenauth.Token{Scopes: same}},
	} {
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, p, after(5)), "Update with Replaces of %s", name)
	}
	t.holds(r, named("Bar"))
	t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, r.Token.ID, patch(same, after(1000), "Bar"), after(5)), "Update with a taken name")
	for range 2 { // repeated, because the response to the first call may be lost
		t.update(r, patch(same, after(1000).Add(time.Nanosecond), "Baz"))
	}
	r.Token.Name, r.Token.Scopes = "Baz", []string{"new"}
	t.holds(r, named("Bar"))

	endless := named("endless")
	t.create(endless)
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, endless.Token.ID, patch(nil, after(1), "Q"), after(5)), "Update with Replaces of an expiry that the token does not have")
	t.update(endless, patch(nil, time.Time{}, "Q"))
	endless.Token.Name, endless.Token.Scopes = "Q", []string{"new"}
	t.holds(r, named("Bar"), endless)
}

func updateReplacesForms(t *tester) {
	latest := time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	r, far := full("Foo"), expiring(named("far"), latest)
	r.Token.Scopes, r.Token.Resources = nil, nil
	t.create(r, far)
	patch := func(scopes []string, expiresAt time.Time) tokenauth.Patch {
		return tokenauth.Patch{Name: new("Bar"), Replaces: &tokenauth.Token{Scopes: scopes, ExpiresAt: expiresAt}}
	}
	for _, other := range []time.Time{after(1000).Add(time.Microsecond), after(1000).Add(-time.Nanosecond)} {
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, patch(nil, other), after(5)), "Update with Replaces of the expiry %s of a token that expires at %s", timeText(other), timeText(after(1000)))
	}
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, far.Token.ID, patch(nil, latest.Add(-time.Microsecond)), after(5)), "Update with Replaces of an expiry in the year 9999 that is one microsecond too early")
	t.update(r, patch([]string{}, after(1000).In(time.FixedZone("", 3600))))
	r.Token.Name = "Bar"
	t.holds(r, far)
}

func updateReplacesRepeated(t *tester) {
	r, scopes := full("Foo"), []string{"a"}
	r.Token.Scopes, r.Token.Resources = scopes, nil
	t.create(r)
	for what, p := range map[string]tokenauth.Patch{
		"scopes, but not the new expiry": {Scopes: &scopes, ExpiresAt: new(after(2000)), Replaces: &tokenauth.Token{Scopes: []string{"x"}, ExpiresAt: after(1000)}},
		"scopes, but not the new name":   {Scopes: &scopes, Name: new("Bar"), Replaces: &tokenauth.Token{Scopes: []string{"x"}, ExpiresAt: after(1000)}},
		"expiry, but not the new scopes": {Scopes: new([]string{"b"}), ExpiresAt: new(after(1000)), Replaces: &tokenauth.Token{Scopes: scopes, ExpiresAt: after(1)}},
	} {
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, p, after(5)), "Update with outdated Replaces of a token that already has the new %s", what)
	}
	t.holds(r)
	p := tokenauth.Patch{Scopes: new([]string{}), ExpiresAt: new(after(2000).Add(999).In(time.FixedZone("", 3600))), Replaces: new(r.Token)}
	for range 2 { // repeated, because the response to the first call may be lost
		t.update(r, p)
		r.Token.Scopes, r.Token.ExpiresAt = nil, after(2000)
		t.holds(r)
	}
}

func updateTimes(t *tester) {
	r := named("Foo")
	t.create(r)
	for _, odd := range oddTimes {
		t.update(r, expire(time.Time{})) // removes the previous expiry, because Update refuses an expired token
		t.update(r, expire(odd.given))
		t.finds(r.Digest, expiring(r, odd.kept))
		if !odd.kept.IsZero() && odd.kept.Before(after(5)) {
			gone := revoked(expiring(r, odd.kept), after(5))
			t.revoke(r, after(5))
			t.finds(r.Digest, gone)
			r = named(odd.name)
			t.create(r)
		}
	}
}

func updateNames(t *tester) {
	other, r := named("ci"), newRecord(alice, "another", "renamed")
	t.create(other, r)
	for _, name := range oddNames[1:] {
		t.update(r, rename(name))
		r.Token.Name = name
		t.holds(other, r)
	}
}

func updateTaken(t *tester) {
	foo, expired, r := named("Foo"), expiring(named("expired"), after(-1)), full("Bar")
	t.create(foo, expired, r)
	for _, taken := range []string{"Foo", "expired"} {
		p := tokenauth.Patch{Name: &taken, Scopes: &[]string{"a"}, Resources: &[]string{"p"}, ExpiresAt: new(after(2000))}
		t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, r.Token.ID, p, after(5)), "Update to the taken name %q", taken)
		t.holds(foo, expired, r)
	}
}

func updateFree(t *tester) {
	gone, ofBob, r := named("revoked"), newRecord(bob, "bob's", "bob's"), full("Bar")
	t.create(gone, ofBob, r)
	t.revoke(gone, after(1))
	for _, name := range []string{"revoked", "bob's"} {
		t.update(r, rename(name))
		r.Token.Name = name
		t.holds(revoked(gone, after(1)), ofBob, r)
	}
}

func updateMovesName(t *tester) {
	r := full("old")
	t.create(r)
	t.update(r, rename("new"))
	r.Token.Name = "new"
	t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, newRecord(alice, "new", "second")), "Create of a token with the new name")
	second := newRecord(alice, "old", "second")
	t.wants(nil, t.store.Create(t.ctx, second), "Create of a token with the old name")
	t.holds(r, second)
}

// everything is a Patch with new values for all fields.
var everything = tokenauth.Patch{Name: new("new"), Scopes: &[]string{"new"}, Resources: &[]string{"new"}, ExpiresAt: new(after(3000))}

func updateNotFound(t *tester) {
	r, gone := full("Foo"), expiring(named("revoked"), after(2))
	t.create(r, gone, newRecord(bob, "Foo", "of bob"))
	t.revoke(gone, after(1))
	for what, target := range map[string][2]string{
		"an unknown token":            {alice, newID("unknown")},
		"another user's token":        {bob, r.Token.ID},
		"a token of an unknown user":  {"carol", r.Token.ID},
		"alice's token as user Alice": {"Alice", r.Token.ID},
		"a revoked and expired token": {alice, gone.Token.ID},
	} {
		t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, target[0], target[1], everything, after(5)), "Update of %s", what)
	}
	t.holds(r, revoked(gone, after(1)), newRecord(bob, "Foo", "of bob"))
}

func updateExpired(t *tester) {
	r := expiring(full("Foo"), after(10))
	t.create(r)
	for _, at := range []time.Time{after(10), after(10).Add(time.Microsecond), after(9000)} {
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, everything, at), "Update at %v of a token that expires at %v", at, after(10))
	}
	t.holds(r)
	justBefore := after(10).Add(-time.Nanosecond) // rounded down to a microsecond before
	t.wants(nil, t.store.Update(t.ctx, alice, r.Token.ID, rename("Bar"), justBefore), "Update of a token one nanosecond before its expiry")
}

func updateCopies(t *tester) {
	r := named("Foo")
	t.create(r)
	name, scopes, resources, expiry := "Bar", []string{"a", "b"}, []string{"p", "q"}, after(50)
	t.update(r, tokenauth.Patch{Name: &name, Scopes: &scopes, Resources: &resources, ExpiresAt: &expiry})
	name, expiry = "changed", after(60)
	scopes[0], resources[0] = "changed", "changed"
	r.Token.Name, r.Token.Scopes, r.Token.Resources, r.Token.ExpiresAt = "Bar", []string{"a", "b"}, []string{"p", "q"}, after(50)
	t.holds(r)
}

func updateOddTexts(t *tester) {
	r := full("Foo")
	t.create(r)
	for i, text := range oddTexts {
		scopes := []string{fmt.Sprint("scope-", i), "x:" + asciiOf(text)}
		t.update(r, tokenauth.Patch{Name: &text, Scopes: &scopes})
		r.Token.Name, r.Token.Scopes = text, scopes
		t.holds(r)
	}
}
