package systemtest_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// lock takes the write lock of a SQLite database. unlock releases it.
func lock(t *testing.T, db *sql.DB) (unlock func()) {
	t.Helper()
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("CREATE TABLE held (id TEXT)")
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback()) }
}

// While another connection holds the write lock, a call must fail when its timeout or deadline
// ends. It must not return a sentinel error such as ErrNotFound.
func TestLockedWriteEndsAtTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout, deadline time.Duration
	}{
		"of the store":   {timeout: 50 * time.Millisecond, deadline: time.Minute},
		"of the context": {timeout: time.Minute, deadline: time.Second}, // with less, the context may end before the call begins
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens.db")
			patient := sqlite.NewStore(t, sqlite.Open(t, path), nil)
			r := fixture.NewRecord("laptop")
			require.NoError(t, patient.Create(ctx, r))
			db := sqlite.OpenWith(t, path, strings.Replace(sqlite.Settings, "busy_timeout(5000)", "busy_timeout(60000)", 1))
			store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: c.timeout})
			require.NoError(t, err)
			require.NoError(t, db.Ping())
			unlock := lock(t, sqlite.Open(t, path))

			for what, call := range map[string]func(context.Context) error{
				"create": func(ctx context.Context) error { return store.Create(ctx, fixture.NewRecord("phone")) },
				"revoke": func(ctx context.Context) error { return store.Revoke(ctx, "u", r.Token.ID, fixture.Start, "") },
				"touch": func(ctx context.Context) error {
					return store.Touch(ctx, tokenauth.Use{ID: r.Token.ID, At: fixture.Start})
				},
			} {
				ctx, cancel := context.WithTimeout(ctx, c.deadline)
				began := time.Now()
				err := call(ctx)
				cancel()
				require.Less(t, time.Since(began), 30*time.Second, what) // the call must not wait for SQLite's busy timeout of 60 seconds
				require.ErrorIs(t, err, context.DeadlineExceeded, what)
				require.ErrorContains(t, err, "outcome unknown", what)
				fixture.RequireStoreFailure(t, err)
			}
			unlock()
			require.NoError(t, patient.Create(ctx, fixture.NewRecord("phone")), "a repeated Create must succeed after the lock is released")
			require.NoError(t, patient.Revoke(ctx, "u", r.Token.ID, fixture.Start, ""))
		})
	}
}

// Find must work while another connection holds the write lock, for example a backup or a
// migration. Otherwise the service would reject every key during that time.
func TestFindWorksWhileLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := sqlite.NewStore(t, sqlite.Open(t, path), nil)
	require.NoError(t, store.Create(ctx, fixture.NewRecord("laptop")))
	defer lock(t, sqlite.Open(t, path))()
	_, err := store.Find(ctx, fixture.NewRecord("laptop").Digest)
	require.NoError(t, err)
}

// A lockedHandle calls its function locked after each failed ExecContext, with the number of calls
// so far.
type lockedHandle struct {
	*sql.DB
	tries  int
	locked func(tries int)
}

func (h *lockedHandle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := h.DB.ExecContext(ctx, query, args...)
	if h.tries++; err != nil {
		h.locked(h.tries)
	}
	return result, err
}

// newImpatient returns a store whose connections do not wait for locks, and the database handle of
// the store. Another connection holds the write lock until the test calls the returned function.
func newImpatient(t *testing.T) (*tokenauth.SQLStore, *lockedHandle, func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.db")
	sqlite.NewStore(t, sqlite.Open(t, path), nil)
	h := &lockedHandle{
		DB:     sqlite.OpenWith(t, path, strings.Replace(sqlite.Settings, "busy_timeout(5000)", "busy_timeout(0)", 1)),
		locked: func(int) {},
	}
	require.NoError(t, h.Ping())
	store, err := tokenauth.NewSQLStore(h, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store, h, lock(t, sqlite.Open(t, path))
}

// If another connection releases the write lock soon, Create must retry its statement and succeed.
//
// Case S29.
func TestBusyIsRetried(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for locks")
	}
	t.Parallel()
	store, h, unlock := newImpatient(t)
	h.locked = func(tries int) {
		if tries == 2 {
			unlock()
		}
	}
	require.NoError(t, store.Create(ctx, fixture.NewRecord("laptop")))
	require.Equal(t, 3, h.tries)
	require.Equal(t, []string{"laptop"}, liveNames(t, store))
}

// If another connection never releases the write lock, Create must return an error after five
// attempts.
func TestBusyIsNotRetriedForever(t *testing.T) {
	t.Parallel()
	store, h, unlock := newImpatient(t)
	defer unlock()
	err := store.Create(ctx, fixture.NewRecord("laptop"))
	fixture.RequireStoreFailure(t, err)
	require.ErrorContains(t, err, "locked")
	require.Equal(t, 5, h.tries)
}

const sharedFile = "TOKENAUTH_TEST_SHARED_FILE"

// shareSteps are the steps of TestRevocationReachesOtherProcess. Two processes execute the steps in
// turn on one token. Each process must see the changes of the other process in its next call.
var shareSteps = []func(t *testing.T, store tokenauth.Store, r tokenauth.Record){
	func(t *testing.T, store tokenauth.Store, r tokenauth.Record) {
		require.NoError(t, store.Create(ctx, r))
	},
	func(t *testing.T, store tokenauth.Store, r tokenauth.Record) {
		got, err := store.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.Equal(t, r, *got)
		taken := fixture.NewRecord("another")
		taken.Token.UserID, taken.Token.Name = r.Token.UserID, r.Token.Name
		require.ErrorIs(t, store.Create(ctx, taken), tokenauth.ErrNameTaken)
		require.NoError(t, store.Revoke(ctx, r.Token.UserID, r.Token.ID, fixture.Start, ""))
	},
	func(t *testing.T, store tokenauth.Store, r tokenauth.Record) {
		got, err := store.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.Equal(t, fixture.Start, got.Token.RevokedAt)
	},
}

// sharedRecord returns the record of the token with number n.
func sharedRecord(n int) tokenauth.Record {
	r := fixture.NewRecord(fmt.Sprint("token ", n))
	r.Token.UserID = fmt.Sprint("user ", n)
	return r
}

// TestChildSharesFile runs in the child process of [TestRevocationReachesOtherProcess]. It reads
// the number of a token and the number of a step from standard input, and executes that step.
func TestChildSharesFile(t *testing.T) {
	path := os.Getenv(sharedFile)
	if path == "" {
		t.Skip("run by TestRevocationReachesOtherProcess")
	}
	store := sqlite.NewStore(t, sqlite.Open(t, path), nil)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var n, step int
		_, err := fmt.Sscan(in.Text(), &n, &step)
		require.NoError(t, err)
		shareSteps[step](t, store, sharedRecord(n))
		fmt.Println("done")
	}
}

// Two instances of a service may share a database file. If one instance revokes a token, the other
// instance must reject the token's key from its next call on.
//
// Case S25.
func TestRevocationReachesOtherProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for locks")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := sqlite.NewStore(t, sqlite.Open(t, path), nil)
	child := fixture.StartChild(t, "TestChildSharesFile", sharedFile+"="+path)
	for n := range 10 { // if n is even, this process executes the first step
		for step, do := range shareSteps {
			if (n+step)%2 == 0 {
				do(t, store, sharedRecord(n))
				continue
			}
			_, err := fmt.Fprintln(child.In, n, step)
			require.NoError(t, err)
			require.True(t, child.Out.Scan())
			require.Equal(t, "done", child.Out.Text(), "step %d", step)
		}
	}
	require.NoError(t, child.In.Close())
	for child.Out.Scan() {
	}
	require.NoError(t, child.Wait())
}

// If the file name is ":memory:", each connection of a pool opens its own database, and only one
// database has the table. On the other connections, Find must return an error other than
// ErrNotFound. The first test of a service then shows the mistake. A pool with one connection
// works.
//
// Case S25.
func TestMemoryDatabaseNeedsOneConnection(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	store := sqlite.NewStore(t, db, nil)
	r := fixture.NewRecord("laptop")
	require.NoError(t, store.Create(ctx, r))
	_, err = store.Find(ctx, r.Digest)
	require.NoError(t, err)

	busy, err := db.Conn(ctx) // the connection whose database has the table
	require.NoError(t, err)
	_, err = store.Find(ctx, r.Digest)
	fixture.RequireStoreFailure(t, err)
	fixture.RequireStoreFailure(t, store.CheckSchema(ctx))
	fixture.RequireStoreFailure(t, store.Revoke(ctx, "u", r.Token.ID, fixture.Start, ""))
	require.NoError(t, busy.Close())
}

// SQLite allows one writer at a time. Concurrent writers must wait for the lock, and no call may
// fail.
//
// Case S26.
func TestConcurrentWritersWaitForLock(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for locks")
	}
	t.Parallel()
	store := sqlite.NewStore(t, sqlite.New(t), nil)
	const writers, readers = 32, 32
	r := fixture.NewRecord("read all the time")
	require.NoError(t, store.Create(ctx, r))
	errs := make([]error, writers+readers)
	done := fixture.Together(writers+readers, func(i int) bool {
		if i < writers {
			errs[i] = writeAll(store, fmt.Sprint("writer ", i))
		} else {
			errs[i] = readAll(store, r)
		}
		return errs[i] == nil
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, writers+readers, done)
	records, err := store.List(ctx, tokenauth.Query{UserID: "u", IncludeRevoked: true})
	require.NoError(t, err)
	require.Len(t, records, 1+writers)
}

func writeAll(store tokenauth.Store, name string) error {
	r := fixture.NewRecord(name)
	id := r.Token.ID
	for _, step := range []func() error{
		func() error { return store.Create(ctx, r) },
		func() error { return store.Touch(ctx, tokenauth.Use{ID: id, At: fixture.Start}) },
		func() error {
			return store.Rotate(ctx, "u", id, fixture.NewRotation("new key of "+name), fixture.Start)
		},
		func() error {
			return store.Update(ctx, "u", id, tokenauth.Patch{Scopes: &[]string{"a"}}, fixture.Start)
		},
		func() error { return store.Revoke(ctx, "u", id, fixture.Start, "") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func readAll(store tokenauth.Store, r tokenauth.Record) error {
	for range 10 {
		if _, err := store.Find(ctx, r.Digest); err != nil {
			return err
		}
		if _, err := store.List(ctx, tokenauth.Query{UserID: "u", Limit: 10}); err != nil {
			return err
		}
	}
	return nil
}
