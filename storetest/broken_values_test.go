package storetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	replacesForms    = "compare the expiry of Patch.Replaces to the microsecond, in any time zone, and treat empty scopes like nil"
	replacesRepeated = "accept an outdated Patch.Replaces only if the token already has all new values"
	idlesRevoked     = "compare last-used times with the unusedSince of RevokeExpired to the microsecond, in all years from 1 to 9999"
	usesTimes        = "compare the times of uses to the microsecond, in all years from 1 to 9999"
	revokesExpired   = "revoke a token with RevokeExpired at or after its expiry"
	keepsInUse       = "return ErrConflict from RevokeExpired for a token that was created or used after unusedSince, or if unusedSince is the zero time"
	revokesNotFound  = "return ErrNotFound from RevokeExpired for an unknown token or another user's token"
	badLimit         = "return an error that is not a sentinel error from RevokeAll and change nothing if the limit is not positive"
)

// replacesIf returns a function that breaks the Update method of a store. If an update changes a
// value and has Replaces, f decides whether the store applies it to r.
func replacesIf(f func(p tokenauth.Patch, r tokenauth.Record) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			r, ok := s.get(withID(id))
			isChange := p.Name != nil && *p.Name != r.Token.Name || changes(r, p)
			if ok && p.Replaces != nil && isChange && checkLive(&r, at) == nil {
				if !f(p, r) {
					return tokenauth.ErrConflict
				}
				p.Replaces = nil
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}
}

// replacesBugs are bugs of Update.
var replacesBugs = []bug{
	{"Replaces with empty scopes differs from nil scopes", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return reflect.DeepEqual(p.Replaces.Scopes, r.Token.Scopes) && sameExpiry(p.Replaces, r)
	}), []string{replacesForms}},
	{"Replaces with another time zone differs", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && p.Replaces.ExpiresAt.Truncate(time.Microsecond) == r.Token.ExpiresAt
	}), []string{replacesForms}},
	{"Replaces compares expiries in seconds", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && p.Replaces.ExpiresAt.Unix() == r.Token.ExpiresAt.Unix()
	}), []string{replacesForms}},
	{"Replaces compares expiries as float64 numbers", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && inFloat(micros(p.Replaces.ExpiresAt)).Equal(inFloat(r.Token.ExpiresAt))
	}), []string{replacesForms}},
	{"Replaces is compared with each field alone, which may also have its new value", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return (sameScopes(p.Replaces, r) || p.Scopes != nil && slices.Equal(*p.Scopes, r.Token.Scopes)) &&
			(sameExpiry(p.Replaces, r) || p.ExpiresAt != nil && micros(*p.ExpiresAt).Equal(r.Token.ExpiresAt))
	}), []string{replacesRepeated}},
	{"Replaces is ignored if the token has the new scopes and the new expiry, but not the new name", replacesIf(func(p tokenauth.Patch, r tokenauth.Record) bool {
		return sameScopes(p.Replaces, r) && sameExpiry(p.Replaces, r) || (p.Scopes != nil || p.ExpiresAt != nil) && !changes(r, p)
	}), []string{replacesRepeated}},
	{"a repeated Update compares its new expiry without rounding it", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			r, ok := s.get(withID(id))
			if ok && p.Replaces != nil && p.ExpiresAt != nil && !p.ExpiresAt.Equal(r.Token.ExpiresAt) && !sameExpiry(p.Replaces, r) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{replacesRepeated}},
	{"Find returns empty scopes after Update to empty scopes that are not nil", func(s *brokenStore) {
		var empty sync.Map // by token ID
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if p.Scopes != nil && *p.Scopes != nil && len(*p.Scopes) == 0 {
				empty.Store(id, true)
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
		ifFound(func(_ tokenauth.Digest, r *tokenauth.Record) error {
			if _, ok := empty.Load(r.Token.ID); ok && r.Token.Scopes == nil {
				r.Token.Scopes = []string{}
			}
			return nil
		})(s)
	}, []string{"change the fields that the patch sets, and no other fields"}},
	{"a refused Update of an expired token takes the new name", func(s *brokenStore) {
		s.refuseHeld()
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if r, _ := s.get(withID(id)); p.Name != nil && r.Token.ExpiredAt(at) && errors.Is(err, tokenauth.ErrConflict) {
				s.held.Store(*p.Name, true)
			}
			return err
		}
	}, []string{refused}},
	{"a refused Rotate of an expired token takes the new digest", func(s *brokenStore) {
		var taken sync.Map // digests
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if r, _ := s.get(withID(id)); r.Token.ExpiredAt(at) && r.Digest != rot.Digest && errors.Is(err, tokenauth.ErrConflict) {
				taken.Store(rot.Digest, true)
			}
			return err
		}
		beforeCreate(func(s *brokenStore, r *tokenauth.Record) error {
			_, isTaken := taken.Load(r.Digest)
			if _, isThere := s.get(withID(r.Token.ID)); isTaken && !isThere {
				return tokenauth.ErrKeyTaken
			}
			return nil
		})(s)
	}, []string{refused}},
	{"Update joins ErrNotFound and ErrConflict", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if r, ok := s.get(withID(id)); ok && r.Token.ExpiredAt(at) && errors.Is(err, tokenauth.ErrNotFound) {
				return errors.Join(err, tokenauth.ErrConflict)
			}
			return err
		}
	}, []string{updatesCheck}},
	{"Update rounds the current time to the nearest microsecond", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) {
		*at = at.Round(time.Microsecond)
	}), []string{expiresTimes, "return ErrConflict for an update of a token at or after its expiry"}},
	{"Rotate rounds the current time to the nearest microsecond", onRotate(func(_ *brokenStore, _ *string, _ string, _ *tokenauth.Rotation, at *time.Time) {
		*at = at.Round(time.Microsecond)
	}), []string{"return ErrConflict for a rotation of a token at or after its expiry"}},
}

// onRevokeExpired returns a function that breaks the RevokeExpired method of a store. If f returns
// an error, RevokeExpired returns it. The record r is the zero Record if no token has the ID.
func onRevokeExpired(f func(r tokenauth.Record, at, unusedSince *time.Time) error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			r, _ := s.get(withID(id))
			if err := f(r, &at, &unusedSince); err != nil && ctx.Err() == nil {
				return err
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}
}

// expiryBugs are bugs of RevokeExpired, RevokeAll, Touch and Prune.
var expiryBugs = []bug{
	{"RevokeExpired compares the expiry with the nearest microsecond of the current time", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Token.ExpiredAt(at.Round(time.Microsecond)) {
				return s.plainStore.Revoke(ctx, userID, id, at, by)
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{expiresTimes, "return ErrConflict from RevokeExpired for a live token that is not expired, and leave the token unchanged"}},
	{"RevokeExpired rounds unusedSince to the nearest microsecond", onRevokeExpired(func(_ tokenauth.Record, _, unusedSince *time.Time) error {
		*unusedSince = unusedSince.Round(time.Microsecond)
		return nil
	}), []string{keepsInUse, idlesRevoked}},
	{"RevokeExpired compares unusedSince as a float64 number", onRevokeExpired(func(_ tokenauth.Record, _, unusedSince *time.Time) error {
		*unusedSince = inFloat(*unusedSince)
		return nil
	}), []string{idlesRevoked}},
	{"RevokeExpired ignores an unusedSince before 1970", onRevokeExpired(func(_ tokenauth.Record, _, unusedSince *time.Time) error {
		if unusedSince.Unix() <= 0 {
			*unusedSince = time.Time{}
		}
		return nil
	}), []string{idlesRevoked}},
	{"RevokeExpired with unusedSince ignores the expiry", onRevokeExpired(func(r tokenauth.Record, _, unusedSince *time.Time) error {
		if !unusedSince.IsZero() && isLive(r) && !isIdle(r, *unusedSince) {
			return tokenauth.ErrConflict
		}
		return nil
	}), []string{revokesExpired}},
	{"RevokeExpired keeps imported tokens", onRevokeExpired(func(r tokenauth.Record, _, _ *time.Time) error {
		if isLive(r) && r.Token.Origin != "" {
			return tokenauth.ErrConflict
		}
		return nil
	}), []string{revokesExpired, "revoke an idle token with RevokeExpired, that is, a token with neither CreatedAt nor LastUsedAt after unusedSince"}},
	{"RevokeExpired checks the expiry before the user", onRevokeExpired(func(r tokenauth.Record, at, unusedSince *time.Time) error {
		if isLive(r) && r.Digest != (tokenauth.Digest{}) && !r.Token.ExpiredAt(*at) && !isIdle(r, *unusedSince) {
			return tokenauth.ErrConflict
		}
		return nil
	}), []string{revokesNotFound}},
	{"RevokeExpired accepts another user's revoked token", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if r, ok := s.get(withID(id)); ok && !isLive(r) {
				return ctx.Err()
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{revokesNotFound}},
	{"RevokeAll returns ErrConflict if the limit is not positive", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			if limit <= 0 {
				return 0, tokenauth.ErrConflict
			}
			return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
		}
	}, []string{badLimit}},
	{"RevokeAll has a limit of 32 bits", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			return s.plainStore.RevokeAll(ctx, userID, at, by, int(int32(limit)))
		}
	}, []string{"revoke at most limit tokens with each RevokeAll, and return 0 when no live token is left"}},
	{"RevokeAll keeps imported tokens", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			s.edit(isImported, func(r *tokenauth.Record) { r.Token.UserID = "\x00" + r.Token.UserID })
			defer s.edit(isImported, func(r *tokenauth.Record) { r.Token.UserID = r.Token.UserID[1:] })
			return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
		}
	}, []string{"revoke all live tokens of a user with RevokeAll, return their number, and leave all other tokens unchanged"}},
	{"Touch ignores imported tokens", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, slices.DeleteFunc(slices.Clone(uses), func(u tokenauth.Use) bool {
				r, _ := s.get(withID(u.ID))
				return isImported(r)
			})...)
		}
	}, []string{"record the last-used times of many tokens, and change nothing else"}},
	{"Touch compares times as float64 numbers", touchesLater(func(t time.Time) float64 { return float64(t.UnixMicro()) }), []string{usesTimes}},
	{"Touch compares times as texts", touchesLater(func(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }), []string{usesTimes}},
	{"Prune has a limit of 32 bits", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, before, unusedSince, int(int32(limit)))
		}
	}, []string{"delete at most limit records, and return the number of deleted records"}},
	{"Prune with limit 0 ignores its context", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			if limit <= 0 {
				return 0, nil
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{canceledCalls, overdueCalls}},
}

func isImported(r tokenauth.Record) bool { return r.Token.Origin != "" }

// touchesLater returns a function that breaks the Touch method of a store: it ignores a use whose
// key is not greater than the key of the last use.
func touchesLater[K int64 | uint64 | float64 | string](key func(time.Time) K) func(*brokenStore) {
	return func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, slices.DeleteFunc(slices.Clone(uses), func(u tokenauth.Use) bool {
				r, _ := s.get(withID(u.ID))
				return !r.Token.LastUsedAt.Before(r.Token.CreatedAt) && compareOrdered(key(u.At), key(r.Token.LastUsedAt)) <= 0
			})...)
		}
	}
}

const keepsArguments = "not modify its arguments"

// argumentBugs are bugs of stores that prepare their arguments in place.
var argumentBugs = []bug{
	{"Create clears the slots of revoked records in place", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for i := range records {
				if !records[i].Token.RevokedAt.IsZero() {
					records[i].Slot = 0
				}
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{keepsArguments}},
	{"Create rounds times in place", func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			for i := range records {
				records[i].Token.CreatedAt = records[i].Token.CreatedAt.Truncate(time.Microsecond)
			}
			return s.plainStore.Create(ctx, records...)
		}
	}, []string{keepsArguments}},
	{"List sorts IDs in place", onList(func(q *tokenauth.Query) { slices.Sort(q.IDs) }, nil), []string{keepsArguments}},
	{"Touch sorts uses in place", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			slices.SortFunc(uses, func(a, b tokenauth.Use) int { return a.At.Compare(b.At) })
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{keepsArguments}},
	{"Update sorts scopes in place", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Scopes != nil {
			slices.Sort(*p.Scopes)
		}
	}), []string{keepsArguments}},
}
