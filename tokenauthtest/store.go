package tokenauthtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Store is a [tokenauth.Store] that passes each call on to an inner store. A test can make the
// calls fail, can intercept calls, and can check which methods were called. A Store is safe for
// concurrent use.
type Store struct {
	// inner is not embedded. If it were embedded, a new method of the interface tokenauth.Store
	// would bypass Fail, Intercept and Calls.
	inner tokenauth.Store

	mu        sync.Mutex
	failure   error
	intercept func(ctx context.Context, method string, next func() error) error
	calls     []string
}

var _ tokenauth.Store = (*Store)(nil)

// NewStore returns a Store that passes each call on to the store inner.
func NewStore(inner tokenauth.Store) *Store { return &Store{inner: inner} }

// Fail makes all later calls of the Store's [tokenauth.Store] methods return err without calling
// the inner store. If err is nil, the methods call the inner store again.
//
// While the Store fails, an Authenticator responds with status 503 to each request that has a key.
// If err is [tokenauth.ErrNotFound], the key counts as unknown, and the status is 401.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Intercept makes all later calls of the Store's [tokenauth.Store] methods call f instead of the
// inner store. If f is nil, the methods call the inner store again.
//
// The parameter method of f is the name of the called method, such as "Find". If f calls next, next
// calls the method of the inner store and returns that method's error. The error that f returns is
// the error that the caller of the Store receives.
//
// The function f can simulate these failures:
//   - The store is down: f returns an error and does not call next.
//   - The store is slow: f waits before or after it calls next.
//   - The response is lost after the store made a change: f calls next and then returns an error.
//
// If f returns nil without calling next, the caller of the Store receives zero values and no error.
//
// Concurrent calls of the Store call f concurrently. If f itself calls a method of the Store, that
// call also runs f. While Fail makes calls fail, these calls do not run f.
func (s *Store) Intercept(f func(ctx context.Context, method string, next func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Calls returns the names of the [tokenauth.Store] methods that were called since NewStore or the
// last ResetCalls, in the order of the calls. Calls that failed, and calls that have not returned
// yet, are included.
func (s *Store) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count returns the number of calls of the given method, such as "Find", since NewStore or the last
// ResetCalls.
func (s *Store) Count(method string) int {
	n := 0
	for _, m := range s.Calls() {
		if m == method {
			n++
		}
	}
	return n
}

// ResetCalls removes all calls from the list that Calls returns. The list grows with each call of
// the Store, so a test with millions of calls can use ResetCalls to limit its memory use.
func (s *Store) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

func (s *Store) call(ctx context.Context, method string, next func() error) error {
	s.mu.Lock()
	s.calls = append(s.calls, method)
	failure, intercept := s.failure, s.intercept
	s.mu.Unlock()
	if failure != nil {
		return failure
	}
	if intercept != nil {
		return intercept(ctx, method, next)
	}
	return next()
}

// InTransaction reports whether the inner store is in a transaction, as [tokenauth.SQLStore] does.
func (s *Store) InTransaction() bool {
	inner, ok := s.inner.(interface{ InTransaction() bool })
	return ok && inner.InTransaction()
}

// Create implements [tokenauth.Store].
func (s *Store) Create(ctx context.Context, records ...tokenauth.Record) error {
	return s.call(ctx, "Create", func() error { return s.inner.Create(ctx, records...) })
}

// Find implements [tokenauth.Store].
func (s *Store) Find(ctx context.Context, d tokenauth.Digest) (found *tokenauth.Record, err error) {
	err = s.call(ctx, "Find", func() (err error) {
		found, err = s.inner.Find(ctx, d)
		return err
	})
	return found, err
}

// List implements [tokenauth.Store].
func (s *Store) List(ctx context.Context, q tokenauth.Query) (found []tokenauth.Record, err error) {
	err = s.call(ctx, "List", func() (err error) {
		found, err = s.inner.List(ctx, q)
		return err
	})
	return found, err
}

// Update implements [tokenauth.Store].
func (s *Store) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	return s.call(ctx, "Update", func() error { return s.inner.Update(ctx, userID, id, p, at) })
}

// Rotate implements [tokenauth.Store].
func (s *Store) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	return s.call(ctx, "Rotate", func() error { return s.inner.Rotate(ctx, userID, id, r, at) })
}

// Revoke implements [tokenauth.Store].
func (s *Store) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	return s.call(ctx, "Revoke", func() error { return s.inner.Revoke(ctx, userID, id, at, by) })
}

// RevokeExpired implements [tokenauth.Store].
func (s *Store) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	return s.call(ctx, "RevokeExpired", func() error { return s.inner.RevokeExpired(ctx, userID, id, at, by, unusedSince) })
}

// RevokeAll implements [tokenauth.Store].
func (s *Store) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	err = s.call(ctx, "RevokeAll", func() (err error) {
		n, err = s.inner.RevokeAll(ctx, userID, at, by, limit)
		return err
	})
	return n, err
}

// Touch implements [tokenauth.Store].
func (s *Store) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.call(ctx, "Touch", func() error { return s.inner.Touch(ctx, uses...) })
}

// Prune implements [tokenauth.Store].
func (s *Store) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
	err = s.call(ctx, "Prune", func() (err error) {
		n, err = s.inner.Prune(ctx, before, unusedSince, limit)
		return err
	})
	return n, err
}
