package tokenauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newClock returns a clock that is set to start. Its time changes only when the test changes it.
func newClock() *tokenauthtest.Clock {
	c := &tokenauthtest.Clock{}
	c.Set(start)
	return c
}

// newManager returns a Manager with the prefix "acme". opts may be nil. After all tests, package leak
// searches the output of the tests for the keys of this Manager.
func newManager(store tokenauth.Store, opts *tokenauth.Options) *tokenauth.Manager {
	return watched(must.Get(tokenauth.New(store, "acme", opts)))
}

func watched(m *tokenauth.Manager) *tokenauth.Manager {
	tokenauth.OnNewKey(m, func(k tokenauth.Key) tokenauth.Key {
		leak.Default.Secret(k.Reveal())
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

// get sends GET / to h with the given values of the Authorization header. Package leak also searches
// the response for keys.
func get(h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = authorization
	return serve(h, r)
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_, _ = fmt.Fprint(&leak.Default, w.Header(), w.Body)
	return w
}

// noted returns err unchanged. Package leak also searches the text of err for keys.
func noted(err error) error {
	_, _ = fmt.Fprintf(&leak.Default, "%v %+v %#v %q", err, err, err, err)
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
		f(t, sqlite.NewStore(t, sqlite.New(t), nil))
	})
}
