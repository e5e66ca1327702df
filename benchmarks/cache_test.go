package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A slowStore is a MemoryStore whose queries and last-used writes take time, as on a server.
type slowStore struct {
	tokenauth.Store
	find    time.Duration
	touch   func() time.Duration
	touched func(uses []tokenauth.Use)
	finds   atomic.Int64
}

func (s *slowStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	s.finds.Add(1)
	time.Sleep(s.find)
	return s.Store.Find(ctx, d)
}

func (s *slowStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	if s.touch != nil {
		time.Sleep(s.touch())
		s.touched(uses)
	}
	return s.Store.Touch(ctx, uses...)
}

// readOnly is a Store whose writes do nothing. Benchmarks of the cache use it to measure only what
// the cache adds to a write.
type readOnly struct{ tokenauth.Store }

func (readOnly) Create(context.Context, ...tokenauth.Record) error { return nil }

func (readOnly) Update(context.Context, string, string, tokenauth.Patch, time.Time) error { return nil }

func (readOnly) Rotate(context.Context, string, string, tokenauth.Rotation, time.Time) error {
	return nil
}

func (readOnly) Revoke(context.Context, string, string, time.Time, string) error { return nil }

func (readOnly) RevokeAll(context.Context, string, time.Time, string, int) (int, error) {
	return 0, nil
}

func (readOnly) Touch(context.Context, ...tokenauth.Use) error { return nil }

func (readOnly) Prune(context.Context, time.Time, time.Time, int) (int, error) { return 0, nil }

const unrelatedWrites = 1000 // per second

// writeUnrelated changes tokens of a user of its own until the returned function is called. The
// calls are Create, Update, Rotate, Touch, Revoke, RevokeAll and Prune in turn.
func writeUnrelated(b *testing.B, s tokenauth.Store) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	begin := time.Now()
	r := chains.NewPopulation(1, 1).Records[0]
	r.Token.UserID = "writer"
	write := func(i int) error {
		ctx := context.Background()
		if i%7 == 0 {
			r.Token.ID = fmt.Sprint("written ", i)
			r.Token.Name = r.Token.ID
			r.Digest = tokenauth.DigestOf(r.Token.ID)
		}
		id := r.Token.ID
		switch i % 7 {
		case 0:
			return s.Create(ctx, r)
		case 1:
			return s.Update(ctx, "writer", id, tokenauth.Patch{Name: new(id + " renamed")}, begin)
		case 2:
			rotation := tokenauth.Rotation{Replaces: r.Token.Generation, Digest: tokenauth.DigestOf(id + " rotated"), GraceUntil: begin}
			return s.Rotate(ctx, "writer", id, rotation, begin)
		case 3:
			return s.Touch(ctx, tokenauth.Use{ID: id, At: begin})
		case 4:
			return s.Revoke(ctx, "writer", id, begin, "")
		case 5:
			_, err := s.RevokeAll(ctx, "writer", begin, "", 1000)
			return err
		}
		_, err := s.Prune(ctx, begin.Add(time.Second), time.Time{}, 1000)
		return err
	}
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / unrelatedWrites))):
			}
			if err := write(i); err != nil {
				b.Errorf("write %d: %v", i, err)
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// BenchmarkCacheDuringWrites compares the hits of a cache while tokens of other users change 1,000
// times per second with the hits without these writes.
func BenchmarkCacheDuringWrites(b *testing.B) {
	// Clients use 500 keys at random. A query of the store takes 5 ms, and the cache keeps each key
	// for a second. The metric is the share of requests that cause no query.
	run(b, "share of hits", func(b *testing.B) {
		p := chains.NewPopulation(500, 10)
		share := func(writes bool) float64 {
			store := &slowStore{Store: p.Memory(), find: 5 * time.Millisecond}
			c := must.Get(storecache.New(store, &storecache.Options{MaxStale: time.Second}))
			if writes {
				defer writeUnrelated(b, c)()
			}
			var clients sync.WaitGroup
			var requests atomic.Int64
			end := time.Now().Add(3 * time.Second)
			for range 8 {
				clients.Go(func() {
					for ; time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
						requests.Add(1)
						if _, err := c.Find(context.Background(), p.Records[rand.IntN(len(p.Records))].Digest); err != nil {
							b.Error(err)
						}
					}
				})
			}
			clients.Wait()
			return 1 - float64(store.finds.Load())/float64(requests.Load())
		}
		limit.Rounds(b, "of-requests", func() float64 { return share(false) }, func() float64 { return share(true) })
	})
	// Two goroutines look up cached keys as fast as they can.
	run(b, "hits per second", func(b *testing.B) {
		p := chains.NewPopulation(10_000, 10)
		rate := func(writes bool) limit.Meter {
			c := must.Get(storecache.New(readOnly{p.Memory()}, &storecache.Options{MaxStale: time.Hour}))
			for i := range p.Records {
				must.Get(c.Find(context.Background(), p.Records[i].Digest))
			}
			return func() float64 {
				if writes {
					defer writeUnrelated(b, c)()
				}
				var clients sync.WaitGroup
				var hits atomic.Int64
				begin := time.Now()
				for g := range 2 {
					clients.Go(func() {
						n := 0
						for ; n%100 != 0 || time.Since(begin) < 200*time.Millisecond; n++ {
							must.Get(c.Find(context.Background(), p.Records[(n+g)%len(p.Records)].Digest))
						}
						hits.Add(int64(n))
					})
				}
				clients.Wait()
				return float64(hits.Load()) / time.Since(begin).Seconds()
			}
		}
		limit.Rounds(b, "hits/s", rate(false), rate(true))
	})
}

// BenchmarkCacheWrite compares the time that a cache with a million entries adds to a write with
// the time that a cache with 10,000 entries adds. The writes do not concern the cached tokens.
func BenchmarkCacheWrite(b *testing.B) {
	filled := func(n int) func() tokenauth.Store {
		return sync.OnceValue(func() tokenauth.Store {
			p := chains.NewPopulation(n, 10)
			c := must.Get(storecache.New(readOnly{p.Memory()}, &storecache.Options{MaxStale: 24 * time.Hour, MaxEntries: n}))
			for i := range p.Records {
				must.Get(c.Find(context.Background(), p.Records[i].Digest))
			}
			return c
		})
	}
	few, many := filled(10_000), filled(1_000_000)
	ctx, now := context.Background(), time.Now()
	uses := make([]tokenauth.Use, 500)
	for i := range uses {
		uses[i] = tokenauth.Use{ID: fmt.Sprint("other ", i), At: now}
	}
	other := chains.NewPopulation(1, 1).Records[0]
	for _, w := range []struct {
		name  string
		write func(s tokenauth.Store) error
	}{
		{"Create", func(s tokenauth.Store) error { return s.Create(ctx, other) }},
		{"Revoke", func(s tokenauth.Store) error { return s.Revoke(ctx, "other", "other", now, "") }},
		{"RevokeAll", func(s tokenauth.Store) error { _, err := s.RevokeAll(ctx, "other", now, "", 1000); return err }},
		{"Touch of 500 tokens", func(s tokenauth.Store) error { return s.Touch(ctx, uses...) }},
		{"Prune", func(s tokenauth.Store) error {
			_, err := s.Prune(ctx, now.AddDate(-1, 0, 0), time.Time{}, 1000)
			return err
		}},
	} {
		run(b, w.name, func(b *testing.B) {
			if testing.Short() {
				b.Skip("filling the cache takes seconds")
			}
			on := func(s tokenauth.Store) func() { return func() { require.NoError(b, w.write(s)) } }
			compare(b, on(few()), on(many()))
		})
	}
}

// BenchmarkLastUseAtPace authenticates 10,000 distinct tokens per second for 60 seconds. A write of
// last-used times takes 5 ms, except for one write that takes 300 ms. The metric dropped is the
// number of tokens whose last-used time was not written. The metric lag/touch-every is the longest
// time from a use to its write, divided by TouchEvery.
func BenchmarkLastUseAtPace(b *testing.B) {
	run(b, "10,000 tokens per second", func(b *testing.B) {
		if testing.Short() {
			b.Skip("takes a minute")
		}
		const perSecond, seconds = 10_000, 60
		const touchEvery = time.Minute // default of Options.TouchEvery
		p := chains.NewPopulation(perSecond*seconds, 10)
		begin := time.Now()
		var mu sync.Mutex
		var lag time.Duration
		var hiccup sync.Once
		store := &slowStore{Store: p.Memory(), touch: func() time.Duration {
			took := 5 * time.Millisecond
			if time.Since(begin) > 10*time.Second {
				hiccup.Do(func() { took = 300 * time.Millisecond })
			}
			return took
		}, touched: func(uses []tokenauth.Use) {
			mu.Lock()
			defer mu.Unlock()
			for i := range uses {
				lag = max(lag, time.Since(uses[i].At))
			}
		}}
		m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: touchEvery}))
		begin = time.Now()
		for i, key := range p.Keys {
			if i%100 == 0 {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / perSecond)))
			}
			must.Get(m.Authenticate(context.Background(), key))
		}
		require.NoError(b, m.Close(context.Background()))
		dropped := 0
		for i := range p.Records {
			if must.Get(store.Store.Find(context.Background(), p.Records[i].Digest)).Token.LastUsedAt.IsZero() {
				dropped++
			}
		}
		b.ReportMetric(0, "ns/op") // hides ns/op, which has no meaning here
		b.ReportMetric(float64(dropped), "dropped")
		b.ReportMetric(lag.Seconds()/touchEvery.Seconds(), "lag/touch-every")
	})
}
