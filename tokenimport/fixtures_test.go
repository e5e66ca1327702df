package tokenimport_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// loaded returns a database with the tables of testdata/<path>.sql. Its pool has one connection,
// which source and store share.
func loaded(t *testing.T, path string) *sql.DB {
	t.Helper()
	statements, err := os.ReadFile("testdata/" + path + ".sql")
	require.NoError(t, err)
	db := sqlite.New(t)
	db.SetMaxOpenConns(1)
	execute(t, db, string(statements))
	return db
}

// keysOf returns the lines of testdata/<path>.tsv. Each line maps the names of the columns to
// values.
func keysOf(t *testing.T, path string) (lines []map[string]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + path + ".tsv")
	require.NoError(t, err)
	all := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	names := strings.Split(all[0], "\t")
	for _, values := range all[1:] {
		line := map[string]string{}
		for i, value := range strings.Split(values, "\t") {
			line[names[i]] = value
		}
		leak.Default.Secret(line["key"])
		lines = append(lines, line)
	}
	require.NotEmpty(t, lines)
	return lines
}

// beside returns a Manager whose table is in the database that it imports from.
func beside(t *testing.T, db *sql.DB, formats ...tokenauth.LegacyFormat) *tokenauth.Manager {
	t.Helper()
	return must.Get(tokenauth.New(sqlite.NewStore(t, db, nil), "acme", &tokenauth.Options{Legacy: formats, TouchEvery: -1}))
}

// imported runs an import, and returns the number of refused rows for each reason.
func imported(t *testing.T, m *tokenauth.Manager, s *tokenimport.Source) (tokenimport.Report, map[tokenimport.Reason]int) {
	t.Helper()
	report, refused := run(t, m, s, tokenimport.Options{})
	reasons := map[tokenimport.Reason]int{}
	for _, r := range refused {
		require.Regexp(t, `^(user_id=\d+( created=[-\w :.]+)?|id=\d+)$`, r.Row)
		reasons[r.Reason]++
	}
	return report, reasons
}

// protected returns a handler that accepts each valid key and responds with the user ID.
func protected(m *tokenauth.Manager, scopes ...string) http.Handler {
	return guarded(m, func(context.Context, string) error { return nil }, scopes...)
}

// ofDjango is like protected, but accepts only active users of Django.
func ofDjango(db *sql.DB, m *tokenauth.Manager) http.Handler {
	return guarded(m, func(ctx context.Context, id string) error {
		err := db.QueryRowContext(ctx, "SELECT id FROM auth_user WHERE id = ? AND is_active", id).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return tokenauth.ErrNoUser
		}
		return err
	})
}

func guarded(m *tokenauth.Manager, check func(context.Context, string) error, scopes ...string) http.Handler {
	find := func(ctx context.Context, id string) (*string, error) { return &id, check(ctx, id) }
	auth := must.Get(tokenauth.NewAuthenticator(m, find, nil))
	whose := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := auth.User(r.Context())
		_, _ = fmt.Fprint(w, *id)
	})
	if len(scopes) > 0 {
		return auth.RequireScopes(scopes...)(whose)
	}
	return auth.Require(whose)
}

// send sends a request with the given Authorization header. It returns the status and the user ID
// in the response. The status is 0 if a response with status 401 does not blame the key.
func send(h http.Handler, authorization string) (status int, user string) {
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	r.Header.Set("Authorization", authorization)
	h.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		user = w.Body.String()
	}
	if w.Code == http.StatusUnauthorized && !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
		return 0, ""
	}
	return w.Code, user
}

// requireSameResponses requires that h accepts exactly the keys that the other system accepts, each
// for the same user.
func requireSameResponses(t *testing.T, h http.Handler, scheme string, lines []map[string]string, userID string) {
	t.Helper()
	for _, line := range lines {
		status, user := send(h, scheme+" "+line["key"])
		about := fmt.Sprintf("%s, %s, …%s", line["note"], line[userID], line["key"][len(line["key"])-4:])
		if line["accepted"] == "1" {
			require.Equal(t, http.StatusOK, status, about)
			require.Equal(t, line[userID], user, about)
		} else {
			require.Equal(t, http.StatusUnauthorized, status, about)
		}
	}
}

func count(lines []map[string]string, with map[string]string) (n int) {
next:
	for _, line := range lines {
		for name, value := range with {
			if line[name] != value {
				continue next
			}
		}
		n++
	}
	return n
}
