package integration

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// The test runs the Python of Debian, because only this Python finds the packages of Debian. PATH
// may contain another Python.
const (
	python = "/usr/bin/python3"
	drf    = "/usr/lib/python3/dist-packages/rest_framework/__init__.py"
)

// A djangoToken is a token that Django has created.
type djangoToken struct {
	key, userID, name string
	created           time.Time
	accepted          string // ID of the user for whom Django REST Framework accepts the key; empty if it refuses the key
}

// django runs a script that creates users and tokens of the given model in a database. It returns
// the tokens.
func django(t *testing.T, model string, database []string) (tokens []djangoToken) {
	t.Helper()
	if _, err := os.Stat(drf); errors.Is(err, os.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("Django REST Framework is not installed")
	}
	cmd := exec.CommandContext(t.Context(), python, append([]string{"testdata/django/tokens.py", model}, database...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, f, 5)
		leak.Default.Secret(f[0])
		created, err := strconv.ParseInt(f[3], 10, 64)
		require.NoError(t, err)
		tokens = append(tokens, djangoToken{f[0], f[1], f[2], time.UnixMicro(created).UTC(), f[4]})
	}
	return tokens
}

// forDjango returns the arguments that make the script use the database of a DSN.
func forDjango(t *testing.T, d tokenauth.Dialect, dsn string) []string {
	t.Helper()
	if d == tokenauth.SQLite {
		path, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		return []string{"sqlite3", path}
	}
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	return []string{"postgresql", u.Hostname(), u.Port(), strings.TrimPrefix(u.Path, "/")}
}

// djangoUsers finds users in the table of Django, as a service that replaces the Django service
// does.
type djangoUsers struct {
	db      *sql.DB
	dialect tokenauth.Dialect
}

func (u djangoUsers) byID(ctx context.Context, id string) (string, error) {
	number, err := strconv.Atoi(id)
	if err != nil {
		return "", tokenauth.ErrNoUser
	}
	query := "SELECT username FROM auth_user WHERE id = ? AND is_active"
	if u.dialect == tokenauth.PostgreSQL {
		query = strings.Replace(query, "?", "$1", 1)
	}
	var name string
	err = u.db.QueryRowContext(ctx, query, number).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", tokenauth.ErrNoUser
	}
	return id, err
}

var djangoModels = map[string]*tokenimport.DRFOptions{
	"authtoken": nil,
	"many":      {Table: "tokens_token", ID: "id", Name: "name"},
}

// Django creates the tokens, and reports the user for whom it accepts each key. A Go server on the
// same database must accept the same keys for the same users. Otherwise users are locked out after
// the move, or a key belongs to the wrong user.
// Case K10.
func TestDjangoImportAcceptsSameKeys(t *testing.T) {
	t.Parallel()
	for _, d := range []tokenauth.Dialect{tokenauth.SQLite, tokenauth.PostgreSQL} {
		for model, opts := range djangoModels {
			t.Run(string(d)+"/"+model, func(t *testing.T) {
				t.Parallel()
				driver, dsn := newDatabase(t, d)
				tokens := django(t, model, forDjango(t, d, dsn))
				db := open(t, driver, dsn)
				m := must.Get(tokenauth.New(newStore(t, db, d, nil), "acme", &tokenauth.Options{
					Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()}, TouchEvery: -1,
				}))
				accepted := 0
				for _, token := range tokens {
					if token.accepted != "" {
						accepted++
					}
				}
				require.Greater(t, accepted, len(tokens)/2)
				require.Less(t, accepted, len(tokens))
				source := tokenimport.DRF(db, d, opts)
				report, err := tokenimport.Run(t.Context(), m, source, nil)
				require.NoError(t, err)
				require.Equal(t, tokenimport.Report{Read: len(tokens), Imported: accepted, Refused: len(tokens) - accepted}, report)
				report, err = tokenimport.Run(t.Context(), m, source, nil)
				require.NoError(t, err)
				require.Equal(t, tokenimport.Report{Read: len(tokens), Existing: accepted, Refused: len(tokens) - accepted}, report)

				server := httptest.NewServer(showToken(must.Get(tokenauth.NewAuthenticator(m, djangoUsers{db, d}.byID, nil))))
				defer server.Close()
				for _, token := range tokens {
					status, body := sendKey(t, server, token.key)
					if token.accepted == "" {
						require.Equal(t, http.StatusUnauthorized, status)
						continue
					}
					require.Equal(t, http.StatusOK, status)
					want := []string{token.accepted, token.shownName(), token.created.Format(time.RFC3339Nano)}
					require.Equal(t, strings.Join(want, "\n"), body)
				}

				// When a user is disabled in Django, the Go server must refuse the keys immediately.
				_, err = db.ExecContext(t.Context(), "UPDATE auth_user SET is_active = NOT is_active")
				require.NoError(t, err)
				for _, token := range tokens {
					status, _ := sendKey(t, server, token.key)
					require.Equal(t, http.StatusUnauthorized, status)
				}
			})
		}
	}
}

// shownName returns the name of the token after the import.
func (t djangoToken) shownName() string {
	if t.name == "" {
		return "drf"
	}
	return t.name
}

// showToken returns a handler that writes the user ID, and the name and the creation time of the
// token.
func showToken(auth *tokenauth.Authenticator[string]) http.Handler {
	return auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		token, _ := auth.Token(r.Context())
		_, _ = io.WriteString(w, user+"\n"+token.Name+"\n"+token.CreatedAt.Format(time.RFC3339Nano))
	}))
}

func sendKey(t *testing.T, server *httptest.Server, key string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Token "+key)
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}
