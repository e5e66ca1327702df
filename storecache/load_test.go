package storecache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// newService returns a protected handler that uses the cache, and the keys of n tokens.
func newService(t *testing.T, c *storecache.Cache, n int) (h http.Handler, keys []string) {
	t.Helper()
	m := must.Get(tokenauth.New(c, "acme", &tokenauth.Options{TouchEvery: -1, MaxPerUser: -1}))
	for i := range n {
		key, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		keys = append(keys, key.Reveal())
	}
	anyUser := func(_ context.Context, id string) (string, error) { return id, nil }
	return must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), keys
}

func statusOf(ctx context.Context, h http.Handler, key string) int {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_, _ = fmt.Fprint(&leak.Default, w.Header(), w.Body)
	return w.Code
}

// If a spike of fifty times the usual number of clients meets an empty cache, the cache must send
// one query per key. No client must get 401. A client gets 503 if its deadline passes before the
// store returns. The cache must then cancel the queries, so that they do not add to the load. When
// the store is fast again, all clients must succeed.
// Case Q2.
func TestLoadSpikeOnColdCache(t *testing.T) {
	t.Parallel()
	const usual, spike = 20, 50 * 20
	const deadline, maxStale = time.Second, 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: maxStale})
		h, keys := newService(t, c, usual)
		latency := 100 * time.Millisecond
		var mu sync.Mutex
		interceptFind(s, func(ctx context.Context, next func() error) error {
			select {
			case <-time.After(latency):
				return next()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		clients := func() map[int]int {
			statuses := map[int]int{}
			var calls sync.WaitGroup
			for i := range spike {
				calls.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, deadline)
					defer cancel()
					status := statusOf(ctx, h, keys[i%usual])
					mu.Lock()
					defer mu.Unlock()
					statuses[status]++
				})
			}
			calls.Wait()
			return statuses
		}
		require.Equal(t, map[int]int{200: spike}, clients())
		require.Equal(t, usual, s.Count("Find"), "queries")
		require.Equal(t, map[int]int{200: spike}, clients())
		require.Equal(t, usual, s.Count("Find"), "queries of a warm cache")

		time.Sleep(maxStale) // empty the cache
		latency = 3 * deadline
		require.Equal(t, map[int]int{503: spike}, clients(), "after the deadline")
		require.Equal(t, 2*usual, s.Count("Find"), "queries")
		synctest.Wait()
		require.Zero(t, c.Running(), "queries without a waiting client")
		latency = 100 * time.Millisecond
		require.Equal(t, map[int]int{200: spike}, clients())
		require.Equal(t, 3*usual, s.Count("Find"), "queries")
	})
}

// During a spike of fifty times the usual number of clients, a service with a cache on a real
// database must refuse no valid key. A short MaxStale makes the cache query the database often.
// Case Q2.
func TestLoadSpikeOnDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("sends requests for 0.4 seconds")
	}
	t.Parallel()
	c := must.Get(storecache.New(sqlite.NewStore(t, sqlite.New(t), nil), &storecache.Options{MaxStale: 50 * time.Millisecond}))
	h, keys := newService(t, c, 100)
	d := 300 * time.Millisecond
	if load.Long() {
		d = 10 * time.Second
	}
	load.Spike(t, h, keys, d, time.Minute) // the timeout of the store
}

// A flood of well-formed but unknown keys must not evict valid keys and must not use memory.
// Cases C6, Q4.
func TestLoadFloodOfUnknownKeys(t *testing.T) {
	const good = 100
	n := 20_000
	if load.Long() {
		n = 1_000_000
	}
	c, s := newCache(&storecache.Options{MaxEntries: good, MaxStale: 24 * time.Hour})
	h, keys := newService(t, c, good)
	serveAll := func() {
		for _, key := range keys {
			require.Equal(t, http.StatusOK, statusOf(ctx, h, key))
		}
	}
	flood := func(from, to int) {
		var senders sync.WaitGroup
		for g := range 8 {
			senders.Go(func() {
				for i := from + g; i < to; i += 8 {
					if r, err := c.Find(ctx, tokenauth.DigestOf(fmt.Sprint("unknown ", i))); r != nil || err != tokenauth.ErrNotFound {
						t.Errorf("%v, %v", r, err)
					}
				}
			})
		}
		senders.Wait()
	}
	serveAll()
	flood(0, n/10)
	require.Equal(t, good+n/10, s.Count("Find"), "queries")
	s.ResetCalls()
	before := load.Heap()
	flood(n/10, n)
	require.Equal(t, n-n/10, s.Count("Find"), "queries")
	s.ResetCalls() // takes memory
	if load.Long() {
		require.Less(t, load.Heap(), before+1<<20)
	}
	require.Equal(t, good, c.Len())
	serveAll()
	require.Zero(t, s.Count("Find"), "queries: unknown keys evicted valid keys")
}

// The cache remembers writes only while a query runs that started before them. Otherwise a busy
// service would run out of memory. The test makes the cases in which a reference to an old write
// could remain: a Prune, and a store that never returns.
func TestLoadOfWritesKeepsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		_, err := c.Prune(ctx, start, start, 10)
		require.NoError(t, err)
		hang := make(chan struct{})
		interceptFind(s, func(context.Context, func() error) error { <-hang; return nil })
		for range 2 {
			_, err = c.Find(ctx, tokenauth.DigestOf("x"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		before := load.Heap()
		for range 1000 {
			ids := make([]string, 1000) // 16 KB
			c.Invalidate(ids...)
		}
		require.Less(t, load.Heap(), before+4<<20)
		close(hang)
		runtime.KeepAlive(c)
	})
}
