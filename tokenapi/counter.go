package tokenapi

import (
	"crypto/sha256"
	"math"
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
// fixed size, and at most max of them.
type counter struct {
	policy policy
	max    int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]entry
}

type entry struct {
	failures int
	until    time.Time // to wait
}

// An attempt is what begin counted.
type attempt struct {
	key           [sha256.Size]byte
	before, after entry
}

const maxEntries = 1 << 16

func newCounter(p policy) *counter {
	return &counter{policy: p, max: maxEntries, entries: map[[sha256.Size]byte]entry{}}
}

// begin counts an attempt as a failure, before it is known to be one, so that
// attempts at the same time count too. Or it says how long to wait.
func (c *counter) begin(name string, now time.Time) (a attempt, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := sha256.Sum256([]byte(name))
	e, known := c.entries[key]
	failures := c.failures(e, now)
	ready := e.until
	if failures >= c.policy.most {
		ready = ready.Add(c.policy.forget)
	}
	if wait := ready.Sub(now); wait > 0 {
		return a, wait
	}
	if !known && len(c.entries) >= c.max {
		c.evict(now)
	}
	failures++
	a = attempt{key, e, entry{failures, now.Add(c.policy.wait(failures))}}
	c.entries[key] = a.after
	return a, 0
}

// undo takes an attempt back that was no failure. Where others came since, which may
// have failed, it takes back as much of the wait as it brought.
func (c *counter) undo(a attempt, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[a.key]
	if e == a.after {
		e = a.before
	} else {
		e.failures--
		if wait := now.Add(c.policy.wait(e.failures)); e.until.After(wait) {
			e.until = wait
		}
	}
	if e.failures > 0 {
		c.entries[a.key] = e
		return
	}
	delete(c.entries, a.key)
}

// reset forgets all failures.
func (c *counter) reset(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, sha256.Sum256([]byte(name)))
}

func (c *counter) failures(e entry, now time.Time) int {
	if now.Sub(e.until) >= c.policy.forget {
		return 0
	}
	return e.failures
}

const evictFrom = 8

// evict drops, of a few that are there, the one with the fewest failures: so
// junk does not push out an account that is under attack.
func (c *counter) evict(now time.Time) {
	var fewest [sha256.Size]byte
	least, seen := 0, 0
	for key, e := range c.entries {
		if n := c.failures(e, now); seen == 0 || n < least {
			fewest, least = key, n
		}
		if seen++; seen == evictFrom {
			break
		}
	}
	delete(c.entries, fewest)
}
