package storetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	findsChanged = "find a record as it is after each change, although Find returned the earlier record, or no record, before"
	neverChanges = "never change a record that Find has returned"
)

// around returns a function that breaks the methods of a store that write. Each broken method calls
// f with its name and with the method of plainStore, which f must call.
func around(f func(s *brokenStore, method string, next func() error) error) func(*brokenStore) {
	return func(s *brokenStore) {
		s.create = func(ctx context.Context, records ...tokenauth.Record) error {
			return f(s, "Create", func() error { return s.plainStore.Create(ctx, records...) })
		}
		s.update = func(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
			return f(s, "Update", func() error { return s.plainStore.Update(ctx, userID, id, p, at) })
		}
		s.rotate = func(ctx context.Context, userID, id string, rot tokenauth.Rotation, at time.Time) error {
			return f(s, "Rotate", func() error { return s.plainStore.Rotate(ctx, userID, id, rot, at) })
		}
		s.revoke = func(ctx context.Context, userID, id string, at time.Time, by string) error {
			return f(s, "Revoke", func() error { return s.plainStore.Revoke(ctx, userID, id, at, by) })
		}
		s.revokeExpired = func(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
			return f(s, "RevokeExpired", func() error { return s.plainStore.RevokeExpired(ctx, userID, id, at, by, unusedSince) })
		}
		s.revokeAll = func(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
			err = f(s, "RevokeAll", func() (err error) {
				n, err = s.plainStore.RevokeAll(ctx, userID, at, by, limit)
				return err
			})
			return n, err
		}
		s.touch = func(ctx context.Context, uses ...tokenauth.Use) error {
			return f(s, "Touch", func() error { return s.plainStore.Touch(ctx, uses...) })
		}
		s.prune = func(ctx context.Context, before, unusedSince time.Time, limit int) (n int, err error) {
			err = f(s, "Prune", func() (err error) {
				n, err = s.plainStore.Prune(ctx, before, unusedSince, limit)
				return err
			})
			return n, err
		}
	}
}

// all returns copies of all rows by their IDs.
func (s *brokenStore) all() map[string]tokenauth.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := map[string]tokenauth.Record{}
	for _, r := range s.rows {
		rows[r.Token.ID] = kept(r)
	}
	return rows
}

// eachChanged calls next, and then f for each record that next has changed. The record old is the
// zero Record if next has created r, and r is the zero Record if next has deleted old.
func (s *brokenStore) eachChanged(next func() error, f func(old, r tokenauth.Record)) error {
	before := s.all()
	err := next()
	after := s.all()
	for id, r := range after {
		if diff(before[id], r) != "" {
			f(before[id], r)
		}
	}
	for id, old := range before {
		if _, kept := after[id]; !kept {
			f(old, tokenauth.Record{})
		}
	}
	return err
}

// keepsCached returns a function that adds a cache to the Find method of a store. The cache also
// holds the digests that no record has. Each method that writes removes from the cache the digests
// of the records that it changes, except those for which keeps wrongly returns true. For old and r,
// see eachChanged.
func keepsCached(keeps func(method string, old, r tokenauth.Record, d tokenauth.Digest) bool) func(*brokenStore) {
	return func(s *brokenStore) {
		var mu sync.Mutex
		cache := map[tokenauth.Digest]*tokenauth.Record{}
		around(func(s *brokenStore, method string, next func() error) error {
			mu.Lock()
			defer mu.Unlock()
			return s.eachChanged(next, func(old, r tokenauth.Record) {
				for _, d := range append(digestsOf(old), digestsOf(r)...) {
					if !keeps(method, old, r, d) {
						delete(cache, d)
					}
				}
			})
		})(s)
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			r, ok := cache[d]
			if !ok || ctx.Err() != nil {
				var err error
				if r, err = s.plainStore.Find(ctx, d); ctx.Err() != nil {
					return nil, err
				}
				cache[d] = r
			}
			if r == nil {
				return nil, tokenauth.ErrNotFound
			}
			return r, nil
		}
	}
}

// cacheIgnores is keepsCached for a cache that ignores all changes by one method.
func cacheIgnores(ignored string) func(*brokenStore) {
	return keepsCached(func(method string, _, _ tokenauth.Record, _ tokenauth.Digest) bool { return method == ignored })
}

// cacheIgnoresRetired is keepsCached for a cache in which one method leaves the entries of retired
// digests.
func cacheIgnoresRetired(ignored string) func(*brokenStore) {
	return keepsCached(func(method string, old, r tokenauth.Record, d tokenauth.Digest) bool {
		return method == ignored && d != old.Digest && d != r.Digest
	})
}

// changesFound returns a function that breaks a method of a store. The method changes the records
// that Find has returned.
func changesFound(changing string) func(*brokenStore) {
	return func(s *brokenStore) {
		var mu sync.Mutex
		found := map[string]*tokenauth.Record{} // by token ID
		around(func(s *brokenStore, method string, next func() error) error {
			err := next()
			rows := s.all()
			mu.Lock()
			defer mu.Unlock()
			for id, r := range found {
				if now := rows[id]; method == changing && diff(*r, now) != "" {
					*r = now
				}
			}
			return err
		})(s)
		s.find = func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			r, err := s.plainStore.Find(ctx, d)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			if old := found[r.Token.ID]; old == nil || diff(*old, *r) != "" {
				found[r.Token.ID] = r
			}
			return found[r.Token.ID], nil
		}
	}
}

// cacheBugs are bugs of stores that keep the records that Find has returned.
var cacheBugs = []bug{
	{"Find returns a cached record after RevokeAll", cacheIgnores("RevokeAll"), []string{findsChanged}},
	{"Find returns a cached record of a retired digest after RevokeExpired", cacheIgnoresRetired("RevokeExpired"), []string{findsChanged}},
	{"Find returns a cached record of a retired digest after Touch", cacheIgnoresRetired("Touch"), []string{findsChanged}},
	{"Find returns a cached record of a digest that Rotate has replaced", keepsCached(func(method string, _, r tokenauth.Record, d tokenauth.Digest) bool {
		return method == "Rotate" && !slices.Contains(digestsOf(r), d)
	}), []string{findsChanged}},
	{"Find remembers that no record had the new digest of a rotation", keepsCached(func(method string, old, r tokenauth.Record, d tokenauth.Digest) bool {
		return method == "Rotate" && !slices.Contains(digestsOf(old), d)
	}), []string{findsChanged}},
	{"Find returns a cached record of a retired digest after Prune", cacheIgnoresRetired("Prune"), []string{findsChanged}},
	{"RevokeAll changes records that Find has returned", changesFound("RevokeAll"), []string{neverChanges}},
	{"RevokeExpired changes records that Find has returned", changesFound("RevokeExpired"), []string{neverChanges}},
	{"Prune clears records that Find has returned", changesFound("Prune"), []string{neverChanges}},
}
