// Package uses collects when tokens were last used, and writes it down a while
// later: for many tokens in one call, and never while somebody waits.
package uses

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batch   = 500       // tokens in one call of write
	most    = 32 * 1024 // tokens that are remembered; a use of one more is not
	buckets = 1024      // so many that a batch finds places, but for a token now and then
	places  = 4         // in a bucket
	timeout = 30 * time.Second
)

// A Tracker is safe for concurrent use. It has no goroutine, and no timer runs where
// nothing is to be written.
type Tracker struct {
	delay  time.Duration
	write  func(ctx context.Context, latest map[string]time.Time) error
	failed func(error)

	running chan struct{} // of one place: the flush that runs has it

	// recent holds most of those that are pending, by the address of their ID: of a
	// busy token whose row stays in memory, a use costs no lock.
	recent [buckets]bucket

	mu      sync.Mutex
	pending map[string]time.Time // the latest use by token ID
	writing map[string]time.Time // what the flush that runs has taken and not yet written
	timer   *time.Timer          // nil: none is set
}

// A bucket holds the recent uses of tokens whose IDs have the same hash.
type bucket [places]atomic.Pointer[recentUse]

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
	b := t.bucket(*id)
	for i := range b {
		if u := b[i].Load(); u != nil && u.id == id {
			if now := at.UnixMicro(); now-u.at.Load() >= time.Second.Microseconds() {
				u.at.Store(now)
				if b[i].Load() != u { // a flush has taken it, perhaps as it was before
					break
				}
			}
			return
		}
	}
	if last.After(at.Add(-t.delay)) { // at.Sub(last) is slow where it overflows
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.note(*id, at) && len(t.pending) == batch {
		go t.flushFull()
	}
	if _, ok := t.pending[*id]; !ok {
		return
	}
	for i := range b {
		if u := b[i].Load(); u == nil || *u.id == *id { // where all are taken, each use pays for the lock
			t.settle(u)
			u = &recentUse{id: id}
			u.at.Store(at.UnixMicro())
			b[i].Store(u)
			return
		}
	}
}

// bucket returns where the recent use of a token may be found. IDs are random.
func (t *Tracker) bucket(id string) *bucket {
	hash := uint(0)
	for _, c := range []byte(id[max(0, len(id)-3):]) {
		hash = 31*hash + uint(c)
	}
	return &t.recent[hash%buckets]
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
	if !ok && len(t.pending)+len(t.writing) >= most || ok && !at.After(last) {
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

// flushFull writes full batches before their time, and leaves the rest to the timer.
func (t *Tracker) flushFull() {
	t.tryFlush(func() int { return len(t.pending) / batch * batch })
}

// flushLater is what the timer calls. What it can't write, and what comes while
// another flush runs, waits for the next timer.
func (t *Tracker) flushLater() {
	t.mu.Lock()
	t.timer = nil
	t.mu.Unlock()
	t.tryFlush(t.all)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) > 0 {
		t.arm()
	}
}

// Latest returns the latest use that is remembered and not known to be written; a
// zero time if there is none.
func (t *Tracker) Latest(id string) (latest time.Time) {
	if id == "" {
		return latest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bucket(id)
	for i := range b {
		if u := b[i].Load(); u != nil && *u.id == id {
			latest = time.UnixMicro(u.at.Load())
		}
	}
	for _, noted := range []map[string]time.Time{t.pending, t.writing} {
		if at := noted[id]; at.After(latest) {
			latest = at
		}
	}
	return latest
}

// Flush writes all that is remembered when it is called. It waits for a flush that runs.
func (t *Tracker) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // select would choose at random
	}
	select {
	case t.running <- struct{}{}:
		defer func() { <-t.running }()
		return t.flush(ctx, t.all)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryFlush does nothing while another flush runs.
func (t *Tracker) tryFlush(n func() int) {
	select {
	case t.running <- struct{}{}:
		_ = t.flush(context.Background(), n) // failed was told
		<-t.running
	default:
	}
}

func (t *Tracker) all() int { return len(t.pending) }

// flush writes n of what is pending, and not what comes meanwhile: on a busy service
// there is always more, and it would be written a few at a time.
func (t *Tracker) flush(ctx context.Context, n func() int) error {
	t.take(n)
	for {
		part := t.part()
		if len(part) == 0 {
			return nil
		}
		err := t.safely(ctx, part)
		t.written(part, err == nil)
		if err != nil {
			t.failed(err)
			return err
		}
	}
}

// take moves n uses from pending to writing.
func (t *Tracker) take(n func() int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.recent {
		for j := range t.recent[i] {
			if place := &t.recent[i][j]; place.Load() != nil {
				t.settle(place.Swap(nil))
			}
		}
	}
	count := n()
	t.writing = make(map[string]time.Time, count)
	for id, at := range t.pending {
		if len(t.writing) == count {
			break
		}
		t.writing[id] = at
		delete(t.pending, id)
	}
}

// part returns what one call of write is to write.
func (t *Tracker) part() map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	part := make(map[string]time.Time, min(batch, len(t.writing)))
	for id, at := range t.writing {
		if len(part) == batch {
			break
		}
		part[id] = at
	}
	return part
}

// safely is write, whose panic would end the process, since nobody waits for it.
func (t *Tracker) safely(ctx context.Context, part map[string]time.Time) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("tokenauth: the store panicked with a %T", p)
		}
	}()
	return t.write(ctx, part)
}

// written ends a call of write. What could not be written is pending again.
func (t *Tracker) written(part map[string]time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		for id := range part {
			delete(t.writing, id)
		}
		return
	}
	again := t.writing
	t.writing = nil
	for id, at := range again {
		t.note(id, at)
	}
}
