package tokenauth_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newClock returns a clock that stands still at start until a test moves it.
func newClock() *tokenauthtest.Clock {
	c := &tokenauthtest.Clock{}
	c.Set(start)
	return c
}

// newManager returns a Manager with the prefix "acme". At the end of the tests, leaktest
// searches all output of the tests for its keys. opts may be nil.
func newManager(store tokenauth.Store, opts *tokenauth.Options) *tokenauth.Manager {
	return watched(tokenauth.New(store, "acme", opts))
}

func watched(m *tokenauth.Manager) *tokenauth.Manager {
	tokenauth.OnNewKey(m, func(k tokenauth.Key) tokenauth.Key {
		leaktest.Default.Secret(k.Reveal())
		return k
	})
	return m
}

// issue issues a token and returns its key and the token.
func issue(t testing.TB, m *tokenauth.Manager, spec tokenauth.Spec) (string, tokenauth.Token) {
	t.Helper()
	key, token, err := m.Issue(context.Background(), spec)
	require.NoError(t, err)
	return key.Reveal(), token
}

type user struct{ ID string }

// anyUser finds every user.
func anyUser(_ context.Context, id string) (*user, error) { return &user{ID: id}, nil }

// whoami writes the ID of the user, or "nobody" if the context holds no user.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if u, ok := tokenauth.UserFrom[*user](r.Context()); ok {
		_, _ = fmt.Fprint(w, u.ID)
		return
	}
	_, _ = fmt.Fprint(w, "nobody")
})

// get sends GET / with the given values of Authorization. The leak search covers the
// response.
func get(h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = authorization
	return serve(h, r)
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_, _ = fmt.Fprint(&leaktest.Default, w.Header(), w.Body)
	return w
}

// noted returns err. The leak search covers the text of err.
func noted(err error) error {
	_, _ = fmt.Fprintf(&leaktest.Default, "%v %+v %#v %q", err, err, err, err)
	return err
}

// eachStore runs f on an empty store of each kind.
func eachStore(t *testing.T, f func(t *testing.T, store tokenauth.Store)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f(t, tokenauth.NewMemoryStore())
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, newSQLiteStore(t, openSQLite(t), nil))
	})
}

const sqliteSettings = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"

// openSQLite opens a new database file.
func openSQLite(t testing.TB) *sql.DB {
	t.Helper()
	return openSQLiteFile(t, filepath.Join(t.TempDir(), "tokens.db"))
}

func openSQLiteFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+sqliteSettings)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// patientOptions returns options with a timeout that a busy machine does not reach.
func patientOptions() *tokenauth.SQLOptions { return &tokenauth.SQLOptions{Timeout: time.Minute} }

// newSQLiteStore creates the table in db and returns a store on it. If opts is nil, the
// store has patientOptions.
func newSQLiteStore(t testing.TB, db *sql.DB, opts *tokenauth.SQLOptions) *tokenauth.SQLStore {
	t.Helper()
	if opts == nil {
		opts = patientOptions()
	}
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, opts)
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(context.Background()))
	t.Cleanup(func() { _ = store.Close() })
	return store
}
