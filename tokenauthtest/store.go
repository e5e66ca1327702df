package tokenauthtest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Store is a [tokenauth.Store] that fails when it is told to, and passes every
// call on to another one until then. It is safe for concurrent use.
type Store struct {
	// A field and not embedded: a method that the interface gains must not be
	// passed on while the store is to fail.
	inner   tokenauth.Store
	failure atomic.Pointer[error]
}

var _ tokenauth.Store = (*Store)(nil)

// NewStore returns a Store that passes calls on to inner.
func NewStore(inner tokenauth.Store) *Store { return &Store{inner: inner} }

// Fail makes every call from now on return err and do nothing; nil heals the
// store. An Authenticator answers requests with 503 meanwhile, whatever err is
// but [tokenauth.ErrNotFound], which is the answer that there is no such key.
func (s *Store) Fail(err error) { s.failure.Store(&err) }

func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Create implements [tokenauth.Store].
func (s *Store) Create(ctx context.Context, records ...tokenauth.Record) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.Create(ctx, records...)
}

// Find implements [tokenauth.Store].
func (s *Store) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	if err := s.failed(); err != nil {
		return nil, err
	}
	return s.inner.Find(ctx, d)
}

// List implements [tokenauth.Store].
func (s *Store) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	if err := s.failed(); err != nil {
		return nil, err
	}
	return s.inner.List(ctx, q)
}

// Update implements [tokenauth.Store].
func (s *Store) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.Update(ctx, userID, id, p, at)
}

// Rotate implements [tokenauth.Store].
func (s *Store) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.Rotate(ctx, userID, id, r, at)
}

// Revoke implements [tokenauth.Store].
func (s *Store) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.Revoke(ctx, userID, id, at)
}

// RevokeExpired implements [tokenauth.Store].
func (s *Store) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.RevokeExpired(ctx, userID, id, at)
}

// RevokeAll implements [tokenauth.Store].
func (s *Store) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	if err := s.failed(); err != nil {
		return 0, err
	}
	return s.inner.RevokeAll(ctx, userID, at)
}

// Touch implements [tokenauth.Store].
func (s *Store) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.inner.Touch(ctx, uses...)
}

// Prune implements [tokenauth.Store].
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.failed(); err != nil {
		return 0, err
	}
	return s.inner.Prune(ctx, before, limit)
}
