// Package uses collects when tokens were last used, and writes it down a while
// later: for many tokens in one call, and never while somebody waits.
package uses

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batch   = 500       // tokens in one call of write
	most    = 32 * 1024 // tokens that are remembered; a use of one more is not
	timeout = 30 * time.Second
)

// A Tracker is safe for concurrent use. It has no goroutine, and no timer runs where
// nothing is to be written.
type Tracker struct {
	delay  time.Duration
	write  func(ctx context.Context, latest map[string]time.Time) error
	failed func(error)

	running chan struct{} // of one place: the flush that runs has it

	// recent holds some of those that are pending, by the address of their ID: of a
	// busy token whose row stays in memory, a use costs no lock.
	recent [64]atomic.Pointer[recentUse]

	mu      sync.Mutex
	pending map[string]time.Time // the latest use by token ID
	writing map[string]time.Time // what the flush that runs has taken
	timer   *time.Timer          // nil: none is set
}

type recentUse struct {
	id *string
	at atomic.Int64 // microseconds; may be a second behind, so that it is seldom written
}

// New returns a Tracker that calls write when delay has passed since the first use,
// or sooner if there are many. What was not written, because write failed, is kept
// and tried again; failed is told of it.
func New(delay time.Duration, write func(ctx context.Context, latest map[string]time.Time) error, failed func(error)) *Tracker {
	return &Tracker{delay: delay, write: write, failed: failed, running: make(chan struct{}, 1), pending: map[string]time.Time{}}
}

// Note remembers a use, to the second, unless the last one that is written down was
// less than the delay before it.
func (t *Tracker) Note(id *string, last, at time.Time) {
	if *id == "" {
		return
	}
	place := &t.recent[(*id)[0]%64]
	if u := place.Load(); u != nil && u.id == id {
		if now := at.UnixMicro(); now-u.at.Load() >= time.Second.Microseconds() {
			u.at.Store(now)
		}
		return
	}
	if last.After(at.Add(-t.delay)) { // at.Sub(last) is slow where it overflows
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.note(*id, at) && len(t.pending) == batch {
		go t.flushFull()
	}
	if _, ok := t.pending[*id]; ok {
		t.settle(place.Load())
		u := &recentUse{id: id}
		u.at.Store(at.UnixMicro())
		place.Store(u)
	}
}

// settle takes over what was noted without the lock.
func (t *Tracker) settle(u *recentUse) {
	if u == nil {
		return
	}
	at := time.UnixMicro(u.at.Load())
	if last, ok := t.pending[*u.id]; ok && at.After(last) {
		t.pending[*u.id] = at
	}
}

// note reports whether id was not pending before; then the timer is set.
func (t *Tracker) note(id string, at time.Time) bool {
	last, ok := t.pending[id]
	if !ok && len(t.pending) >= most || ok && !at.After(last) {
		return false
	}
	t.pending[id] = at
	t.arm()
	return !ok
}

func (t *Tracker) arm() {
	if t.timer == nil {
		t.timer = time.AfterFunc(t.delay, t.flushLater)
	}
}

// flushLater writes what has waited for long enough, and leaves what comes meanwhile
// to the next timer: else a busy service would write a few at a time without end.
func (t *Tracker) flushLater() {
	t.mu.Lock()
	t.timer = nil
	t.mu.Unlock()
	t.flushBehind(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) > 0 {
		t.arm()
	}
}

// flushFull writes full batches before their time.
func (t *Tracker) flushFull() { t.flushBehind(batch) }

func (t *Tracker) flushBehind(least int) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = t.flush(ctx, least, batch) // failed was told
}

// Latest returns the latest use that is remembered and not known to be written; a
// zero time if there is none.
func (t *Tracker) Latest(id string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.pending[id]; ok {
		return at
	}
	return t.writing[id]
}

// Flush writes all that is remembered. It waits for a flush that runs.
func (t *Tracker) Flush(ctx context.Context) error { return t.flush(ctx, 1, 1) }

// flush writes a batch if at least so many are pending, and others while more are.
func (t *Tracker) flush(ctx context.Context, first, others int) error {
	if err := ctx.Err(); err != nil {
		return err // select would choose at random
	}
	select {
	case t.running <- struct{}{}:
		defer func() { <-t.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for least := first; ; least = others {
		latest := t.take(least)
		if len(latest) == 0 {
			return nil
		}
		err := t.safely(ctx, latest)
		t.written(err == nil)
		if err != nil {
			t.failed(err)
			return err
		}
	}
}

// safely is write, whose panic would end the process, since nobody waits for it.
func (t *Tracker) safely(ctx context.Context, latest map[string]time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("tokenauth: the store panicked with a %T", p)
		}
	}()
	return t.write(ctx, latest)
}

// take moves a batch from pending to writing, if at least so many are pending, and
// returns a copy.
func (t *Tracker) take(least int) map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) < least {
		return nil
	}
	for i := range t.recent {
		t.settle(t.recent[i].Swap(nil))
	}
	t.writing = make(map[string]time.Time, min(batch, len(t.pending)))
	for id, at := range t.pending {
		if len(t.writing) == batch {
			break
		}
		t.writing[id] = at
		delete(t.pending, id)
	}
	return maps.Clone(t.writing)
}

// written ends what take began: what was not written is pending again.
func (t *Tracker) written(ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok {
		for id, at := range t.writing {
			t.note(id, at)
		}
	}
	t.writing = nil
}
