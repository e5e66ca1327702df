package tokenapi

import (
	"context"
	"crypto/sha256"
	"math"
	"net/http"
	"sync"
	"time"
)

// A policy says how long to wait after failures in a row: not at all at first,
// then twice as long each time.
type policy struct {
	free    int           // failures without a wait
	longest time.Duration // wait
	most    int           // failures in a row; then nothing is let in until they are forgotten
	forget  time.Duration // after so long without a failure they count no more
}

var (
	// 100 in a row is what NIST SP 800-63B-4 section 3.2.2 allows.
	accountPolicy = policy{free: 5, longest: time.Hour, most: 100, forget: 30 * 24 * time.Hour}
	// Many people may share an address, and a success of one is no proof for the others.
	addressPolicy = policy{free: 20, longest: 5 * time.Minute, most: math.MaxInt, forget: time.Hour}
)

func (p *policy) wait(failures int) time.Duration {
	if failures < p.free {
		return 0
	}
	return min(time.Second<<min(failures-p.free, 30), p.longest)
}

// A counter counts failures by account or by address. It keeps digests, of a
// fixed size, and at most max of them, beside those of attempts that run.
type counter struct {
	policy policy
	max    int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]*entry
}

type entry struct {
	failures int           // known ones, in a row
	until    time.Time     // to wait after them
	running  int           // attempts that may become failures
	ended    chan struct{} // closed when one of them ends; nil: none waits for that
}

// A verdict is how an attempt ends.
type verdict int

const (
	failed  verdict = iota
	unknown         // no failure, and no proof of anything
	passed          // ends the row
)

const maxEntries = 1 << 16

func newCounter(p policy) *counter {
	return &counter{policy: p, max: maxEntries, entries: map[[sha256.Size]byte]*entry{}}
}

// begin lets an attempt run, whose verdict is for end, unless it returns an error: how
// long to wait after failures. Those that run may become failures, so no more run at
// once than are free; but they may succeed as well, so the next one waits for one of
// them to end, as long as ctx allows.
func (c *counter) begin(ctx context.Context, name string) error {
	key := sha256.Sum256([]byte(name))
	for {
		wait, ended := c.tryBegin(key, time.Now())
		switch {
		case wait > 0:
			return retry(http.StatusTooManyRequests, "Too many failed attempts. Try again later.", wait)
		case ended == nil:
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return unavailable(context.Cause(ctx))
		}
	}
}

// tryBegin returns neither if the attempt may run.
func (c *counter) tryBegin(key [sha256.Size]byte, now time.Time) (wait time.Duration, ended <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, known := c.entries[key]
	if !known {
		e = &entry{}
	}
	failures, ready := c.failures(e, now), e.until
	if failures >= c.policy.most {
		ready = ready.Add(c.policy.forget)
	}
	if wait := ready.Sub(now); wait > 0 {
		return wait, nil
	}
	if e.running > 0 && failures+e.running >= c.policy.free {
		if e.ended == nil {
			e.ended = make(chan struct{})
		}
		return 0, e.ended
	}
	if !known && len(c.entries) >= c.max {
		c.evict(now)
	}
	e.running++
	c.entries[key] = e
	return 0, nil
}

// end takes the verdict on an attempt that ran.
func (c *counter) end(name string, v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, now := sha256.Sum256([]byte(name)), time.Now()
	e := c.entries[key]
	e.running--
	switch v {
	case failed:
		e.failures = c.failures(e, now) + 1
		e.until = now.Add(c.policy.wait(e.failures))
	case passed:
		e.failures, e.until = 0, time.Time{}
	}
	if e.ended != nil {
		close(e.ended)
		e.ended = nil
	}
	if e.failures == 0 && e.running == 0 {
		delete(c.entries, key)
	}
}

func (c *counter) failures(e *entry, now time.Time) int {
	if now.Sub(e.until) >= c.policy.forget {
		return 0
	}
	return e.failures
}

const evictFrom = 8

// evict drops, of a few that are there, the one with the fewest failures: so
// junk does not push out an account that is under attack. Where an attempt runs, end
// needs the entry.
func (c *counter) evict(now time.Time) {
	var fewest [sha256.Size]byte
	least, seen := 0, 0
	for key, e := range c.entries {
		if e.running > 0 {
			continue
		}
		if n := c.failures(e, now); seen == 0 || n < least {
			fewest, least = key, n
		}
		if seen++; seen == evictFrom {
			break
		}
	}
	delete(c.entries, fewest)
}
