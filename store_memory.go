package tokenauth

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryStore is a [Store] in memory, for tests, and for services of a single process that
// may lose all tokens when the process ends. MemoryStore is safe for concurrent use. MemoryStore is
// also the reference implementation of Store: if a statement changes no row, [SQLStore] makes the
// same call on a MemoryStore to find the result.
//
// Find takes constant time. The other methods take time proportional to the number of the user's
// tokens. Prune, and List of all users, take time proportional to the number of all tokens.
type MemoryStore struct {
	mu sync.RWMutex
	// Find returns pointers to these records. Therefore a change replaces a record and never
	// modifies it.
	byDigest map[Digest]*Record // records by current digest and by retired digest
	byID     map[string]*Record
	byUser   map[string][]*Record // each slice is sorted by compareRecords
	writes   int                  // number of calls of put; SQLStore reads it
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{byDigest: map[Digest]*Record{}, byID: map[string]*Record{}, byUser: map[string][]*Record{}}
}

// locked runs f with the write lock held.
func (s *MemoryStore) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// Create implements [Store].
func (s *MemoryStore) Create(ctx context.Context, records ...Record) error {
	return s.locked(ctx, func() error {
		_, err := s.addNew(records)
		return err
	})
}

// addNew adds the records that the store does not have yet, and returns the added records. If one
// of them cannot be added, addNew adds none.
func (s *MemoryStore) addNew(records []Record) (added []Record, err error) {
	for i := range records {
		r := &records[i]
		if old := s.byID[r.Token.ID]; old != nil && old.Digest == r.Digest && old.Token.UserID == r.Token.UserID {
			continue
		}
		if err := s.checkNew(r); err != nil {
			for j := range added {
				s.remove(s.byID[added[j].Token.ID])
			}
			return nil, recordError(len(records), i, err)
		}
		s.put(cloneRecord(r))
		added = append(added, *r)
	}
	return added, nil
}

func (s *MemoryStore) checkNew(r *Record) error {
	switch {
	case s.byID[r.Token.ID] != nil, s.byDigest[r.Digest] != nil,
		r.Retired != nil && s.byDigest[r.Retired.Digest] != nil:
		return ErrKeyTaken
	case !r.Token.RevokedAt.IsZero():
		return nil
	}
	return s.checkUnique(r)
}

// checkUnique returns an error if another live token of the same user has the name or slot of r.
func (s *MemoryStore) checkUnique(r *Record) (err error) {
	for _, other := range s.byUser[r.Token.UserID] {
		switch {
		case !other.Token.RevokedAt.IsZero() || other.Token.ID == r.Token.ID:
			continue
		case other.Token.Name == r.Token.Name:
			return ErrNameTaken
		case other.Slot == r.Slot && r.Slot != 0:
			err = ErrSlotTaken // not returned yet, because ErrNameTaken for a later token takes precedence
		}
	}
	return err
}

// Find implements [Store].
func (s *MemoryStore) Find(ctx context.Context, d Digest) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	r := s.byDigest[d]
	s.mu.RUnlock()
	if r == nil {
		return nil, ErrNotFound
	}
	return r, nil
}

// List implements [Store].
func (s *MemoryStore) List(ctx context.Context, q Query) ([]Record, error) {
	if err := cmp.Or(ctx.Err(), q.check()); err != nil {
		return nil, err
	}
	q.After.CreatedAt = micros(q.After.CreatedAt)
	s.mu.RLock()
	defer s.mu.RUnlock()
	var records []Record
	for _, r := range s.candidates(q) {
		if !q.selects(r) {
			continue
		}
		records = append(records, *cloneRecord(r))
		if len(records) == q.Limit {
			break
		}
	}
	return records, nil
}

// selects reports whether r meets the conditions of q. It does not check those on UserID and IDs,
// which MemoryStore.candidates has checked.
func (q *Query) selects(r *Record) bool {
	return (q.IncludeRevoked || r.Token.RevokedAt.IsZero()) &&
		compareCursors(r.Token.Cursor(), q.After) > 0 &&
		(q.Name == "" || r.Token.Name == q.Name) &&
		(q.CreatedBy == "" || r.Token.CreatedBy == q.CreatedBy) &&
		(q.ExpiresBefore.IsZero() || isBefore(r.Token.ExpiresAt, micros(q.ExpiresBefore))) &&
		(q.MaxSlot == 0 || r.Slot >= max(q.MinSlot, 1) && r.Slot <= q.MaxSlot)
}

// candidates returns the records with the user ID and the IDs of q, sorted by compareRecords.
func (s *MemoryStore) candidates(q Query) []*Record {
	switch {
	case q.IDs == nil && q.AllUsers:
		selected := slices.DeleteFunc(slices.Collect(maps.Values(s.byID)), func(r *Record) bool { return !q.selects(r) })
		slices.SortFunc(selected, compareRecords)
		return selected
	case q.IDs == nil:
		return s.byUser[q.UserID]
	}
	var found []*Record
	for _, id := range q.IDs {
		if r := s.byID[id]; r != nil && (q.AllUsers || r.Token.UserID == q.UserID) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, compareRecords)
	return slices.Compact(found) // q.IDs may contain an ID twice
}

// Update implements [Store].
func (s *MemoryStore) Update(ctx context.Context, userID, id string, p Patch, at time.Time) error {
	return s.changeLive(ctx, userID, id, at, func(r *Record) error {
		before := *r
		if p.Name != nil {
			r.Token.Name = *p.Name
		}
		if p.Scopes != nil {
			r.Token.Scopes = append([]string(nil), *p.Scopes...) // nil if empty
		}
		if p.Resources != nil {
			r.Token.Resources = slices.Clone(*p.Resources)
		}
		if p.ExpiresAt != nil {
			r.Token.ExpiresAt = micros(*p.ExpiresAt)
		}
		if old := p.Replaces; old != nil && !sameValues(&before, r) && !sameRights(old, &before.Token) {
			return ErrConflict
		}
		return s.checkUnique(r)
	})
}

// Rotate implements [Store].
func (s *MemoryStore) Rotate(ctx context.Context, userID, id string, rot Rotation, at time.Time) error {
	return s.changeLive(ctx, userID, id, at, func(r *Record) error {
		switch {
		case r.Digest == rot.Digest:
			return nil
		case r.Token.Generation != rot.Replaces:
			return ErrConflict
		case s.byDigest[rot.Digest] != nil:
			return ErrKeyTaken
		}
		r.Retired = &RetiredKey{Digest: r.Digest, Until: micros(rot.GraceUntil)}
		r.Digest = rot.Digest
		r.Token.Hint = rot.Hint
		r.Token.Generation++
		return nil
	})
}

// Revoke implements [Store].
func (s *MemoryStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.change(ctx, userID, id, func(r *Record) error {
		revoke(r, at, by)
		return nil
	})
}

// RevokeExpired implements [Store].
func (s *MemoryStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	unusedSince = micros(unusedSince)
	return s.change(ctx, userID, id, func(r *Record) error {
		if r.Token.RevokedAt.IsZero() && !r.Token.ExpiredAt(at) && !r.Token.unused(unusedSince) {
			return ErrConflict
		}
		revoke(r, at, by)
		return nil
	})
}

// RevokeAll implements [Store].
func (s *MemoryStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	err = s.locked(ctx, func() error {
		for _, old := range s.byUser[userID] {
			if r := *old; r.Token.RevokedAt.IsZero() && n < limit {
				revoke(&r, at, by)
				s.put(&r)
				n++
			}
		}
		return checkLimit(limit)
	})
	return n, err
}

func revoke(r *Record, at time.Time, by string) {
	if r.Token.RevokedAt.IsZero() {
		r.Token.RevokedAt, r.Token.RevokedBy = micros(at), by
		r.Slot = 0
	}
}

// Touch implements [Store].
func (s *MemoryStore) Touch(ctx context.Context, uses ...Use) error {
	return s.locked(ctx, func() error {
		for _, use := range uses {
			old := s.byID[use.ID]
			if old == nil {
				continue
			}
			at := micros(use.At)
			if at.Before(old.Token.CreatedAt) {
				at = old.Token.CreatedAt
			}
			if at.After(old.Token.LastUsedAt) {
				r := *old
				r.Token.LastUsedAt = at
				s.put(&r)
			}
		}
		return nil
	})
}

// Prune implements [Store].
func (s *MemoryStore) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	before, unusedSince = micros(before), micros(unusedSince)
	err = s.locked(ctx, func() error {
		for _, r := range s.byID {
			if n >= limit {
				break
			}
			if t := &r.Token; t.Origin == "" && (isBefore(t.RevokedAt, before) || isBefore(t.ExpiresAt, before) ||
				t.RevokedAt.IsZero() && t.unused(unusedSince)) {
				s.remove(r)
				n++
			}
			// Let other calls run between two records. Go allows changes to the map of a range
			// loop.
			s.mu.Unlock()
			s.mu.Lock()
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func isBefore(t, limit time.Time) bool { return !t.IsZero() && t.Before(limit) }

// change calls apply with a copy of a record, and then replaces the record by the copy. If apply
// returns an error, change replaces nothing.
func (s *MemoryStore) change(ctx context.Context, userID, id string, apply func(*Record) error) error {
	return s.locked(ctx, func() error {
		old := s.byID[id]
		if old == nil || old.Token.UserID != userID {
			return ErrNotFound
		}
		r := *old
		err := apply(&r)
		if err == nil && !sameValues(old, &r) {
			s.put(&r)
		}
		return err
	})
}

// sameValues reports whether a call of apply left a record unchanged. It skips the fields that
// change only together with a compared field.
func sameValues(a, b *Record) bool {
	return a.Digest == b.Digest && a.Token.Name == b.Token.Name && sameRights(&a.Token, &b.Token) &&
		a.Token.RevokedAt.Equal(b.Token.RevokedAt)
}

// sameRights reports whether a and b have the same scopes, resources and expiry.
func sameRights(a, b *Token) bool {
	return slices.Equal(a.Scopes, b.Scopes) && slices.Equal(a.Resources, b.Resources) && (a.Resources == nil) == (b.Resources == nil) &&
		micros(a.ExpiresAt).Equal(micros(b.ExpiresAt))
}

// changeLive is like change, but returns an error if the token is revoked or expired.
func (s *MemoryStore) changeLive(ctx context.Context, userID, id string, at time.Time, apply func(*Record) error) error {
	return s.change(ctx, userID, id, func(r *Record) error {
		if !r.Token.RevokedAt.IsZero() {
			return ErrNotFound
		}
		if r.Token.ExpiredAt(at) {
			return ErrConflict
		}
		return apply(r)
	})
}

// put adds r, or replaces the record with the same ID. The user ID and CreatedAt of a record never
// change, so the position in byUser stays the same. A current digest is either kept or becomes the
// retired digest, so only an old retired digest is deleted from byDigest.
func (s *MemoryStore) put(r *Record) {
	s.writes++
	if old := s.byID[r.Token.ID]; old != nil && old.Retired != nil && old.Retired != r.Retired {
		delete(s.byDigest, old.Retired.Digest)
	}
	s.byID[r.Token.ID] = r
	s.byDigest[r.Digest] = r
	if r.Retired != nil {
		s.byDigest[r.Retired.Digest] = r
	}
	records := s.byUser[r.Token.UserID]
	i, found := slices.BinarySearchFunc(records, r, compareRecords)
	if found {
		records[i] = r
		return
	}
	s.byUser[r.Token.UserID] = slices.Insert(records, i, r)
}

func (s *MemoryStore) remove(r *Record) {
	delete(s.byID, r.Token.ID)
	delete(s.byDigest, r.Digest)
	if r.Retired != nil {
		delete(s.byDigest, r.Retired.Digest)
	}
	records := s.byUser[r.Token.UserID]
	i, _ := slices.BinarySearchFunc(records, r, compareRecords)
	s.byUser[r.Token.UserID] = slices.Delete(records, i, i+1)
	if len(records) == 1 {
		delete(s.byUser, r.Token.UserID)
	}
}

func compareRecords(a, b *Record) int {
	return compareCursors(a.Token.Cursor(), b.Token.Cursor())
}

func compareCursors(a, b Cursor) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}

// cloneRecord returns a deep copy with the values that a store keeps: times in microseconds, nil
// for empty scopes, and no slot for a revoked token.
func cloneRecord(r *Record) *Record {
	c := *r
	c.Token.Scopes = append([]string(nil), r.Token.Scopes...) // nil if empty
	c.Token.Resources = slices.Clone(r.Token.Resources)       // not nil if empty
	for _, t := range []*time.Time{&c.Token.CreatedAt, &c.Token.ExpiresAt, &c.Token.LastUsedAt, &c.Token.RevokedAt} {
		*t = micros(*t)
	}
	if !c.Token.RevokedAt.IsZero() {
		c.Slot = 0
	}
	if r.Retired != nil {
		c.Retired = &RetiredKey{Digest: r.Retired.Digest, Until: micros(r.Retired.Until)}
	}
	return &c
}
