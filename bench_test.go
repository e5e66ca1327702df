package tokenauth_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// Every benchmark runs its limit and its subject in turns, in rounds of some
// milliseconds, and reports the ratio of their fastest rounds: noise that slows
// one round down does not count. docs/performance.md explains the limits.

const roundTime = 5 * time.Millisecond

// compare reports how many times as long as limit subject takes.
func compare(b *testing.B, limit, subject func()) {
	b.Helper()
	var fastest [2]float64 // nanoseconds a call
	calls := [2]int{1, 1}
	for b.Loop() {
		for i, f := range []func(){limit, subject} {
			begin, n := time.Now(), 0
			for time.Since(begin) < roundTime {
				for range calls[i] { // the clock is read seldom
					f()
				}
				n += calls[i]
			}
			took := float64(time.Since(begin)) / float64(n)
			if fastest[i] == 0 || took < fastest[i] {
				fastest[i] = took
			}
			calls[i] = max(1, int(float64(roundTime)/took/20))
		}
	}
	b.ReportMetric(0, "ns/op") // a round's time says nothing
	b.ReportMetric(fastest[0], "limit-ns")
	b.ReportMetric(fastest[1], "ns")
	b.ReportMetric(fastest[1]/fastest[0], "x-limit")
}

type limitKey struct{}

// limitHandler is the least that authentication by key can do: the bearer key,
// its SHA-256, a map under a lock, one context value, one copy of the request.
func limitHandler(tokens map[[32]byte]*tokenauth.Token) http.Handler {
	var mu sync.RWMutex
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Context().Value(limitKey{}).(*tokenauth.Token).UserID == "" {
			panic("no token")
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header["Authorization"][0], "Bearer ")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var block [64]byte
		digest := sha256.Sum256(block[:copy(block[:], key)])
		mu.RLock()
		token := tokens[digest]
		mu.RUnlock()
		if token == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), limitKey{}, token)))
	})
}

// checkUser is the handler behind the subject: it reads the user back, too.
var checkUser = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	if u, ok := tokenauth.UserFrom[*user](r.Context()); !ok || u == nil {
		panic("no user")
	}
})

// nobody is a ResponseWriter that costs nothing.
type nobody struct{ header http.Header }

func (w nobody) Header() http.Header         { return w.header }
func (w nobody) Write(b []byte) (int, error) { return len(b), nil }
func (w nobody) WriteHeader(int)             {}

// population is n tokens, ten for each user, and the same keys for the limit.
type population struct {
	keys    []string
	limit   http.Handler
	store   *tokenauth.MemoryStore
	auth    *tokenauth.Authenticator[*user]
	manager *tokenauth.Manager
}

func newPopulation(b *testing.B, n int) *population {
	b.Helper()
	p := &population{store: tokenauth.NewMemoryStore()}
	p.manager = newManager(p.store, &tokenauth.Options{MaxPerUser: -1})
	u := &user{ID: "42"}
	p.auth = tokenauth.NewAuthenticator(p.manager, func(context.Context, string) (*user, error) { return u, nil }, nil)
	limit := make(map[[32]byte]*tokenauth.Token)
	for i := range n {
		key := tokenauth.GenerateKey("acme")
		p.keys = append(p.keys, key)
		record := tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i), Hint: key[len(key)-4:],
			Generation: 1, CreatedAt: start,
		}}
		require.NoError(b, p.store.Create(context.Background(), record))
		limit[record.Digest] = new(record.Token)
	}
	p.limit = limitHandler(limit)
	return p
}

// requester returns a function that sends the keys in turns, in an order that
// the processor's caches can't foresee.
func (p *population) requester(h http.Handler) func() {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Authorization"] = make([]string, 1)
	w := nobody{http.Header{}}
	headers := make([]string, len(p.keys))
	for i, key := range p.keys {
		headers[i*7919%len(headers)] = "Bearer " + key
	}
	i := 0
	return func() {
		clear(w.header)
		r.Header["Authorization"][0] = headers[i]
		if i++; i == len(headers) {
			i = 0
		}
		h.ServeHTTP(w, r)
	}
}

// A request with a good key. Budget: 1.3 × the limit.
func BenchmarkHit(b *testing.B) {
	p := newPopulation(b, 1)
	compare(b, p.requester(p.limit), p.requester(p.auth.Require(checkUser)))
}

// Q8: the same at more tokens. Budget: 1.3 × the limit at the same number.
func BenchmarkTokens(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("takes seconds to fill")
			}
			p := newPopulation(b, n)
			compare(b, p.requester(p.limit), p.requester(p.auth.Require(checkUser)))
		})
	}
}

// What is refused before the store is asked. Budget: 0.35 × the limit of a hit,
// without an allocation.
func BenchmarkReject(b *testing.B) {
	p := newPopulation(b, 1)
	good := p.keys[0]
	for name, values := range map[string][]string{
		"no header":    nil,
		"malformed":    {"Bearer a b"},
		"foreign":      {"Bearer 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"},
		"bad checksum": {"Bearer " + good[:len(good)-1] + "!"},
		"flipped":      {"Bearer " + strings.Replace(good, good[6:8], good[7:8]+good[6:7], 1)},
		"too long":     {"Bearer " + strings.Repeat("x", 8000)},
	} {
		b.Run(name, func(b *testing.B) {
			h := http.Header{"Authorization": values}
			decide := func() { _, _, _ = p.auth.Authenticate(context.Background(), h) }
			compare(b, p.requester(p.limit), decide)
			b.ReportMetric(testing.AllocsPerRun(100, decide), "allocs")
		})
	}
}

// Find on SQLite beside the least it can be: a prepared SELECT of the same
// columns by one digest, with a context that can be cancelled. Budget: 1.15 ×.
func BenchmarkSQLiteFind(b *testing.B) {
	db := openSQLite(b)
	store := newSQLiteStore(b, db, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const rows = 1000
	digests := make([]tokenauth.Digest, rows)
	for i := range digests {
		digests[i] = tokenauth.DigestOf(fmt.Sprint(i))
		require.NoError(b, store.Create(ctx, tokenauth.Record{Digest: digests[i], Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i), Scopes: []string{"a", "b"},
			Hint: "abcd", Generation: 1, CreatedAt: start, ExpiresAt: start.Add(time.Hour),
		}}))
	}
	bare, err := db.PrepareContext(ctx, `SELECT id, user_id, name, slot, scopes, hint, generation, origin, digest,
		retired_digest, retired_until, created_at, expires_at, last_used_at, revoked_at
		FROM tokenauth_tokens WHERE digest = ?`)
	require.NoError(b, err)
	defer bare.Close()
	i := 0
	next := func() *tokenauth.Digest { i = (i + 1) % rows; return &digests[i] }
	compare(b, func() {
		rows, err := bare.QueryContext(ctx, next()[:])
		if err != nil {
			panic(err)
		}
		var text [6]string
		var number [7]*int64
		var digest, retired []byte
		for rows.Next() {
			if err := rows.Scan(&text[0], &text[1], &text[2], &number[0], &text[3], &text[4], &number[1], &text[5], &digest,
				&retired, &number[2], &number[3], &number[4], &number[5], &number[6]); err != nil {
				panic(err)
			}
		}
		_ = rows.Close()
	}, func() {
		if _, err := store.Find(ctx, *next()); err != nil {
			panic(err)
		}
	})
}

// Q8: 256 goroutines on one key: how much faster than one, beside how much faster the
// limit gets. Budget: 0.9 × the limit's speed-up.
func BenchmarkParallel(b *testing.B) {
	p := newPopulation(b, 1)
	var rate [2][2]float64 // of limit and subject, by one goroutine and by 256
	for b.Loop() {
		for i, h := range []http.Handler{p.limit, p.auth.Require(checkUser)} {
			for j, goroutines := range []int{1, 256} {
				rate[i][j] = max(rate[i][j], requestsPerSecond(p, h, goroutines))
			}
		}
	}
	limit, subject := rate[0][1]/rate[0][0], rate[1][1]/rate[1][0]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(limit, "limit-speedup")
	b.ReportMetric(subject, "speedup")
	b.ReportMetric(subject/limit, "x-limit")
}

func requestsPerSecond(p *population, h http.Handler, goroutines int) float64 {
	var done atomic.Bool
	var total atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range goroutines {
		request := p.requester(h)
		wg.Go(func() {
			n := int64(0)
			for ; !done.Load(); n++ {
				request()
			}
			total.Add(n)
		})
	}
	timer := time.AfterFunc(100*time.Millisecond, func() { done.Store(true) })
	defer timer.Stop()
	wg.Wait()
	return float64(total.Load()) / time.Since(begin).Seconds()
}

// Memory of a token in the memory store, beyond its own strings and with all
// indexes. Budget: 450 bytes at 1,000,000 tokens.
func BenchmarkMemory(b *testing.B) {
	for _, perUser := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d a user", perUser), func(b *testing.B) {
			n := 1_000_000
			if testing.Short() {
				n = 10_000
			}
			records := make([]tokenauth.Record, n) // their strings are made before
			for i := range records {
				id := fmt.Sprintf("T%025d", i)
				records[i] = tokenauth.Record{Digest: tokenauth.DigestOf(id), Token: tokenauth.Token{
					ID: id, UserID: fmt.Sprint(i / perUser), Name: id[20:], Hint: "abcd", Generation: 1, CreatedAt: start,
				}}
			}
			store := tokenauth.NewMemoryStore()
			before := heap()
			for i := range records {
				require.NoError(b, store.Create(context.Background(), records[i]))
			}
			b.ReportMetric(0, "ns/op") // filled once, whatever b.N is
			b.ReportMetric(float64(heap()-before)/float64(n), "bytes/token")
			runtime.KeepAlive(records)
			runtime.KeepAlive(store)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
