package tokenauth_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-tokenauth/tokenauth"
)

type benchUser struct{ id string }

type limitKey struct{}

// limitHandler is the least that authentication by key can do: the bearer key,
// its SHA-256, a map under a lock, one context value, one copy of the request.
func limitHandler(mu *sync.RWMutex, tokens map[[32]byte]*benchUser) http.Handler {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(limitKey{}).(*benchUser) == nil {
			panic("no user")
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := r.Header["Authorization"]
		if len(v) != 1 || !strings.HasPrefix(v[0], "Bearer ") {
			w.WriteHeader(401)
			return
		}
		var block [64]byte
		d := sha256.Sum256(block[:copy(block[:], v[0][7:])])
		mu.RLock()
		u := tokens[d]
		mu.RUnlock()
		if u == nil {
			w.WriteHeader(401)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), limitKey{}, u)))
	})
}

type nullWriter struct{ h http.Header }

func (w nullWriter) Header() http.Header         { return w.h }
func (w nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w nullWriter) WriteHeader(int)             {}

func BenchmarkHit(b *testing.B) {
	store := tokenauth.NewMemoryStore()
	m := tokenauth.New(store, "acme", nil)
	u := &benchUser{"1"}
	auth := tokenauth.NewAuthenticator(m, func(ctx context.Context, id string) (*benchUser, error) { return u, nil }, nil)
	var mu sync.RWMutex
	limit := map[[32]byte]*benchUser{}
	var keys []string
	for i := range 10000 {
		k, _, err := m.Issue(context.Background(), tokenauth.Spec{UserID: fmt.Sprint(i / 10), Name: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k.Reveal())
		limit[sha256.Sum256([]byte(k.Reveal()))] = u
	}
	run := func(b *testing.B, h http.Handler) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+keys[77])
		w := nullWriter{http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			clear(w.h)
			h.ServeHTTP(w, r)
		}
	}
	b.Run("limit", func(b *testing.B) { run(b, limitHandler(&mu, limit)) })
	b.Run("require", func(b *testing.B) {
		run(b, auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, ok := tokenauth.UserFrom[*benchUser](r.Context()); !ok || u == nil {
				panic("no user")
			}
		})))
	})
}
