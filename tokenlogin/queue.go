package tokenlogin

import (
	"context"
	"slices"
	"sync"
)

// A queue limits the number of password checks that run at the same time, because hashing occupies
// a processor. If an attempt from a known place waits, its check runs before the checks of all
// other waiting attempts. Therefore junk attempts from everywhere cannot delay a user at a known
// place by more than the checks that already run.
type queue struct {
	mu      sync.Mutex
	free    int // number of checks that may begin now
	waiting struct{ known, other []chan struct{} }
}

// enter waits until a check may run or ctx ends. If enter returns nil, the caller must call leave
// after the check.
func (q *queue) enter(ctx context.Context, known bool) error {
	waiting := &q.waiting.other
	if known {
		waiting = &q.waiting.known
	}
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	*waiting = append(*waiting, turn)
	q.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	i := slices.Index(*waiting, turn)
	if i >= 0 {
		*waiting = slices.Delete(*waiting, i, i+1)
	}
	q.mu.Unlock()
	if i < 0 {
		q.leave() // the turn came at the same time
	}
	return context.Cause(ctx)
}

// leave ends a check and lets the next one begin.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, waiting := range []*[]chan struct{}{&q.waiting.known, &q.waiting.other} {
		if len(*waiting) > 0 {
			close((*waiting)[0])
			*waiting = slices.Delete(*waiting, 0, 1)
			return
		}
	}
	q.free++
}
