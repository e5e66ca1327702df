package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// onUpdate has f change what Update is given.
func onUpdate(f func(s *brokenStore, userID, id *string, p *tokenauth.Patch, at *time.Time)) func(*brokenStore) {
	return func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			f(s, &userID, &id, &p, &at)
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}
}

// onRotate has f change what Rotate is given.
func onRotate(f func(s *brokenStore, userID *string, id string, rot *tokenauth.Rotation, at *time.Time)) func(*brokenStore) {
	return func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			f(s, &userID, id, &rot, &at)
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}
}

// ownerOf returns whose token it is.
func (s *brokenStore) ownerOf(id, otherwise string) string {
	if r, ok := s.get(withID(id)); ok {
		return r.Token.UserID
	}
	return otherwise
}

var changeBugs = []bug{
	{"Update ignores the user ID", onUpdate(func(s *brokenStore, userID, id *string, _ *tokenauth.Patch, _ *time.Time) {
		*userID = s.ownerOf(*id, *userID)
	}), []string{
		"answer ErrNotFound to an update of an unknown, another user's or a revoked token",
		"change nothing for an empty patch, and still say whether there is such a token",
	}},
	{"Update ignores expiry", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) { *at = time.Time{} }),
		[]string{"answer ErrConflict to an update of a token from the instant of its expiry on"}},
	{"Update takes a clock of its own", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) { *at = time.Now() }),
		[]string{"answer ErrConflict to an update of a token from the instant of its expiry on"}},
	{"Update is late to see expiry", onUpdate(func(_ *brokenStore, _, _ *string, _ *tokenauth.Patch, at *time.Time) {
		*at = at.Add(-time.Microsecond)
	}), []string{"answer ErrConflict to an update of a token from the instant of its expiry on"}},
	{"Update can't clear scopes", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Scopes != nil && len(*p.Scopes) == 0 {
			p.Scopes = nil
		}
	}), []string{"change the fields that a patch gives, and no others"}},
	{"Update rounds up", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.ExpiresAt != nil {
			p.ExpiresAt = new(p.ExpiresAt.Round(time.Microsecond))
		}
	}), []string{"keep an updated expiry as its instant in UTC, rounded down to the microsecond, and zero as never"}},
	{"Update trims names", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Name != nil {
			p.Name = new(strings.TrimSpace(*p.Name))
		}
	}), []string{"compare a new name byte by byte"}},
	{"Update takes % for a pattern", onUpdate(func(_ *brokenStore, _, _ *string, p *tokenauth.Patch, _ *time.Time) {
		if p.Name != nil {
			p.Name = new(strings.ReplaceAll(*p.Name, "%", `\%`))
		}
	}), []string{"keep an updated name and scopes as they are, whatever they look like to SQL"}},
	{"Update keeps the old name taken", func(s *brokenStore) {
		s.refuseHeld()
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Name != nil && r.Token.Name != *p.Name {
				s.held.Store(r.Token.Name, true)
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"free the old name of a token and keep the new one taken"}},
	{"Update that changes nothing is refused", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && p.Name != nil && *p.Name == r.Token.Name {
				return tokenauth.ErrNameTaken // its own
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"take an update that changes nothing, or is repeated, as done"}},
	{"Update does half of what is refused", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if errors.Is(err, tokenauth.ErrNameTaken) {
				p.Name = nil
				_ = s.plainStore.Update(ctx, userID, id, p, at)
			}
			return err
		}
	}, []string{"refuse a new name that another live token of the user has, expired or not, and change nothing"}},
	{"Update takes all names for taken", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			_, taken := s.get(func(r tokenauth.Record) bool { return p.Name != nil && r.Token.Name == *p.Name && r.Token.ID != id })
			if taken {
				return tokenauth.ErrNameTaken
			}
			return s.plainStore.Update(ctx, userID, id, p, at)
		}
	}, []string{"give a token the name of a revoked one or of another user's"}},
	{"Update keeps what it is given", func(s *brokenStore) {
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			err := s.plainStore.Update(ctx, userID, id, p, at)
			if err == nil && p.Scopes != nil && len(*p.Scopes) > 0 {
				s.edit(withID(id), func(r *tokenauth.Record) { r.Token.Scopes = *p.Scopes })
			}
			return err
		}
	}, []string{"keep copies of what a patch points to"}},

	{"Rotate ignores Replaces", onRotate(func(s *brokenStore, _ *string, id string, rot *tokenauth.Rotation, _ *time.Time) {
		r, _ := s.get(withID(id))
		rot.Replaces = r.Token.Generation
	}), []string{
		"answer ErrConflict if the generation is not the one that the rotation replaces, and change nothing",
		"let exactly one of many concurrent rotations of one generation win",
	}},
	{"Rotate ignores the user ID", onRotate(func(s *brokenStore, userID *string, id string, _ *tokenauth.Rotation, _ *time.Time) {
		*userID = s.ownerOf(id, *userID)
	}), []string{"answer ErrNotFound to a rotation of an unknown, another user's or a revoked token"}},
	{"Rotate ignores expiry", onRotate(func(_ *brokenStore, _ *string, _ string, _ *tokenauth.Rotation, at *time.Time) { *at = time.Time{} }),
		[]string{"answer ErrConflict to a rotation of a token from the instant of its expiry on"}},
	{"Rotate rounds up", onRotate(func(_ *brokenStore, _ *string, _ string, rot *tokenauth.Rotation, _ *time.Time) {
		rot.GraceUntil = rot.GraceUntil.Round(time.Microsecond)
	}), []string{"keep the end of a grace as its instant in UTC, rounded down to the microsecond"}},
	{"Rotate forgets the hint", onRotate(func(_ *brokenStore, _ *string, _ string, rot *tokenauth.Rotation, _ *time.Time) { rot.Hint = "" }),
		[]string{"replace digest and hint, retire the old digest until the end of the grace, and change nothing else"}},
	{"Rotate can't be repeated", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Digest == rot.Digest {
				return tokenauth.ErrConflict
			}
			return s.plainStore.Rotate(ctx, userID, id, rot, at)
		}
	}, []string{"take a rotation as done, without another change, if its digest is current already"}},
	{"Rotate ignores who has the digest", func(s *brokenStore) {
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			err := s.plainStore.Rotate(ctx, userID, id, rot, at)
			if errors.Is(err, tokenauth.ErrKeyTaken) {
				s.edit(withID(id), func(r *tokenauth.Record) { *r = kept(rotated(*r, rot)) })
				return nil
			}
			return err
		}
	}, []string{
		"answer ErrKeyTaken if another record has the digest, current or retired, and change nothing",
		"let exactly one of many tokens be rotated to a digest",
	}},

	{"Revoke ignores the user ID", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time) error {
			return s.plainStore.Revoke(ctx, s.ownerOf(id, userID), id, at)
		}
	}, []string{"answer ErrNotFound to a revocation of another user's token and leave it as it is"}},
	{"Revoke takes a clock of its own", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, _ time.Time) error {
			return s.plainStore.Revoke(ctx, userID, id, time.Now())
		}
	}, []string{
		"set RevokedAt and free the slot, and change nothing else",
		"keep the time given to a revocation, whatever the clock says, rounded down to the microsecond",
	}},
	{"Revoke of nothing succeeds", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time) error {
			err := s.plainStore.Revoke(ctx, userID, id, at)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return nil
			}
			return err
		}
	}, []string{"answer ErrNotFound to a revocation of an unknown token"}},
	{"Revoke moves RevokedAt", func(s *brokenStore) {
		s.revoke = func(ctx context.Context, userID, id string, at time.Time) error {
			err := s.plainStore.Revoke(ctx, userID, id, at)
			if err == nil {
				s.edit(withID(id), func(r *tokenauth.Record) { r.Token.RevokedAt = micros(at) })
			}
			return err
		}
	}, []string{"take the revocation of a revoked token as done and leave it as it is"}},
	{"RevokeExpired takes a clock of its own", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, _ time.Time) error {
			return s.plainStore.RevokeExpired(ctx, userID, id, time.Now())
		}
	}, []string{"revoke a token with RevokeExpired from the instant of its expiry on"}},
	{"RevokeExpired revokes whatever it gets", func(s *brokenStore) { s.revokeExpired = s.plainStore.Revoke },
		[]string{"answer ErrConflict to RevokeExpired of a live token that is not expired and leave it as it is"}},
	{"RevokeExpired judges revoked tokens too", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time) error {
			if r, ok := s.get(withID(id)); ok && r.Token.UserID == userID && !r.Token.ExpiredAt(at) {
				return tokenauth.ErrConflict
			}
			return s.plainStore.RevokeExpired(ctx, userID, id, at)
		}
	}, []string{"take RevokeExpired of a revoked token as done and leave it as it is"}},
	{"RevokeExpired ignores the user ID", func(s *brokenStore) {
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time) error {
			return s.plainStore.RevokeExpired(ctx, s.ownerOf(id, userID), id, at)
		}
	}, []string{"answer ErrNotFound to RevokeExpired of an unknown or another user's token"}},
	{"RevokeAll miscounts", func(s *brokenStore) {
		s.revokeAll = func(ctx context.Context, userID string, at time.Time) (int, error) {
			_, err := s.plainStore.RevokeAll(ctx, userID, at)
			records, _ := s.plainStore.List(ctx, tokenauth.Query{UserID: userID, IncludeRevoked: true})
			return len(records), err
		}
	}, []string{"revoke all live tokens of a user, count them, and leave all others as they are"}},

	{"Touch goes backwards", func(s *brokenStore) {
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
		"never move LastUsedAt backwards", "keep the latest of several uses of one token, in whatever order they come",
		"keep the latest of many concurrent uses",
	}},
	{"Touch goes before CreatedAt", func(s *brokenStore) {
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
	}, []string{"never set LastUsedAt before CreatedAt: an earlier use counts as one at CreatedAt"}},
	{"Touch records the first use only", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return s.plainStore.Touch(ctx, uses[:min(1, len(uses))]...)
		}
	}, []string{"record the last use of many tokens, and change nothing else"}},
	{"Touch keeps whole seconds", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			var whole []tokenauth.Use
			for _, u := range uses {
				whole = append(whole, tokenauth.Use{ID: u.ID, At: u.At.Truncate(time.Second)})
			}
			return s.plainStore.Touch(ctx, whole...)
		}
	}, []string{"keep a use as its instant in UTC, rounded down to the microsecond"}},
	{"Touch refuses unknown IDs", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			for _, u := range uses {
				if _, ok := s.get(withID(u.ID)); !ok {
					return tokenauth.ErrNotFound
				}
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{"take unknown IDs as no error, and record the other uses"}},
	{"Touch of nothing is an error", func(s *brokenStore) {
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			if len(uses) == 0 {
				return errors.New("syntax error near ()")
			}
			return s.plainStore.Touch(ctx, uses...)
		}
	}, []string{"do nothing when it is given no uses"}},

	{"Prune ignores the limit", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before time.Time, _ int) (int, error) {
			return s.plainStore.Prune(ctx, before, 1e6)
		}
	}, []string{"prune at most as many records as the limit says, and count them"}},
	{"Prune ignores the origin", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before time.Time, limit int) (int, error) {
			s.edit(func(tokenauth.Record) bool { return true }, func(r *tokenauth.Record) { r.Token.Origin = "" })
			return s.plainStore.Prune(ctx, before, limit)
		}
	}, []string{"never prune an imported record"}},
	{"Prune takes the given time too", func(s *brokenStore) {
		s.prune = func(ctx context.Context, before time.Time, limit int) (int, error) {
			return s.plainStore.Prune(ctx, before.Add(time.Microsecond), limit)
		}
	}, []string{"prune what expired or was revoked before the given time, and nothing else"}},
}
