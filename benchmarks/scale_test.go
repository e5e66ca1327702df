package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// BenchmarkTokens compares the time of a request with a valid key with the time of the baseline
// with the same number of tokens. The keys are used in a scattered order. Each run of the benchmark
// creates new tokens, because the place of the data in memory slows down one side in some runs.
// Last-used times are not recorded. A service would write the last-used time of each token once per
// minute, but this benchmark would write all of them within a second.
// Case Q8.
func BenchmarkTokens(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		run(b, fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("creating the tokens takes seconds")
			}
			p := chains.NewPopulation(n, 10)
			c := p.Tokenauth("tokenauth", p.Memory(), &tokenauth.Options{TouchEvery: -1})
			compare(b, requester(b, p.Limit()), requester(b, c))
		})
	}
}

// BenchmarkMemory measures the memory that the MemoryStore uses per token. The result includes all
// indexes, but not the strings of the token.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ tokens, perUser int }{{1_000_000, 1}, {900_000, 1}, {1_000_000, 10}} {
		run(b, fmt.Sprintf("%d tokens, %d per user", c.tokens, c.perUser), func(b *testing.B) {
			if testing.Short() {
				b.Skip("creating the tokens takes seconds")
			}
			p := chains.NewPopulation(c.tokens, c.perUser)
			before := load.Heap()
			store := p.Memory()
			b.ReportMetric(float64(load.Heap()-before)/float64(c.tokens), "bytes/token")
			b.ReportMetric(0, "ns/op") // hides ns/op, which has no meaning here
			runtime.KeepAlive(p)
			runtime.KeepAlive(store)
		})
	}
}

// BenchmarkGrid measures the time per request for the numbers of tokens and goroutines that the
// benchmark of the token cache of Kubernetes uses.
// Case Q8.
func BenchmarkGrid(b *testing.B) {
	if testing.Short() {
		b.Skip("takes many seconds")
	}
	for _, n := range []int{100, 500, 2_500, 12_500, 62_500} {
		population := sync.OnceValue(func() *chains.Population { return chains.NewPopulation(n, 10) })
		for _, kind := range []struct {
			name  string
			chain func(p *chains.Population) *chains.Chain
		}{
			{"tokenauth, memory store", func(p *chains.Population) *chains.Chain { return p.Tokenauth("", p.Memory(), nil) }},
			{"tokenauth, storecache", func(p *chains.Population) *chains.Chain {
				return p.Tokenauth("", must.Get(storecache.New(p.Memory(), &storecache.Options{MaxEntries: n})), nil)
			}},
			{"Kubernetes token cache, a map of digests", (*chains.Population).K8sCache},
		} {
			chain := sync.OnceValue(func() *chains.Chain { return kind.chain(population()) })
			for _, goroutines := range []int{1, 16, 256} {
				run(b, fmt.Sprintf("%d tokens/%s/%d goroutines", n, kind.name, goroutines), func(b *testing.B) {
					c, fastest := chain(), 0.0
					for b.Loop() {
						fastest = max(fastest, throughput(goroutines, c))
					}
					b.ReportMetric(0, "ns/op") // hides ns/op, which would be the time of an iteration
					b.ReportMetric(1e9/fastest, "ns")
				})
			}
		}
	}
}

// BenchmarkPrune measures the time of lookups of live tokens in random order, first without Prune
// and then while Prune deletes the same number of expired tokens.
func BenchmarkPrune(b *testing.B) {
	for _, name := range append([]string{"memory store"}, databases.Names...) {
		run(b, name, func(b *testing.B) {
			if testing.Short() {
				b.Skip("filling the table takes seconds")
			}
			const half = 50_000
			p := chains.NewPopulation(2*half, 10)
			for i := range p.Records[:half] {
				p.Records[i].Token.ExpiresAt = p.Records[i].Token.CreatedAt.Add(time.Microsecond)
			}
			var store tokenauth.Store
			if name == "memory store" {
				store = p.Memory()
			} else {
				store = newTable(b, name, "prune", p).store
			}
			live, ctx := p.Records[half:], context.Background()
			alone := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(alone) })
			reportPercentiles(b, "alone", store, live, alone)
			done, pruned, err := make(chan struct{}), 0, error(nil)
			go func() {
				defer close(done)
				pruned, err = must.Get(tokenauth.New(store, "acme", nil)).Prune(ctx, time.Now())
			}()
			reportPercentiles(b, "beside", store, live, done)
			require.NoError(b, err)
			require.Equal(b, half, pruned)
			b.ReportMetric(0, "ns/op") // hides ns/op, which has no meaning here
		})
	}
}

// reportPercentiles looks up tokens until done is closed, and reports percentiles of the times.
func reportPercentiles(b *testing.B, when string, s tokenauth.Store, live []tokenauth.Record, done <-chan struct{}) {
	var took []time.Duration
	for {
		select {
		case <-done:
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-"+when+"-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-"+when+"-ns")
			return
		default:
		}
		digest := live[rand.IntN(len(live))].Digest
		begin := time.Now()
		if _, err := s.Find(b.Context(), digest); err != nil {
			b.Error(err)
			return
		}
		took = append(took, time.Since(begin))
	}
}
