// Package storecache provides a cache for a [tokenauth.Store]. Use it if the queries that
// authenticate requests load the database too much. With the default options, a key costs at most
// one query every ten seconds, plus one query after each write of its last-used time. Without the
// cache, each request costs one query. In return, a revocation by another process takes effect up
// to ten seconds late. The cache stands between the [tokenauth.Manager] and its Store:
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
//
// The page [docs/performance.md] compares the cost of requests with and without the cache.
//
// [docs/performance.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/performance.md
package storecache

import (
	"context"
	"errors"
	"math"
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
	// was fetched first. A key takes about 300 bytes plus its record. If MaxEntries is zero, the
	// maximum is 10,000.
	MaxEntries int
}

const (
	defaultMaxStale   = 10 * time.Second
	defaultMaxEntries = 10_000
)

// A Cache is a [tokenauth.Store] that caches the records of another Store. A Cache is safe for
// concurrent use. It runs goroutines and timers only during a query, and need not be closed.
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
	byUser  map[string][]*entry // entries by user ID
	queue   entry               // head of a ring of the entries, in the order of fetching
	fills   map[tokenauth.Digest]*fill
	latest  *change // the latest change

	pruned       pruning // the recent calls of Prune; see prune
	prunedAt     time.Duration
	prunedNumber uint64 // number of the change of the latest Prune
}

// An entry is a cached record and the digest by which it was found.
type entry struct {
	record     *tokenauth.Record
	fetchedAt  time.Duration // start of the query
	number     uint64        // number of the latest change when the entry was added
	lifetime   lifetime
	digest     tokenauth.Digest
	userIndex  int    // index in the slice of byUser
	prev, next *entry // neighbors in the queue
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
		entries: map[tokenauth.Digest]*entry{}, byID: map[string][]*entry{}, byUser: map[string][]*entry{},
		fills: map[tokenauth.Digest]*fill{}, latest: &change{number: 1},
		pruned: pruning{math.MinInt64, math.MinInt64},
	}
	c.queue.prev, c.queue.next = &c.queue, &c.queue
	if opts != nil && opts.MaxStale != 0 {
		c.maxStale = opts.MaxStale
	}
	if opts != nil && opts.MaxEntries > 0 {
		c.maxEntries = opts.MaxEntries
	}
	return c, nil
}

// Find implements [tokenauth.Store]. Concurrent calls for the same key share one query of the
// store, or two queries if tokens change during the first query. If the context of a call ends, the
// query continues for the other calls. If no call waits for the query any more, the Cache cancels
// the query. Find returns an error if the query takes longer than a minute.
func (c *Cache) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.maxStale < 0 {
		return c.store.Find(ctx, d)
	}
	c.mu.RLock()
	e := c.lookup(d)
	c.mu.RUnlock()
	if e != nil && c.isFresh(e.fetchedAt) { // the lock is not held, because reading the clock takes long
		return e.record, nil
	}
	return c.fetch(ctx, d)
}

// isFresh reports whether the Cache may still serve the result of a query that started at the given
// time.
func (c *Cache) isFresh(at time.Duration) bool { return time.Since(c.begin)-at < c.maxStale }

// lookup returns the entry of a digest, or nil. The entry may be too old.
func (c *Cache) lookup(d tokenauth.Digest) *entry {
	e := c.entries[d]
	if e != nil && e.number < c.prunedNumber && c.pruned.deletes(e.lifetime) {
		return nil
	}
	return e
}

// maxEvictions is the maximum number of stale entries that keep evicts. If no key was fetched for a
// while, all entries are stale. Evicting all of them would hold the lock too long.
const maxEvictions = 100

// keep adds an entry. It evicts the oldest entry if the cache is full, and some stale entries.
func (c *Cache) keep(e *entry) {
	if old := c.entries[e.digest]; old != nil {
		c.evict(old)
	}
	for range maxEvictions {
		if len(c.entries) == 0 || len(c.entries) < c.maxEntries && c.isFresh(c.queue.next.fetchedAt) {
			break
		}
		c.evict(c.queue.next)
	}
	id, user := e.record.Token.ID, e.record.Token.UserID
	e.number, e.lifetime = c.latest.number, lifetimeOf(&e.record.Token)
	c.entries[e.digest] = e
	c.byID[id] = append(c.byID[id], e)
	e.userIndex = len(c.byUser[user])
	c.byUser[user] = append(c.byUser[user], e)
	e.prev, e.next = c.queue.prev, &c.queue
	e.prev.next, e.next.prev = e, e
}

// evict removes an entry. It takes constant time, even if the user has many entries. A token has at
// most two current keys.
func (c *Cache) evict(e *entry) {
	delete(c.entries, e.digest)
	e.prev.next, e.next.prev = e.next, e.prev
	id, user := e.record.Token.ID, e.record.Token.UserID
	c.byID[id] = slices.DeleteFunc(c.byID[id], func(o *entry) bool { return o == e })
	if len(c.byID[id]) == 0 {
		delete(c.byID, id)
	}
	all := c.byUser[user]
	last := len(all) - 1
	all[e.userIndex], all[last].userIndex = all[last], e.userIndex
	all[last] = nil
	c.byUser[user] = all[:last]
	if last == 0 {
		delete(c.byUser, user)
	}
}
