package storetest

import (
	"context"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const untouched = "leave all other tokens unchanged when "

// othersBugs are bugs in which a call for one token or one user also changes other tokens.
var othersBugs = []bug{
	{"Rotate drops the retired keys of the user's other tokens", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			return s.alsoEdit(s.plainStore.Rotate(ctx, userID, id, rot, at), ofUser(userID, id), func(r *tokenauth.Record) { r.Retired = nil })
		}
	}, []string{untouched + "a token is rotated"}},
	{"a refused Rotate drops the retired keys of the user's other tokens", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if err != nil {
				s.edit(ofUser(userID, id), func(r *tokenauth.Record) { r.Retired = nil })
			}
			return err
		}
	}, []string{untouched + "Update, Rotate or Revoke of a token returns a sentinel error"}},
	{"Update changes all tokens of the user", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			return s.alsoEdit(s.plainStore.Update(ctx, userID, id, p, at), ofUser(userID, id), func(r *tokenauth.Record) {
				if p.Scopes != nil {
					r.Token.Scopes = append([]string(nil), *p.Scopes...)
				}
				if p.ExpiresAt != nil {
					r.Token.ExpiresAt = micros(*p.ExpiresAt)
				}
			})
		}
	}, []string{untouched + "the scopes of a token change", untouched + "the expiry of a token changes"}},
	{"Update renames all tokens that have the old name", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			old, _ := s.get(withID(id))
			return s.alsoEdit(s.plainStore.Update(ctx, userID, id, p, at), withName(old.Token.Name), func(r *tokenauth.Record) {
				if p.Name != nil {
					r.Token.Name = *p.Name
				}
			})
		}
	}, []string{untouched + "a token is renamed"}},
	{"Touch changes all tokens of the user", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			err := s.plainStore.Touch(ctx, uses...)
			for _, u := range uses {
				_ = s.alsoEdit(err, ofUser(s.ownerOf(u.ID, ""), u.ID), func(r *tokenauth.Record) { r.Token.LastUsedAt = micros(u.At) })
			}
			return err
		}
	}, []string{untouched + "Touch sets LastUsedAt of a token"}},
	{"Revoke revokes all tokens of the user", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.alsoEdit(s.plainStore.Revoke(ctx, userID, id, at, by), ofUser(userID, id), func(r *tokenauth.Record) { *r = revoked(*r, micros(at)) })
		}
	}, []string{untouched + "a token is revoked", untouched + "a token is pruned", untouched + "a token replaces a revoked token of the same name"}},
	{"RevokeExpired revokes all tokens of the user", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return s.alsoEdit(s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince), ofUser(userID, id), func(r *tokenauth.Record) { *r = revoked(*r, micros(at)) })
		}
	}, []string{untouched + "RevokeExpired revokes a token"}},
	{"Prune revokes all tokens of the user", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			dead, _ := s.get(func(r tokenauth.Record) bool { return !isLive(r) && r.Token.RevokedAt.Before(before) })
			err := s.alsoEdit(ctx.Err(), ofUser(dead.Token.UserID, ""), func(r *tokenauth.Record) { *r = revoked(*r, start) })
			if err != nil {
				return 0, err
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{untouched + "a token is pruned"}},
	{"RevokeAll revokes the tokens of all users", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			n, err := s.plainStore.RevokeAll(ctx, userID, at, by, limit)
			return n, s.alsoEdit(err, isLive, func(r *tokenauth.Record) { *r = revoked(*r, micros(at)) })
		}
	}, []string{"revoke all live tokens of a user with RevokeAll, return their number, and leave all other tokens unchanged"}},
	{"the name of a pruned token stays taken", func(s *brokenStore) {
		s.refuseHeld()
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			s.edit(func(r tokenauth.Record) bool { return r.Token.ExpiredAt(before) }, func(r *tokenauth.Record) {
				s.held.Store(r.Token.Name, true)
			})
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{"free the ID, digests, name and slot of a deleted record"}},
}

// ofUser returns a function that reports whether a record belongs to the user and has
// another ID than the given ID.
func ofUser(userID, id string) func(tokenauth.Record) bool {
	return func(r tokenauth.Record) bool { return r.Token.UserID == userID && r.Token.ID != id }
}

func withName(name string) func(tokenauth.Record) bool {
	return func(r tokenauth.Record) bool { return r.Token.Name == name }
}

// alsoEdit calls edit, which changes more rows than the contract allows, if err is nil. The
// parameter err is the result of the correct method. alsoEdit returns err.
func (s *brokenStore) alsoEdit(err error, f func(tokenauth.Record) bool, change func(*tokenauth.Record)) error {
	if err == nil {
		s.edit(f, change)
	}
	return err
}
