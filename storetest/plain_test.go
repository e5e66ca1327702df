package storetest

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A plainStore is a minimal Store: it keeps all records in one slice, protected by one mutex.
// TestCorrectStoresPass runs the suite on a plainStore to show that a simple implementation passes.
// Each brokenStore embeds a plainStore.
type plainStore struct {
	mu   sync.Mutex
	rows []tokenauth.Record
}

// locked runs f with s.mu held. If ctx is done, locked returns the error of ctx instead and
// does not run f.
func (s *plainStore) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

func (s *plainStore) Create(ctx context.Context, records ...tokenauth.Record) error {
	return s.locked(ctx, func() error {
		before := len(s.rows)
		for _, r := range records {
			isThere, err := s.conflict(r)
			if err != nil {
				s.rows = s.rows[:before]
				return err
			}
			if !isThere {
				s.rows = append(s.rows, kept(r))
			}
		}
		return nil
	})
}

func (s *plainStore) conflict(r tokenauth.Record) (isThere bool, err error) {
	i := s.index(func(o tokenauth.Record) bool { return o.Token.ID == r.Token.ID })
	switch {
	case i >= 0 && s.rows[i].Digest == r.Digest && s.rows[i].Token.UserID == r.Token.UserID:
		return true, nil
	case i >= 0, s.has(r.Digest), r.Retired != nil && s.has(r.Retired.Digest):
		return false, tokenauth.ErrKeyTaken
	case !r.Token.RevokedAt.IsZero():
		return false, nil
	}
	rivals := func(taken func(o tokenauth.Record) bool) bool {
		return s.index(func(o tokenauth.Record) bool { return isLive(o) && o.Token.UserID == r.Token.UserID && taken(o) }) >= 0
	}
	switch {
	case rivals(func(o tokenauth.Record) bool { return o.Token.Name == r.Token.Name }):
		return false, tokenauth.ErrNameTaken
	case r.Slot != 0 && rivals(func(o tokenauth.Record) bool { return o.Slot == r.Slot }):
		return false, tokenauth.ErrSlotTaken
	}
	return false, nil
}

func (s *plainStore) index(is func(tokenauth.Record) bool) int { return slices.IndexFunc(s.rows, is) }

func (s *plainStore) has(d tokenauth.Digest) bool {
	return s.index(func(r tokenauth.Record) bool { return r.Digest == d || r.Retired != nil && r.Retired.Digest == d }) >= 0
}

func isLive(r tokenauth.Record) bool { return r.Token.RevokedAt.IsZero() }

// kept returns a deep copy of r in the form in which a Store keeps records. Times are in UTC
// and rounded down to the microsecond, an empty list of scopes is nil, and a revoked token has no
// slot.
func kept(r tokenauth.Record) tokenauth.Record {
	if !isLive(r) {
		r.Slot = 0
	}
	r.Token.Scopes, r.Token.Resources = append([]string(nil), r.Token.Scopes...), slices.Clone(r.Token.Resources)
	t := &r.Token
	t.CreatedAt, t.ExpiresAt, t.LastUsedAt, t.RevokedAt = micros(t.CreatedAt), micros(t.ExpiresAt), micros(t.LastUsedAt), micros(t.RevokedAt)
	if r.Retired != nil {
		r.Retired = &tokenauth.RetiredKey{Digest: r.Retired.Digest, Until: micros(r.Retired.Until)}
	}
	return r
}

func micros(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

func (s *plainStore) Find(ctx context.Context, d tokenauth.Digest) (found *tokenauth.Record, err error) {
	err = s.locked(ctx, func() error {
		for _, r := range s.rows {
			if r.Digest == d || r.Retired != nil && r.Retired.Digest == d {
				found = new(kept(r))
				return nil
			}
		}
		return tokenauth.ErrNotFound
	})
	return found, err
}

func (s *plainStore) List(ctx context.Context, q tokenauth.Query) (records []tokenauth.Record, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.AllUsers == (q.UserID != "") {
		return nil, errors.New("the query must set exactly one of UserID and AllUsers")
	}
	if q.Limit < 0 || q.MinSlot < 0 || q.MaxSlot < q.MinSlot || q.MaxSlot > math.MaxInt32 {
		return nil, errors.New("the query has a negative Limit or a malformed range of slots")
	}
	err = s.locked(ctx, func() error {
		for _, r := range inOrder(s.rows...) {
			if q.AllUsers || r.Token.UserID == q.UserID {
				if (q.IDs == nil || slices.Contains(q.IDs, r.Token.ID)) && (q.IncludeRevoked || isLive(r)) && compare(r.Token.Cursor(), q.After) > 0 &&
					(q.Name == "" || q.Name == r.Token.Name) && (q.CreatedBy == "" || q.CreatedBy == r.Token.CreatedBy) && expiresBefore(r, q.ExpiresBefore) &&
					(q.MaxSlot == 0 || r.Slot != 0 && r.Slot >= q.MinSlot && r.Slot <= q.MaxSlot) {
					records = append(records, kept(r))
				}
			}
		}
		if q.Limit > 0 {
			records = records[:min(len(records), q.Limit)]
		}
		return nil
	})
	return records, err
}

// expiresBefore reports whether r meets the condition of Query.ExpiresBefore.
func expiresBefore(r tokenauth.Record, before time.Time) bool {
	return before.IsZero() || !r.Token.ExpiresAt.IsZero() && r.Token.ExpiresAt.Before(micros(before))
}

// change calls f with a copy of one row of the user, which has the given token ID. If f returns
// nil, the copy replaces the row. If the user has no such row, change returns ErrNotFound.
func (s *plainStore) change(ctx context.Context, userID, id string, f func(r *tokenauth.Record) error) error {
	return s.locked(ctx, func() error {
		i := s.index(func(r tokenauth.Record) bool { return r.Token.UserID == userID && r.Token.ID == id })
		if i < 0 {
			return tokenauth.ErrNotFound
		}
		r := kept(s.rows[i])
		if err := f(&r); err != nil {
			return err
		}
		s.rows[i] = kept(r)
		return nil
	})
}

// checkLive returns ErrNotFound if the record r is revoked, and ErrConflict if r is not
// revoked but has expired at the time at.
func checkLive(r *tokenauth.Record, at time.Time) error {
	switch {
	case !isLive(*r):
		return tokenauth.ErrNotFound
	case r.Token.ExpiredAt(at):
		return tokenauth.ErrConflict
	}
	return nil
}

func (s *plainStore) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	return s.change(ctx, userID, id, func(r *tokenauth.Record) error {
		if err := checkLive(r, at); err != nil {
			return err
		}
		before := *r
		err := s.apply(r, p)
		old, changed := p.Replaces, r.Token.Name != before.Token.Name || changes(before, p)
		if old != nil && changed && !replaces(old, before) {
			return tokenauth.ErrConflict
		}
		return err
	})
}

// replaces reports whether r has the values of old, which is the Replaces of a Patch.
func replaces(old *tokenauth.Token, r tokenauth.Record) bool {
	return sameScopes(old, r) && sameResources(old, r) && sameExpiry(old, r)
}

// sameScopes, sameResources and sameExpiry report whether r has one of the values of old.
func sameScopes(old *tokenauth.Token, r tokenauth.Record) bool {
	return slices.Equal(old.Scopes, r.Token.Scopes)
}

func sameResources(old *tokenauth.Token, r tokenauth.Record) bool {
	return reflect.DeepEqual(old.Resources, r.Token.Resources) // nil differs from an empty list
}

func sameExpiry(old *tokenauth.Token, r tokenauth.Record) bool {
	return micros(old.ExpiresAt).Equal(r.Token.ExpiresAt)
}

// apply changes r as p says, and returns an error if another live token of the user has the name.
func (s *plainStore) apply(r *tokenauth.Record, p tokenauth.Patch) (err error) {
	if p.Name != nil {
		if s.index(func(o tokenauth.Record) bool {
			return o.Token.UserID == r.Token.UserID && o.Token.ID != r.Token.ID && isLive(o) && o.Token.Name == *p.Name
		}) >= 0 {
			err = tokenauth.ErrNameTaken
		}
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
	return err
}

func (s *plainStore) Rotate(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
	return s.change(ctx, userID, id, func(r *tokenauth.Record) error {
		switch err := checkLive(r, at); {
		case err != nil || r.Digest == rot.Digest:
			return err
		case r.Token.Generation != rot.Replaces:
			return tokenauth.ErrConflict
		case s.has(rot.Digest):
			return tokenauth.ErrKeyTaken
		}
		*r = rotated(*r, rot)
		return nil
	})
}

func (s *plainStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.change(ctx, userID, id, func(r *tokenauth.Record) error {
		if isLive(*r) {
			*r = revokedBy(*r, at, by)
		}
		return nil
	})
}

func (s *plainStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.change(ctx, userID, id, func(r *tokenauth.Record) error {
		switch {
		case isLive(*r) && !r.Token.ExpiredAt(at) && !isIdle(*r, unusedSince):
			return tokenauth.ErrConflict
		case isLive(*r):
			*r = revokedBy(*r, at, by)
		}
		return nil
	})
}

// isIdle reports whether a record was neither created nor used after since, and since is not zero.
func isIdle(r tokenauth.Record, since time.Time) bool {
	return !since.IsZero() && !r.Token.CreatedAt.After(micros(since)) && !r.Token.LastUsedAt.After(micros(since))
}

func (s *plainStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	err = s.locked(ctx, func() error {
		if limit <= 0 {
			return errors.New("the limit must be positive")
		}
		for i, r := range s.rows {
			if r.Token.UserID == userID && isLive(r) && n < limit {
				s.rows[i] = kept(revokedBy(r, at, by))
				n++
			}
		}
		return nil
	})
	return n, err
}

func (s *plainStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.locked(ctx, func() error {
		for _, u := range uses {
			if i := s.index(func(r tokenauth.Record) bool { return r.Token.ID == u.ID }); i >= 0 {
				t := &s.rows[i].Token
				for _, at := range []time.Time{t.CreatedAt, micros(u.At)} {
					if at.After(t.LastUsedAt) {
						t.LastUsedAt = at
					}
				}
			}
		}
		return nil
	})
}

func (s *plainStore) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	before = micros(before)
	isDead := func(t time.Time) bool { return !t.IsZero() && t.Before(before) }
	err = s.locked(ctx, func() error {
		s.rows = slices.DeleteFunc(s.rows, func(r tokenauth.Record) bool {
			dead := n < limit && r.Token.Origin == "" &&
				(isDead(r.Token.ExpiresAt) || isDead(r.Token.RevokedAt) || isLive(r) && isIdle(r, unusedSince))
			if dead {
				n++
			}
			return dead
		})
		return nil
	})
	return n, err
}
