package tokenpage_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// BenchmarkList measures a page of 100 tokens, and the call of Manager.List in it.
func BenchmarkList(b *testing.B) {
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	for i := range 100 {
		_, _, err := m.Issue(b.Context(), tokenauth.Spec{UserID: "anna", Name: fmt.Sprint("token ", i), Scopes: []string{"a", "b"}})
		require.NoError(b, err)
	}
	page := must.Get(tokenpage.New(m, func(*http.Request) (string, error) { return "anna", nil }, nil))
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			require.Equal(b, http.StatusOK, w.Code)
		}
	})
	b.Run("manager", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := m.List(b.Context(), tokenauth.Query{UserID: "anna", Limit: 101})
			require.NoError(b, err)
		}
	})
}
