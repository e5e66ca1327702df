// Package limit contains the baselines of the benchmarks. A baseline does the least work that can
// authenticate a request. The benchmarks compare the library with the baselines.
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

// Handler returns a handler that does the least work that authentication by key needs. It reads the
// bearer key, computes the SHA-256 digest of the key, and looks up the token in a map under a lock.
// Then it copies the request with one context value. It does not check the checksum of the key, the
// expiry or the syntax of the header, and does not look up the user.
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
