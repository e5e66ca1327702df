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

// A throttle counts failures by account or by address. It keeps digests, of a
// fixed size, and at most max of them.
type throttle struct {
	policy policy
	max    int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]entry
}

type entry struct {
	failures int
	until    time.Time // to wait
}

const maxEntries = 1 << 16

func newThrottle(p policy) *throttle {
	return &throttle{policy: p, max: maxEntries, entries: map[[sha256.Size]byte]entry{}}
}

// begin counts an attempt as a failure, before it is known to be one, so that
// attempts at the same time count too. Or it says how long to wait.
func (t *throttle) begin(name string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sha256.Sum256([]byte(name))
	e, known := t.entries[key]
	failures := t.failures(e, now)
	ready := e.until
	if failures >= t.policy.most {
		ready = ready.Add(t.policy.forget)
	}
	if wait := ready.Sub(now); wait > 0 {
		return wait
	}
	if !known && len(t.entries) >= t.max {
		t.evict(now)
	}
	failures++
	t.entries[key] = entry{failures, now.Add(t.policy.wait(failures))}
	return 0
}

// undo takes an attempt back that was no failure, and as much of the wait as it
// brought: others may have failed since.
func (t *throttle) undo(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sha256.Sum256([]byte(name))
	if e := t.entries[key]; e.failures > 1 {
		e.failures--
		if wait := now.Add(t.policy.wait(e.failures)); e.until.After(wait) {
			e.until = wait
		}
		t.entries[key] = e
		return
	}
	delete(t.entries, key)
}

// reset forgets all failures.
func (t *throttle) reset(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, sha256.Sum256([]byte(name)))
}

func (t *throttle) failures(e entry, now time.Time) int {
	if now.Sub(e.until) >= t.policy.forget {
		return 0
	}
	return e.failures
}

const evictFrom = 8

// evict drops, of a few that are there, the one with the fewest failures: so
// junk does not push out an account that is under attack.
func (t *throttle) evict(now time.Time) {
	var fewest [sha256.Size]byte
	least, seen := 0, 0
	for key, e := range t.entries {
		if n := t.failures(e, now); seen == 0 || n < least {
			fewest, least = key, n
		}
		if seen++; seen == evictFrom {
			break
		}
	}
	delete(t.entries, fewest)
}
