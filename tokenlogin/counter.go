package tokenlogin

import (
	"context"
	"crypto/sha256"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

// A policy says how long an attempt must wait after failures in a row. The first failures cause no
// wait. Each further failure doubles the wait.
type policy struct {
	free    int           // with fewer failures in a row, attempts need not wait
	longest time.Duration // longest wait between two attempts
	most    int           // number of failures in a row after which attempts must wait for forget
	forget  time.Duration // duration without a failure after which earlier failures no longer count
}

var (
	// NIST SP 800-63B-4 section 3.2.2 allows at most 100 failures in a row.
	accountPolicy = policy{free: 5, longest: time.Hour, most: 100, forget: 30 * 24 * time.Hour}
	// Many people may share an address, so no number of failures locks an address.
	addressPolicy = policy{free: 20, longest: 5 * time.Minute, most: math.MaxInt, forget: time.Hour}
)

// wait returns how long attempts must wait after the given number of failures in a row.
func (p *policy) wait(failures int) time.Duration {
	if failures < p.free {
		return 0
	}
	return min(time.Second<<min(failures-p.free, 30), p.longest)
}

// A digest is the SHA-256 hash of a username or an address. Digests have a fixed size.
type digest [sha256.Size]byte

// A subject is an account or an address whose failures are counted. At each known place, an account
// is a subject of its own.
type subject struct {
	name  digest
	place digest // zero, except for an account at a known place
}

func (s *subject) atKnownPlace() bool { return s.place != digest{} }

// A counter counts the failures of subjects. It stores at most max subjects, not counting the
// subjects with running attempts.
type counter struct {
	policy policy
	max    int

	mu      sync.Mutex
	entries map[subject]*entry
}

type entry struct {
	failures int           // number of failures in a row
	until    time.Time     // end of the wait after the last failure
	running  int           // number of attempts that have not ended
	ended    chan struct{} // closed when a running attempt ends; nil if no attempt waits for that
}

// An outcome is the result of an attempt.
type outcome int

const (
	failed  outcome = iota
	unknown         // neither a failure nor a success
	passed          // a success, which ends the row of failures
)

const maxEntries = 1 << 16

func newCounter(p policy) *counter {
	return &counter{policy: p, max: maxEntries, entries: map[subject]*entry{}}
}

// begin admits an attempt, whose outcome the caller must pass to end. It returns an error if the
// attempt must wait because of earlier failures. Running attempts may fail, so at most policy.free
// of them run at the same time. Of an account at a known place, only one attempt runs at a time,
// because its check runs before other checks. begin blocks further attempts until a running attempt
// ends or ctx ends.
func (c *counter) begin(ctx context.Context, s subject) error {
	for {
		wait, ended := c.tryBegin(s)
		switch {
		case wait > 0:
			return tooMany(wait)
		case ended == nil:
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return challenge.Unavailable(context.Cause(ctx))
		}
	}
}

// tooMany returns the error for an attempt that must wait. Its Retry-After header has whole
// seconds, rounded up.
func tooMany(wait time.Duration) error {
	seconds := (wait + time.Second - 1) / time.Second
	return challenge.New(http.StatusTooManyRequests, "Too many failed attempts. Try again later.").
		With("Retry-After", strconv.FormatInt(int64(seconds), 10))
}

// tryBegin returns zero values if the attempt may run. Otherwise it returns either the time to
// wait, or a channel that is closed when a running attempt ends.
func (c *counter) tryBegin(s subject) (wait time.Duration, ended <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now() // with mu held, because an attempt that ends later would look like a wait
	e := c.entries[s]
	if e == nil {
		e = &entry{}
	}
	failures, ready := c.failures(e, now), e.until
	if failures >= c.policy.most {
		ready = ready.Add(c.policy.forget)
	}
	if wait := ready.Sub(now); wait > 0 {
		return wait, nil
	}
	if e.running > 0 && (s.atKnownPlace() || failures+e.running >= c.policy.free) {
		if e.ended == nil {
			e.ended = make(chan struct{})
		}
		return 0, e.ended
	}
	c.admit(s, now)
	return 0, nil
}

// join admits an attempt, like begin, but never makes it wait.
func (c *counter) join(s subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admit(s, time.Now())
}

func (c *counter) admit(s subject, now time.Time) {
	e := c.entries[s]
	if e == nil {
		if len(c.entries) >= c.max {
			c.evict(now)
		}
		e = &entry{}
		c.entries[s] = e
	}
	e.running++
}

// reset forgets the failures of all subjects with the given name.
func (c *counter) reset(name digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, e := range c.entries {
		if s.name != name {
			continue
		}
		e.failures, e.until = 0, time.Time{}
		if e.running == 0 {
			delete(c.entries, s)
		}
	}
}

// end records the outcome of an attempt that begin or join admitted.
func (c *counter) end(s subject, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	e := c.entries[s]
	e.running--
	switch o {
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
		delete(c.entries, s)
	}
}

// failures returns the number of failures in a row of an entry that still count at the time now.
func (c *counter) failures(e *entry, now time.Time) int {
	if now.Sub(e.until) >= c.policy.forget {
		return 0
	}
	return e.failures
}

const evictFrom = 8 // number of entries that evict compares

// evict compares a few entries and deletes the entry with the fewest failures. Therefore new
// entries seldom displace the entry of an account under attack. evict keeps entries with running
// attempts, because end needs these entries.
func (c *counter) evict(now time.Time) {
	var fewest subject
	least, seen := 0, 0
	for s, e := range c.entries {
		if e.running > 0 {
			continue
		}
		if n := c.failures(e, now); seen == 0 || n < least {
			fewest, least = s, n
		}
		if seen++; seen == evictFrom {
			break
		}
	}
	delete(c.entries, fewest)
}
