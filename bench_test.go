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

// checkUser is the handler behind the subject: it reads the user back, too.
var checkUser = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	if u, ok := tokenauth.UserFrom[*user](r.Context()); !ok || u == nil {
		panic("no user")
	}
})

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

// requester returns a function that sends the keys in turns, in an order that
// the processor's caches can't foresee.
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

// A request with a good key. Budget: 1.3 × the limit.
func BenchmarkHit(b *testing.B) {
	p := newPopulation(b, 1)
	limit.Compare(b, p.requester(p.limit), p.requester(p.auth.Require(checkUser)))
}

// Q8: the same at more tokens. Budget: 1.3 × the limit at the same number.
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
			limit.Compare(b, p.requester(p.limit), decide)
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
			before := loadtest.Heap()
			for i := range records {
				require.NoError(b, store.Create(context.Background(), records[i]))
			}
			b.ReportMetric(0, "ns/op") // filled once, whatever b.N is
			b.ReportMetric(float64(loadtest.Heap()-before)/float64(n), "bytes/token")
			runtime.KeepAlive(records)
			runtime.KeepAlive(store)
		})
	}
}
