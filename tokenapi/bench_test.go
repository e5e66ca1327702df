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
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

const roundTime = 5 * time.Millisecond

// compare reports how many times as long as limit subject takes, by the fastest of
// rounds in turns, as the benchmarks of package tokenauth do.
func compare(b *testing.B, limit, subject func()) {
	b.Helper()
	var fastest [2]float64 // nanoseconds a call
	for b.Loop() {
		for i, f := range []func(){limit, subject} {
			begin, n := time.Now(), 0
			for ; time.Since(begin) < roundTime; n++ {
				f()
			}
			if took := float64(time.Since(begin)) / float64(n); fastest[i] == 0 || took < fastest[i] {
				fastest[i] = took
			}
		}
	}
	b.ReportMetric(0, "ns/op") // a round's time says nothing
	b.ReportMetric(fastest[0], "limit-ns")
	b.ReportMetric(fastest[1], "ns")
	b.ReportMetric(fastest[1]/fastest[0], "x-limit")
}

// nobody is a ResponseWriter that costs nothing.
type nobody struct{ header http.Header }

func (w nobody) Header() http.Header         { return w.header }
func (w nobody) Write(b []byte) (int, error) { return len(b), nil }
func (w nobody) WriteHeader(int)             {}

// A page of 100 tokens, the first one and the last one of a user's, beside the
// Manager's call and encoding/json of the same page. Budget: 1.3 × that.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		store := tokenauth.NewMemoryStore()
		m := tokenauth.New(store, "acme", nil)
		now := time.Now()
		var last tokenauth.Cursor // before the last page
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
		api := tokenapi.New(m, func(*http.Request) (string, error) { return "ada", nil }, nil)
		for name, after := range map[string]tokenauth.Cursor{"first": {}, "last": last} {
			if name == "last" && after.ID == "" {
				continue // it is the first
			}
			b.Run(fmt.Sprintf("%s of %d", name, n), func(b *testing.B) {
				query := ""
				if after.ID != "" {
					query = "&cursor=" + tokenapi.FormatCursor(after)
				}
				r := httptest.NewRequest("GET", "/tokens?limit=100"+query, nil)
				w := nobody{http.Header{}}
				ctx := context.Background()
				compare(b, func() {
					tokens, err := m.List(ctx, tokenauth.Query{UserID: "ada", After: after, Limit: 100})
					if err != nil || len(tokens) != 100 {
						panic("no page")
					}
					if _, err := json.Marshal(tokens); err != nil {
						panic(err)
					}
				}, func() {
					clear(w.header)
					api.ServeHTTP(w, r)
				})
			})
		}
	}
}
