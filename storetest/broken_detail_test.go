package storetest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	comparesDigests = "compare digests byte by byte"
	comparesNames   = "compare names byte by byte"
	replacesValues  = "return ErrConflict and change nothing unless the token has the scopes and the expiry of Patch.Replaces"
	updatesFields   = "change the fields that the patch sets, and no other fields"
	revokesOnce     = "set RevokedAt and RevokedBy, free the slot, and change nothing else"
	rotatesOnce     = "replace the key, retire the old digest until GraceUntil, and change nothing else"
	rotatesNotFound = "return ErrNotFound for a rotation of an unknown token, another user's token or a revoked token"
	rotatesTaken    = "return ErrKeyTaken if another record has the new digest as its current or retired digest, and change nothing"
	revokesAll      = "revoke all live tokens of a user with RevokeAll, return their number, and leave all other tokens unchanged"
	freesExpired    = "keep the name and the slot of an expired token taken until the token is revoked"
)

// overflows returns a function that breaks the List method of a store: for queries for which f
// returns true, it adds one to the limit, to find out whether there is another page.
func overflows(f func(q tokenauth.Query) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			records, err := s.plainStore.List(ctx, q)
			if q.Limit == math.MaxInt && f(q) { // the sum is negative
				records = nil
			}
			return records, err
		}
	}
}

// forgetsRetired returns a function that breaks the methods of a store that write: the method with
// the given name removes the retired keys that are no longer accepted from the tokens that it
// changes.
func forgetsRetired(forgetting string) func(*brokenStore) {
	return func(s *brokenStore) {
		around(func(s *brokenStore, method string, next func() error) error {
			before := s.all()
			err := next()
			s.edit(func(r tokenauth.Record) bool {
				old, ok := before[r.Token.ID]
				return method == forgetting && ok && diff(old, r) != "" && r.Retired != nil && r.Retired.Until.Before(start)
			}, func(r *tokenauth.Record) { r.Retired = nil })
			return err
		})(s)
	}
}

// isRevokedEarly reports whether r is revoked, and was not revoked after the start of 1970.
func isRevokedEarly(r tokenauth.Record) bool { return !isLive(r) && r.Token.RevokedAt.Unix() <= 0 }

// foldedID returns the ID of a token whose ID differs from id only in letter case, or id.
func (s *brokenStore) foldedID(id string) string {
	if r, ok := s.get(func(r tokenauth.Record) bool { return strings.EqualFold(r.Token.ID, id) }); ok {
		return r.Token.ID
	}
	return id
}

// ignoresContext makes a call of a store. If the call changes nothing and succeeds, ignoresContext
// ignores the context.
func (s *brokenStore) ignoresContext(ctx context.Context, call func(ctx context.Context, store tokenauth.Store) error) error {
	copied := &plainStore{}
	for _, r := range s.all() {
		copied.rows = append(copied.rows, r)
	}
	before := inOrder(copied.rows...)
	err := call(context.WithoutCancel(ctx), copied)
	if ctx.Err() != nil && err == nil && listDiff(inOrder(copied.rows...), before) == "" {
		return nil
	}
	return call(ctx, s.plainStore)
}

var detailBugs = []bug{
	{"digests are stored as texts, in which all bytes above 127 are equal", func(s *brokenStore) {
		text := func(d tokenauth.Digest) string {
			return strings.Map(func(c rune) rune { return min(c, 128) }, string(latin1(d)))
		}
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r, ok := s.get(func(r tokenauth.Record) bool {
				return slices.ContainsFunc(digestsOf(r), func(o tokenauth.Digest) bool { return text(o) == text(d) })
			})
			if !ok {
				return nil, tokenauth.ErrNotFound
			}
			return &r, nil
		}
	}, []string{comparesDigests}},
	{"List ignores case in the ID of the cursor", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			all := q
			all.After.ID, all.Limit = "", min(0, q.Limit)
			records, err := s.plainStore.List(ctx, all)
			records = where(records, func(r tokenauth.Record) bool {
				return cmp.Or(r.Token.CreatedAt.Compare(micros(q.After.CreatedAt)), strings.Compare(strings.ToLower(r.Token.ID), strings.ToLower(q.After.ID))) > 0
			})
			if q.Limit > 0 {
				records = records[:min(q.Limit, len(records))]
			}
			return records, err
		}
	}, []string{listsInOrder}},
	{"List by ID adds one to the limit", overflows(func(q tokenauth.Query) bool { return q.IDs != nil }), []string{listsLimit}},
	{"List by name adds one to the limit", overflows(func(q tokenauth.Query) bool { return q.Name != "" }), []string{listsLimit}},
	{"List by slot adds one to the limit", overflows(func(q tokenauth.Query) bool { return q.MaxSlot > 0 }), []string{listsLimit}},
	{"List with revoked tokens adds one to the limit", overflows(func(q tokenauth.Query) bool { return q.IncludeRevoked }), []string{listsLimit}},
	{"repeated spaces in names are one space", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.ReplaceAll(r.Token.Name, "  ", " ")
		return nil
	}), []string{comparesNames}},
	{"a byte order mark before a name is removed", beforeCreate(func(_ *brokenStore, r *tokenauth.Record) error {
		r.Token.Name = strings.TrimPrefix(r.Token.Name, "\ufeff")
		return nil
	}), []string{comparesNames}},

	{"List lists tokens as live that were revoked before 1970", func(s *brokenStore) {
		s.list = func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
			all := q
			all.IncludeRevoked, all.Limit = true, min(0, q.Limit)
			records, err := s.plainStore.List(ctx, all)
			records = where(records, func(r tokenauth.Record) bool { return q.IncludeRevoked || isLive(r) || isRevokedEarly(r) })
			if q.Limit > 0 {
				records = records[:min(q.Limit, len(records))]
			}
			return records, err
		}
	}, []string{revokesTimes}},
	{"Revoke revokes tokens again that were revoked before 1970", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			r, _ := s.get(withID(id))
			return s.alsoEdit(s.plainStore.Revoke(ctx, userID, id, at, by), func(row tokenauth.Record) bool {
				return isRevokedEarly(r) && row.Token.ID == id
			}, func(row *tokenauth.Record) { row.Token.RevokedAt = micros(at) })
		}
	}, []string{revokesTimes}},
	{"Rotate rotates tokens that are revoked at a later time", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			r, _ := s.get(withID(id))
			if isLive(r) || !r.Token.RevokedAt.After(at) {
				return s.plainStore.Rotate(ctx, userID, id, rot, at)
			}
			s.edit(withID(id), func(row *tokenauth.Record) { row.Token.RevokedAt = time.Time{} })
			defer s.edit(withID(id), func(row *tokenauth.Record) { row.Token.RevokedAt = r.Token.RevokedAt })
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{rotatesNotFound}},
	{"Rotate compares digests only with those of the user's tokens", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if _, ok := s.get(func(r tokenauth.Record) bool {
				return r.Token.UserID == userID && slices.Contains(digestsOf(r), rot.Digest)
			}); !ok && errors.Is(err, tokenauth.ErrKeyTaken) {
				return nil
			}
			return err
		}
	}, []string{rotatesTaken}},
	{"Rotate with an empty hint keeps the old hint", onRotate(func(s *brokenStore, _ *string, id string, rot *tokenauth.Rotation, _ *time.Time) {
		r, _ := s.get(withID(id))
		rot.Hint = cmp.Or(rot.Hint, r.Token.Hint)
	}), []string{rotatesOnce}},

	{"Replaces compares scopes joined by commas", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return strings.Join(p.Replaces.Scopes, ",") == strings.Join(r.Token.Scopes, ",") && sameExpiry(p.Replaces, r)
	}), []string{replacesValues}},
	{"Replaces ignores case in scopes", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return strings.EqualFold(strings.Join(p.Replaces.Scopes, " "), strings.Join(r.Token.Scopes, " ")) && sameExpiry(p.Replaces, r)
	}), []string{replacesValues}},
	{"Replaces compares scopes only if the patch sets scopes", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return (p.Scopes == nil || sameScopes(p.Replaces, r)) && sameExpiry(p.Replaces, r)
	}), []string{replacesValues}},
	{"a repeated Update compares its new expiry with its time zone", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			r, ok := s.get(withID(id))
			if ok && p.Replaces != nil && p.ExpiresAt != nil && p.ExpiresAt.Truncate(time.Microsecond) != r.Token.ExpiresAt && !sameExpiry(p.Replaces, r) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{replacesRepeated}},
	{"Update does not change scopes if only letter case differs", onUpdate(func(s *brokenStore, _, id *string, p *tokenauth.Patch, _ *time.Time) {
		if r, _ := s.get(withID(*id)); p.Scopes != nil && strings.EqualFold(strings.Join(*p.Scopes, " "), strings.Join(r.Token.Scopes, " ")) {
			p.Scopes = nil
		}
	}), []string{keepsScopesApart}},
	{"Update sorts the scopes of Replaces in place", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Replaces != nil {
			slices.Sort(p.Replaces.Scopes)
		}
	}), []string{keepsArguments}},
	{"Update forgets a retired key that is no longer accepted", forgetsRetired("Update"), []string{updatesFields}},
	{"Revoke forgets a retired key that is no longer accepted", forgetsRetired("Revoke"), []string{revokesOnce}},
	{"RevokeAll forgets retired keys that are no longer accepted", forgetsRetired("RevokeAll"), []string{revokesAll}},
	{"Update ignores case in token IDs", onUpdate(func(s *brokenStore, _, id *string, _ *tokenauth.Patch, _ *time.Time) {
		*id = s.foldedID(*id)
	}), []string{comparesIDs}},
	{"Rotate ignores case in token IDs", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			return s.plainStore.Rotate(ctx, userID, s.foldedID(id), rot, at)
		}
	}, []string{comparesIDs}},
	{"RevokeExpired ignores case in token IDs", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return s.plainStore.RevokeExpired(ctx, userID, s.foldedID(id), at, by, unusedSince)
		}
	}, []string{comparesIDs}},
	{"RevokeExpired ignores case in user IDs", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if r, ok := s.get(withID(id)); ok && strings.EqualFold(r.Token.UserID, userID) {
				userID = r.Token.UserID
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{revokesNotFound}},
	{"RevokeExpired compares CreatedAt with unusedSince only if the token was never used", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			r, _ := s.get(withID(id))
			if used := r.Token.LastUsedAt; !used.IsZero() && !used.After(micros(unusedSince)) {
				return s.plainStore.Revoke(ctx, userID, id, at, by)
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{keepsInUse}},
	{"Find returns the cause of a canceled context", func(s *brokenStore) {
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return s.plainStore.Find(ctx, d)
		}
	}, []string{canceledCalls}},
	{"Create of a stored record ignores its context", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			if len(records) == 0 {
				return ctx.Err()
			}
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error { return store.Create(ctx, records...) })
		}
	}, []string{canceledCalls}},
	{"Update without a change ignores its context", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error { return store.Update(ctx, userID, id, p, at) })
		}
	}, []string{canceledCalls}},
	{"Rotate without a change ignores its context", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error { return store.Rotate(ctx, userID, id, rot, at) })
		}
	}, []string{canceledCalls}},
	{"Revoke of a revoked token ignores its context", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error { return store.Revoke(ctx, userID, id, at, by) })
		}
	}, []string{canceledCalls}},
	{"RevokeExpired of a revoked token ignores its context", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error {
				return store.RevokeExpired(ctx, userID, id, at, by, unusedSince)
			})
		}
	}, []string{canceledCalls}},
	{"RevokeAll of no tokens ignores its context", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			err = s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) (err error) {
				n, err = store.RevokeAll(ctx, userID, at, by, limit)
				return err
			})
			return n, err
		}
	}, []string{canceledCalls}},
	{"Touch without a change ignores its context", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if len(uses) == 0 {
				return ctx.Err()
			}
			return s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) error { return store.Touch(ctx, uses...) })
		}
	}, []string{canceledCalls}},
	{"Prune without a change ignores its context", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
			if limit <= 0 {
				return 0, ctx.Err()
			}
			err = s.ignoresContext(ctx, func(ctx context.Context, store tokenauth.Store) (err error) {
				n, err = store.Prune(ctx, before, unusedSince, limit)
				return err
			})
			return n, err
		}
	}, []string{canceledCalls}},
}

// latin1 returns the bytes of d as characters.
func latin1(d tokenauth.Digest) (text []rune) {
	for _, b := range d {
		text = append(text, rune(b))
	}
	return text
}
