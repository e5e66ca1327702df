// Package storecache keeps what a [tokenauth.Store] found for a short time, so that
// a busy key costs one query in some seconds, and one after each write of its last
// use, and not one a request.
//
//	store := storecache.New(sqlStore, nil)
//	tokens := tokenauth.New(store, "acme", nil)
//
// What it is worth, and what it costs: a revocation, rotation or any other change
// that another process makes, or that is made in a transaction, by
// [tokenauth.SQLStore.With], is seen at the latest [Options].MaxStale after it was
// committed. What is changed through the [Cache] itself is seen at once. In front of a
// replica, a revoked token may be kept once more: it ends MaxStale after the replica has it.
package storecache

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// Options are a [Cache]'s settings. Every zero field is the default.
type Options struct {
	// MaxStale bounds how long a change made elsewhere may stay unseen. It counts
	// from the start of the query that a record comes from, and a clock that is
	// set back or forward does not bend it. Zero: 10 seconds. Negative: nothing is
	// kept, and every Find asks the store.
	MaxStale time.Duration

	// MaxEntries is how many keys are kept, those fetched last; each costs some 200
	// bytes beside its record. Zero or negative: 10,000.
	MaxEntries int
}

const (
	defaultMaxStale   = 10 * time.Second
	defaultMaxEntries = 10_000
)

// A Cache is a [tokenauth.Store] in front of another, and safe for concurrent use.
// It starts no goroutine but for a query, and needs no closing.
//
// It keeps records that were found, and nothing else: a key that is unknown, and a
// store that does not answer, are asked for again each time. So unknown keys take no
// place, a fresh key works at once, and a short failure stays short.
type Cache struct {
	store      tokenauth.Store // not embedded: a new method must not slip past
	maxStale   time.Duration
	maxEntries int
	begin      time.Time // times are durations since, on the monotonic clock

	mu      sync.RWMutex
	entries map[tokenauth.Digest]*entry
	byID    map[string][]*entry // the keys of a token
	oldest  []*entry            // all entries, and some that were forgotten, in order
	fills   map[tokenauth.Digest]*fill
}

// An entry is what is kept of a key.
type entry struct {
	digest    tokenauth.Digest
	record    *tokenauth.Record
	fetchedAt time.Duration // the start of the query
}

// A fill is a query that runs.
type fill struct {
	startedAt time.Duration
	done      chan struct{} // closed when record and err are set
	record    *tokenauth.Record
	err       error
}

// New returns a Cache in front of store. Options may be nil; they are copied. It
// panics if store is nil.
func New(store tokenauth.Store, opts *Options) *Cache {
	if store == nil {
		panic("storecache: New: nil Store")
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
	return c
}

// isFresh reports whether what was asked for at that time may still be served.
func (c *Cache) isFresh(at time.Duration) bool { return time.Since(c.begin)-at < c.maxStale }

// Find implements [tokenauth.Store]. Of many calls for one key at once, one asks the
// store; it goes on, for the others, when that call is cancelled.
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

// fill returns the query for d that runs, or starts one.
func (c *Cache) fill(ctx context.Context, d tokenauth.Digest) *fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[d]; e != nil && c.isFresh(e.fetchedAt) { // a query has just ended
		f := &fill{done: make(chan struct{}), record: e.record}
		close(f.done)
		return f
	}
	if f := c.fills[d]; f != nil && c.isFresh(f.startedAt) { // one that hangs holds up nobody for longer
		return f
	}
	f := &fill{startedAt: time.Since(c.begin), done: make(chan struct{})}
	c.fills[d] = f
	go c.run(context.WithoutCancel(ctx), d, f)
	return f
}

// run asks the store, and keeps what it found unless something was written meanwhile.
func (c *Cache) run(ctx context.Context, d tokenauth.Digest, f *fill) {
	defer close(f.done)
	defer func() {
		if p := recover(); p != nil { // in a goroutine of ours it would end the process
			f.record, f.err = nil, fmt.Errorf("storecache: the store panicked with a %T", p)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.fills[d] != f {
			return // a write has detached it
		}
		delete(c.fills, d)
		if f.err == nil && f.record != nil {
			c.keep(&entry{digest: d, record: f.record, fetchedAt: f.startedAt})
		}
	}()
	f.record, f.err = c.store.Find(ctx, d)
}

// keep adds an entry, and forgets the oldest where there are too many or they are stale.
func (c *Cache) keep(e *entry) {
	if old := c.entries[e.digest]; old != nil {
		c.forget(old)
	}
	for len(c.oldest) > 0 && (len(c.entries) >= c.maxEntries || !c.isFresh(c.oldest[0].fetchedAt)) {
		c.forget(c.oldest[0])
		c.oldest = c.oldest[1:]
	}
	if len(c.oldest)-len(c.entries) >= c.maxEntries { // more than half of them were forgotten
		c.oldest = slices.DeleteFunc(c.oldest, func(o *entry) bool { return c.entries[o.digest] != o })
	}
	c.entries[e.digest] = e
	c.byID[e.record.Token.ID] = append(c.byID[e.record.Token.ID], e)
	c.oldest = append(c.oldest, e)
}

// forget removes an entry, if it is still there. Its place in the queue stays for a
// while.
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

// Invalidate forgets what is kept of tokens, given their IDs, for services that learn
// by a message what other processes change. Queries that run are not kept either.
func (c *Cache) Invalidate(ids ...string) {
	c.invalidate(func() {
		for _, id := range ids {
			for _, e := range slices.Clone(c.byID[id]) {
				c.forget(e)
			}
		}
	})
}

// invalidate calls f, and detaches the queries that run: they may have seen what was
// there before, so nothing is kept of them, and a later Find starts its own.
func (c *Cache) invalidate(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.fills)
	f()
}

// invalidateTokens forgets what is kept of tokens that are so.
func (c *Cache) invalidateTokens(so func(t *tokenauth.Token) bool) {
	c.invalidate(func() {
		for _, e := range c.entries {
			if so(&e.record.Token) {
				c.forget(e)
			}
		}
	})
}

func (c *Cache) invalidateUser(userID string) {
	c.invalidateTokens(func(t *tokenauth.Token) bool { return t.UserID == userID })
}

// invalidateEnded forgets what a Prune deletes. Of an end that only the store knows,
// nothing is seen for longer than of any change made elsewhere.
func (c *Cache) invalidateEnded(before time.Time) {
	ended := func(at time.Time) bool { return !at.IsZero() && at.Before(before) }
	c.invalidateTokens(func(t *tokenauth.Token) bool { return ended(t.RevokedAt) || ended(t.ExpiresAt) })
}

// Create implements [tokenauth.Store].
func (c *Cache) Create(ctx context.Context, records ...tokenauth.Record) error {
	c.Invalidate() // a query that runs may look for one of these
	defer c.Invalidate()
	return c.store.Create(ctx, records...)
}

// List implements [tokenauth.Store]. It always asks the store.
func (c *Cache) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	return c.store.List(ctx, q)
}

// Update implements [tokenauth.Store].
func (c *Cache) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id) // also after an error: nobody knows whether it was done
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
func (c *Cache) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	c.Invalidate(id)
	defer c.Invalidate(id)
	return c.store.RevokeExpired(ctx, userID, id, at)
}

// RevokeAll implements [tokenauth.Store].
func (c *Cache) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	c.invalidateUser(userID)
	defer c.invalidateUser(userID)
	return c.store.RevokeAll(ctx, userID, at)
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
func (c *Cache) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	c.invalidateEnded(before)
	defer c.invalidateEnded(before)
	return c.store.Prune(ctx, before, limit)
}
