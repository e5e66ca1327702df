package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryStore is a [Store] in memory, for tests and for single processes whose
// tokens need not outlive them. It is safe for concurrent use.
//
// Find takes constant time. What changes or lists a user's tokens takes time in
// proportion to their number, Prune and a List of all users to that of all.
type MemoryStore struct {
	mu sync.RWMutex
	// A *Record in here is never changed, only replaced: Find hands it out.
	byDigest map[Digest]*Record // current and retired digests
	byID     map[string]*Record
	byUser   map[string][]*Record // in the order of lists
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		byDigest: map[Digest]*Record{},
		byID:     map[string]*Record{},
		byUser:   map[string][]*Record{},
	}
}

// locked calls f, which changes the store.
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

// addNew adds those of records that are not there yet, or none, and returns them.
func (s *MemoryStore) addNew(records []Record) (added []Record, err error) {
	for i := range records {
		switch err := s.checkNew(&records[i]); err {
		case nil:
			s.put(cloneRecord(&records[i]))
			added = append(added, records[i])
		case errDone:
		default:
			for i := range added {
				s.remove(s.byID[added[i].Token.ID])
			}
			return nil, err
		}
	}
	return added, nil
}

// errDone says that a record to be created is there already.
var errDone = errors.New("tokenauth: already there")

func (s *MemoryStore) checkNew(r *Record) error {
	if old := s.byID[r.Token.ID]; old != nil {
		if old.Digest == r.Digest {
			return errDone
		}
		return ErrKeyTaken
	}
	if s.byDigest[r.Digest] != nil || r.Retired != nil && s.byDigest[r.Retired.Digest] != nil {
		return ErrKeyTaken
	}
	if !r.Token.RevokedAt.IsZero() {
		return nil
	}
	return s.checkUnique(r)
}

// checkUnique looks for another live token of r's user with its name or slot.
func (s *MemoryStore) checkUnique(r *Record) (err error) {
	for _, other := range s.byUser[r.Token.UserID] {
		switch {
		case !other.Token.RevokedAt.IsZero() || other.Token.ID == r.Token.ID:
			continue
		case other.Token.Name == r.Token.Name:
			return ErrNameTaken
		case other.Slot == r.Slot && r.Slot != 0:
			err = ErrSlotTaken // unless one that follows has the name
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
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	q.After.CreatedAt = micros(q.After.CreatedAt)
	s.mu.RLock()
	defer s.mu.RUnlock()
	var records []Record
	for _, r := range s.candidates(q) {
		if !q.IncludeRevoked && !r.Token.RevokedAt.IsZero() || compareCursors(r.Token.Cursor(), q.After) <= 0 {
			continue
		}
		records = append(records, *cloneRecord(r))
		if len(records) == q.Limit {
			break
		}
	}
	return records, nil
}

// candidates returns, in order, the records to which the rest of q applies.
func (s *MemoryStore) candidates(q Query) []*Record {
	switch {
	case q.IDs == nil && q.AllUsers:
		return slices.SortedFunc(maps.Values(s.byID), compareRecords)
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
	return slices.Compact(found) // an ID may be given twice
}

// Update implements [Store].
func (s *MemoryStore) Update(ctx context.Context, userID, id string, p Patch, at time.Time) error {
	return s.changeLive(ctx, userID, id, at, func(r *Record) error {
		if p.Name != nil {
			r.Token.Name = *p.Name
			if err := s.checkUnique(r); err != nil {
				return err
			}
		}
		if p.Scopes != nil {
			r.Token.Scopes = append([]string(nil), *p.Scopes...) // nil if empty
		}
		if p.ExpiresAt != nil {
			r.Token.ExpiresAt = micros(*p.ExpiresAt)
		}
		return nil
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
func (s *MemoryStore) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, userID, id, func(r *Record) error {
		revoke(r, at)
		return nil
	})
}

// RevokeExpired implements [Store].
func (s *MemoryStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, userID, id, func(r *Record) error {
		if r.Token.RevokedAt.IsZero() && !r.Token.ExpiredAt(at) {
			return ErrConflict
		}
		revoke(r, at)
		return nil
	})
}

// RevokeAll implements [Store].
func (s *MemoryStore) RevokeAll(ctx context.Context, userID string, at time.Time) (n int, err error) {
	err = s.locked(ctx, func() error {
		for _, old := range s.byUser[userID] {
			if old.Token.RevokedAt.IsZero() {
				r := *old
				revoke(&r, at)
				s.put(&r)
				n++
			}
		}
		return nil
	})
	return n, err
}

func revoke(r *Record, at time.Time) {
	if r.Token.RevokedAt.IsZero() {
		r.Token.RevokedAt = micros(at)
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
func (s *MemoryStore) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	before = micros(before)
	err = s.locked(ctx, func() error {
		for _, r := range s.byID {
			if n >= limit {
				break
			}
			if r.Token.Origin == "" && (isBefore(r.Token.RevokedAt, before) || isBefore(r.Token.ExpiresAt, before)) {
				s.remove(r)
				n++
			}
			// A range allows for changes of its map. So others wait for one record, not for all.
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

// change swaps a record for a copy that apply has changed.
func (s *MemoryStore) change(ctx context.Context, userID, id string, apply func(*Record) error) error {
	return s.locked(ctx, func() error {
		old := s.byID[id]
		if old == nil || old.Token.UserID != userID {
			return ErrNotFound
		}
		r := *old
		err := apply(&r)
		if err == nil {
			s.put(&r)
		}
		return err
	})
}

// changeLive is change for what neither a revoked nor an expired token allows.
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

// put adds r, or replaces the record with its ID. It relies on user, ID and
// CreatedAt never changing, so that the order stays, and on a current digest never
// vanishing: it can only become retired.
func (s *MemoryStore) put(r *Record) {
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
	if records = slices.Delete(records, i, i+1); len(records) == 0 {
		delete(s.byUser, r.Token.UserID)
		return
	}
	s.byUser[r.Token.UserID] = records
}

func compareRecords(a, b *Record) int {
	return compareCursors(a.Token.Cursor(), b.Token.Cursor())
}

func compareCursors(a, b Cursor) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}

// cloneRecord copies all that its owner could change, and brings it to the form
// in which every store keeps it.
func cloneRecord(r *Record) *Record {
	c := *r
	c.Token.Scopes = append([]string(nil), r.Token.Scopes...) // nil if empty
	for _, t := range []*time.Time{&c.Token.CreatedAt, &c.Token.ExpiresAt, &c.Token.LastUsedAt, &c.Token.RevokedAt} {
		*t = micros(*t)
	}
	if !c.Token.RevokedAt.IsZero() {
		c.Slot = 0
	}
	if r.Retired != nil {
		retired := *r.Retired
		retired.Until = micros(retired.Until)
		c.Retired = &retired
	}
	return &c
}
