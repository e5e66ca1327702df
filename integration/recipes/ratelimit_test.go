package recipes

import (
	"crypto/rand"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// newLimited returns a service whose tokens may send one request per second, and three at once.
func newLimited(t *testing.T) (*tokenauthtest.Kit, *RateLimit, http.Handler) {
	t.Helper()
	kit, auth := newKit(t, nil)
	orders := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	// docs: mount rate limit
	limit := NewRateLimit(1, 3) // one request per second, and up to three at once
	mux.Handle("GET /orders", auth.Require(LogToken(limit.Handler(orders))))
	// docs: end
	return kit, limit, mux
}

// A token that sends too many requests must get 429 and the time to wait. Other tokens of the same
// user must not notice.
func TestRateLimitIsPerToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, handler := newLimited(t)
		busy, _ := issue(t, kit)
		other, _ := issue(t, kit)
		for range 3 {
			require.Equal(t, 200, send(handler, "GET /orders "+busy).Code)
		}
		for range 5 { // refused requests must not lengthen the wait
			w := send(handler, "GET /orders "+busy)
			require.Equal(t, 429, w.Code)
			require.Equal(t, "1", w.Header().Get("Retry-After"))
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.JSONEq(t, `{"title":"Too Many Requests","status":429,"detail":"The token has sent too many requests."}`, w.Body.String())
		}
		require.Equal(t, 200, send(handler, "GET /orders "+other).Code)
		require.Equal(t, 401, send(handler, "GET /orders").Code)
		time.Sleep(time.Second) // of the bubble
		require.Equal(t, 200, send(handler, "GET /orders "+busy).Code)
		require.Equal(t, 429, send(handler, "GET /orders "+busy).Code)
		require.NoError(t, kit.Manager.Close(t.Context()))
	})
}

// Requests without a token, such as those of a session, must not share one limit.
func TestRateLimitLetsRequestsWithoutTokenPass(t *testing.T) {
	t.Parallel()
	limited := NewRateLimit(1, 1).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 5 {
		require.Equal(t, 200, send(limited, "GET /").Code)
	}
}

// The memory must not grow with the number of tokens that were ever used.
func TestRateLimitForgetsIdleTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, limit, handler := newLimited(t)
		for range 50 {
			key, _ := issue(t, kit)
			require.Equal(t, 200, send(handler, "GET /orders "+key).Code)
		}
		require.Len(t, limit.limiters, 50)
		time.Sleep(time.Minute) // of the bubble
		key, _ := issue(t, kit)
		for range 3 {
			require.Equal(t, 200, send(handler, "GET /orders "+key).Code)
		}
		require.Len(t, limit.limiters, 1)
		require.Equal(t, 429, send(handler, "GET /orders "+key).Code)
		require.NoError(t, kit.Manager.Close(t.Context()))
	})
}

// Concurrent requests of a token must not exceed the limit, and must not damage the map of
// limiters. The race detector finds an access to the map without the lock.
func TestRateLimitCountsConcurrentRequests(t *testing.T) {
	t.Parallel()
	limit, now := NewRateLimit(1, 50), time.Now()
	var accepted atomic.Int64
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			for range 10 {
				if limit.take("busy", now) == 0 {
					accepted.Add(1)
				}
				limit.take(rand.Text(), now)
			}
		})
	}
	clients.Wait()
	require.EqualValues(t, 50, accepted.Load())
	require.Len(t, limit.limiters, 101)
}
