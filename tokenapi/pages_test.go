package tokenapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

type page struct {
	Tokens []token
	Next   *string
}

// collect returns all tokens of a list and the number of its pages.
func collect(t *testing.T, s *service, target string, by header) (tokens []token, pages int) {
	t.Helper()
	next := ""
	for {
		p := decode[page](t, send(t, s.mux, "GET", target+next, "", by))
		tokens = append(tokens, p.Tokens...)
		pages++
		if p.Next == nil {
			return tokens, pages
		}
		require.Less(t, pages, 100, "the list has more than 100 pages")
		next = "&cursor=" + *p.Next
	}
}

// The pages of a list together must contain each token of the user once, oldest first. A malformed
// cursor or limit gets 400.
// Case A14.
func TestListPagesContainEachTokenOnce(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{MaxPerUser: -1}, tokenapi.Options{})
	for i := range 501 {
		s.Clock.Advance(time.Duration(i%2) * time.Second) // two tokens each have the same CreatedAt
		_, _, err := s.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: fmt.Sprint(i)})
		require.NoError(t, err) // s.issue would make the search for leaks look for 501 more keys
	}
	_, eves := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "eve's"})
	require.NoError(t, s.Manager.Revoke(context.Background(), "eve", eves.ID))

	for limit, want := range map[string]int{"1": 1, "7": 7, "500": 500, "501": 500, "1000000000": 500} {
		p := decode[page](t, send(t, s.mux, "GET", "/api/tokens?limit="+limit, "", as("ada")))
		require.Len(t, p.Tokens, want, limit)
	}
	all, pages := collect(t, s, "/api/tokens?", as("ada"))
	require.Equal(t, 6, pages, "without a limit, a page has 100 tokens")
	require.Len(t, all, 501)
	require.True(t, slices.IsSortedFunc(all, func(a, b token) int { return strings.Compare(a.CreatedAt, b.CreatedAt) }))
	exact, pages := collect(t, s, "/api/tokens?limit=167", as("ada"))
	require.Equal(t, 3, pages, "a full last page is not followed by an empty page")
	require.Equal(t, all, exact)

	require.Equal(t, "[]", string(decode[struct{ Tokens json.RawMessage }](t, send(t, s.mux, "GET", "/api/tokens", "", as("eve"))).Tokens))
	history := decode[page](t, send(t, s.mux, "GET", "/api/tokens?revoked=true", "", as("eve")))
	require.Len(t, history.Tokens, 1)

	for _, query := range []string{
		"limit=-1", "limit=0", "limit=", "limit=x", "limit=1.5", "limit=99999999999999999999", "limit=1&limit=2",
		"revoked=maybe", "cursor=", "cursor=!", "cursor=" + base64.RawURLEncoding.EncodeToString([]byte("1")),
		"cursor=" + base64.RawURLEncoding.EncodeToString([]byte("1.' OR 1=1")),
	} {
		w := send(t, s.mux, "GET", "/api/tokens?"+query, "", as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, query)
		require.Equal(t, strings.Split(query, "=")[0], field(t, w), query)
	}
	for _, query := range []string{"Limit=1", "user_id=eve", "x=1", "%zz", "limit=1;x"} {
		require.Equal(t, http.StatusBadRequest, send(t, s.mux, "GET", "/api/tokens?"+query, "", as("ada")).Code, query)
	}
	forged := base64.RawURLEncoding.EncodeToString([]byte("-62135596800000000." + eves.ID)) // a CreatedAt in the year 1
	require.NotContains(t, send(t, s.mux, "GET", "/api/tokens?limit=500&cursor="+forged, "", as("ada")).Body.String(), eves.ID)
	foreign := decode[page](t, send(t, s.mux, "GET", "/api/tokens?limit=1", "", as("ada"))).Next
	require.Empty(t, decode[page](t, send(t, s.mux, "GET", "/api/tokens?cursor="+*foreign, "", as("eve"))).Tokens)
}

// The number in a cursor becomes an argument of an SQL statement, so a forged number must not cause
// a database error.
// Case A14.
func TestForgedCursorCausesNoDatabaseError(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(sqlite.NewStore(t, sqlite.New(t), nil), "acme", nil))
	for i := range 5 {
		_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: fmt.Sprint(i)})
		require.NoError(t, err)
	}
	s := &service{mux: http.NewServeMux()}
	s.mux.Handle("/api/", http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(m, nil), signedIn, nil))))
	all, pages := collect(t, s, "/api/tokens?limit=2", as("ada"))
	require.Len(t, all, 5)
	require.Equal(t, 3, pages)
	for at, want := range map[string]int{ // the keys are microseconds since 1970
		"-9223372036854775808": http.StatusBadRequest, // a time before the year 1
		"-62135596800000000":   http.StatusOK,
		"0":                    http.StatusOK,
		"253402300799999999":   http.StatusOK,
		"253402300800000000":   http.StatusBadRequest, // a time in the year 10,000
		"9223372036854775807":  http.StatusBadRequest,
	} {
		forged := base64.RawURLEncoding.EncodeToString([]byte(at + "." + all[0].ID))
		require.Equal(t, want, send(t, s.mux, "GET", "/api/tokens?cursor="+forged, "", as("ada")).Code, at)
	}
}
