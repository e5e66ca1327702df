package tokenlogin

import (
	"context"
	"slices"
	"sync"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

// A queue limits the number of password checks that run at the same time, because hashing occupies
// a processor. If an attempt from a known place waits, its check runs before the checks of other
// waiting attempts. Therefore junk attempts from everywhere cannot delay a user at a known place by
// more than the checks that already run.
//
// An attacker with accounts at known places must not occupy all checks. Therefore one other check
// runs after maxRow checks of known places in a row. Each account has at most one attempt per known
// place in the queue; see [counter.begin].
type queue struct {
	mu    sync.Mutex
	free  int // number of checks that may begin now
	known []chan struct{}
	other []chan struct{}
	row   int // number of checks of known places that began in a row while other attempts waited
}

const maxRow = 4

// run calls check in its turn. If ctx ends before, run returns an error and does not call check.
func (q *queue) run(ctx context.Context, known bool, check func() error) error {
	if err := q.enter(ctx, known); err != nil {
		return challenge.Unavailable(err)
	}
	defer q.leave()
	return check()
}

// enter waits until a check may run or ctx ends. If enter returns nil, the caller must call leave
// after the check.
func (q *queue) enter(ctx context.Context, known bool) error {
	waiting := &q.other
	if known {
		waiting = &q.known
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
	next := &q.known
	if len(q.known) == 0 || len(q.other) > 0 && q.row == maxRow {
		next = &q.other
	}
	if next == &q.known && len(q.other) > 0 {
		q.row++
	} else {
		q.row = 0
	}
	if len(*next) == 0 {
		q.free++
		return
	}
	close((*next)[0])
	*next = slices.Delete(*next, 0, 1)
}
