// Package load sends requests with keys to a handler, as fast as the handler responds, and
// checks the responses. It checks memory use only in long runs. It never checks response times,
// because response times depend on the machine.
package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// Long reports whether TOKENAUTH_LONG is set. The command .ci/run -long sets it. Tests check memory
// use only if Long returns true, because concurrent tests and a busy machine change memory use.
func Long() bool { return os.Getenv("TOKENAUTH_LONG") != "" }

// StatusOnly is a ResponseWriter that keeps the status and discards the body. It uses little
// memory, so that tests can measure the memory of the library.
type StatusOnly struct {
	header http.Header
	Status int
}

// NewStatusOnly returns a StatusOnly for one response.
func NewStatusOnly() *StatusOnly { return &StatusOnly{http.Header{}, http.StatusOK} }

// Header implements [http.ResponseWriter].
func (w *StatusOnly) Header() http.Header { return w.header }

// Write implements [http.ResponseWriter].
func (w *StatusOnly) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (w *StatusOnly) WriteHeader(status int) { w.Status = status }

// A Tally counts the responses to requests.
type Tally struct {
	Statuses map[int]int           // number of responses with each status
	Soonest  map[int]time.Duration // shortest response time with each status
	mu       sync.Mutex
	took     []time.Duration // response times of the latest requests of each client
}

// String returns the number of responses with each status, and the median and 99th percentile of
// the response times.
func (a *Tally) String() string {
	slices.Sort(a.took)
	n := len(a.took)
	return fmt.Sprintf("%v; median %v, 99th percentile %v", a.Statuses, a.took[n/2], a.took[n*99/100])
}

// Bombard sends requests from the given number of concurrent clients to h until done is closed. The
// clients use the keys in turn. Each client sends at least one request.
func Bombard(h http.Handler, clients int, keys []string, done <-chan struct{}) *Tally {
	all := &Tally{Statuses: map[int]int{}, Soonest: map[int]time.Duration{}}
	var workers sync.WaitGroup
	for c := range clients {
		workers.Go(func() {
			var took [4096]time.Duration
			statuses, soonest, n := map[int]int{}, map[int]time.Duration{}, 0
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for {
				r.Header["Authorization"] = []string{"Bearer " + keys[(c+n*clients)%len(keys)]}
				w := NewStatusOnly()
				begin := time.Now()
				h.ServeHTTP(w, r)
				d := time.Since(begin)
				took[n%len(took)] = d
				if statuses[w.Status]++; statuses[w.Status] == 1 || d < soonest[w.Status] {
					soonest[w.Status] = d
				}
				n++
				select {
				case <-done:
					all.mu.Lock()
					defer all.mu.Unlock()
					for status, count := range statuses {
						if all.Statuses[status] += count; all.Statuses[status] == count || soonest[status] < all.Soonest[status] {
							all.Soonest[status] = soonest[status]
						}
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

// BombardFor is like Bombard, but stops after the duration d.
func BombardFor(d time.Duration, h http.Handler, clients int, keys []string) *Tally {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return Bombard(h, clients, keys, done)
}

// Spike sends requests from 20 concurrent clients, then from 1,000, and then from 20 again. With 20
// clients, all responses must have status 200. With 1,000 clients, a response may also have status
// 503. Such a response must take at least deadline, which is the timeout of the service's store.
func Spike(t *testing.T, h http.Handler, keys []string, d, deadline time.Duration) {
	t.Helper()
	const usual = 20
	for _, spike := range []bool{false, true, false} {
		clients, d := usual, d/5
		if spike {
			clients, d = 50*clients, 5*d
		}
		got := BombardFor(d, h, clients, keys)
		refused := 0
		if spike && got.Soonest[http.StatusServiceUnavailable] >= deadline {
			refused = got.Statuses[http.StatusServiceUnavailable]
		}
		if all := got.Statuses[http.StatusOK] + refused; all == 0 || all != sum(got.Statuses) {
			t.Errorf("%d clients: number of responses by status %v, shortest response times %v", clients, got.Statuses, got.Soonest)
		}
		t.Logf("%d clients: %v", clients, got)
	}
}

func sum(counts map[int]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// Sustain sends requests with valid keys to a service with the given store for the duration d. All
// responses must have status 200. In a long run, the heap may grow by at most 1 MiB or 16 bytes per
// request, whichever is more.
//
// Before Sustain measures the heap, it sends requests for a quarter of d, so that pools and maps
// reach their final size.
func Sustain(t *testing.T, store tokenauth.Store, keys []string, d time.Duration) {
	t.Helper()
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: 100 * time.Millisecond}))
	user := func(_ context.Context, id string) (string, error) { return id, nil }
	h := must.Get(tokenauth.NewAuthenticator(m, user, nil)).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	run := func(d time.Duration) *Tally {
		tally := BombardFor(d, h, 8, keys)
		if err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tally
	}
	run(d / 4)
	before := Heap()
	resident := Resident()
	var memory [2]runtime.MemStats
	runtime.ReadMemStats(&memory[0])
	got := run(d)
	runtime.ReadMemStats(&memory[1])
	requests := uint64(got.Statuses[http.StatusOK])
	if len(got.Statuses) != 1 || requests == 0 {
		t.Fatalf("not all responses have status 200: %v", got.Statuses)
	}
	after := Heap()
	runtime.KeepAlive(h)
	runtime.KeepAlive(keys)
	if Long() && after >= before+max(1<<20, 16*requests) {
		t.Errorf("the heap grew from %d KiB to %d KiB during %d requests", before>>10, after>>10, requests)
	}
	t.Logf("%v; %d allocations per request, 4 of them by the client; heap %d KiB before, %d KiB after; resident set size %s before, %s after",
		got, (memory[1].Mallocs-memory[0].Mallocs)/requests, before>>10, after>>10, resident, Resident())
}

// Resident returns the resident set size of this process, as Linux reports it. On other systems it
// returns the empty string.
func Resident() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(size)
}

// Heap returns the number of bytes of reachable heap objects.
func Heap() uint64 {
	runtime.GC()
	runtime.GC() // frees objects that finalizers and pools kept during the first collection
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
