package tokenauth_test

import (
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
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// This file tests a locked database file, clients that cancel their requests, and an
// exhausted connection pool. The tests in integration/ do the same with database servers.

// await polls until done returns true. After a minute, it fails the test.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker, end := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-end:
			t.Fatal("timeout after one minute: ", what)
		}
	}
}

// requireUnavailable requires an error with status 503 that wraps no error about a token.
func requireUnavailable(t *testing.T, err error, what string) {
	t.Helper()
	require.Error(t, noted(err), what)
	requireNoAnswer(t, err)
	require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), "%s: %v", what, err)
}

// A heldFile is a database file without WAL mode, in which a writer also blocks readers.
type heldFile struct {
	db    *sql.DB
	store *tokenauth.SQLStore
	other *sql.Conn
}

// newHeldFile returns a heldFile that is not locked yet. SQLite waits for a lock for up to
// busy milliseconds. The timeout limits each call of the store.
func newHeldFile(t *testing.T, busy string, timeout time.Duration) *heldFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.db")
	settings := strings.NewReplacer("WAL", "DELETE", "5000", busy).Replace(sqliteSettings)
	newSQLiteStore(t, openSQLiteWith(t, path, settings), nil)
	f := &heldFile{db: openSQLiteWith(t, path, settings)}
	var err error
	f.store, err = tokenauth.NewSQLStore(f.db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: timeout})
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.store.Close() })
	f.other, err = openSQLiteWith(t, path, settings).Conn(ctx)
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

// Case F2. If another process locks the database file, valid keys must get 503, not 401. When
// the lock is released, the service must work again and must have leaked nothing.
func TestF2FileLocked(t *testing.T) {
	leaktest.NothingLeft(t)
	f := newHeldFile(t, "10", time.Minute)
	f.db.SetMaxOpenConns(8)
	f.db.SetMaxIdleConns(8)
	var events recorder
	m := newManager(f.store, &tokenauth.Options{OnEvent: events.tell})
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
	const requests = 50
	answered := func(want int) {
		t.Helper()
		require.Equal(t, requests, together(requests, func(int) bool { return get(h, "Bearer "+key).Code == want }))
	}
	answered(http.StatusOK)
	events.take()

	f.hold(t)
	answered(http.StatusServiceUnavailable)
	told := events.take()
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

// A begunStore sends on begun at the start of each Find.
type begunStore struct {
	tokenauth.Store
	begun chan struct{}
}

func (s *begunStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	s.begun <- struct{}{}
	return s.Store.Find(ctx, d)
}

// Case F4. If a client cancels its request while the database is slow, there must be no
// event. Without a cache, the query must be canceled. With a cache, the query may continue
// for other requests. The next request must get its own result.
func TestF4ClientGoesAway(t *testing.T) {
	t.Parallel()
	for name, cached := range map[string]bool{"store": false, "cache": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newHeldFile(t, "60000", time.Minute)
			var events recorder
			opts := &tokenauth.Options{OnEvent: events.tell}
			key, _ := issue(t, newManager(f.store, nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
			_, err := f.store.Find(ctx, tokenauth.DigestOf(key)) // opens a connection
			require.NoError(t, err)
			begun := &begunStore{f.store, make(chan struct{}, 1)}
			m := newManager(begun, opts)
			if cached {
				m = newManager(storecache.New(begun, nil), opts)
			}
			protected := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
			codes := make(chan int, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := serve(protected, r)
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
			<-begun.begun
			goAway()
			require.ErrorIs(t, <-gone, context.Canceled)
			require.Equal(t, http.StatusServiceUnavailable, <-codes, "status of the canceled request, while the file is still locked")
			require.Empty(t, events.take())
			if !cached { // a cache does not cancel the query
				await(t, "the query is canceled", func() bool { return f.db.Stats().InUse == 0 })
			}
			f.release(t)

			require.NoError(t, send(ctx))
			require.Equal(t, http.StatusOK, <-codes)
			require.Empty(t, events.take())
		})
	}
}

// Case F5. If all connections are in use, each call must return by its deadline. When a
// connection is free, calls must succeed again.
func TestF5PoolExhausted(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	patient := newSQLiteStore(t, db, &tokenauth.SQLOptions{Timeout: time.Minute})
	db.SetMaxOpenConns(1)
	m := newManager(patient, nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "v", Name: "laptop"})
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: 20 * time.Millisecond})
	require.NoError(t, err)
	h := tokenauth.NewAuthenticator(newManager(store, nil), anyUser, nil).Require(whoami)

	// This query never ends, so it holds the only connection.
	slow, err := db.Query("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	require.NoError(t, err)
	require.True(t, slow.Next())
	for _, call := range callsOf(sqlRecord("phone")) {
		err := call.do(ctx, store)
		requireUnavailable(t, err, call.name)
		require.ErrorIs(t, err, context.DeadlineExceeded, call.name)
	}
	require.Equal(t, 16, together(16, func(int) bool { return get(h, "Bearer "+key).Code == http.StatusServiceUnavailable }))
	require.NoError(t, slow.Close())

	// No call may need a second connection. With one connection, that would be a deadlock.
	for _, call := range callsOf(sqlRecord("phone")) {
		if err := call.do(ctx, patient); err != nil {
			require.NotEqual(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), "%s: %v", call.name, err)
		}
	}
	require.Equal(t, 16, together(16, func(int) bool {
		_, err := m.Authenticate(ctx, key)
		return err == nil
	}))
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	in := m.WithStore(patient.With(tx))
	inside, _ := issue(t, in, tokenauth.Spec{UserID: "v", Name: "tablet"})
	_, _, err = in.Rotate(ctx, "v", token.ID, time.Hour)
	require.NoError(t, err)
	require.NoError(t, in.Revoke(ctx, "v", token.ID))
	require.NoError(t, tx.Commit())
	require.Equal(t, []bool{false, true}, accepts(m, key, inside))
}

// Case F15. If a handler panics, no connection and no lock may stay in use, and the
// last-used time of the token must still be recorded.
func TestF15HandlerPanics(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	store := newSQLiteStore(t, db, &tokenauth.SQLOptions{Timeout: time.Minute})
	db.SetMaxOpenConns(1)
	clock := newClock()
	m := newManager(storecache.New(store, nil), &tokenauth.Options{Now: clock.Now})
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	var panics atomic.Bool
	panics.Store(true)
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if panics.Load() {
			panic("boom")
		}
		whoami(w, r)
	}))
	clock.Advance(time.Hour)
	require.Equal(t, 16, together(16, func(int) (panicked bool) {
		defer func() { panicked = recover() == "boom" }()
		get(h, "Bearer "+key)
		return false
	}))
	require.Zero(t, db.Stats().InUse)
	require.NoError(t, m.Flush(ctx))
	require.Equal(t, clock.Now(), lastUse(t, store, token.ID))
	panics.Store(false)
	require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
}
