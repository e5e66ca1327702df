package tokenauthtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Store is a [tokenauth.Store] that passes each call on to another store. A test can make its
// calls fail, intercept them, and see which methods were called. A Store is safe for concurrent
// use.
type Store struct {
	inner tokenauth.Store // not embedded: a new method of the interface must not bypass the Store

	mu        sync.Mutex
	failure   error
	intercept func(ctx context.Context, method string, next func() error) error
	calls     []string
}

var _ tokenauth.Store = (*Store)(nil)

// NewStore returns a Store that passes calls on to inner.
func NewStore(inner tokenauth.Store) *Store { return &Store{inner: inner} }

// Fail makes every later call return err and do nothing. If err is nil, calls work again.
//
// While the store fails, an Authenticator responds to requests with status 503. The exception is
// [tokenauth.ErrNotFound]: it means that the key is unknown, so the status is 401.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Intercept makes every later call run f. The parameter method is the name of the called method,
// such as "Find". The function next passes the call on and returns its error. The caller gets the
// error that f returns. If f is nil, calls are no longer intercepted.
//
// For example, f can return an error without calling next (the store is down), block before or
// after next (the store is slow), or return an error after next (the change was made, but the
// response was lost). If f returns nil without calling next, the caller gets no error and zero
// values.
//
// f may run concurrently. It may call methods of the Store; these calls run f, too. Fail takes
// precedence: calls that it makes fail do not run f.
func (s *Store) Intercept(f func(ctx context.Context, method string, next func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Calls returns the names of all methods of [tokenauth.Store] that were called since NewStore or
// the last ResetCalls, in order. Calls that fail, or that have not returned yet, are included.
func (s *Store) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count returns how often Calls contains a method.
func (s *Store) Count(method string) int {
	n := 0
	for _, m := range s.Calls() {
		if m == method {
			n++
		}
	}
	return n
}

// ResetCalls makes the Store forget all calls. Until then each call takes some memory, which
// matters only in tests with millions of calls.
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
func (s *Store) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	return s.call(ctx, "Revoke", func() error { return s.inner.Revoke(ctx, userID, id, at) })
}

// RevokeExpired implements [tokenauth.Store].
func (s *Store) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	return s.call(ctx, "RevokeExpired", func() error { return s.inner.RevokeExpired(ctx, userID, id, at) })
}

// RevokeAll implements [tokenauth.Store].
func (s *Store) RevokeAll(ctx context.Context, userID string, at time.Time) (n int, err error) {
	err = s.call(ctx, "RevokeAll", func() (err error) {
		n, err = s.inner.RevokeAll(ctx, userID, at)
		return err
	})
	return n, err
}

// Touch implements [tokenauth.Store].
func (s *Store) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	return s.call(ctx, "Touch", func() error { return s.inner.Touch(ctx, uses...) })
}

// Prune implements [tokenauth.Store].
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.call(ctx, "Prune", func() (err error) {
		n, err = s.inner.Prune(ctx, before, limit)
		return err
	})
	return n, err
}
