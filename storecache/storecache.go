// Package storecache provides a cache for a [tokenauth.Store]. With the default options, a key
// costs at most one query every ten seconds, plus one query after each write of its last-used time.
// Without the cache, each request costs one query.
//
//	cache, err := storecache.New(sqlStore, nil)
//	tokens, err := tokenauth.New(cache, "acme", nil)
//
// Changes that are made through a [Cache], such as a revocation, are visible immediately. Changes
// that are made elsewhere are visible at most [Options].MaxStale after their commit: changes by
// other processes, and changes in a transaction by [tokenauth.SQLStore.With]. If the store reads
// from a replica, MaxStale counts from the time when the replica has the change. This holds for
// changes through the Cache too.
//
// The Cache caches only the results of Find, which the authentication of requests uses.
// [tokenauth.Authenticator.Confirm] and the methods of the Manager that list or change tokens
// always read from the store.
package storecache

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// Options are the settings of a [Cache]. A zero field selects the default.
type Options struct {
	// MaxStale is the time for which the Cache serves a record. It counts from the start of the
	// query that returned the record. The Cache uses the monotonic clock. If MaxStale is zero, the
	// time is 10 seconds. If MaxStale is negative, the Cache stores nothing, and every Find calls
	// the store.
	MaxStale time.Duration

	// MaxEntries is the maximum number of cached keys. If the Cache is full, it evicts the key that
	// was fetched first. A key takes about 200 bytes plus its record. If MaxEntries is zero, the
	// maximum is 10,000.
	MaxEntries int
}

const (
	defaultMaxStale   = 10 * time.Second
	defaultMaxEntries = 10_000
)

// A Cache is a [tokenauth.Store] that caches the records of another Store. A Cache is safe for
// concurrent use. It runs a goroutine only during a query, and need not be closed.
//
// A Cache does not cache errors. Therefore unknown keys use no memory, a new key works immediately,
// and a failure of the store does not last longer because of the Cache.
type Cache struct {
	store      tokenauth.Store // not embedded, because each new method must also evict entries
	maxStale   time.Duration
	maxEntries int
	begin      time.Time // the Cache measures times as durations since begin, by the monotonic clock

	mu      sync.RWMutex
	entries map[tokenauth.Digest]*entry
	byID    map[string][]*entry // entries by token ID
	oldest  []*entry            // the entries in the order of fetching; an evicted entry stays here until keep removes it
	fills   map[tokenauth.Digest]*fill
}

// An entry is a cached record and the digest by which it was found.
type entry struct {
	digest    tokenauth.Digest
	record    *tokenauth.Record
	fetchedAt time.Duration // start of the query
}

// A fill is a running query.
type fill struct {
	startedAt time.Duration
	done      chan struct{} // closed when record and err are set
	record    *tokenauth.Record
	err       error
}

// New returns a Cache for store. New copies opts, which may be nil. It returns an error if
// MaxEntries is negative, and panics if store is nil.
func New(store tokenauth.Store, opts *Options) (*Cache, error) {
	if v := reflect.ValueOf(store); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		panic("storecache: New: nil Store")
	}
	if opts != nil && opts.MaxEntries < 0 {
		return nil, errors.New("storecache: New: Options.MaxEntries must not be negative")
	}
	c := &Cache{
		store: store, maxStale: defaultMaxStale, maxEntries: defaultMaxEntries, begin: time.Now(),
		entries: map[tokenauth.Digest]*entry{}, byID: map[string][]*entry{}, fills: map[tokenauth.Digest]*fill{},
	}
	if opts != nil && opts.MaxStale != 0 {
		c.maxStale = opts.MaxStale
	}
	if opts != nil && opts.MaxEntries > 0 {
		c.maxEntries = opts.MaxEntries
	}
	return c, nil
}

// isFresh reports whether the Cache may still serve the result of a query that started at the given
// time.
func (c *Cache) isFresh(at time.Duration) bool { return time.Since(c.begin)-at < c.maxStale }

// Find implements [tokenauth.Store]. Concurrent calls for the same key share one query of the
// store. The query continues if the call that started it is canceled.
func (c *Cache) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.maxStale < 0 {
		return c.store.Find(ctx, d)
	}
	c.mu.RLock()
	e := c.entries[d]
	c.mu.RUnlock()
	if e != nil && c.isFresh(e.fetchedAt) {
		return e.record, nil
	}
	f := c.fill(ctx, d)
	select {
	case <-f.done:
		return f.record, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill returns the running query for d. If there is none, fill starts a query.
func (c *Cache) fill(ctx context.Context, d tokenauth.Digest) *fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[d]; e != nil && c.isFresh(e.fetchedAt) { // fetched after the lookup in Find
		f := &fill{done: make(chan struct{}), record: e.record}
		close(f.done)
		return f
	}
	if f := c.fills[d]; f != nil && c.isFresh(f.startedAt) { // a query that runs for MaxStale may hang
		return f
	}
	f := &fill{startedAt: time.Since(c.begin), done: make(chan struct{})}
	c.fills[d] = f
	go c.run(context.WithoutCancel(ctx), d, f)
	return f
}

// run calls the store and caches the found record, unless a write has detached the query in the
// meantime.
func (c *Cache) run(ctx context.Context, d tokenauth.Digest, f *fill) {
	defer close(f.done)
	defer func() {
		if p := recover(); p != nil { // an unrecovered panic in this goroutine ends the process
			f.record, f.err = nil, fmt.Errorf("storecache: the store panicked with a %T", p)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.fills[d] != f {
			return // a write has detached the query
		}
		delete(c.fills, d)
		if f.err == nil && f.record != nil {
			c.keep(&entry{digest: d, record: f.record, fetchedAt: f.startedAt})
		}
	}()
	f.record, f.err = c.store.Find(ctx, d)
}

// keep adds an entry. It evicts the oldest entries while the cache is full or these entries are
// stale.
func (c *Cache) keep(e *entry) {
	if old := c.entries[e.digest]; old != nil {
		c.forget(old)
	}
	for len(c.oldest) > 0 && (len(c.entries) >= c.maxEntries || !c.isFresh(c.oldest[0].fetchedAt)) {
		c.forget(c.oldest[0])
		c.oldest = c.oldest[1:]
	}
	if len(c.oldest)-len(c.entries) >= c.maxEntries { // many entries in the queue were evicted
		c.oldest = slices.DeleteFunc(c.oldest, func(o *entry) bool { return c.entries[o.digest] != o })
	}
	c.entries[e.digest] = e
	c.byID[e.record.Token.ID] = append(c.byID[e.record.Token.ID], e)
	c.oldest = append(c.oldest, e)
}

// forget evicts an entry, unless the entry was evicted before. The entry stays in the queue
// c.oldest until keep removes it there.
func (c *Cache) forget(e *entry) {
	if c.entries[e.digest] != e {
		return
	}
	delete(c.entries, e.digest)
	id := e.record.Token.ID
	others := slices.DeleteFunc(c.byID[id], func(o *entry) bool { return o == e })
	if len(others) == 0 {
		delete(c.byID, id)
		return
	}
	c.byID[id] = others
}

// Invalidate evicts all cached keys of the tokens with the given IDs. A service can call Invalidate
// when it receives a message that another process has changed tokens. Invalidate also keeps the
// results of all running queries out of the cache.
func (c *Cache) Invalidate(ids ...string) {
	c.invalidate(func() {
		for _, id := range ids {
			for _, e := range slices.Clone(c.byID[id]) {
				c.forget(e)
			}
		}
	})
}

// invalidate calls f with the lock held. It also detaches all running queries, because their
// results may be outdated. The result of a detached query is not cached, and later calls of Find do
// not join the query.
func (c *Cache) invalidate(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.fills)
	f()
}

// invalidateTokens evicts the entries for whose token match returns true.
func (c *Cache) invalidateTokens(match func(t *tokenauth.Token) bool) {
	c.invalidate(func() {
		for _, e := range c.entries {
			if match(&e.record.Token) {
				c.forget(e)
			}
		}
	})
}

func (c *Cache) invalidateUser(userID string) {
	c.invalidateTokens(func(t *tokenauth.Token) bool { return t.UserID == userID })
}

// invalidateEnded evicts the entries of the tokens that Prune deletes. If only the store knows that
// a token was revoked or has expired, the entry of the token stays cached for at most MaxStale.
func (c *Cache) invalidateEnded(before, unusedSince time.Time) {
	ended := func(at time.Time) bool { return !at.IsZero() && at.Before(before) }
	c.invalidateTokens(func(t *tokenauth.Token) bool {
		unused := !unusedSince.IsZero() && !t.CreatedAt.After(unusedSince) && !t.LastUsedAt.After(unusedSince)
		return ended(t.RevokedAt) || ended(t.ExpiresAt) || unused
	})
}

// Create implements [tokenauth.Store].
func (c *Cache) Create(ctx context.Context, records ...tokenauth.Record) error {
	c.Invalidate() // detaches queries that may search for one of the new keys
	defer c.Invalidate()
	return c.store.Create(ctx, records...)
}

// List implements [tokenauth.Store]. The Cache does not cache its results.
func (c *Cache) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	return c.store.List(ctx, q)
}

// Update implements [tokenauth.Store].
func (c *Cache) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id) // also after an error, because the store may have made the change
	return c.store.Update(ctx, userID, id, p, at)
}

// Rotate implements [tokenauth.Store].
func (c *Cache) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id)
	return c.store.Rotate(ctx, userID, id, r, at)
}

// Revoke implements [tokenauth.Store].
func (c *Cache) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id)
	return c.store.Revoke(ctx, userID, id, at)
}

// RevokeExpired implements [tokenauth.Store].
func (c *Cache) RevokeExpired(ctx context.Context, userID, id string, at, unusedSince time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id)
	return c.store.RevokeExpired(ctx, userID, id, at, unusedSince)
}

// RevokeAll implements [tokenauth.Store].
func (c *Cache) RevokeAll(ctx context.Context, userID string, at time.Time, limit int) (int, error) {
	c.invalidateUser(userID)
	defer c.invalidateUser(userID)
	return c.store.RevokeAll(ctx, userID, at, limit)
}

// Touch implements [tokenauth.Store].
func (c *Cache) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	ids := make([]string, len(uses))
	for i := range uses {
		ids[i] = uses[i].ID
	}
	c.Invalidate(ids...)
	defer c.Invalidate(ids...)
	return c.store.Touch(ctx, uses...)
}

// Prune implements [tokenauth.Store].
func (c *Cache) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
	c.invalidateEnded(before, unusedSince)
	defer c.invalidateEnded(before, unusedSince)
	return c.store.Prune(ctx, before, unusedSince, limit)
}

// InTransaction reports whether the other store is in a transaction, as [tokenauth.SQLStore] does.
func (c *Cache) InTransaction() bool {
	s, ok := c.store.(interface{ InTransaction() bool })
	return ok && s.InTransaction()
}
