// Package limit holds the least that the work of this library can cost: what every
// measured path is compared with.
package limit

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"

	"github.com/go-tokenauth/tokenauth"
)

// Bare is a handler without authentication.
var Bare http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

type contextKey struct{}

// Handler is the least that authentication by key can do: the bearer key, its
// SHA-256, a map under a lock, one context value, one copy of the request. It has no
// checksum, no expiry, no second look at the header, and finds no user.
func Handler(tokens map[tokenauth.Digest]*tokenauth.Token) http.Handler {
	var mu sync.RWMutex
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Context().Value(contextKey{}).(*tokenauth.Token).UserID == "" {
			panic("no token")
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header["Authorization"][0], "Bearer ")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var block [64]byte
		digest := sha256.Sum256(block[:copy(block[:], key)])
		mu.RLock()
		token := tokens[digest]
		mu.RUnlock()
		if token == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, token)))
	})
}
