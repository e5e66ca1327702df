package tokenauth_test

import (
	"context"
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
	"github.com/go-tokenauth/tokenauth/internal/limit"
	"github.com/go-tokenauth/tokenauth/internal/loadtest"
)

// checkUser is the protected handler of the benchmarks. It reads the user from the context.
var checkUser = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	if u, ok := tokenauth.UserFrom[*user](r.Context()); !ok || u == nil {
		panic("no user")
	}
})

// A population holds n tokens, ten per user, for the library and for the baseline. The
// baseline is the least work that any authentication needs; see internal/limit.
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
	byDigest := make(map[tokenauth.Digest]*tokenauth.Token)
	for i := range n {
		key := tokenauth.GenerateKey("acme")
		p.keys = append(p.keys, key)
		record := tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i), Hint: key[len(key)-4:],
			Generation: 1, CreatedAt: start,
		}}
		require.NoError(b, p.store.Create(context.Background(), record))
		byDigest[record.Digest] = new(record.Token)
	}
	p.limit = limit.Handler(byDigest)
	return p
}

// requester returns a function that sends one request with the next key to h. The order of
// the keys defeats the prefetching of the processor.
func (p *population) requester(h http.Handler) func() {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Authorization"] = make([]string, 1)
	w := limit.Nobody{Headers: http.Header{}}
	headers := make([]string, len(p.keys))
	for i, key := range p.keys {
		headers[i*7919%len(headers)] = "Bearer " + key
	}
	i := 0
	return func() {
		clear(w.Headers)
		r.Header["Authorization"][0] = headers[i]
		if i++; i == len(headers) {
			i = 0
		}
		h.ServeHTTP(w, r)
	}
}

// BenchmarkHit measures a request with a valid key. The budget is 1.3 times the baseline.
func BenchmarkHit(b *testing.B) {
	p := newPopulation(b, 1)
	limit.Compare(b, p.requester(p.limit), p.requester(p.auth.Require(checkUser)))
}

// BenchmarkTokens measures a request with a valid key among many tokens. The budget is 1.3
// times the baseline with the same number of tokens. Case Q8.
func BenchmarkTokens(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("takes seconds to fill")
			}
			p := newPopulation(b, n)
			limit.Compare(b, p.requester(p.limit), p.requester(p.auth.Require(checkUser)))
		})
	}
}

// BenchmarkReject measures requests that are rejected without a query. The budget is 0.35
// times the baseline of a valid key, without an allocation.
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
			limit.Compare(b, p.requester(p.limit), decide)
			b.ReportMetric(testing.AllocsPerRun(100, decide), "allocs")
		})
	}
}

// BenchmarkSQLiteFind compares Find on SQLite with its baseline: a prepared SELECT of the
// same columns by one digest, with a cancelable context. The budget is 1.15 times the
// baseline.
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
	bare, err := limit.NewSelect(ctx, db, tokenauth.SQLite, "tokenauth_tokens", 1)
	require.NoError(b, err)
	defer bare.Close()
	i := 0
	next := func() *tokenauth.Digest { i = (i + 1) % rows; return &digests[i] }
	limit.Compare(b, func() {
		if err := bare.Find(ctx, next()); err != nil {
			panic(err)
		}
	}, func() {
		if _, err := store.Find(ctx, *next()); err != nil {
			panic(err)
		}
	})
}

// BenchmarkParallel measures the speedup of 256 goroutines over one goroutine, with one key.
// The budget is at least 0.9 times the speedup of the baseline. Case Q8.
func BenchmarkParallel(b *testing.B) {
	p := newPopulation(b, 1)
	var rate [2][2]float64 // baseline and library, each with one goroutine and with 256
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

// BenchmarkMemory measures the memory of a token in the MemoryStore. It includes all indexes
// but not the token's strings. The budget is 450 bytes per token with 1,000,000 tokens.
func BenchmarkMemory(b *testing.B) {
	for _, perUser := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d a user", perUser), func(b *testing.B) {
			n := 1_000_000
			if testing.Short() {
				n = 10_000
			}
			records := make([]tokenauth.Record, n) // allocates the strings before the measurement
			for i := range records {
				id := fmt.Sprintf("T%025d", i)
				records[i] = tokenauth.Record{Digest: tokenauth.DigestOf(id), Token: tokenauth.Token{
					ID: id, UserID: fmt.Sprint(i / perUser), Name: id[20:], Hint: "abcd", Generation: 1, CreatedAt: start,
				}}
			}
			store := tokenauth.NewMemoryStore()
			before := loadtest.Heap()
			for i := range records {
				require.NoError(b, store.Create(context.Background(), records[i]))
			}
			b.ReportMetric(0, "ns/op") // the store is filled once, independent of b.N
			b.ReportMetric(float64(loadtest.Heap()-before)/float64(n), "bytes/token")
			runtime.KeepAlive(records)
			runtime.KeepAlive(store)
		})
	}
}
