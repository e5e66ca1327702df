// Package loadtest sends requests with keys to a service, as fast as it answers, and
// tells how it did. It judges no time.
package loadtest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// StatusOnly is a ResponseWriter that keeps no more of a response, so that what grows
// is the library's.
type StatusOnly struct {
	header http.Header
	Status int
}

// NewStatusOnly returns one for a response.
func NewStatusOnly() *StatusOnly { return &StatusOnly{http.Header{}, http.StatusOK} }

// Header implements [http.ResponseWriter].
func (w *StatusOnly) Header() http.Header { return w.header }

// Write implements [http.ResponseWriter].
func (w *StatusOnly) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (w *StatusOnly) WriteHeader(status int) { w.Status = status }

// A Tally is how requests were answered.
type Tally struct {
	Statuses map[int]int
	mu       sync.Mutex
	took     []time.Duration // of the last of each client
}

// String tells what no test judges.
func (a *Tally) String() string {
	slices.Sort(a.took)
	n := len(a.took)
	return fmt.Sprintf("%v; half took %v or less, 99 of 100 %v", a.Statuses, a.took[n/2], a.took[n*99/100])
}

// Bombard has clients send requests with the keys in turns, each at least one, until
// done is closed.
func Bombard(h http.Handler, clients int, keys []string, done <-chan struct{}) *Tally {
	all := &Tally{Statuses: map[int]int{}}
	var workers sync.WaitGroup
	for c := range clients {
		workers.Go(func() {
			var took [4096]time.Duration
			statuses, n := map[int]int{}, 0
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for {
				r.Header["Authorization"] = []string{"Bearer " + keys[(c+n*clients)%len(keys)]}
				w := NewStatusOnly()
				begin := time.Now()
				h.ServeHTTP(w, r)
				took[n%len(took)] = time.Since(begin)
				statuses[w.Status]++
				n++
				select {
				case <-done:
					all.mu.Lock()
					defer all.mu.Unlock()
					for status, count := range statuses {
						all.Statuses[status] += count
					}
					all.took = append(all.took, took[:min(n, len(took))]...)
					return
				default:
				}
			}
		})
	}
	workers.Wait()
	return all
}

// Sustain bombards a service over a store with good keys for some time, after a quarter of
// it in which pools and maps get their size. Each answer must be 200, and no more than a
// few bytes a request be kept.
func Sustain(t *testing.T, store tokenauth.Store, keys []string, d time.Duration) {
	t.Helper()
	m := tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: 100 * time.Millisecond})
	user := func(_ context.Context, id string) (string, error) { return id, nil }
	h := tokenauth.NewAuthenticator(m, user, nil).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	run := func(d time.Duration) *Tally {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		tally := Bombard(h, 8, keys, ctx.Done())
		if err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tally
	}
	run(d / 4)
	before := Heap()
	var memory [2]runtime.MemStats
	runtime.ReadMemStats(&memory[0])
	got := run(d)
	runtime.ReadMemStats(&memory[1])
	requests := uint64(got.Statuses[http.StatusOK])
	if len(got.Statuses) != 1 || requests == 0 {
		t.Fatalf("not all were let in: %v", got.Statuses)
	}
	after := Heap()
	runtime.KeepAlive(h)
	runtime.KeepAlive(keys)
	if after >= before+max(1<<20, 16*requests) {
		t.Errorf("more than a few bytes a request are kept: heap %d KiB, then %d KiB after %d requests", before>>10, after>>10, requests)
	}
	t.Logf("%v; %d allocations a request, of which the client makes 4; heap %d KiB, then %d KiB",
		got, (memory[1].Mallocs-memory[0].Mallocs)/requests, before>>10, after>>10)
}

// Heap returns how many bytes are in use.
func Heap() uint64 {
	runtime.GC() // after which finalizers run,
	runtime.GC() // and what they and pools held is gone
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
