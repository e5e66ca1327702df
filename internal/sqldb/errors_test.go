package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The errors in this file have the same form as the errors of database drivers. The tests in
// integration/ cause such errors on real servers.

// A stateError has a method SQLState, like the errors of pgx and lib/pq.
type stateError string

func (e stateError) Error() string    { return "ERROR: something (SQLSTATE " + string(e) + ")" }
func (e stateError) SQLState() string { return string(e) }

// An unsentError has a method SafeToRetry, like the errors of pgx.
type unsentError bool

func (unsentError) Error() string       { return "write failed" }
func (e unsentError) SafeToRetry() bool { return bool(e) }

// The store retries a statement only if IsRolledBack reports true. Without retries, requests would
// fail under load. A retry of a statement whose outcome is unknown could execute the statement
// twice.
// Cases S29, F7.
func TestDriverErrorsAreClassified(t *testing.T) {
	t.Parallel()
	const rolledBack, duplicate, lost, rejected = "rolled back", "duplicate", "lost", "rejected"
	for _, c := range []struct {
		engine string
		err    error
		want   string
	}{
		{"postgresql", nil, ""},
		{"postgresql", stateError("40001"), rolledBack},
		{"postgresql", fmt.Errorf("pool: %w", stateError("40P01")), rolledBack},
		{"mysql", errors.New("Error 1213 (40001): Deadlock found when trying to get lock"), rolledBack},
		{"mysql", fmt.Errorf("pool: %w", errors.New("Error 1205 (HY000): Lock wait timeout exceeded")), rolledBack},
		{"mysql", errors.New("Error 1020 (HY000): Record has changed since last read"), rolledBack},
		{"mysql", errors.New("Error 3101 (40000): Plugin instructed the server to rollback the current transaction."), rolledBack},
		{"mysql", errors.New("Error 9007 (HY000): Write conflict, txnStartTS=1, conflictStartTS=2 [try again later]"), rolledBack}, // sent by TiDB
		{"mysql", errors.New("Error 8005 (HY000): Write conflict, txnStartTS 1 is stale [try again later]"), rolledBack},
		{"mysql", errors.New("Error 8022 (HY000): Error: KV error safe to retry  [try again later]"), rolledBack},
		{"mysql", errors.New("Error 8002 (HY000): [1] can not retry select for update statement"), rolledBack},
		{"mysql", errors.New("Error 8028 (HY000): Information schema is changed during the execution of the statement"), rolledBack},
		{"sqlite", errors.New("database is locked (5) (SQLITE_BUSY)"), rolledBack},
		{"postgresql", stateError("23505"), duplicate},
		{"mysql", errors.New("Error 1062 (23000): Duplicate entry 'anna' for key 'user_id'"), duplicate},
		{"mysql", errors.New("Error 1062 (23000): Duplicate entry 'database is locked' for key 'user_id'"), duplicate},
		{"sqlite", errors.New("constraint failed: UNIQUE constraint failed: t.digest (2067)"), duplicate},
		{"postgresql", stateError("57P01"), lost},
		{"postgresql", stateError("40003"), lost},
		{"postgresql", stateError("08006"), lost},
		{"postgresql", driver.ErrBadConn, lost},
		{"postgresql", errors.New("read: connection reset by peer"), lost},
		{"mysql", errors.New("Error 1180 (HY000): Got error 6 during COMMIT"), lost}, // sent by Galera
		{"mysql", errors.New("Error 1317 (70100): Query execution was interrupted"), lost},
		{"mysql", errors.New("Error 1927 (70100): Connection was killed"), lost}, // sent by MariaDB
		{"mysql", errors.New("invalid connection"), lost},
		{"mysql", driver.ErrBadConn, lost},
		{"mysql", errors.New("Error 1"), lost},
		{"postgresql", stateError("25006"), rejected}, // the database is read-only
		{"postgresql", stateError("53100"), rejected}, // the disk is full
		{"postgresql", stateError("42P01"), rejected}, // the table does not exist
		{"mysql", errors.New("Error 1146 (42S02): Table 't' doesn't exist"), rejected},
		{"mysql", errors.New("Error 1047 (08S01): WSREP has not yet prepared node"), rejected}, // sent by a Galera node without quorum
		{"mysql", errors.New("Error 1290 (HY000): read-only"), rejected},
		{"mysql", errors.New("Error 1105 (HY000): pessimistic lock retry limit reached"), rejected}, // sent by TiDB
		{"mysql", errors.New("Error 9005 (HY000): Region is unavailable"), rejected},
		{"sqlite", errors.New("attempt to write a readonly database (8)"), rejected},
		{"postgresql", fmt.Errorf("failed to connect: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")}), rejected},
		{"postgresql", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, lost},
		{"postgresql", fmt.Errorf("failed to connect to `user=app`: %w", stateError("57P03")), rejected}, // pgx, before it sends a statement
		{"postgresql", unsentError(true), rejected},
		{"postgresql", unsentError(false), lost},
		{"mysql", sql.ErrTxDone, rejected},
		{"mysql", sql.ErrConnDone, rejected},
		{"mysql", errors.New("sql: database is closed"), rejected},
	} {
		e := Engines[c.engine]
		require.Equal(t, c.want == rolledBack, IsRolledBack(c.err), "IsRolledBack of the error %v", c.err)
		require.Equal(t, c.want == duplicate, IsDuplicate(c.err), "IsDuplicate of the error %v", c.err)
		require.Equal(t, c.want == lost, e.IsLost(c.err), "IsLost of the error %v", c.err)
		require.Equal(t, c.want == rejected || c.want == rolledBack, e.IsRejected(c.err), "IsRejected of the error %v", c.err)
	}
}

// CreateSchema must wait for an index that another call is adding. If another index has the name of
// the index, CreateSchema must not wait, because the name stays taken.
func TestConcurrentSchemaChangeIsRecognized(t *testing.T) {
	t.Parallel()
	const text = "Error 1061 (42000): index already exist live; a background job is trying to add the same index, please check by `ADMIN SHOW DDL JOBS`"
	require.True(t, IsSchemaChanging(fmt.Errorf("table t lacks index (live): %w", errors.New(text))))
	require.True(t, IsSchemaChanging(errors.New("Error 8028 (HY000): Information schema is changed")))
	require.False(t, IsSchemaChanging(errors.New("Error 1061 (42000): Duplicate key name 'live'")))
	require.False(t, IsSchemaChanging(nil))
}

// HideValues must remove the text of a duplicate-key error, because MySQL includes the digest of
// the key in that text. TiDB also includes the digest in the text of a write conflict.
// Case X2.
func TestHideValuesRemovesDuplicateEntry(t *testing.T) {
	t.Parallel()
	for number, text := range map[string]string{
		"1062": "Error 1062 (23000): Duplicate entry 'secret' for key 'digest'",
		"9007": "Error 9007 (HY000): Write conflict, key={tableID=1, indexID=2, indexValues={secret, }}",
		"8022": "Error 8022 (HY000): Error: KV error safe to retry Txn(Mvcc(TxnLockNotFound { key: secret }))",
		"8147": "Error 8147 (HY000): transaction aborted because lazy uniqueness check is enabled and an error occurred: [kv:1062]Duplicate entry 'secret' for key 'digest'",
	} {
		err := errors.New(text)
		hidden := HideValues(err)
		for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
			require.NotContains(t, fmt.Sprintf(format, hidden), "secret")
		}
		require.ErrorIs(t, hidden, err)
		require.Equal(t, number, code(hidden))
		require.True(t, number == "1062" || strings.Contains(hidden.Error(), number), "an operator looks up the number of TiDB: %v", hidden)
	}
	other := errors.New("Error 1213 (40001): Deadlock found when trying to get lock")
	require.Equal(t, other, HideValues(other))
	require.NoError(t, HideValues(nil))
}

// If a client has gone away, its request must not keep waiting for the next attempt.
func TestPauseEndsWithContext(t *testing.T) {
	t.Parallel()
	require.True(t, Pause(context.Background(), 1))
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	require.False(t, Pause(canceled, MaxAttempts))
}
