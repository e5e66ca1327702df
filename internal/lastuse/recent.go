package lastuse

import (
	"sync/atomic"
	"time"
)

// This file is the lock-free part of the package. A budget requires it: recording a use may add at
// most 5 % to the CPU time of a request with a valid key, even if many goroutines use the same key.
// Locking a mutex on each request exceeds that.

const (
	buckets = 1024 // enough for the 500 tokens of a batch to rarely fill a bucket
	places  = 4    // entries per bucket
)

// recent is a hash table of pending uses. While a token has an entry, Note records its further uses
// without a lock. Only the holder of Tracker.mu adds and removes entries. Every token with an entry
// is in Tracker.pending, too.
type recent [buckets][places]atomic.Pointer[entry]

type entry struct {
	id string
	at atomic.Int64 // Unix microseconds
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

// bucket returns the bucket of a token. IDs are random, so three characters make a good hash.
func (r *recent) bucket(id string) *[places]atomic.Pointer[entry] {
	hash := uint(0)
	for _, c := range []byte(id[max(0, len(id)-3):]) {
		hash = 31*hash + uint(c)
	}
	return &r[hash%buckets]
}

// update records a use in the token's entry, if there is one, and reports whether it did. It skips
// a use less than one second after the entry's time, because each write to shared memory slows the
// other processors.
func (r *recent) update(id string, at time.Time) bool {
	e := r.find(id)
	if e == nil || at.UnixMicro()-e.at.Load() < time.Second.Microseconds() {
		return e != nil
	}
	e.at.Store(at.UnixMicro())
	return r.find(id) == e // if not, removeAll may have read the time before it was set
}

// add adds an entry for a token that has none. If the bucket is full, add does nothing, and Note
// locks for each use of the token until the next flush.
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

// removeAll removes all entries and passes each one to f.
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
