// Package lastuse records when tokens were last used. It collects the times in memory and writes
// them later, for many tokens per call, so that no request waits for a write.
package lastuse

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	batch   = 500              // maximum number of tokens per call of write
	most    = 32 * 1024        // maximum number of tokens in memory; the times of further tokens are not recorded
	timeout = 30 * time.Second // maximum duration of a call of write

	// Delays of the retry of a failed write.
	minRetry = 100 * time.Millisecond // a busy service loses no last-used times in this time
	maxRetry = 10 * time.Second       // while tokens are used
	maxQuiet = 24 * time.Hour         // while no token is used, after an hour without a successful write
)

// A Tracker collects the last-used times of tokens. It is safe for concurrent use. It runs no
// goroutine and no timer while it has nothing to write.
type Tracker struct {
	delay  time.Duration
	write  func(ctx context.Context, latest map[string]time.Time) error
	failed func(error)

	recent   recent
	flushing chan struct{} // semaphore, held by the running flush

	mu      sync.Mutex
	pending map[string]time.Time // last-used times to write, by token ID
	writing map[string]time.Time // last-used times that the running flush has taken but not yet written
	timer   *time.Timer          // calls Flush; nil if no last-used time is pending
	retry   time.Duration        // time from the last failed write to its retry; 0 if the last write succeeded
	failing time.Time            // time of the first failed write since the last successful write
	closed  bool
	dropped time.Time // see Dropped
}

// New returns a Tracker that passes last-used times to write. The Tracker calls write when delay
// has passed since the first pending time, or earlier if 500 tokens have pending times. If write
// returns an error or panics, the Tracker calls failed, keeps the times, and retries.
//
// The first retry follows after 100 milliseconds. If the retry fails, too, the Tracker waits four
// times as long, but at most 10 seconds while tokens are used, and otherwise at most the delay. If
// no write succeeds for an hour and no token is used, the limit is 24 hours. Therefore the retries
// become rare if a service has closed its database but not the Tracker.
func New(delay time.Duration, write func(ctx context.Context, latest map[string]time.Time) error, failed func(error)) *Tracker {
	return &Tracker{delay: delay, write: write, failed: failed, flushing: make(chan struct{}, 1),
		pending: map[string]time.Time{}, writing: map[string]time.Time{}}
}

// Note records that a token was used at the time at. The parameter last is the token's last-used
// time in the store. Note ignores the use if last is less than the Tracker's delay before at, if
// the ID is empty, or if the Tracker is closed. Note may ignore a use that is less than one second
// after another use of the token.
func (t *Tracker) Note(id string, last, at time.Time) {
	// The times are compared first, because the comparison is cheaper than the lookup in recent.
	if at.UnixMicro()-last.UnixMicro() < t.delay.Microseconds() || t.recent.update(id, at) || id == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retry > maxRetry {
		t.retry = maxRetry
		t.start(maxRetry)
	}
	_, known := t.pending[id]
	if t.closed || !known && len(t.pending)+len(t.writing) >= most {
		if at.After(t.dropped) {
			t.dropped = at
		}
		return
	}
	t.merge(id, at)
	t.recent.add(id, at)
	if !known && len(t.pending) == batch && t.retry == 0 { // after a failure, the timer is set for the retry
		go t.flush(context.Background(), batch) // the timer later writes the times that do not fill a batch
	}
}

// merge adds the last-used time of a token to pending, unless pending has a later time for the
// token. merge starts the timer if necessary.
func (t *Tracker) merge(id string, at time.Time) {
	if last, ok := t.pending[id]; ok && !at.After(last) {
		return
	}
	t.pending[id] = at
	if t.timer == nil {
		t.start(t.delay)
	}
}

// start sets the timer, unless the Tracker is closed.
func (t *Tracker) start(wait time.Duration) {
	if t.timer != nil {
		t.timer.Stop()
	}
	if !t.closed {
		t.timer = time.AfterFunc(wait, func() { _ = t.Flush(context.Background()) }) // Flush passes its error to failed
	}
}

// Latest returns the latest recorded last-used time of a token that is not written yet. If there is
// none, Latest returns the zero time.
func (t *Tracker) Latest(id string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.recent.find(id); e != nil {
		t.merge(id, e.time())
	}
	if at := t.writing[id]; at.After(t.pending[id]) {
		return at
	}
	return t.pending[id]
}

// Dropped returns the time of the latest use that Note did not record, because too many tokens had
// pending times or the Tracker was closed. If there was none, Dropped returns the zero time.
func (t *Tracker) Dropped() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// Flush writes all last-used times that were recorded before the call. If another flush is running,
// Flush waits until the other flush ends.
func (t *Tracker) Flush(ctx context.Context) error { return t.flush(ctx, 1) }

// Close makes Note ignore all later uses, stops the timer, and writes the pending last-used times.
// If the write fails, Flush can retry it. A second call of Close does nothing and returns nil.
func (t *Tracker) Close(ctx context.Context) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	return t.Flush(ctx)
}

// flush writes the last-used times that are pending when it starts. If unit is 1, it writes all of
// them. If unit is the constant batch, it writes only whole batches, and the rest stays pending.
// flush does not write times that are recorded while it runs. A busy service records such times
// continually, and flush would write each few of them with a call of its own.
func (t *Tracker) flush(ctx context.Context, unit int) error {
	select {
	case t.flushing <- struct{}{}:
		defer func() { <-t.flushing }()
	case <-ctx.Done():
	}
	err := ctx.Err() // checked again, because select may choose the semaphore although ctx has ended
	if err != nil {
		return err
	}
	for _, part := range t.take(unit) {
		if err == nil {
			err = t.safely(ctx, part)
		}
		t.done(part, err == nil)
	}
	if err != nil {
		t.failed(err)
		t.mu.Lock()
		defer t.mu.Unlock()
		longest := max(maxRetry, t.delay) // an outage must not delay the times for longer, if it is short
		if t.retry == 0 {
			t.failing = time.Now()
		} else if time.Since(t.failing) > time.Hour {
			longest = maxQuiet
		}
		t.retry = min(max(minRetry, 4*t.retry), longest)
		t.start(t.retry)
	}
	return err
}

// take moves last-used times from pending to writing. It moves the largest possible multiple of
// unit. take returns the times in parts, one part for each call of write.
func (t *Tracker) take(unit int) (parts []map[string]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent.removeAll(t.merge)
	count := len(t.pending) / unit * unit
	if t.timer != nil && count == len(t.pending) {
		t.timer.Stop()
		t.timer = nil
	}
	for id, at := range t.pending {
		if len(t.writing) == count {
			break
		}
		if len(t.writing)%batch == 0 {
			parts = append(parts, make(map[string]time.Time, min(batch, count)))
		}
		parts[len(parts)-1][id] = at
		t.writing[id] = at
		delete(t.pending, id)
	}
	return parts
}

// done removes a part from writing. If the part was not written, done adds its times to pending
// again.
func (t *Tracker) done(part map[string]time.Time, written bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if written {
		t.retry = 0
	}
	for id, at := range part {
		delete(t.writing, id)
		if !written {
			t.merge(id, at)
		}
	}
}

// safely calls write and turns a panic of write into an error. No caller recovers a panic in a
// background flush, so the panic would end the process.
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
