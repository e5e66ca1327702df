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
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newClock returns a clock that is set to start. Its time changes only when the test changes it.
func newClock() *tokenauthtest.Clock {
	c := &tokenauthtest.Clock{}
	c.Set(start)
	return c
}

// newManager returns a Manager with the prefix "acme". opts may be nil. After all tests, leaktest
// searches the output of the tests for the keys of this Manager.
func newManager(store tokenauth.Store, opts *tokenauth.Options) *tokenauth.Manager {
	return watched(must.Get(tokenauth.New(store, "acme", opts)))
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

// newStore returns a store in memory whose calls a test can count, intercept and make fail.
func newStore() *tokenauthtest.Store { return tokenauthtest.NewStore(tokenauth.NewMemoryStore()) }

// newFailingStore returns a store whose calls all return err.
func newFailingStore(err error) *tokenauthtest.Store {
	s := newStore()
	s.Fail(err)
	return s
}

type user struct{ ID string }

// anyUser is a user lookup that finds a user for every ID.
func anyUser(_ context.Context, id string) (*user, error) { return &user{ID: id}, nil }

// whoami is a handler that writes the user ID of the request's token. It writes "nobody" if the
// context holds no token.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if token, ok := tokenauth.TokenFrom(r.Context()); ok {
		_, _ = fmt.Fprint(w, token.UserID)
		return
	}
	_, _ = fmt.Fprint(w, "nobody")
})

// get sends GET / to h with the given values of the Authorization header. leaktest also searches
// the response for keys.
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

// noted returns err unchanged. leaktest also searches the text of err for keys.
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

// patientOptions returns SQLOptions with a timeout of one minute, so that no call times out on a
// busy machine.
func patientOptions() *tokenauth.SQLOptions { return &tokenauth.SQLOptions{Timeout: time.Minute} }

// newSQLiteStore creates the table in db and returns a store that uses db. If opts is nil,
// newSQLiteStore uses patientOptions.
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
