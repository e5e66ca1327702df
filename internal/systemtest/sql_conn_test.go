package systemtest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
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
	store, err := tokenauth.NewSQLStoreOn(c, d, sqlite.Patient())
	require.NoError(t, err)
	return store
}

// An overdueContext is a context whose deadline has passed and whose timer has not fired yet.
type overdueContext struct{ context.Context }

func (overdueContext) Deadline() (time.Time, bool) { return time.Now(), true }

// A driver may set the deadline of the context on its connection, whose timer may fire before the
// timer of the context. The error must be context.DeadlineExceeded even then, because callers
// recognize the end of their context by it.
func TestTimeoutOfConnectionIsEndOfContext(t *testing.T) {
	t.Parallel()
	store := newFakeStore(t, &fakeConn{err: os.ErrDeadlineExceeded}, tokenauth.PostgreSQL)
	use := tokenauth.Use{ID: "id", At: time.Now()}
	err := store.Touch(overdueContext{ctx}, use)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(t, store.Touch(ctx, use), context.DeadlineExceeded, "the context has time left")
}

// TiDB writes the values of a row, such as the digest of a key, into the texts of some errors. No
// error of the store may contain this text.
// Case X2.
func TestErrorsHideValuesOfTiDB(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Error 9007 (HY000): Write conflict, key={tableID=1, indexID=2, indexValues={secret, }}",
		"Error 8147 (HY000): transaction aborted because lazy uniqueness check is enabled: [kv:1062]Duplicate entry 'secret'",
	} {
		for _, inTransaction := range []bool{false, true} {
			failures := 0
			for _, conn := range []tokenauth.SQLConn{
				&fakeConn{inTransaction: inTransaction, err: errors.New(text)},
				&failingQueries{fakeConn{inTransaction: inTransaction}, errors.New(text)},
			} {
				store, err := tokenauth.NewSQLStoreOn(conn, tokenauth.MySQL, sqlite.Patient())
				require.NoError(t, err)
				for _, call := range fixture.Calls(fixture.NewRecord("laptop")) {
					if call.Name == "Find" {
						continue // which takes no locks, and reads without a conflict
					}
					if err := call.Do(ctx, store); err != nil {
						failures++
						require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "secret", call.Name)
					}
				}
			}
			require.Greater(t, failures, 10)
		}
	}
}

// A failingQueries is a connection on which each Query fails.
type failingQueries struct {
	fakeConn
	failure error
}

func (c *failingQueries) Query(context.Context, string, ...any) (tokenauth.SQLRows, error) {
	return nil, c.failure
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
		{"connection refused", tokenauth.MySQL, &net.OpError{Op: "dial", Err: errors.New("connection refused")}, 1, false},
		{"transaction has ended", tokenauth.PostgreSQL, sql.ErrTxDone, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := &fakeConn{err: c.err}
			_, err := newFakeStore(t, conn, c.dialect).RevokeAll(ctx, "u", fixture.Start, "", 1000)
			require.ErrorIs(t, err, c.err)
			fixture.RequireStoreFailure(t, err)
			require.Len(t, conn.queries, c.attempts)
			if c.unknown {
				require.ErrorContains(t, err, "outcome unknown")
			} else {
				require.NotContains(t, err.Error(), "outcome unknown")
			}

			conn = &fakeConn{err: c.err, inTransaction: true}
			_, err = newFakeStore(t, conn, c.dialect).RevokeAll(ctx, "u", fixture.Start, "", 1000)
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
		fixture.RequireStoreFailure(t, err)
	}
}

// A lostConn loses each write on its way to a server. Queries work.
type lostConn struct {
	db     *sql.DB
	writes int
}

func (c *lostConn) Exec(context.Context, string, ...any) (int64, error) {
	c.writes++
	return 0, driver.ErrBadConn
}

func (c *lostConn) Query(ctx context.Context, query string, args ...any) (tokenauth.SQLRows, error) {
	return c.db.QueryContext(ctx, query, args...)
}

func (*lostConn) InTransaction() bool { return false }

// If the connection is lost during a change, the store must compare the row with the change before
// it reports success. Otherwise Revoke could report success although the keys still work. Create
// must not repeat its INSERT if no row conflicts with the new row. Case F8.
func TestLostChangeIsNotReportedAsDone(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	r := fixture.NewRecord("laptop")
	r.Token.ExpiresAt = fixture.Start.Add(time.Hour)
	require.NoError(t, sqlite.NewStore(t, db, nil).Create(ctx, r))
	conn := &lostConn{db: db}
	store, err := tokenauth.NewSQLStoreOn(conn, tokenauth.MySQL, sqlite.Patient()) // these queries of MySQL run on SQLite too
	require.NoError(t, err)
	at, id := fixture.Start, r.Token.ID
	for name, change := range map[string]func() error{
		"Revoke":        func() error { return store.Revoke(ctx, "u", id, at, "") },
		"RevokeExpired": func() error { return store.RevokeExpired(ctx, "u", id, at.AddDate(1, 0, 0), "", time.Time{}) },
		"Update":        func() error { return store.Update(ctx, "u", id, tokenauth.Patch{Name: new("phone")}, at) },
		"Rotate":        func() error { return store.Rotate(ctx, "u", id, fixture.NewRotation("new"), at) },
		"Create":        func() error { return store.Create(ctx, fixture.NewRecord("phone")) },
	} {
		conn.writes = 0
		err := change()
		require.ErrorIs(t, err, driver.ErrBadConn, name)
		require.ErrorContains(t, err, "outcome unknown", name)
		fixture.RequireStoreFailure(t, err)
		require.LessOrEqual(t, conn.writes, 2, name)
	}
}

var errCut = errors.New("read: connection reset by peer")

// A cutConn is a connection that breaks after it has returned so many rows, or when the rows are
// closed.
type cutConn struct {
	lostConn
	rows     int
	closeErr error
}

func (c *cutConn) Query(ctx context.Context, query string, args ...any) (tokenauth.SQLRows, error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	return &cutRows{rows, c.rows, c.closeErr}, err
}

type cutRows struct {
	*sql.Rows
	left     int
	closeErr error
}

func (r *cutRows) Next() bool { r.left--; return r.left >= 0 && r.Rows.Next() }

func (r *cutRows) Err() error {
	if r.left < 0 {
		return errCut
	}
	return r.Rows.Err()
}

func (r *cutRows) Close() error { _ = r.Rows.Close(); return r.closeErr }

// If the connection breaks while the rows of a query arrive, the call must fail. Otherwise a part
// of a list would pass as the whole list, and a valid key would get 401 instead of 503. Case F7.
func TestConnectionBreaksDuringQuery(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	good := sqlite.NewStore(t, db, nil)
	r := fixture.NewRecord("laptop")
	require.NoError(t, good.Create(ctx, r, fixture.NewRecord("phone")))
	conn := &cutConn{lostConn: lostConn{db: db}}
	store, err := tokenauth.NewSQLStoreOn(conn, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	for conn.rows = range 2 {
		_, err := store.List(ctx, tokenauth.Query{UserID: "u"})
		require.ErrorIs(t, err, errCut, "%d rows", conn.rows)
	}
	conn.rows = 0
	_, err = store.Find(ctx, r.Digest)
	require.ErrorIs(t, err, errCut)
	fixture.RequireStoreFailure(t, err)
	conn.rows, conn.closeErr = 1, errCut
	_, err = store.Find(ctx, r.Digest)
	require.ErrorIs(t, err, errCut, "the error of Close after a row")
	_, err = store.Find(ctx, tokenauth.DigestOf("unknown"))
	require.ErrorIs(t, err, errCut, "the error of Close without a row")
}

// A silentConn never returns before the context of a call ends.
type silentConn struct{}

func (silentConn) Exec(ctx context.Context, _ string, _ ...any) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (silentConn) Query(ctx context.Context, _ string, _ ...any) (tokenauth.SQLRows, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silentConn) InTransaction() bool { return false }

// If the database does not respond, each call must end at the timeout of the store, even if its
// context has no deadline. Otherwise requests would pile up until the service has no memory left.
// If a call has no timeout, synctest reports a deadlock. Case F3.
func TestSilentDatabaseEndsAtTimeout(t *testing.T) {
	t.Parallel()
	for _, call := range fixture.Calls(fixture.NewRecord("laptop")) {
		t.Run(call.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, err := tokenauth.NewSQLStoreOn(silentConn{}, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Timeout: time.Second})
				require.NoError(t, err)
				begin := time.Now()
				err = call.Do(context.Background(), store)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				fixture.RequireStoreFailure(t, err)
				require.LessOrEqual(t, time.Since(begin), time.Second)
			})
		})
	}
}

// A lateHandle reports success after the deadline. lib/pq does the same if PostgreSQL cancels its
// wait for a standby server.
type lateHandle struct {
	tokenauth.DB
	fixture.Transaction
}

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
	_, err = store.RevokeAll(ctx, "u", fixture.Start, "", 1000)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "outcome unknown")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = store.RevokeAll(canceled, "u", fixture.Start, "", 1000)
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
func TestNilHandlesPanic(t *testing.T) {
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
