package storetest

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A bug is a defect of a Store that the suite must detect.
type bug struct {
	name   string
	plant  func(*brokenStore) // adds the bug to a store
	breaks []string           // rules of the test cases that must fail on a store with the bug
}

// A brokenStore is a plainStore with a bug. If one of the function fields is set, the Store
// method of the same name calls the function instead of the method of plainStore.
type brokenStore struct {
	*plainStore
	held          sync.Map     // names for which Create wrongly returns ErrNameTaken; set by refuseHeld
	changes       atomic.Int64 // number of finished calls of methods that write, such as Create
	events        atomic.Int64 // the counter changes plus the number of calls of arrive
	create        func(ctx context.Context, records ...tokenauth.Record) error
	find          func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error)
	list          func(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error)
	update        func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error
	rotate        func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error
	revoke        func(ctx context.Context, userID, id string, at time.Time, by string) error
	revokeExpired func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error
	revokeAll     func(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error)
	touch         func(ctx context.Context, uses ...tokenauth.Use) error
	prune         func(ctx context.Context, before, unusedSince time.Time, limit int) (int, error)
}

func (s *brokenStore) changed() {
	s.changes.Add(1)
	s.events.Add(1)
}

func (s *brokenStore) Create(ctx context.Context, records ...tokenauth.Record) error {
	defer s.changed()
	if s.create != nil {
		return s.create(ctx, records...)
	}
	return s.plainStore.Create(ctx, records...)
}

func (s *brokenStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	if s.find != nil {
		return s.find(ctx, d)
	}
	return s.plainStore.Find(ctx, d)
}

func (s *brokenStore) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	if s.list != nil {
		return s.list(ctx, q)
	}
	return s.plainStore.List(ctx, q)
}

func (s *brokenStore) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	defer s.changed()
	if s.update != nil {
		return s.update(ctx, userID, id, p, at)
	}
	return s.plainStore.Update(ctx, userID, id, p, at)
}

func (s *brokenStore) Rotate(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
	defer s.changed()
	if s.rotate != nil {
		return s.rotate(ctx, userID, id, rot, at)
	}
	return s.plainStore.Rotate(ctx, userID, id, rot, at)
}

func (s *brokenStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	defer s.changed()
	if s.revoke != nil {
		return s.revoke(ctx, userID, id, at, by)
	}
	return s.plainStore.Revoke(ctx, userID, id, at, by)
}

func (s *brokenStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	defer s.changed()
	if s.revokeExpired != nil {
		return s.revokeExpired(ctx, userID, id, at, by, unusedSince)
	}
	return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince)
}

func (s *brokenStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	defer s.changed()
	if s.revokeAll != nil {
		return s.revokeAll(ctx, userID, at, by, limit)
	}
	return s.plainStore.RevokeAll(ctx, userID, at, by, limit)
}

func (s *brokenStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	defer s.changed()
	if s.touch != nil {
		return s.touch(ctx, uses...)
	}
	return s.plainStore.Touch(ctx, uses...)
}

func (s *brokenStore) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
	defer s.changed()
	if s.prune != nil {
		return s.prune(ctx, before, unusedSince, limit)
	}
	return s.plainStore.Prune(ctx, before, unusedSince, limit)
}

// refuseHeld replaces Create: if a given record has a name in s.held, Create returns
// ErrNameTaken.
func (s *brokenStore) refuseHeld() {
	s.create = func(ctx context.Context, records ...tokenauth.Record) error {
		for _, r := range records {
			if _, ok := s.held.Load(r.Token.Name); ok {
				return tokenauth.ErrNameTaken
			}
		}
		return s.plainStore.Create(ctx, records...)
	}
}

// get returns a copy of the first row for which f returns true. The result ok reports
// whether such a row exists.
func (s *brokenStore) get(f func(tokenauth.Record) bool) (r tokenauth.Record, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(f); i >= 0 {
		return kept(s.rows[i]), true
	}
	return r, false
}

func withID(id string) func(tokenauth.Record) bool {
	return func(r tokenauth.Record) bool { return r.Token.ID == id }
}

// edit calls change for each row for which f returns true. Unlike the Store methods, edit
// does not check for conflicts, expiry or revocation.
func (s *brokenStore) edit(f func(tokenauth.Record) bool, change func(*tokenauth.Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rows {
		if f(s.rows[i]) {
			change(&s.rows[i])
		}
	}
}

// arrive makes a race condition likely. A broken method calls arrive between a read and the
// write that depends on the read. The method arrive waits until another goroutine calls arrive
// or finishes a method that writes. If neither happens, arrive returns when await gives up.
func (s *brokenStore) arrive() {
	s.events.Add(1)
	await(&s.events)
}

// await waits until the counter events is greater than at the start of the call. It gives
// up after 2,000 calls of runtime.Gosched.
func await(events *atomic.Int64) {
	n := events.Load()
	for range 2000 {
		if events.Load() > n {
			return
		}
		runtime.Gosched()
	}
}
