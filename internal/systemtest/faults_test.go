package systemtest_test

import (
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"

	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The tests in this file cover a locked database file, clients that cancel their requests, and an
// exhausted connection pool. The tests in integration/ cover the same faults with database servers.

// requireUnavailable requires that StatusCode returns 503 for err. It also requires that err wraps
// none of the errors that a Store returns about a token, such as ErrNotFound.
func requireUnavailable(t *testing.T, err error, what string) {
	t.Helper()
	require.Error(t, fixture.Noted(err), what)
	fixture.RequireStoreFailure(t, err)
	require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), "%s: %v", what, err)
}

// A heldFile is a SQLite database file that the connection other can lock. The file is not in WAL
// mode, so a transaction that writes blocks readers, too.
type heldFile struct {
	db    *sql.DB
	store *tokenauth.SQLStore
	other *sql.Conn
}

// newHeldFile returns a heldFile that is not locked yet. SQLite waits up to busy milliseconds for a
// lock. Each call of the store ends after the given timeout.
func newHeldFile(t *testing.T, busy string, timeout time.Duration) *heldFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.db")
	settings := strings.NewReplacer("WAL", "DELETE", "5000", busy).Replace(sqlite.Settings)
	sqlite.NewStore(t, sqlite.OpenWith(t, path, settings), nil)
	f := &heldFile{db: sqlite.OpenWith(t, path, settings)}
	var err error
	f.store, err = tokenauth.NewSQLStore(f.db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: timeout})
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.store.Close() })
	f.other, err = sqlite.OpenWith(t, path, settings).Conn(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.other.Close() })
	return f
}

func (f *heldFile) hold(t *testing.T) {
	t.Helper()
	_, err := f.other.ExecContext(ctx, "BEGIN EXCLUSIVE")
	require.NoError(t, err)
}

func (f *heldFile) release(t *testing.T) {
	t.Helper()
	_, err := f.other.ExecContext(ctx, "ROLLBACK")
	require.NoError(t, err)
}

// If another process locks the database file, requests with valid keys must get status 503. With
// status 401, clients would discard valid keys. After the lock is released, requests must succeed
// again, and no goroutine or connection may be left. Case F2.
func TestLockedFileIs503(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	leak.NothingLeft(t)
	f := newHeldFile(t, "10", time.Minute)
	f.db.SetMaxOpenConns(8)
	f.db.SetMaxIdleConns(8)
	var events fixture.Recorder
	m := fixture.NewManager(f.store, &tokenauth.Options{OnEvent: events.Record})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
	const requests = 50
	answered := func(want int) {
		t.Helper()
		require.Equal(t, requests, fixture.Together(requests, func(int) bool { return fixture.Get(h, "Bearer "+key).Code == want }))
	}
	answered(http.StatusOK)
	events.Take()

	f.hold(t)
	answered(http.StatusServiceUnavailable)
	told := events.Take()
	require.Len(t, told, requests)
	for _, e := range told {
		require.Equal(t, tokenauth.ReasonStoreFailed, e.Reason)
	}
	requireUnavailable(t, m.Revoke(ctx, "u", token.ID), "revoke")
	f.release(t)

	answered(http.StatusOK)
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	answered(http.StatusUnauthorized)
}

// If a client cancels its request while the database is slow, the Manager must emit no event.
// Without a cache, the store must cancel the query of that request. With a cache, the query may
// continue, because other requests may wait for its result. The next request must get its own
// response. Case F4.
func TestCanceledRequestCancelsQuery(t *testing.T) {
	t.Parallel()
	for name, cached := range map[string]bool{"store": false, "cache": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newHeldFile(t, "60000", time.Minute)
			var events fixture.Recorder
			opts := &tokenauth.Options{OnEvent: events.Record}
			key, _ := fixture.Issue(t, fixture.NewManager(f.store, nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
			// This call opens a database connection before the file is locked.
			_, err := f.store.Find(ctx, tokenauth.DigestOf(key))
			require.NoError(t, err)
			store, begun := tokenauthtest.NewStore(f.store), make(chan struct{}, 1)
			store.Intercept(func(_ context.Context, method string, next func() error) error {
				if method == "Find" {
					begun <- struct{}{}
				}
				return next()
			})
			m := fixture.NewManager(store, opts)
			if cached {
				m = fixture.NewManager(must.Get(storecache.New(store, nil)), opts)
			}
			protected := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
			codes := make(chan int, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := fixture.Serve(protected, r)
				codes <- answer.Code
				w.WriteHeader(answer.Code)
			}))
			defer server.Close()
			send := func(ctx context.Context) error {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
				require.NoError(t, err)
				r.Header.Set("Authorization", "Bearer "+key)
				answer, err := server.Client().Do(r)
				if err == nil {
					err = answer.Body.Close()
				}
				return err
			}

			f.hold(t)
			impatient, goAway := context.WithCancel(ctx)
			gone := make(chan error, 1)
			go func() { gone <- send(impatient) }()
			<-begun
			goAway()
			require.ErrorIs(t, <-gone, context.Canceled)
			require.Equal(t, http.StatusServiceUnavailable, <-codes, "the canceled request must get status 503 while the file is still locked")
			require.Empty(t, events.Take())
			if !cached { // the cache does not cancel its query if a client cancels
				fixture.Await(t, "the store has canceled the query", func() bool { return f.db.Stats().InUse == 0 })
			}
			f.release(t)

			require.NoError(t, send(ctx))
			require.Equal(t, http.StatusOK, <-codes)
			require.Empty(t, events.Take())
		})
	}
}

// If all connections of the pool are in use, each call of the store must return by its deadline. As
// soon as a connection is free, calls must succeed again. Case F5.
func TestExhaustedPoolIs503(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	t.Parallel()
	db := sqlite.New(t)
	patient := sqlite.NewStore(t, db, nil)
	db.SetMaxOpenConns(1)
	m := fixture.NewManager(patient, nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "v", Name: "laptop"})
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: 20 * time.Millisecond})
	require.NoError(t, err)
	h := must.Get(tokenauth.NewAuthenticator(fixture.NewManager(store, nil), fixture.AnyUser, nil)).Require(fixture.Whoami)

	// This query returns rows without end, so it holds the only connection until slow.Close.
	slow, err := db.Query("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	require.NoError(t, err)
	require.True(t, slow.Next())
	for _, call := range fixture.Calls(fixture.NewRecord("phone")) {
		err := call.Do(ctx, store)
		requireUnavailable(t, err, call.Name)
		require.ErrorIs(t, err, context.DeadlineExceeded, call.Name)
	}
	require.Equal(t, 16, fixture.Together(16, func(int) bool { return fixture.Get(h, "Bearer "+key).Code == http.StatusServiceUnavailable }))
	require.NoError(t, slow.Close())

	// No call of the store may need two connections at the same time. Otherwise the call would wait
	// forever in a pool of one connection.
	for _, call := range fixture.Calls(fixture.NewRecord("phone")) {
		if err := call.Do(ctx, patient); err != nil {
			require.NotEqual(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), "%s: %v", call.Name, err)
		}
	}
	require.Equal(t, 16, fixture.Together(16, func(int) bool {
		_, err := m.Authenticate(ctx, key)
		return err == nil
	}))
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	in := m.WithStore(patient.With(tx), nil)
	inside, _ := fixture.Issue(t, in, tokenauth.Spec{UserID: "v", Name: "tablet"})
	_, _, err = in.Rotate(ctx, "v", token.ID, time.Hour)
	require.NoError(t, err)
	require.NoError(t, in.Revoke(ctx, "v", token.ID))
	require.NoError(t, tx.Commit())
	require.Equal(t, []bool{false, true}, fixture.Accepts(m, key, inside))
}

// If a handler panics, the middleware must release every connection and every lock. The Manager
// must still record the last-used time of the token. Case F15.
func TestPanicOfHandlerReleasesEverything(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	db.SetMaxOpenConns(1)
	clock := fixture.NewClock()
	m := fixture.NewManager(must.Get(storecache.New(store, nil)), &tokenauth.Options{Now: clock.Now})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	var panics atomic.Bool
	panics.Store(true)
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if panics.Load() {
			panic("boom")
		}
		fixture.Whoami(w, r)
	}))
	clock.Advance(time.Hour)
	require.Equal(t, 16, fixture.Together(16, func(int) (panicked bool) {
		defer func() { panicked = recover() == "boom" }()
		fixture.Get(h, "Bearer "+key)
		return false
	}))
	require.Zero(t, db.Stats().InUse)
	require.NoError(t, m.Flush(ctx))
	require.Equal(t, clock.Now(), fixture.LastUse(t, store, token.ID))
	panics.Store(false)
	require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
}

// If the database is closed, every request must get 503, and no handler may run. Case F1.
func TestClosedDatabaseIs503(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	m := fixture.NewManager(sqlite.NewStore(t, db, nil), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	require.Equal(t, 200, fixture.Get(auth.Require(fixture.Whoami), "Bearer "+key).Code)
	require.NoError(t, db.Close())
	for _, protect := range []func(http.Handler) http.Handler{auth.Require, auth.Optional, auth.RequireScopes("a")} {
		w := fixture.Get(protect(fixture.Forbidden(t)), "Bearer "+key)
		require.Equal(t, 503, w.Code)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Values("WWW-Authenticate"))
	}
	require.Error(t, fixture.Noted(m.Revoke(ctx, "u", token.ID)))
}
