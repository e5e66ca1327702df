package storetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	createsResources  = "return the resources of a token exactly as they were created, and nil if they were nil"
	keepsApart        = "keep resources apart, whatever visible ASCII characters they contain"
	neverNil          = "never return nil for an empty list of resources, but an error or the empty list"
	updatesResources  = "change the resources of a token only if the patch sets them, and set them to nil for a pointer to nil"
	replacesResources = "return ErrConflict and change nothing unless the token has the resources of Patch.Replaces"
	repeatsResources  = "accept an outdated Patch.Replaces if the token already has the new resources and all other new values"
	copiesRecords     = "store copies of the records passed to Create, so that later changes by the caller have no effect"
	copiesPatches     = "store copies of the values in a patch, so that later changes by the caller have no effect"
	listsCopies       = "return copies from List, so that changes by the caller do not change the stored records"
)

// createsWith returns a function that breaks the Create method of a store: it stores the resources
// that f returns.
func createsWith(f func(resources []string) []string) func(*brokenStore) {
	return beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Resources = f(slices.Clone(r.Token.Resources))
		return nil
	})
}

// storesWith is like createsWith, for Create and Update.
func storesWith(f func(resources []string) []string) func(*brokenStore) {
	return func(s *brokenStore) {
		createsWith(f)(s)
		onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
			if p.Resources != nil {
				p.Resources = new(f(slices.Clone(*p.Resources)))
			}
		})(s)
	}
}

// changed returns a function that changes each resource of a list.
func changed(f func(string) string) func([]string) []string {
	return func(resources []string) []string {
		for i := range resources {
			resources[i] = f(resources[i])
		}
		return resources
	}
}

// emptyIsNil returns nil for an empty list, as a field with omitempty is decoded from JSON.
func emptyIsNil(resources []string) []string {
	if len(resources) == 0 {
		return nil
	}
	return resources
}

// split returns the resources that a text contains, which has them with a separator between two.
func split(separator string) func([]string) []string {
	return func(resources []string) []string {
		if resources == nil {
			return nil
		}
		return strings.Split(strings.Join(resources, separator), separator)
	}
}

// forgets returns a function that breaks the methods of a store that write. The method with the
// given name changes the tokens that it changes also by f.
func forgets(method string, f func(r *tokenauth.Record)) func(*brokenStore) {
	return around(func(s *brokenStore, name string, next func() error) error {
		before := s.all()
		err := next()
		s.edit(func(r tokenauth.Record) bool {
			old, ok := before[r.Token.ID]
			return name == method && ok && diff(old, kept(r)) != ""
		}, f)
		return err
	})
}

func noResources(r *tokenauth.Record) { r.Token.Resources = nil }

// matches returns a function that breaks the Update method of a store: it compares the resources of
// Replaces with those of the token by f.
func matches(f func(old, now []string) bool) func(*brokenStore) {
	return replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && sameExpiry(p.Replaces, r) && f(p.Replaces.Resources, r.Token.Resources)
	})
}

// resourceBugs are bugs in the resources of tokens.
var resourceBugs = []bug{
	{"resources are sorted", createsWith(func(r []string) []string { slices.Sort(r); return r }), []string{createsResources}},
	{"resources are cut off after 254 characters", storesWith(changed(func(r string) string { return prefix(r, 254) })), []string{createsResources}},
	{"at most 99 resources are kept", storesWith(func(r []string) []string { return r[:min(99, len(r)):min(99, len(r))] }), []string{createsResources}},
	{"resources are in lower case", storesWith(changed(strings.ToLower)), []string{createsResources}},
	{"nil resources become an empty list", storesWith(func(r []string) []string { return append([]string{}, r...) }), []string{createsResources, updatesResources}},
	{"records that are created as revoked have no resources", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		if !isLive(*r) {
			r.Token.Resources = nil
		}
		return nil
	}), []string{createsResources}},
	{"resources are joined by commas", storesWith(split(",")), []string{keepsApart}},
	{"resources are joined by double quotes", storesWith(split(`"`)), []string{keepsApart}},
	{"resources lose backslashes", storesWith(changed(func(r string) string { return strings.ReplaceAll(r, `\\`, `\`) })), []string{keepsApart}},
	{"resources are decoded from a URL", storesWith(changed(func(r string) string { return strings.ReplaceAll(r, "%20", "+") })), []string{keepsApart}},
	{"the resource null is nil", storesWith(func(r []string) []string {
		if slices.Equal(r, []string{"null"}) {
			return nil
		}
		return r
	}), []string{keepsApart}},

	{"Create stores nil for an empty list of resources", createsWith(emptyIsNil), []string{neverNil}},
	{"Update stores nil for an empty list of resources", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Resources != nil {
			p.Resources = new(emptyIsNil(*p.Resources))
		}
	}), []string{neverNil}},
	{"Find returns nil for an empty list of resources", ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
		r.Token.Resources = emptyIsNil(r.Token.Resources)
		return nil
	}), []string{neverNil}},
	{"List returns nil for an empty list of resources", onList(nil, func(records []tokenauth.Record) []tokenauth.Record {
		for i := range records {
			records[i].Token.Resources = emptyIsNil(records[i].Token.Resources)
		}
		return records
	}), []string{neverNil}},

	{"an empty list of resources is read as one empty text", storesWith(split(" ")), []string{neverNil}},

	{"Update ignores resources", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) { p.Resources = nil }), []string{
		updatesResources, updatesFields,
	}},
	{"Update to nil resources changes nothing", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Resources != nil && *p.Resources == nil {
			p.Resources = nil
		}
	}), []string{updatesResources}},
	{"Update without resources sets them to nil", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Resources == nil {
			p.Resources = new([]string(nil))
		}
	}), []string{updatesResources, updatesFields}},
	{"Update adds resources to those of the token", onUpdate(func(s *brokenStore, _, id *string, p *tokenauth.Patch, _ *time.Time) {
		if r, ok := s.get(withID(*id)); ok && p.Resources != nil && *p.Resources != nil {
			p.Resources = new(append(r.Token.Resources, *p.Resources...))
		}
	}), []string{updatesResources}},
	{"Update does not change resources if only letter case differs", onUpdate(func(s *brokenStore, _, id *string, p *tokenauth.Patch, _ *time.Time) {
		if r, _ := s.get(withID(*id)); p.Resources != nil && *p.Resources != nil && strings.EqualFold(strings.Join(*p.Resources, " "), strings.Join(r.Token.Resources, " ")) {
			p.Resources = nil
		}
	}), []string{updatesResources}},
	{"Rotate sets resources to nil", forgets("Rotate", noResources), []string{updatesResources, rotatesOnce}},
	{"Touch sets resources to nil", forgets("Touch", noResources), []string{updatesResources}},
	{"Revoke sets resources to nil", forgets("Revoke", noResources), []string{revokesOnce}},
	{"RevokeAll sets resources to nil", forgets("RevokeAll", noResources), []string{revokesAll}},
	{"a repeated Create changes resources", beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
		s.edit(withID(r.Token.ID), func(old *tokenauth.Record) {
			if old.Digest == r.Digest && old.Token.UserID == r.Token.UserID {
				old.Token.Resources = slices.Clone(r.Token.Resources)
			}
		})
		return nil
	}), []string{"accept a record with the ID and current digest of a stored record, and leave the stored record unchanged"}},

	{"Replaces ignores resources", matches(func(_, _ []string) bool { return true }), []string{replacesResources, repeatsResources}},
	{"Replaces treats an empty list of resources like nil", matches(slices.Equal[[]string]), []string{replacesResources}},
	{"Replaces compares the number of resources", matches(func(old, now []string) bool { return len(old) == len(now) }), []string{replacesResources}},
	{"Replaces ignores the order of resources", matches(func(old, now []string) bool {
		return sameResources(&tokenauth.Token{Resources: sorted(old)}, tokenauth.Record{Token: tokenauth.Token{Resources: sorted(now)}})
	}), []string{replacesResources}},
	{"Replaces ignores case in resources", matches(func(old, now []string) bool {
		return (old == nil) == (now == nil) && strings.EqualFold(strings.Join(old, " "), strings.Join(now, " "))
	}), []string{replacesResources}},
	{"Replaces compares resources joined by commas", matches(func(old, now []string) bool {
		return (old == nil) == (now == nil) && strings.Join(old, ",") == strings.Join(now, ",")
	}), []string{replacesResources}},
	{"Replaces with nil resources matches each token", matches(func(old, now []string) bool { return old == nil || slices.Equal(old, now) }), []string{replacesResources}},
	{"Replaces matches each token without resources", matches(func(old, now []string) bool {
		return now == nil || old != nil && slices.Equal(old, now)
	}), []string{replacesResources}},
	{"Replaces compares resources only if the patch sets them", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && sameExpiry(p.Replaces, r) && (p.Resources == nil || sameResources(p.Replaces, r))
	}), []string{replacesResources}},
	{"Replaces compares resources only if the patch does not set them", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && sameExpiry(p.Replaces, r) && (p.Resources != nil || sameResources(p.Replaces, r))
	}), []string{replacesResources}},
	{"a repeated Update compares its Replaces with the new resources", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Replaces != nil && p.Resources != nil && !sameResources(p.Replaces, r) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{repeatsResources}},
	{"Replaces is ignored if the token has the new resources", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return replaces(p.Replaces, r) || p.Resources != nil && sameResources(&tokenauth.Token{Resources: *p.Resources}, r)
	}), []string{repeatsResources}},
	{"Replaces is ignored if the token has the new scopes", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return replaces(p.Replaces, r) || p.Scopes != nil && sameScopes(&tokenauth.Token{Scopes: *p.Scopes}, r)
	}), []string{repeatsResources}},

	{"Create keeps the resources of the caller", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			err := s.plainStore.Create(ctx, records...)
			for _, given := range records {
				_ = s.alsoEdit(err, withID(given.Token.ID), func(r *tokenauth.Record) { r.Token.Resources = given.Token.Resources })
			}
			return err
		}
	}, []string{copiesRecords}},
	{"Update keeps the resources of the caller", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			return s.alsoEdit(s.plainStore.Update(ctx, userID, id, p, at), withID(id), func(r *tokenauth.Record) {
				if p.Resources != nil {
					r.Token.Resources = *p.Resources
				}
			})
		}
	}, []string{copiesPatches}},
	{"List returns the stored resources", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			for i := range records {
				s.edit(withID(records[i].Token.ID), func(r *tokenauth.Record) { records[i].Token.Resources = r.Token.Resources })
			}
			return records, err
		}
	}, []string{listsCopies}},
	{"Create sorts resources in place", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for _, r := range records {
				slices.Sort(r.Token.Resources)
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{keepsArguments}},
	{"Update sorts resources in place", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Resources != nil {
			slices.Sort(*p.Resources)
		}
	}), []string{keepsArguments}},
	{"Update sorts the resources of Replaces in place", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Replaces != nil {
			slices.Sort(p.Replaces.Resources)
		}
	}), []string{keepsArguments}},
}

// sorted returns a sorted copy, which is nil if the list is nil.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
