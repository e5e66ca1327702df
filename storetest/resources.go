package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// resourceCases test stores that lose or change the resources that a token is restricted to. Nil
// means all resources, so a store that returns nil in place of a list gives a token more rights.
var resourceCases = []testCase{
	{"return the resources of a token exactly as they were created, and nil if they were nil", createResources},
	{"keep resources apart, whatever visible ASCII characters they contain", separatedResources},
	{"never return nil for an empty list of resources, but an error or the empty list", emptyResources},
	{"change the resources of a token only if the patch sets them, and set them to nil for a pointer to nil", updateResources},
	{"return ErrConflict and change nothing unless the token has the resources of Patch.Replaces", updateReplacesResources},
	{"accept an outdated Patch.Replaces if the token already has the new resources and all other new values", updateRepeatedResources},
}

// longest returns 100 resources of 255 characters. Each begins with the character in first.
func longest(first string) (all []string) {
	for i := range 100 {
		all = append(all, fmt.Sprintf("%s%03d%s", first, i, strings.Repeat("x", 251)))
	}
	return all
}

// restricted returns a live record of the user alice with the given name and resources.
func restricted(name string, resources ...string) tokenauth.Record {
	r := named(name)
	r.Token.Resources = resources
	return r
}

func createResources(t *tester) {
	first, last := strings.Repeat("p", 254)+"a", strings.Repeat("p", 254)+"b" // differ only in the last character
	all := []tokenauth.Record{
		restricted("all"), restricted("one", "p"), restricted("not sorted", "q", "p"), restricted("many", longest("a")...),
		restricted("first", first), restricted("last", last), restricted("letter case", "P", "p"),
	}
	gone := revoked(restricted("revoked", "p"), after(9))
	t.create(all[:4]...)
	for _, r := range all[4:] {
		t.create(r)
	}
	t.create(gone)
	t.holds(append(all, gone)...)
	t.update(all[3], restrict(longest("b")...))
	all[3].Token.Resources = longest("b")
	t.holds(append(all, gone)...)
}

func separatedResources(t *tester) {
	var resources []string
	for c := '!'; c <= '~'; c++ {
		resources = append(resources, "a"+string(c)+"b", string(c))
	}
	first, second, r := restricted("first", resources[:94]...), restricted("second", resources[94:]...), named("Foo")
	t.create(first, second, r)
	t.holds(first, second, r)
	for _, some := range [][]string{
		resources[:94], resources[94:], {"a", "b"}, {"A", "b"}, {"a,b"}, {"a", "a,b", "b"}, {"[]"}, {"[", "]"}, {`["a"]`}, {`"`}, {`""`},
		{`\`}, {`\\`}, {"null"}, {"nil"}, {"{}"}, {"a+b"}, {"%20"}, {"a%20b"}, {"0"}, {"*"}, {"<nil>"},
	} {
		t.update(r, restrict(some...))
		r.Token.Resources = some
		t.holds(first, second, r)
	}
}

// emptyResources gives tokens an empty list of resources, which no Manager does. A table may
// contain such a list for another reason.
func emptyResources(t *tester) {
	created, updated := named("created"), full("updated")
	created.Token.Resources = []string{}
	t.create(updated)
	_ = t.store.Create(t.ctx, created)
	if t.store.Update(t.ctx, alice, updated.Token.ID, tokenauth.Patch{Resources: &[]string{}}, after(5)) == nil {
		updated.Token.Resources = created.Token.Resources
	}
	for _, r := range []tokenauth.Record{created, updated} {
		for _, d := range digestsOf(r) {
			if found, err := t.store.Find(t.ctx, d); err == nil && (found == nil || !isEmptyOr(r, *found)) {
				t.failf("Find returned neither an error nor an empty list of resources for the token %q", r.Token.Name)
			}
		}
		for _, q := range []tokenauth.Query{{UserID: alice}, {AllUsers: true, IncludeRevoked: true}, {UserID: alice, IDs: []string{r.Token.ID}}} {
			records, err := t.store.List(t.ctx, q)
			if err == nil && slices.ContainsFunc(records, func(found tokenauth.Record) bool { return found.Token.ID == r.Token.ID && !isEmptyOr(r, found) }) {
				t.failf("List of %s returned neither an error nor an empty list of resources for the token %q", describeQuery(q), r.Token.Name)
			}
		}
	}
}

// isEmptyOr reports whether the record found has an empty list of resources that is not nil, or the
// resources of r.
func isEmptyOr(r, found tokenauth.Record) bool {
	resources := found.Token.Resources
	return resources != nil && (len(resources) == 0 || slices.Equal(resources, r.Token.Resources))
}

// digestsOf returns the current digest of r, and then the retired digest, if any.
func digestsOf(r tokenauth.Record) []tokenauth.Digest {
	if r.Retired == nil {
		return []tokenauth.Digest{r.Digest}
	}
	return []tokenauth.Digest{r.Digest, r.Retired.Digest}
}

func updateResources(t *tester) {
	r, other := full("Foo"), restricted("other", "o")
	t.create(r, other)
	step := func(p tokenauth.Patch) {
		t.updates(&r, p)
		t.holds(r, other)
	}
	for _, resources := range [][]string{{"p"}, {"q", "p"}, nil, {"q"}, {"Q"}, nil} {
		step(restrict(resources...))
		step(rename(fmt.Sprint("renamed, with ", len(resources), " resources")))
		step(rescope(fmt.Sprint("with-", len(resources), "-resources")))
		step(expire(after(2000 + len(resources))))
		step(tokenauth.Patch{})
		rot := rotation(r.Token.Generation, fmt.Sprint("digest ", r.Token.Generation))
		t.rotate(r, rot)
		r = rotated(r, rot)
		t.touch(use(r, after(10+r.Token.Generation)))
		r = usedAt(r, after(10+r.Token.Generation))
		t.create(r) // again
		t.holds(r, other)
	}
	t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, bob, other.Token.ID, restrict(), after(5)), "Update of the resources of another user's token")
	t.revoke(other, after(9))
	t.wants(tokenauth.ErrNotFound, t.store.Update(t.ctx, alice, other.Token.ID, restrict(), after(5)), "Update of the resources of a revoked token")
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, restrict("p"), after(9000)), "Update of the resources of an expired token")
	t.holds(r, revoked(other, after(9)))
}

// updates updates a token and changes r accordingly.
func (t *tester) updates(r *tokenauth.Record, p tokenauth.Patch) {
	t.Helper()
	t.update(*r, p)
	if p.Name != nil {
		r.Token.Name = *p.Name
	}
	if p.Scopes != nil {
		r.Token.Scopes = *p.Scopes
	}
	if p.Resources != nil {
		r.Token.Resources = *p.Resources
	}
	if p.ExpiresAt != nil {
		r.Token.ExpiresAt = *p.ExpiresAt
	}
}

func updateReplacesResources(t *tester) {
	r, endless := full("Foo"), named("all resources")
	t.create(r, endless, named("Bar"))
	replacing := func(r tokenauth.Record, resources []string, p tokenauth.Patch) tokenauth.Patch {
		p.Replaces = &tokenauth.Token{Scopes: r.Token.Scopes, Resources: resources, ExpiresAt: r.Token.ExpiresAt}
		return p
	}
	patches := []tokenauth.Patch{rename("Baz"), rename("Bar"), restrict("new"), rescope("new"), expire(after(3000))}
	conflicts := func(r tokenauth.Record, what string, resources []string) {
		t.Helper()
		for _, p := range append(patches, restrict()) {
			if p.Resources != nil && *p.Resources == nil && r.Token.Resources == nil {
				continue // the token already has the new values
			}
			err := t.store.Update(t.ctx, alice, r.Token.ID, replacing(r, resources, p), after(5))
			t.wants(tokenauth.ErrConflict, err, "Update with Replaces of %s of the token %q", what, r.Token.Name)
		}
	}
	same := r.Token.Resources
	conflicts(r, "nil resources", nil)
	conflicts(r, "an empty list of resources", []string{})
	conflicts(r, "fewer resources", same[:1])
	conflicts(r, "more resources", append(slices.Clone(same), "project:3"))
	conflicts(r, "other resources", []string{"project:1", "project:3"})
	conflicts(r, "resources in another order", []string{same[1], same[0]})
	conflicts(r, "resources in upper case", []string{"PROJECT:1", "PROJECT:2"})
	conflicts(r, "joined resources", []string{"project:1,project:2"})
	conflicts(endless, "a resource", same[:1])
	conflicts(endless, "an empty list of resources", []string{})
	t.holds(r, endless, named("Bar"))

	t.wants(tokenauth.ErrNameTaken, t.store.Update(t.ctx, alice, r.Token.ID, replacing(r, same, rename("Bar")), after(5)), "Update with Replaces, to a taken name")
	t.updates(&r, replacing(r, slices.Clone(same), rename("Baz")))
	t.updates(&r, replacing(r, same, restrict("new")))
	t.updates(&endless, replacing(endless, nil, restrict("p")))
	t.updates(&endless, replacing(endless, []string{"p"}, restrict()))
	t.holds(r, endless, named("Bar"))
}

func updateRepeatedResources(t *tester) {
	r := full("Foo")
	t.create(r)
	for _, resources := range [][]string{{"p"}, nil, {"q", "r"}} {
		p := tokenauth.Patch{Resources: &resources, Replaces: new(r.Token)}
		for range 2 { // repeated, because the response to the first call may be lost
			t.updates(&r, p)
			t.holds(r)
		}
	}
	outdated := r.Token
	outdated.Resources = nil
	for what, p := range map[string]tokenauth.Patch{
		"name":   {Resources: &[]string{"q", "r"}, Name: new("Bar"), Replaces: &outdated},
		"scopes": {Resources: &[]string{"q", "r"}, Scopes: &[]string{"new"}, Replaces: &outdated},
		"expiry": {Resources: &[]string{"q", "r"}, ExpiresAt: new(after(2000)), Replaces: &outdated},
	} {
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, p, after(5)), "Update with outdated Replaces of a token that has the new resources, but not the new %s", what)
	}
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, tokenauth.Patch{
		Scopes: (*[]string)(&r.Token.Scopes), Resources: &[]string{"s"}, Replaces: &outdated,
	}, after(5)), "Update with outdated Replaces of a token that has the new scopes, but not the new resources")
	t.holds(r)
}
