package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// onUpdate returns a function that breaks the Update method of a store. The broken Update
// first calls f, which may modify the arguments, and then the Update of plainStore.
func onUpdate(f func(s *brokenStore, userID, id *string, p *tokenauth.Patch, at *time.Time)) func(*brokenStore) {
	return func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			f(s, &userID, &id, &p, &at)
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}
}

// onRotate returns a function that breaks the Rotate method of a store. The broken Rotate
// first calls f, which may modify the arguments, and then the Rotate of plainStore.
func onRotate(f func(s *brokenStore, userID *string, id string, rot *tokenauth.Rotation, at *time.Time)) func(*brokenStore) {
	return func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			f(s, &userID, id, &rot, &at)
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}
}

// ownerOf returns the user ID of the token with the given ID. If no such token exists,
// ownerOf returns the value of its parameter otherwise.
func (s *brokenStore) ownerOf(id, otherwise string) string {
	if r, ok := s.get(withID(id)); ok {
		return r.Token.UserID
	}
	return otherwise
}

// changes reports whether p sets the scopes, the resources or the expiry to a value that r does not
// have.
func changes(r tokenauth.Record, p tokenauth.Patch) bool {
	return p.Scopes != nil && !slices.Equal(*p.Scopes, r.Token.Scopes) || p.ExpiresAt != nil && !micros(*p.ExpiresAt).Equal(r.Token.ExpiresAt) ||
		p.Resources != nil && !sameResources(&tokenauth.Token{Resources: *p.Resources}, r)
}

var changeBugs = []bug{
	{"Update ignores the user ID", onUpdate(func(s *brokenStore, userID, id *string, _ *tokenauth.Patch, _ *time.Time) {
		*userID = s.ownerOf(*id, *userID)
	}), []string{
		"return ErrNotFound for an update of an unknown token, another user's token or a revoked token",
		"change nothing if the patch is empty, but still return ErrNotFound or ErrConflict as for other patches",
	}},
	{"Update ignores expiry", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) { *at = time.Time{} }),
		[]string{"return ErrConflict for an update of a token at or after its expiry"}},
	{"Update reads the clock", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) { *at = time.Now() }),
		[]string{"return ErrConflict for an update of a token at or after its expiry"}},
	{"Update detects expiry one microsecond late", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) {
		*at = at.Add(-time.Microsecond)
	}), []string{"return ErrConflict for an update of a token at or after its expiry"}},
	{"Update cannot clear scopes", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Scopes != nil && len(*p.Scopes) == 0 {
			p.Scopes = nil
		}
	}), []string{"change the fields that the patch sets, and no other fields"}},
	{"Update rounds times to the nearest microsecond", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.ExpiresAt != nil {
			p.ExpiresAt = new(p.ExpiresAt.Round(time.Microsecond))
		}
	}), []string{"store a new expiry in UTC, rounded down to the microsecond, and a zero expiry as a zero time"}},
	{"Update trims names", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Name != nil {
			p.Name = new(strings.TrimSpace(*p.Name))
		}
	}), []string{"compare a new name with the user's other names byte by byte"}},
	{"Update escapes % in names", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Name != nil {
			p.Name = new(strings.ReplaceAll(*p.Name, "%", `\%`))
		}
	}), []string{"store a new name and new scopes unchanged, even if they contain SQL syntax"}},
	{"Update keeps the old name taken", func(s *brokenStore) {
		s.refuseHeld()
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Name != nil && r.Token.Name != *p.Name {
				s.held.Store(r.Token.Name, true)
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"allow a new token to use the old name of a renamed token, but not its new name"}},
	{"Update refuses the token's own name", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Name != nil && *p.Name == r.Token.Name {
				return tokenauth.ErrNameTaken
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"accept an update to the values that the token already has"}},
	{"Update refuses the token's own name if other fields change", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Name != nil && *p.Name == r.Token.Name && changes(r, p) {
				return tokenauth.ErrNameTaken
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"accept an update that sets the token's own name again and changes other fields"}},
	{"Update applies the other fields if the name is taken", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if errors.Is(err, tokenauth.ErrNameTaken) {
				p.Name = nil
				_ = s.plainStore.Update(ctx, userID, id, p, at)
			}
			return err
		}
	}, []string{"return ErrNameTaken for the name of another live token of the user, even an expired token, and change nothing"}},
	{"Update also refuses names of revoked tokens and other users", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			_, taken := s.get(func(r tokenauth.Record) bool { return p.Name != nil && r.Token.Name == *p.Name && r.Token.ID != id })
			if taken {
				return tokenauth.ErrNameTaken
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"accept a new name that only a revoked token or another user's token has"}},
	{"Update does not copy the scopes", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if err == nil && p.Scopes != nil && len(*p.Scopes) > 0 {
				s.edit(withID(id), func(r *tokenauth.Record) { r.Token.Scopes = *p.Scopes })
			}
			return err
		}
	}, []string{"store copies of the values in a patch, so that later changes by the caller have no effect"}},

	{"Rotate ignores Replaces", onRotate(func(s *brokenStore, _ *string, id string, rot *tokenauth.Rotation, _ *time.Time) {
		r, _ := s.get(withID(id))
		rot.Replaces = r.Token.Generation
	}), []string{
		"return ErrConflict if Replaces is not the token's generation, and change nothing",
		"let exactly one of many concurrent rotations replace the key of one generation",
	}},
	{"Rotate ignores the user ID", onRotate(func(s *brokenStore, userID *string, id string, _ *tokenauth.Rotation, _ *time.Time) {
		*userID = s.ownerOf(id, *userID)
	}), []string{"return ErrNotFound for a rotation of an unknown token, another user's token or a revoked token"}},
	{"Rotate ignores expiry", onRotate(func(_ *brokenStore, _ *string, _ string, _ *tokenauth.Rotation, at *time.Time) { *at = time.Time{} }),
		[]string{"return ErrConflict for a rotation of a token at or after its expiry"}},
	{"Rotate rounds times to the nearest microsecond", onRotate(func(_ *brokenStore, _ *string, _ string, rot *tokenauth.Rotation, _ *time.Time) {
		rot.GraceUntil = rot.GraceUntil.Round(time.Microsecond)
	}), []string{"store GraceUntil in UTC, rounded down to the microsecond"}},
	{"Rotate drops the hint", onRotate(func(_ *brokenStore, _ *string, _ string, rot *tokenauth.Rotation, _ *time.Time) { rot.Hint = "" }),
		[]string{"replace the key, retire the old digest until GraceUntil, and change nothing else"}},
	{"Rotate refuses a repeated rotation", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Digest == rot.Digest {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{"accept a rotation to the digest that is already the token's current digest, and change nothing"}},
	{"Rotate accepts a taken digest", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if errors.Is(err, tokenauth.ErrKeyTaken) {
				s.edit(withID(id), func(r *tokenauth.Record) { *r = kept(rotated(*r, rot)) })
				return nil
			}
			return err
		}
	}, []string{
		"return ErrKeyTaken if another record has the new digest as its current or retired digest, and change nothing",
		"let exactly one of many concurrent rotations set the same new digest",
	}},

	{"Revoke ignores the user ID", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return s.plainStore.Revoke(ctx, s.ownerOf(id, userID), id, at, by)
		}
	}, []string{"return ErrNotFound from Revoke for another user's token, and leave the token unchanged"}},
	{"Revoke reads the clock", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, _ time.Time, by string) error {
			return s.plainStore.Revoke(ctx, userID, id, time.Now(), by)
		}
	}, []string{
		revokesOnce,
		"store the given revocation time, not the current time, rounded down to the microsecond",
	}},
	{"Revoke succeeds for an unknown token", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			err := s.plainStore.Revoke(ctx, userID, id, at, by)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return nil
			}
			return err
		}
	}, []string{"return ErrNotFound from Revoke for an unknown token"}},
	{"a second Revoke changes RevokedAt", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			err := s.plainStore.Revoke(ctx, userID, id, at, by)
			if err == nil {
				s.edit(withID(id), func(r *tokenauth.Record) { r.Token.RevokedAt = micros(at) })
			}
			return err
		}
	}, []string{"accept Revoke of a revoked token, and leave the token unchanged"}},
	{"RevokeExpired reads the clock", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, _ time.Time, by string, unusedSince time.Time) error {
			return s.plainStore.RevokeExpired(ctx, userID, id, time.Now(), by, time.Time{})
		}
	}, []string{"revoke a token with RevokeExpired at or after its expiry"}},
	{"RevokeExpired revokes tokens that are not expired", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, _ time.Time) error {
			return s.plainStore.Revoke(ctx, userID, id, at, by)
		}
	}, []string{"return ErrConflict from RevokeExpired for a live token that is not expired, and leave the token unchanged"}},
	{"RevokeExpired ignores idleness", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, _ time.Time) error {
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, time.Time{})
		}
	}, []string{"revoke an idle token with RevokeExpired, that is, a token with neither CreatedAt nor LastUsedAt after unusedSince"}},
	{"RevokeExpired compares only the creation with unusedSince", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if r, ok := s.get(withID(id)); ok && !r.Token.CreatedAt.After(unusedSince) {
				return s.plainStore.Revoke(ctx, userID, id, at, by)
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{"return ErrConflict from RevokeExpired for a token that was created or used after unusedSince, or if unusedSince is the zero time"}},
	{"RevokeExpired checks the expiry of revoked tokens", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Token.UserID == userID && !r.Token.ExpiredAt(at) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
		}
	}, []string{"accept RevokeExpired of a revoked token, and leave the token unchanged"}},
	{"RevokeExpired ignores the user ID", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return s.plainStore.RevokeExpired(ctx, s.ownerOf(id, userID), id, at, by, unusedSince)
		}
	}, []string{"return ErrNotFound from RevokeExpired for an unknown token or another user's token"}},
	{"RevokeAll also counts tokens that were revoked before", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
			_, err := s.plainStore.RevokeAll(ctx, userID, at, by, limit)
			records, _ := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, IncludeRevoked: true})
			return len(records), err
		}
	}, []string{"revoke all live tokens of a user with RevokeAll, return their number, and leave all other tokens unchanged"}},

	{"RevokeAll ignores the limit", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, _ int) (int, error) {
			return s.plainStore.RevokeAll(ctx, userID, at, by, 1e6)
		}
	}, []string{
		"revoke at most limit tokens with each RevokeAll, and return 0 when no live token is left",
		badLimit,
	}},
	{"Update ignores Replaces", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) { p.Replaces = nil }), []string{
		"return ErrConflict and change nothing unless the token has the scopes and the expiry of Patch.Replaces",
		"let exactly one of many concurrent updates replace the same scopes and expiry",
	}},

	{"Touch moves LastUsedAt backwards", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if err := s.plainStore.Touch(ctx, uses...); err != nil {
				return err
			}
			for _, u := range uses {
				s.edit(withID(u.ID), func(r *tokenauth.Record) {
					if !u.At.Before(r.Token.CreatedAt) {
						r.Token.LastUsedAt = micros(u.At)
					}
				})
			}
			return nil
		}
	}, []string{
		"never move LastUsedAt backwards", "set LastUsedAt to the latest of several uses of one token, whatever the order of the uses",
		"keep the latest LastUsedAt when many calls of Touch run concurrently",
	}},
	{"Touch sets LastUsedAt before CreatedAt", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			err := s.plainStore.Touch(ctx, uses...)
			for _, u := range uses {
				s.edit(withID(u.ID), func(r *tokenauth.Record) {
					if err == nil && r.Token.LastUsedAt.Equal(r.Token.CreatedAt) {
						r.Token.LastUsedAt = micros(u.At)
					}
				})
			}
			return err
		}
	}, []string{"treat a use before CreatedAt as a use at CreatedAt"}},
	{"Touch records only the first use", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, uses[:min(1, len(uses))]...)
		}
	}, []string{"record the last-used times of many tokens, and change nothing else"}},
	{"Touch rounds times down to the second", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			var whole []tokenauth.Use
			for _, u := range uses {
				whole = append(whole, tokenauth.Use{ID: u.ID, At: u.At.Truncate(time.Second)})
			}
			return s.plainStore.Touch(ctx, whole...)
		}
	}, []string{"store a last-used time in UTC, rounded down to the microsecond"}},
	{"Touch returns ErrNotFound for an unknown ID", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			for _, u := range uses {
				if _, ok := s.get(withID(u.ID)); !ok {
					return tokenauth.ErrNotFound
				}
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{"ignore unknown IDs in Touch, and set LastUsedAt of the other tokens"}},
	{"Touch of no uses returns an error", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if len(uses) == 0 {
				return errors.New("SQL syntax error: the list of uses is empty")
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{"do nothing and return no error if Touch is called without uses"}},

	{"Prune ignores the limit", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, _ int) (int, error) {
			return s.plainStore.Prune(ctx, before, unusedSince, 1e6)
		}
	}, []string{"delete at most limit records, and return the number of deleted records"}},
	{"Prune applies the limit to revoked and to expired records separately", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			all, err := s.plainStore.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			revoked := 0
			for _, r := range all {
				if !r.Token.RevokedAt.IsZero() {
					revoked++
				}
			}
			if err != nil || limit <= revoked {
				return s.plainStore.Prune(ctx, before, unusedSince, limit)
			}
			return s.plainStore.Prune(ctx, before, unusedSince, limit+revoked)
		}
	}, []string{"delete at most limit records, and return the number of deleted records"}},
	{"Prune ignores idleness", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, _ time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, before, time.Time{}, limit)
		}
	}, []string{"delete idle live tokens with Prune, at most limit, and no token that was created or used after unusedSince"}},
	{"Prune deletes imported records", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			s.edit(func(tokenauth.Record) bool { return true }, func(r *tokenauth.Record) { r.Token.Origin = "" })
			return s.plainStore.Prune(ctx, before, unusedSince, limit)
		}
	}, []string{"never delete an imported record, which has an Origin"}},
	{"Prune deletes records that expired at the given time", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, before.Add(time.Microsecond), unusedSince, limit)
		}
	}, []string{"delete the records that expired or were revoked before the given time, and no other records"}},
}
