package systemtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A fakeConn is a [tokenauth.SQLConn] without a database. Each Exec returns err. Each Query
// returns no rows.
type fakeConn struct {
	inTransaction bool
	err           error
	queries       []string // statements passed to Exec
	args          []any    // arguments of the last Exec
}

func (c *fakeConn) Exec(_ context.Context, query string, args ...any) (int64, error) {
	c.queries, c.args = append(c.queries, query), args
	return 0, c.err
}

func (*fakeConn) Query(context.Context, string, ...any) (tokenauth.SQLRows, error) {
	return noRows{}, nil
}

func (c *fakeConn) InTransaction() bool { return c.inTransaction }

type noRows struct{}

func (noRows) Next() bool { return false }

func (noRows) Scan(...any) error { panic("no row") }

func (noRows) Err() error { return nil }

func (noRows) Close() error { return nil }

// newFakeStore returns a store that uses c and has a timeout of one minute.
func newFakeStore(t *testing.T, c *fakeConn, d tokenauth.Dialect) *tokenauth.SQLStore {
	t.Helper()
	store, err := tokenauth.NewSQLStoreOn(c, d, nil)
	require.NoError(t, err)
	return store
}

// The store must retry a statement that the database rolled back. It must not retry a statement
// whose outcome is unknown, because the statement might be executed twice. The error must then
// contain "outcome unknown".
func TestCallsAreRetriedByError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		dialect  tokenauth.Dialect
		err      error
		attempts int
		unknown  bool
	}{
		{"serialization failure", tokenauth.PostgreSQL, stateError("40001"), 5, false},
		{"deadlock, wrapped", tokenauth.MySQL, fmt.Errorf("pool: %w", errors.New("Error 1213 (40001): Deadlock found")), 5, false},
		{"file locked", tokenauth.SQLite, errors.New("database is locked (5) (SQLITE_BUSY)"), 5, false},
		{"no such table", tokenauth.PostgreSQL, stateError("42P01"), 1, false},
		{"cluster without quorum", tokenauth.MySQL, errors.New("Error 1047 (08S01): WSREP has not yet prepared node"), 1, false},
		{"read-only file", tokenauth.SQLite, errors.New("attempt to write a readonly database (8)"), 1, false},
		{"server shut down", tokenauth.PostgreSQL, stateError("57P01"), 1, true},
		{"lost at commit", tokenauth.MySQL, errors.New("Error 1180 (HY000): Got error 6 during COMMIT"), 1, true},
		{"invalid connection", tokenauth.MySQL, errors.New("invalid connection"), 1, true},
		{"bad connection", tokenauth.PostgreSQL, driver.ErrBadConn, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := &fakeConn{err: c.err}
			_, err := newFakeStore(t, conn, c.dialect).RevokeAll(ctx, "u", fixture.Start)
			require.ErrorIs(t, err, c.err)
			fixture.RequireNoAnswer(t, err)
			require.Len(t, conn.queries, c.attempts)
			if c.unknown {
				require.ErrorContains(t, err, "outcome unknown")
			} else {
				require.NotContains(t, err.Error(), "outcome unknown")
			}

			conn = &fakeConn{err: c.err, inTransaction: true}
			_, err = newFakeStore(t, conn, c.dialect).RevokeAll(ctx, "u", fixture.Start)
			require.ErrorIs(t, err, c.err)
			require.Len(t, conn.queries, 1, "the store must not retry a statement in a transaction")
		})
	}
}

// If a record violates a unique key but no stored row explains the conflict, the returned error
// must wrap the driver's error. The service needs the driver's error to decide whether to retry its
// transaction. The text of the returned error must omit the driver's text, which contains the
// digest on MySQL.
func TestUniqueViolationIsInErrorChain(t *testing.T) {
	t.Parallel()
	for dialect, failure := range map[tokenauth.Dialect]error{
		tokenauth.PostgreSQL: stateError("23505"),
		tokenauth.MySQL:      errors.New("Error 1062 (23000): Duplicate entry 'secret' for key 'digest'"),
		tokenauth.SQLite:     errors.New("constraint failed: UNIQUE constraint failed: t.digest (2067)"),
	} {
		store := newFakeStore(t, &fakeConn{err: failure, inTransaction: true}, dialect)
		err := store.Create(ctx, fixture.NewRecord("laptop"))
		require.ErrorIs(t, err, failure)
		require.ErrorContains(t, err, "unique key")
		require.NotContains(t, err.Error(), "secret")
		fixture.RequireNoAnswer(t, err)
	}
}

// A lateHandle reports success after the deadline. lib/pq does the same if PostgreSQL cancels its
// wait for a standby server.
type lateHandle struct{ tokenauth.DB }

func (lateHandle) ExecContext(ctx context.Context, _ string, _ ...any) (sql.Result, error) {
	<-ctx.Done()
	return driver.RowsAffected(1), nil
}

// If ExecContext succeeds only after the deadline, RevokeAll must return an error. Otherwise the
// service would not know that the revocation can be lost if the server fails.
func TestSuccessAfterDeadlineIsAnError(t *testing.T) {
	t.Parallel()
	store, err := tokenauth.NewSQLStore(lateHandle{}, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Timeout: time.Millisecond})
	require.NoError(t, err)
	_, err = store.RevokeAll(ctx, "u", fixture.Start)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "outcome unknown")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = store.RevokeAll(canceled, "u", fixture.Start)
	require.ErrorIs(t, err, context.Canceled)
}

// Drivers and servers cache statements by their text. If Touch used a different text for each
// number of tokens, these caches would take megabytes per connection.
func TestTouchHasFewStatements(t *testing.T) {
	if testing.Short() {
		t.Skip("touches thousands of tokens")
	}
	t.Parallel()
	for _, dialect := range []tokenauth.Dialect{tokenauth.SQLite, tokenauth.PostgreSQL, tokenauth.MySQL} {
		conn := &fakeConn{}
		store := newFakeStore(t, conn, dialect)
		texts := map[string]bool{}
		var uses []tokenauth.Use
		for i := range 500 {
			uses = append(uses, tokenauth.Use{ID: fmt.Sprint(i), At: time.Unix(int64(i), 0)})
			require.NoError(t, store.Touch(ctx, uses...))
			texts[conn.queries[i]] = true
			given := map[any]bool{}
			for j := 0; j < len(conn.args); j += 2 {
				given[conn.args[j]] = true
			}
			require.Len(t, given, i+1, "the arguments must contain the ID of each token, and no other ID")
		}
		require.LessOrEqual(t, len(texts), 10, dialect)
		for i := range 10_000 {
			uses = append(uses, tokenauth.Use{ID: fmt.Sprint(i), At: time.Unix(int64(i), 0)})
		}
		require.NoError(t, store.Touch(ctx, uses...))
		require.Len(t, conn.args, 20_000, "Touch must pass two arguments for each of the 10,000 token IDs")
	}
}

// A cancelingHandle ends the context of a call when the statement has succeeded.
type cancelingHandle struct {
	*sql.DB
	cancel context.CancelFunc
}

func (h *cancelingHandle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := h.DB.ExecContext(ctx, query, args...)
	h.cancel()
	return result, err
}

// A SQLite file has the change when the statement succeeds. A client that disconnects at that
// moment must not lose the key that was issued.
func TestSQLiteSuccessCountsAfterCancel(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	sqlite.NewStore(t, db, nil)
	canceled, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := tokenauth.NewSQLStore(&cancelingHandle{db, cancel}, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	require.NoError(t, store.Create(canceled, fixture.NewRecord("laptop")))
	require.Error(t, canceled.Err())
}

// If the database handle is nil, the constructors must panic. The mistake then shows when the
// service starts, not at the first request.
func TestNilHandles(t *testing.T) {
	t.Parallel()
	var noDB *sql.DB
	var noTx *sql.Tx
	var noConn *fakeConn
	store := sqlite.NewStore(t, sqlite.New(t), nil)
	for _, db := range []tokenauth.DB{nil, noDB, noTx} {
		require.Panics(t, func() { _, _ = tokenauth.NewSQLStore(db, tokenauth.SQLite, nil) })
		require.Panics(t, func() { store.With(db) })
	}
	for _, conn := range []tokenauth.SQLConn{nil, noConn} {
		require.Panics(t, func() { _, _ = tokenauth.NewSQLStoreOn(conn, tokenauth.SQLite, nil) })
		require.Panics(t, func() { store.WithConn(conn) })
	}
}
