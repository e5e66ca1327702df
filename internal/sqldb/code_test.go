package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The drivers' own errors are tried in integration/, on real servers. These have
// their shape.

// A stateError is one of pgx and lib/pq.
type stateError string

func (e stateError) Error() string    { return "ERROR: something (SQLSTATE " + string(e) + ")" }
func (e stateError) SQLState() string { return string(e) }

// A statement that was undone must reach no caller before it was tried again; one
// whose outcome nobody knows must not be repeated, or it may be done twice.
func TestRepeatJudgesErrors(t *testing.T) {
	t.Parallel()
	const once, again, unchanged = "once", "again", "unchanged"
	for _, c := range []struct {
		name    string
		err     error
		want    string
		unknown bool // so the error says
	}{
		{name: "PostgreSQL, serialization failure", err: stateError("40001"), want: again},
		{name: "PostgreSQL, deadlock, wrapped", err: fmt.Errorf("pool: %w", stateError("40P01")), want: again},
		{name: "MySQL, deadlock", err: errors.New("Error 1213 (40001): Deadlock found when trying to get lock"), want: again},
		{name: "MySQL, lock wait, wrapped", err: fmt.Errorf("pool: %w", errors.New("Error 1205 (HY000): Lock wait timeout exceeded")), want: again},
		{name: "MariaDB, snapshot", err: errors.New("Error 1020 (HY000): Record has changed since last read"), want: again},
		{name: "MySQL, conflict in a group", err: errors.New("Error 3101 (40000): Plugin instructed the server to rollback the current transaction."), want: again},
		{name: "SQLite, busy", err: errors.New("database is locked (5) (SQLITE_BUSY)"), want: again},
		{name: "PostgreSQL, unique key", err: stateError("23505"), want: unchanged},
		{name: "MySQL, unique key", err: errors.New("Error 1062 (23000): Duplicate entry 'anna' for key 'user_id'"), want: unchanged},
		{name: "MySQL, unique key of somebody who writes of locks", want: unchanged,
			err: errors.New("Error 1062 (23000): Duplicate entry 'database is locked' for key 'user_id'")},
		{name: "SQLite, unique key", err: errors.New("constraint failed: UNIQUE constraint failed: t.digest (2067)"), want: unchanged},
		{name: "PostgreSQL, no such table", err: stateError("42P01"), want: once},
		{name: "MySQL, no such table", err: errors.New("Error 1146 (42S02): Table 't' doesn't exist"), want: once},
		{name: "MySQL, cluster without quorum", err: errors.New("Error 1047 (08S01): WSREP has not yet prepared node"), want: once},
		{name: "PostgreSQL, shut down", err: stateError("57P01"), want: once, unknown: true},
		{name: "PostgreSQL, nobody knows", err: stateError("40003"), want: once, unknown: true},
		{name: "Galera, at commit", err: errors.New("Error 1180 (HY000): Got error 6 during COMMIT"), want: once, unknown: true},
		{name: "MariaDB, connection killed", err: errors.New("Error 1927 (70100): Connection was killed"), want: once, unknown: true},
		{name: "lost connection", err: errors.New("invalid connection"), want: once, unknown: true},
		{name: "bad connection", err: driver.ErrBadConn, want: once, unknown: true},
		{name: "short text", err: errors.New("Error 1"), want: once, unknown: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := &failing{err: c.err}
			table := &Table{handle: h, engine: engines["mysql"], name: "t", timeout: time.Minute, isAnswer: func(error) bool { return false }}
			n, err := table.write(context.Background(), "change", "UPDATE {table} SET x = ?", 1)
			if c.want == unchanged {
				require.NoError(t, err)
				require.Zero(t, n)
				return
			}
			require.ErrorIs(t, err, c.err)
			require.Equal(t, map[string]int{once: 1, again: attempts}[c.want], h.calls)
			if c.unknown {
				require.ErrorContains(t, err, "outcome unknown")
			} else {
				require.NotContains(t, err.Error(), "outcome unknown")
			}
		})
	}
}

// What a database refused is not asked after, and what may have been done is.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		engine string
		err    error
		want   bool
	}{
		{"postgresql", nil, false},
		{"postgresql", errUnchanged, false},
		{"postgresql", stateError("25006"), true}, // read-only
		{"postgresql", stateError("53100"), true}, // disk full
		{"postgresql", stateError("40001"), true},
		{"postgresql", stateError("57P01"), false},
		{"postgresql", driver.ErrBadConn, false},
		{"postgresql", errors.New("read: connection reset by peer"), false},
		{"mysql", errors.New("Error 1290 (HY000): read-only"), true},
		{"mysql", errors.New("Error 1213 (40001): Deadlock found"), true},
		{"mysql", errors.New("Error 1317 (70100): Query execution was interrupted"), false},
		{"sqlite", errors.New("database is locked (5) (SQLITE_BUSY)"), true},
		{"sqlite", errors.New("attempt to write a readonly database (8)"), true},
	} {
		table := &Table{engine: engines[c.engine]}
		require.Equal(t, c.want, table.Refused(c.err), "%s: %v", c.engine, c.err)
	}
}

// A failing handle is that of a database, and fails.
type failing struct {
	Handle
	err   error
	calls int
}

func (h *failing) BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error) { return nil, h.err }

func (h *failing) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	h.calls++
	return nil, h.err
}

// A late handle answers when nobody waits any more, as if all were well.
type late struct{ Handle }

func (late) ExecContext(ctx context.Context, _ string, _ ...any) (sql.Result, error) {
	<-ctx.Done()
	return driver.RowsAffected(1), nil
}

// PostgreSQL that is told, by lib/pq, to cancel its wait for a standby says that a change
// was made. A revoke that is reported so would come undone with the server.
func TestSuccessAfterTheDeadlineIsNone(t *testing.T) {
	t.Parallel()
	table := &Table{handle: late{}, engine: engines["postgresql"], name: "t", timeout: time.Millisecond, isAnswer: func(error) bool { return false }}
	_, err := table.write(context.Background(), "change", "UPDATE {table} SET x = ?", 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "outcome unknown")
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = table.write(canceled, "change", "UPDATE {table} SET x = ?", 1)
	require.ErrorIs(t, err, context.Canceled)
}

// Placeholders that are counted wrongly would store one column's value in another.
func TestTextNumbersPlaceholders(t *testing.T) {
	t.Parallel()
	const query = "INSERT INTO {table} VALUES (?, ?, ?)"
	for name, want := range map[string]string{
		"sqlite":     "INSERT INTO t VALUES (?, ?, ?)",
		"mysql":      "INSERT INTO t VALUES (?, ?, ?)",
		"postgresql": "INSERT INTO t VALUES ($1, $2, $3)",
	} {
		table := &Table{engine: engines[name], name: "t"}
		require.Equal(t, want, table.text(query), name)
	}
}

// A recorder takes all that is written.
type recorder struct {
	Handle
	texts map[string]bool
	args  []any
}

func (h *recorder) ExecContext(_ context.Context, text string, args ...any) (sql.Result, error) {
	h.texts[text] = true
	h.args = args
	return driver.RowsAffected(1), nil
}

// Drivers and servers keep statements: with one for each number of tokens, a service whose
// tokens are in use would grow by megabytes for each connection.
func TestTouchHasFewTexts(t *testing.T) {
	t.Parallel()
	for name, engine := range engines {
		h := &recorder{texts: map[string]bool{}}
		table := &Table{handle: h, engine: engine, name: "t", timeout: time.Minute, isAnswer: func(error) bool { return false }}
		uses := map[string]time.Time{}
		for i := range 500 {
			uses[fmt.Sprint(i)] = time.Unix(int64(i), 0)
			require.NoError(t, table.Touch(context.Background(), uses))
			given := map[any]bool{}
			for j := 0; j < len(h.args); j += 2 {
				given[h.args[j]] = true
			}
			require.Len(t, given, i+1, "each token, and no other")
		}
		require.LessOrEqual(t, len(h.texts), 10, name)
		for i := range 10_000 {
			uses[fmt.Sprint(i)] = time.Unix(int64(i), 0)
		}
		require.NoError(t, table.Touch(context.Background(), uses))
		require.Len(t, h.args, 20_000, "no more parameters than there must be")
	}
}
