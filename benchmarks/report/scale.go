package main

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// measureTokens sends keys at random, beside the limit at as many tokens, and takes
// the median of some populations: where the memory of one happens to lie slows either
// side down threefold, once in a while. Last uses, which have lines of their own, are
// not recorded: that of each token would be written within these seconds, and not once
// a minute.
func (r *report) measureTokens(context.Context) error {
	for _, n := range tokenCounts {
		if n > r.plan.tokens {
			continue
		}
		var times []float64
		for range r.plan.populations {
			p := chains.NewPopulation(n, 10)
			results, err := r.compare(cpuClock, []*chains.Chain{p.Limit(), p.Tokenauth("tokenauth", p.Memory(), &tokenauth.Options{TouchEvery: -1})})
			if err != nil {
				return err
			}
			times = append(times, results[1].times)
		}
		r.set(lineTokens(n), median(times))
	}
	return nil
}

// measureMemory fills a store with tokens whose strings are there before.
func (r *report) measureMemory(context.Context) error {
	for _, plan := range inMemory {
		if plan.tokens > r.plan.tokens {
			continue
		}
		p := chains.NewPopulation(plan.tokens, plan.perUser)
		before := heap()
		store := p.Memory()
		r.set(lineMemory(plan), math.Round((heap()-before)/float64(plan.tokens)))
		runtime.KeepAlive(p)
		runtime.KeepAlive(store)
	}
	return nil
}

// measureParallel compares how much faster than one goroutine 256 are.
func (r *report) measureParallel(context.Context) error {
	if runtime.NumCPU() < 2 {
		return nil
	}
	p := chains.NewPopulation(1, 1)
	both := []*chains.Chain{p.Limit(), p.Tokenauth("tokenauth", p.Memory(), nil)}
	var best [2][2]float64 // of each, by one and by 256
	const once = 20 * time.Millisecond
	onAllCPUs(func() {
		for begin := time.Now(); time.Since(begin) < 6*r.plan.each; {
			for i, c := range both {
				for j, goroutines := range []int{1, 256} {
					best[i][j] = max(best[i][j], throughput(once, goroutines, c.Requester))
				}
			}
		}
	})
	r.set(lineParallel, (best[1][1]/best[1][0])/(best[0][1]/best[0][0]))
	return nil
}

// The grid of Kubernetes' own benchmark of its token cache.
var (
	gridTokens     = []int{100, 500, 2_500, 12_500, 62_500}
	gridGoroutines = []int{1, 16, 256}
)

// A gridResult is nanoseconds a request, by gridGoroutines.
type gridResult struct {
	tokens int
	chain  string
	ns     []float64
}

func (r *report) measureGrid(context.Context) error {
	if !r.plan.load {
		return nil
	}
	for _, n := range gridTokens {
		p := chains.NewPopulation(n, 10)
		all := []*chains.Chain{
			p.Tokenauth("tokenauth, memory store", p.Memory(), nil),
			p.Tokenauth("tokenauth, storecache", must.Get(storecache.New(p.Memory(), &storecache.Options{MaxEntries: n})), nil),
			p.K8sCache(),
		}
		for _, c := range all {
			result := gridResult{tokens: n, chain: c.Name}
			onAllCPUs(func() {
				for _, goroutines := range gridGoroutines {
					result.ns = append(result.ns, 1e9/r.bestThroughput(goroutines, c))
				}
			})
			r.grid = append(r.grid, result)
		}
	}
	return nil
}

func (r *report) bestThroughput(goroutines int, c *chains.Chain) float64 {
	best := 0.0
	for range 5 {
		best = max(best, throughput(r.plan.each/20, goroutines, c.Requester))
	}
	return best
}

// A pruneResult is how long lookups take alone, and while Prune runs: the 50th and
// the 99th percentile.
type pruneResult struct {
	store         string
	pruned        int
	alone, beside [2]time.Duration
}

func (r *report) measurePruneMemory(ctx context.Context) error {
	if !r.plan.load {
		return nil
	}
	const n = 100_000
	p := chains.NewPopulation(2*n, 10)
	for i := range p.Records[:n] {
		p.Records[i].Token.ExpiresAt = p.Records[i].Token.CreatedAt
	}
	return r.measurePrune(ctx, "memory store", p.Memory(), p.Records[n:], n)
}

// measurePrune looks up the live records of a store in random order, while n others
// are pruned, and before that for about as long.
func (r *report) measurePrune(ctx context.Context, name string, s tokenauth.Store, live []tokenauth.Record, n int) error {
	result := pruneResult{store: name, pruned: n}
	var err error
	onAllCPUs(func() {
		alone := make(chan struct{})
		time.AfterFunc(r.plan.each, func() { close(alone) })
		if result.alone, err = percentiles(ctx, s, live, alone); err != nil {
			return
		}
		done := make(chan struct{})
		pruned, pruneErr := 0, error(nil)
		go func() {
			defer close(done)
			pruned, pruneErr = must.Get(tokenauth.New(s, "acme", nil)).Prune(ctx, time.Now())
		}()
		result.beside, err = percentiles(ctx, s, live, done)
		<-done
		if err == nil {
			err = pruneErr
		}
		result.pruned = pruned
	})
	r.prunes = append(r.prunes, result)
	return err
}

func percentiles(ctx context.Context, s tokenauth.Store, live []tokenauth.Record, done <-chan struct{}) (p [2]time.Duration, err error) {
	var took []time.Duration
	for {
		select {
		case <-done:
			slices.Sort(took)
			return [2]time.Duration{took[len(took)/2], took[len(took)*99/100]}, nil
		default:
		}
		d := live[rand.IntN(len(live))].Digest
		begin := time.Now()
		if _, err := s.Find(ctx, d); err != nil {
			return p, err
		}
		took = append(took, time.Since(begin))
	}
}
