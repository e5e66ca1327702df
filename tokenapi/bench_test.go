package tokenapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// BenchmarkList measures requests for the first and for the last 100 tokens of a user. It compares
// them with direct calls of Manager.List and json.Marshal for the same tokens. A request may take
// at most 1.3 times as long as these calls.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		store := tokenauth.NewMemoryStore()
		m := must.Get(tokenauth.New(store, "acme", nil))
		now := time.Now()
		var last tokenauth.Cursor // cursor of the token before the last page
		for i := range n {
			t := tokenauth.Token{
				ID: fmt.Sprintf("T%025d", i), UserID: "ada", Name: fmt.Sprint("laptop ", i), Scopes: []string{"orders:read", "orders:write"},
				Hint: "abcd", Generation: 1, CreatedAt: now.Add(time.Duration(i) * time.Second), ExpiresAt: now.Add(time.Hour), LastUsedAt: now,
			}
			require.NoError(b, store.Create(context.Background(), tokenauth.Record{Token: t, Digest: tokenauth.DigestOf(t.ID)}))
			if i == n-101 {
				last = t.Cursor()
			}
		}
		api := must.Get(tokenapi.New(newAuth(m, nil), func(*http.Request) (string, error) { return "ada", nil }, nil))
		for name, after := range map[string]tokenauth.Cursor{"first": {}, "last": last} {
			if name == "last" && after.ID == "" {
				continue // the only page is both the first and the last page
			}
			b.Run(fmt.Sprintf("%s of %d", name, n), func(b *testing.B) {
				query := ""
				if after.ID != "" {
					query = "&cursor=" + string(must.Get(after.MarshalText()))
				}
				r := httptest.NewRequest("GET", "/tokens?limit=100"+query, nil)
				w := limit.Nobody{Headers: http.Header{}}
				ctx := context.Background()
				limit.Compare(b, func() {
					tokens, err := m.List(ctx, tokenauth.Query{UserID: "ada", After: after, Limit: 100})
					if err != nil || len(tokens) != 100 {
						panic("List returned no full page")
					}
					if _, err := json.Marshal(tokens); err != nil {
						panic(err)
					}
				}, func() {
					clear(w.Headers)
					api.ServeHTTP(w, r)
				})
			})
		}
	}
}
