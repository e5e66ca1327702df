package lastuse

import (
	"sync/atomic"
	"time"
)

// This file records last-used times without a lock, to meet a performance budget. Recording a
// last-used time may add at most 5 % to the CPU time of a request with a valid key, even if many
// goroutines use the same key. Locking a mutex on each request would exceed this budget.

const (
	buckets = 1024 // enough buckets that the 500 tokens of a batch rarely fill one
	places  = 4    // number of entries per bucket
)

// recent is a hash table of last-used times that are not written yet. While a token has an entry,
// Note records further uses of the token without a lock. Only the holder of Tracker.mu adds and
// removes entries. Every token with an entry is in Tracker.pending, too.
type recent [buckets][places]atomic.Pointer[entry]

type entry struct {
	id string
	at atomic.Int64 // last-used time in Unix microseconds
}

func (e *entry) time() time.Time { return time.UnixMicro(e.at.Load()) }

// find returns the entry of a token, or nil.
func (r *recent) find(id string) *entry {
	b := r.bucket(id)
	for i := range b {
		if e := b[i].Load(); e != nil && e.id == id {
			return e
		}
	}
	return nil
}

// bucket returns the bucket of a token. Token IDs are random, so a hash of the last three
// characters suffices.
func (r *recent) bucket(id string) *[places]atomic.Pointer[entry] {
	hash := uint(0)
	for _, c := range []byte(id[max(0, len(id)-3):]) {
		hash = 31*hash + uint(c)
	}
	return &r[hash%buckets]
}

// update sets the last-used time in the entry of a token, and reports whether the time is recorded.
// It returns false if the token has no entry. If at is less than one second after the time in the
// entry, update leaves the entry unchanged and returns true. This saves writes to shared memory,
// which slow down other processors.
func (r *recent) update(id string, at time.Time) bool {
	for e := r.find(id); e != nil; e = r.find(id) {
		last := e.at.Load()
		if at.UnixMicro()-last < time.Second.Microseconds() {
			return true
		}
		if e.at.CompareAndSwap(last, at.UnixMicro()) { // if false, a concurrent call has changed the time
			return r.find(id) == e // if false, removeAll may have read the old time
		}
	}
	return false
}

// add adds an entry for a token that has none. If the bucket is full, add does nothing. Note then
// locks the mutex for each use of the token until the next flush.
func (r *recent) add(id string, at time.Time) {
	b := r.bucket(id)
	for i := range b {
		e := b[i].Load()
		if e == nil {
			e = &entry{id: id}
			e.at.Store(at.UnixMicro())
			b[i].Store(e)
		}
		if e.id == id {
			return
		}
	}
}

// removeAll removes all entries, and calls f with the token ID and the last-used time of each
// entry.
func (r *recent) removeAll(f func(id string, at time.Time)) {
	for i := range r {
		for j := range r[i] {
			if r[i][j].Load() != nil {
				e := r[i][j].Swap(nil)
				f(e.id, e.time())
			}
		}
	}
}
