// Package calltest tells tests what a store was asked for.
package calltest

import (
	"context"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Recorder is a store that remembers which of its methods were called, for one
// goroutine.
type Recorder struct {
	tokenauth.Store
	Calls []string // names of methods, in order
}

// Create implements [tokenauth.Store].
func (r *Recorder) Create(ctx context.Context, records ...tokenauth.Record) error {
	r.Calls = append(r.Calls, "Create")
	return r.Store.Create(ctx, records...)
}

// Find implements [tokenauth.Store].
func (r *Recorder) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	r.Calls = append(r.Calls, "Find")
	return r.Store.Find(ctx, d)
}

// List implements [tokenauth.Store].
func (r *Recorder) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	r.Calls = append(r.Calls, "List")
	return r.Store.List(ctx, q)
}

// Update implements [tokenauth.Store].
func (r *Recorder) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	r.Calls = append(r.Calls, "Update")
	return r.Store.Update(ctx, userID, id, p, at)
}

// Rotate implements [tokenauth.Store].
func (r *Recorder) Rotate(ctx context.Context, userID, id string, rotation tokenauth.Rotation, at time.Time) error {
	r.Calls = append(r.Calls, "Rotate")
	return r.Store.Rotate(ctx, userID, id, rotation, at)
}

// Revoke implements [tokenauth.Store].
func (r *Recorder) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	r.Calls = append(r.Calls, "Revoke")
	return r.Store.Revoke(ctx, userID, id, at)
}

// RevokeAll implements [tokenauth.Store].
func (r *Recorder) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	r.Calls = append(r.Calls, "RevokeAll")
	return r.Store.RevokeAll(ctx, userID, at)
}
