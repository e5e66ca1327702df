package storecache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// timeout is the maximum duration of a query. A store may have a shorter timeout of its own.
const timeout = time.Minute

// A fill is a query of the store that runs for one or more calls of Find.
type fill struct {
	digest    tokenauth.Digest
	startedAt time.Duration
	since     *change // the latest change when the query started; nil when the query has ended
	second    bool    // whether another query for the digest was running at the start
	waiting   int     // number of calls that wait for the result
	cancel    context.CancelFunc

	done     chan struct{} // closed when the following fields are set
	record   *tokenauth.Record
	err      error
	outdated uint64 // number of the first change since the start that concerns the result
}

// never is a number that no change has.
const never = math.MaxUint64

// fetch returns the result of a query of the store. The query may have started before the call, but
// then no change between the two starts concerns the result.
func (c *Cache) fetch(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	for begin := uint64(never); ; {
		f, latest := c.join(ctx, d)
		begin = min(begin, latest)
		select {
		case <-f.done:
			if begin < f.outdated {
				return f.record, f.err
			}
		case <-ctx.Done():
			c.leave(f)
			return nil, ctx.Err()
		}
	}
}

// join adds a waiting call to a running query for d, or starts a query. It also returns the number
// of the latest change.
//
// Until a query ends, the Cache does not know which token the query finds, so any later change may
// concern the token. The first call after such a change starts a second query and need not wait for
// the first query. All further calls join the second query, and repeat it if necessary.
func (c *Cache) join(ctx context.Context, d tokenauth.Digest) (f *fill, latest uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.lookup(d); e != nil && c.isFresh(e.fetchedAt) { // fetched after the lookup in Find
		f = &fill{done: make(chan struct{}), record: e.record, outdated: never, cancel: func() {}}
		close(f.done)
		return f, c.latest.number
	}
	f = c.fills[d]
	switch {
	case f == nil || !c.isFresh(f.startedAt): // a query that runs for MaxStale may hang
		f = c.start(ctx, d)
	case f.since != c.latest && !f.second:
		f = c.start(ctx, d)
		f.second = true
	}
	f.waiting++
	return f, c.latest.number
}

// start starts a query for d.
func (c *Cache) start(ctx context.Context, d tokenauth.Digest) *fill {
	f := &fill{digest: d, startedAt: time.Since(c.begin), since: c.latest, done: make(chan struct{})}
	ctx, f.cancel = context.WithTimeout(context.WithoutCancel(ctx), timeout)
	c.fills[d] = f
	go c.run(ctx, f)
	return f
}

// leave removes a waiting call from a query. It cancels the query if no call waits for it.
func (c *Cache) leave(f *fill) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return
	}
	if c.fills[f.digest] == f {
		delete(c.fills, f.digest) // later calls must not join a canceled query
	}
	f.cancel()
}

// run calls the store. If the store does not honor the context, run does not wait for the store.
func (c *Cache) run(ctx context.Context, f *fill) {
	defer f.cancel()
	defer context.AfterFunc(ctx, func() {
		c.finish(f, nil, fmt.Errorf("storecache: the store did not return: %w", ctx.Err()))
	})()
	var record *tokenauth.Record
	err := errors.New("storecache: the store ended the goroutine")
	defer func() {
		if p := recover(); p != nil { // an unrecovered panic in this goroutine ends the process
			record, err = nil, fmt.Errorf("storecache: the store panicked with a %T", p)
		}
		c.finish(f, record, err)
	}()
	record, err = c.store.Find(ctx, f.digest)
}

// finish sets the result of a query, and caches a found record unless a change has made the record
// outdated. If f has its result already, finish does nothing.
func (c *Cache) finish(f *fill, record *tokenauth.Record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.since == nil {
		return
	}
	f.record, f.err, f.outdated = record, err, never
	for ch := f.since.next; ch != nil && f.outdated == never; ch = ch.next {
		if ch.concerns(f.digest, record) {
			f.outdated = ch.number
		}
	}
	f.since = nil // otherwise the garbage collector could not free the changes
	close(f.done)
	if c.fills[f.digest] == f {
		delete(c.fills, f.digest)
	}
	old := c.entries[f.digest] // of a query that started later, perhaps
	if err == nil && record != nil && f.outdated == never && (old == nil || old.fetchedAt < f.startedAt) {
		c.keep(&entry{digest: f.digest, record: record, fetchedAt: f.startedAt})
	}
}
