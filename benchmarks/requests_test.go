package benchmarks

import (
	"context"
	"encoding/json"
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
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// BenchmarkRequest compares the time of a request with a valid key with the time of the baseline,
// for this library and for other libraries. The benchmarks without a database send one key, whose
// last-used time is usually waiting to be written already. The benchmarks with a database use 1,000
// keys in turn.
func BenchmarkRequest(b *testing.B) {
	p := chains.NewPopulation(1, 1)
	now := time.Now()
	all := []*chains.Chain{
		p.Bare(),
		p.Tokenauth("tokenauth, memory store", p.Memory(), nil),
		p.Tokenauth("tokenauth, memory store, free clock", p.Memory(), &tokenauth.Options{Now: func() time.Time { return now }}),
		p.Tokenauth("tokenauth, storecache over memory", must.Get(storecache.New(p.Memory(), nil)), nil),
		p.Tokenauth("tokenauth, otter over memory", chains.NewOtter(p.Memory()), nil),
	}
	for _, c := range append(all, p.Peers()...) {
		run(b, c.Name, func(b *testing.B) { compare(b, requester(b, p.Limit()), requester(b, c)) })
	}
	for _, name := range databases.Names {
		benchmarkStore(b, "tokenauth, "+name, name, func(s tokenauth.Store) tokenauth.Store { return s })
	}
	benchmarkStore(b, "tokenauth, storecache over SQLite", databases.Modernc,
		func(s tokenauth.Store) tokenauth.Store { return must.Get(storecache.New(s, nil)) })
	benchmarkStore(b, "tokenauth, otter over SQLite", databases.Modernc,
		func(s tokenauth.Store) tokenauth.Store { return chains.NewOtter(s) })
}

// benchmarkStore measures requests on a database with 1,000 tokens, and counts the statements. The
// function cached adds a cache to the store. For the count, each key is used ten times, so a cache
// reads the database for one request in ten.
func benchmarkStore(b *testing.B, name, database string, cached func(tokenauth.Store) tokenauth.Store) {
	run(b, name, func(b *testing.B) {
		t := openTable(b, database, 1000)
		c := t.Tokenauth(name, cached(t.store), nil)
		compareOn(b, t.database, requester(b, t.Limit()), requester(b, c))
		store, statements := t.counting(b)
		request := t.Tokenauth(name, cached(store), nil).Requester()
		n := 10 * len(t.Keys)
		for range n {
			request()
		}
		b.ReportMetric(float64(statements.Load())/float64(n), "statements/op")
	})
}

// BenchmarkBesideEcho compares this library with the middleware KeyAuth of echo, instead of the
// baseline.
func BenchmarkBesideEcho(b *testing.B) {
	p := chains.NewPopulation(1, 1)
	c := p.Tokenauth("tokenauth, memory store", p.Memory(), nil)
	run(b, c.Name, func(b *testing.B) { compare(b, requester(b, p.EchoKeyAuth()), requester(b, c)) })
}

// BenchmarkLastUse compares requests whose last-used time waits to be written with requests whose
// last-used time is not recorded. The Manager keeps waiting times in a hash table, in which some of
// 100 or 400 tokens share a bucket. The benchmark has at most 400 tokens, because the Manager
// writes 500 waiting times immediately.
func BenchmarkLastUse(b *testing.B) {
	for _, n := range []int{1, 100, 400} {
		run(b, fmt.Sprintf("%d tokens in turn", n), func(b *testing.B) {
			p := chains.NewPopulation(n, 10)
			without := p.Tokenauth("without last use", p.Memory(), &tokenauth.Options{TouchEvery: -1})
			compare(b, requester(b, without), requester(b, p.Tokenauth("with last use", p.Memory(), nil)))
		})
	}
}

// unreachable is a Store whose methods panic.
type unreachable struct{ tokenauth.Store }

// BenchmarkReject compares the time to reject a request, without a call of the store, with the time
// of a request that the baseline accepts.
func BenchmarkReject(b *testing.B) {
	p := chains.NewPopulation(1, 1)
	good := p.Keys[0]
	otherDigit := map[bool]string{true: "1", false: "0"}[good[len(good)-1] == '0']
	for _, reject := range []struct {
		name   string
		values []string
	}{
		{"no header", nil},
		{"malformed header", []string{"Bearer a b"}},
		{"key of another system", []string{"Bearer 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"}},
		{"wrong checksum", []string{"Bearer " + good[:len(good)-1] + otherDigit}},
		{"wrong character", []string{"Bearer " + good[:len(good)-1] + "!"}},
		{"longer than 1 KiB", []string{"Bearer " + strings.Repeat("x", 8000)}},
	} {
		run(b, reject.name, func(b *testing.B) {
			auth, h := p.Authenticator(unreachable{}, nil), http.Header{}
			if reject.values != nil {
				h["Authorization"] = reject.values
			}
			ctx := context.Background()
			compare(b, requester(b, p.Limit()), func() {
				if _, _, err := auth.Authenticate(ctx, h, tokenauth.Need{}); err == nil {
					panic("not rejected")
				}
			})
		})
	}
}

// BenchmarkList compares a page of 100 tokens from package tokenapi with its baseline, which calls
// Manager.List and json.Marshal.
func BenchmarkList(b *testing.B) {
	run(b, "100 tokens", func(b *testing.B) {
		p := chains.NewPopulation(100, 100)
		auth := p.Authenticator(p.Memory(), nil)
		user, ctx := p.Records[0].Token.UserID, context.Background()
		api := must.Get(tokenapi.New(auth, func(*http.Request) (string, error) { return user, nil }, nil))
		r, w := httptest.NewRequest(http.MethodGet, "/tokens?limit=100", nil), limit.Nobody{Headers: http.Header{}}
		compare(b, func() {
			tokens, err := auth.Manager().List(ctx, tokenauth.Query{UserID: user, Limit: 100})
			if err != nil || len(tokens) != 100 {
				panic("List must return a full page")
			}
			if _, err := json.Marshal(tokens); err != nil {
				panic(err)
			}
		}, func() {
			clear(w.Headers)
			api.ServeHTTP(w, r)
			if w.Headers.Get("Content-Type") != "application/json" {
				panic("no page")
			}
		})
	})
}

// BenchmarkParallel measures a speedup: the requests per second of 256 goroutines on all
// processors, divided by the requests per second of one goroutine. All requests have the same key.
func BenchmarkParallel(b *testing.B) {
	run(b, "256 goroutines", func(b *testing.B) {
		if runtime.NumCPU() < 2 {
			b.Skip("needs two processors")
		}
		p := chains.NewPopulation(1, 1)
		speedup := func(c *chains.Chain) limit.Meter {
			require.NoError(b, c.Check())
			return func() float64 { return throughput(256, c) / throughput(1, c) }
		}
		limit.Rounds(b, "speedup", speedup(p.Limit()), speedup(p.Tokenauth("tokenauth", p.Memory(), nil)))
	})
}

// throughput returns the requests per second that concurrent goroutines reach, in the best of five
// measurements.
func throughput(goroutines int, c *chains.Chain) float64 {
	best := 0.0
	for range 5 {
		best = max(best, throughputOnce(goroutines, c))
	}
	return best
}

func throughputOnce(goroutines int, c *chains.Chain) float64 {
	var done atomic.Bool
	var total atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range goroutines {
		request := c.Requester()
		wg.Go(func() {
			n := int64(0)
			for ; !done.Load(); n++ {
				request()
			}
			total.Add(n)
		})
	}
	timer := time.AfterFunc(20*time.Millisecond, func() { done.Store(true) })
	defer timer.Stop()
	wg.Wait()
	return float64(total.Load()) / time.Since(begin).Seconds()
}
