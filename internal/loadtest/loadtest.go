// Package loadtest sends requests with keys to a service, as fast as it answers, and
// reports the statuses and times of the responses. It judges memory only in a long run,
// and times never.
package loadtest

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
)

// Long reports whether TOKENAUTH_LONG is set, as it is by .ci/run -long. Tests judge memory only
// in a long run, because other tests and a busy machine change it.
func Long() bool { return os.Getenv("TOKENAUTH_LONG") != "" }

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
	Soonest  map[int]time.Duration // the least time that an answer took, by its status
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

// BombardFor is Bombard for some time.
func BombardFor(d time.Duration, h http.Handler, clients int, keys []string) *Tally {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return Bombard(h, clients, keys, done)
}

// Spike bombards a service, whose store waits for its database as long as deadline, with
// fifty times as many clients as before and after. Each answer must be 200 or, past the
// deadline, 503; and when they are gone, 200.
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
			t.Errorf("%d clients were answered %v, the soonest after %v", clients, got.Statuses, got.Soonest)
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

// Sustain bombards a service over a store with good keys for some time, after a quarter of
// it in which pools and maps get their size. Each response must be 200. In a long run the
// service must also keep no more than a few bytes per request.
func Sustain(t *testing.T, store tokenauth.Store, keys []string, d time.Duration) {
	t.Helper()
	m := tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: 100 * time.Millisecond})
	user := func(_ context.Context, id string) (string, error) { return id, nil }
	h := tokenauth.NewAuthenticator(m, user, nil).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
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
		t.Fatalf("not all were let in: %v", got.Statuses)
	}
	after := Heap()
	runtime.KeepAlive(h)
	runtime.KeepAlive(keys)
	if Long() && after >= before+max(1<<20, 16*requests) {
		t.Errorf("more than a few bytes a request are kept: heap %d KiB, then %d KiB after %d requests", before>>10, after>>10, requests)
	}
	t.Logf("%v; %d allocations a request, of which the client makes 4; heap %d KiB, then %d KiB; resident %s, then %s",
		got, (memory[1].Mallocs-memory[0].Mallocs)/requests, before>>10, after>>10, resident, Resident())
}

// Resident returns what the system says this process holds in memory; empty where it
// does not say it as Linux does.
func Resident() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(size)
}

// Heap returns how many bytes are in use.
func Heap() uint64 {
	runtime.GC() // after which finalizers run,
	runtime.GC() // and what they and pools held is gone
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
