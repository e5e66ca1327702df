package systemtest_test

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
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A population holds n tokens, ten tokens per user, and their keys. The field auth is the library
// under test. The field limit is the baseline, a handler with the same tokens. The baseline does
// only the work that every authentication needs; see package internal/testing/limit.
type population struct {
	keys    []string
	limit   http.Handler
	store   *tokenauth.MemoryStore
	auth    *tokenauth.Authenticator[*fixture.User]
	manager *tokenauth.Manager
}

// ServeHTTP is the handler that the middleware protects in the benchmarks. It reads the user from
// the context of the request.
func (p *population) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if u, ok := p.auth.User(r.Context()); !ok || u == nil {
		panic("the context of the request holds no user")
	}
}

func newPopulation(b *testing.B, n int) *population {
	b.Helper()
	p := &population{store: tokenauth.NewMemoryStore()}
	p.manager = fixture.NewManager(p.store, &tokenauth.Options{MaxPerUser: -1})
	u := &fixture.User{ID: "42"}
	p.auth = must.Get(tokenauth.NewAuthenticator(p.manager, func(context.Context, string) (*fixture.User, error) { return u, nil }, nil))
	byDigest := make(map[tokenauth.Digest]*tokenauth.Token)
	for i := range n {
		key := keyform.Generate("acme")
		p.keys = append(p.keys, key)
		record := tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i), Hint: key[len(key)-4:],
			Generation: 1, CreatedAt: fixture.Start,
		}}
		require.NoError(b, p.store.Create(context.Background(), record))
		byDigest[record.Digest] = new(record.Token)
	}
	p.limit = limit.Handler(byDigest)
	return p
}

// requester returns a function that sends one request to h. Each call of this function sends the
// next key of p in the Authorization header. The keys are in a scattered order, so that the
// processor cannot prefetch the data of the next token.
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

// BenchmarkHit compares the time of a request that has a valid key to the time of the baseline. The
// store holds one token. The library may take at most 1.5 times as long as the baseline.
func BenchmarkHit(b *testing.B) {
	p := newPopulation(b, 1)
	limit.Compare(b, p.requester(p.limit), p.requester(p.auth.Require(p)))
}

// BenchmarkTokens compares the time of a request that has a valid key to the time of the baseline.
// The store holds between 1,000 and 1,000,000 tokens. The library may take at most 1.3 times as
// long as the baseline with the same number of tokens. Case Q8.
func BenchmarkTokens(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("filling the store takes several seconds")
			}
			p := newPopulation(b, n)
			limit.Compare(b, p.requester(p.limit), p.requester(p.auth.Require(p)))
		})
	}
}

// BenchmarkReject measures requests that the Authenticator rejects without a call of the store.
// Such a rejection must not allocate memory. A rejection may take at most 0.35 times as long as a
// request with a valid key takes in the baseline.
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
			decide := func() { _, _, _ = p.auth.Authenticate(context.Background(), h, tokenauth.Need{}) }
			limit.Compare(b, p.requester(p.limit), decide)
			b.ReportMetric(testing.AllocsPerRun(100, decide), "allocs")
		})
	}
}

// BenchmarkSQLiteFind compares the time of SQLStore.Find on SQLite to the time of a baseline. The
// baseline is a prepared SELECT of the same columns by one digest, with a cancelable context. Find
// may take at most 1.15 times as long as this SELECT.
func BenchmarkSQLiteFind(b *testing.B) {
	db := sqlite.New(b)
	store := sqlite.NewStore(b, db, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const rows = 1000
	digests := make([]tokenauth.Digest, rows)
	for i := range digests {
		digests[i] = tokenauth.DigestOf(fmt.Sprint(i))
		require.NoError(b, store.Create(ctx, tokenauth.Record{Digest: digests[i], Token: tokenauth.Token{
			ID: fmt.Sprintf("T%025d", i), UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i), Scopes: []string{"a", "b"},
			Hint: "abcd", Generation: 1, CreatedAt: fixture.Start, ExpiresAt: fixture.Start.Add(time.Hour),
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

// BenchmarkParallel measures a speedup: the requests per second of 256 goroutines, divided by the
// requests per second of one goroutine. All requests carry the same key. The speedup of the library
// must be at least 0.9 times the speedup of the baseline. Case Q8.
func BenchmarkParallel(b *testing.B) {
	p := newPopulation(b, 1)
	// The first index is 0 for the baseline and 1 for the library. The second index is 0 for one
	// goroutine and 1 for 256 goroutines.
	var rate [2][2]float64
	for b.Loop() {
		for i, h := range []http.Handler{p.limit, p.auth.Require(p)} {
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

// BenchmarkMemory measures the memory that the MemoryStore uses per token. The result includes all
// indexes, but not the strings of the token. A MemoryStore with 1,000,000 tokens may use at most
// 450 bytes per token.
func BenchmarkMemory(b *testing.B) {
	for _, perUser := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d a user", perUser), func(b *testing.B) {
			n := 1_000_000
			if testing.Short() {
				n = 10_000
			}
			// The strings of the tokens are allocated here, before the measurement.
			records := make([]tokenauth.Record, n)
			for i := range records {
				id := fmt.Sprintf("T%025d", i)
				records[i] = tokenauth.Record{Digest: tokenauth.DigestOf(id), Token: tokenauth.Token{
					ID: id, UserID: fmt.Sprint(i / perUser), Name: id[20:], Hint: "abcd", Generation: 1, CreatedAt: fixture.Start,
				}}
			}
			store := tokenauth.NewMemoryStore()
			before := load.Heap()
			for i := range records {
				require.NoError(b, store.Create(context.Background(), records[i]))
			}
			// The metric ns/op is hidden, because the benchmark fills the store only once.
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(load.Heap()-before)/float64(n), "bytes/token")
			runtime.KeepAlive(records)
			runtime.KeepAlive(store)
		})
	}
}

// A request with a valid key may cause at most two allocations: one for the context and one for the
// copy of the request.
func TestValidKeyCausesTwoAllocations(t *testing.T) {
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	u := &fixture.User{ID: "u"}
	auth := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*fixture.User, error) { return u, nil }, nil))
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = auth.User(r.Context()) })
	for name, h := range map[string]http.Handler{"Require": auth.Require(next), "RequireScopes": auth.RequireScopes("a")(next)} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), 2.0, name)
	}
}
