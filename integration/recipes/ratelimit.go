package recipes

import (
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/go-tokenauth/tokenauth"
)

// docs: rate limit

// A RateLimit limits the requests of each token.
type RateLimit struct {
	limit rate.Limit // requests per second
	burst int

	mu       sync.Mutex
	limiters map[string]*rate.Limiter // by token ID
	swept    time.Time
}

func NewRateLimit(limit rate.Limit, burst int) *RateLimit {
	return &RateLimit{limit: limit, burst: burst, limiters: map[string]*rate.Limiter{}}
}

// Handler is middleware for the handlers inside Require or Optional. Requests without a token pass.
func (l *RateLimit) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, hasToken := tokenauth.TokenFrom(r.Context())
		var wait time.Duration
		if hasToken {
			wait = l.take(token.ID, time.Now())
		}
		if wait == 0 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"title":"Too Many Requests","status":429,"detail":"The token has sent too many requests."}`+"\n")
	})
}

// take counts one request of a token. If the token has reached its limit, take counts nothing and
// returns the time until the next request is allowed.
func (l *RateLimit) take(tokenID string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) >= time.Minute {
		l.swept = now
		maps.DeleteFunc(l.limiters, func(_ string, limiter *rate.Limiter) bool {
			return limiter.TokensAt(now) >= float64(l.burst) // equal to a new limiter
		})
	}
	limiter := l.limiters[tokenID]
	if limiter == nil {
		limiter = rate.NewLimiter(l.limit, l.burst)
		l.limiters[tokenID] = limiter
	}
	reservation := limiter.ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// docs: end
