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
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
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

// The filters of a list must apply to each of its pages, and together with the other parameters. A
// malformed or empty value gets 400: without the filter, a program would take all tokens for those
// that it asked for.
func TestListFilters(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	issue := func(user, by, name string, lifetime time.Duration) tokenauth.Token {
		spec := tokenauth.Spec{UserID: user, Name: name}
		if lifetime > 0 {
			spec.ExpiresAt = s.Clock.Now().Add(lifetime)
		}
		s.Clock.Advance(time.Second)
		key, made, err := s.Manager.Issue(tokenauth.ContextWithActor(t.Context(), by), spec)
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		return made
	}
	issue("ada", "token:A", "1", time.Hour)
	issue("ada", "token:B", "2", time.Hour)
	issue("ada", "token:A", "3", 0)
	gone := issue("ada", "token:A", "4", 2*time.Hour)
	issue("ada", "user:ada", "5", 3*time.Hour)
	issue("ada", "token:a", "6", 3*time.Hour)
	issue("eve", "token:A", "7", time.Hour)
	issue("ada", "token:A", "8", 4*time.Hour)
	require.NoError(t, s.Manager.Revoke(t.Context(), "ada", gone.ID))
	for _, c := range []struct{ query, ada, all string }{
		{"", "1 2 3 5 6 8", "1 2 3 5 6 7 8"},
		{"created_by=token:A", "1 3 8", "1 3 7 8"},
		{"created_by=token:A&revoked=true", "1 3 4 8", "1 3 4 7 8"},
		{"created_by=token:a", "6", "6"},
		{"created_by=token", "", ""},
		{"created_by=%27", "", ""},
		{"created_by=%00", "", ""},
		{"created_by=%ff", "", ""},
		{"created_by=" + strings.Repeat("x", 256), "", ""},
		{"expires_before=2026-03-01T14:00:00Z", "1 2", "1 2 7"},
		{"expires_before=2026-03-01T15:00:00%2B01:00", "1 2", "1 2 7"},
		{"expires_before=2026-03-01T13:00:00Z", "", ""},
		{"expires_before=2026-03-01T13:00:00.001Z", "1", "1"},
		{"expires_before=9999-12-31T23:59:59Z", "1 2 5 6 8", "1 2 5 6 7 8"},
		{"expires_before=9999-12-31T23:59:59-23:00", "1 2 5 6 8", "1 2 5 6 7 8"},
		{"expires_before=2026-03-01T15:00:00Z&revoked=true&created_by=token:A", "1 4", "1 4 7"},
		{"expires_before=2020-01-01T00:00:00Z", "", ""},
	} {
		for limit := 1; limit <= 3; limit++ {
			for target, want := range map[string]string{"/api/tokens?": c.ada, "/staff/tokens?user_id=ada&": c.ada, "/staff/tokens?": c.all} {
				by := as("ada")
				if strings.HasPrefix(target, "/staff") {
					by = as("root")
				}
				list, pages := collect(t, s, fmt.Sprintf("%slimit=%d&%s", target, limit, c.query), by)
				var names []string
				for _, token := range list {
					names = append(names, token.Name)
				}
				require.Equal(t, want, strings.Join(names, " "), "%s%s", target, c.query)
				require.Equal(t, max(1, (len(list)+limit-1)/limit), pages, "%s%s", target, c.query)
			}
		}
	}
	for _, query := range []string{
		"created_by=", "created_by=token:A&created_by=token:B",
		"expires_before=", "expires_before=2026-03-01", "expires_before=1772366400", "expires_before=14d", "expires_before=null",
		"expires_before=2026-03-01T13:00:00", "expires_before=2026-03-01T15:00:00+01:00", // the plus sign is a space
		"expires_before=2026-02-30T00:00:00Z", "expires_before=0001-01-01T00:00:00Z", "expires_before=0001-01-01T01:00:00%2B01:00",
		"expires_before=2026-03-01T13:00:00Z&expires_before=2026-03-01T13:00:00Z",
	} {
		for target, by := range map[string]header{"/api/tokens?": as("ada"), "/staff/tokens?": as("root"), "/staff/tokens?user_id=ada&": as("root")} {
			w := send(t, s.mux, "GET", target+query, "", by)
			require.Equal(t, http.StatusBadRequest, w.Code, "%s%s", target, query)
			require.Equal(t, strings.Split(query, "=")[0], field(t, w), query)
		}
	}
	for _, target := range []string{"/staff/tokens/" + gone.ID + "?user_id=ada&created_by=x", "/staff/tokens?user_id=ada&expires_before=2026-03-01T13:00:00Z"} {
		require.Equal(t, http.StatusBadRequest, send(t, s.mux, "DELETE", target, "", as("root")).Code, "only lists have filters")
	}
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
