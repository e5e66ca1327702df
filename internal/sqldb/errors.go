package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// The functions in this file classify the errors of database drivers without importing a driver.

var (
	// The database rolled the statement back because of a concurrent statement. A retry can
	// succeed.
	rolledBackCodes = []string{
		"40001", "40P01", // PostgreSQL: serialization failure, deadlock
		"1213", "1205", // MySQL: deadlock (also a conflict in Galera), lock wait timeout
		"1020", // MariaDB: the row has changed since the transaction's snapshot
		"3101", // MySQL: a conflict with another member of a replication group
		// TiDB: write conflicts, found by TiKV and by TiDB itself; a lost lock; a transaction with FOR
		// UPDATE that TiDB cannot retry; a change of the schema
		"9007", "8005", "8022", "8002", "8028",
		"locked",
	}
	// The statement would have violated a unique key.
	duplicateCodes = []string{"23505", "1062", "unique"}
	// The statement would have violated a foreign key.
	foreignKeyCodes = []string{"23503", "1452", "1216", "foreign key"}
	// The server stopped or closed the connection while it executed the statement.
	lostCodes = []string{"57P01", "57P02", "57P03", "40003", "1053", "1180", "1317", "1927"}
)

// IsRolledBack reports whether the database rolled a statement back because of a concurrent
// statement, so that a retry can succeed.
func IsRolledBack(err error) bool { return slices.Contains(rolledBackCodes, code(err)) }

// IsLockTimeout reports whether a statement ended because it waited too long for a lock.
func IsLockTimeout(err error) bool { return slices.Contains([]string{"55P03", "1205"}, code(err)) }

// IsDuplicate reports whether a statement failed because it would have violated a unique key.
func IsDuplicate(err error) bool { return slices.Contains(duplicateCodes, code(err)) }

// IsForeignKey reports whether a statement failed because a row would have violated a foreign key.
func IsForeignKey(err error) bool { return slices.Contains(foreignKeyCodes, code(err)) }

// IsSchemaChanging reports whether a change of the schema failed because another call is changing
// the schema. Only TiDB returns such errors. Other engines wait until the other call has ended.
func IsSchemaChanging(err error) bool {
	return code(err) == "8028" || code(err) == "1061" && strings.Contains(err.Error(), "a background job is trying to add the same index")
}

// IsUnsent reports whether the error proves that the statement was not sent to the database. For
// example, no connection could be opened.
func (e *Engine) IsUnsent(err error) bool {
	// If lib/pq loses a response, database/sql repeats the statement. If that opens a connection, the
	// error is a bare error of the dial. pgx wraps such errors, and does not repeat statements.
	_, bare := err.(*net.OpError)
	var dial *net.OpError
	var safe interface{ SafeToRetry() bool } // pgx
	return errors.Is(err, sql.ErrTxDone) || errors.Is(err, sql.ErrConnDone) ||
		errors.As(err, &dial) && dial.Op == "dial" && !(bare && e.Numbered) ||
		errors.As(err, &safe) && safe.SafeToRetry() ||
		err != nil && (err.Error() == "sql: database is closed" ||
			strings.HasPrefix(err.Error(), "failed to connect to `")) // pgx
}

// An OwnError is an error of this library about the table or the arguments of a call. It has a
// code, so that IsLost does not take it for a lost connection.
type OwnError string

func (e OwnError) Error() string  { return string(e) }
func (OwnError) SQLState() string { return "42P17" } // invalid object definition

// IsLost reports whether the connection failed, so that the outcome of a statement is unknown.
func (e *Engine) IsLost(err error) bool {
	c := code(err)
	return err != nil && !e.IsUnsent(err) && (e.Remote && c == "" || slices.Contains(lostCodes, c) ||
		e.Numbered && strings.HasPrefix(c, "08")) // SQLSTATE class 08: connection exception
}

// IsRejected reports whether the error proves that the database did not execute a statement. For
// example, the database rolled the statement back, is read-only, or has no free disk space. If a
// unique key would have been violated, IsRejected returns false.
func (e *Engine) IsRejected(err error) bool {
	return err != nil && !IsDuplicate(err) && !e.IsLost(err)
}

// HideValues replaces the text of an error about a violated unique key, because MySQL writes the
// values of the row into that text. TiDB also writes them into the texts of some conflicts. The
// error of the driver stays in the chain. HideValues returns other errors unchanged.
func HideValues(err error) error {
	if IsDuplicate(err) || slices.Contains([]string{"9007", "8022", "8147"}, code(err)) {
		return hiddenError{err}
	}
	return err
}

type hiddenError struct{ cause error }

func (e hiddenError) Error() string {
	if IsDuplicate(e.cause) {
		return "a unique key was violated"
	}
	return "a conflict with a concurrent transaction (error " + code(e.cause) + ")"
}
func (e hiddenError) Unwrap() error { return e.cause }

// WithCause returns err with the text of another error that explains it. If the texts are equal,
// WithCause returns err. If err is nil, WithCause returns the other error.
func WithCause(err, cause error) error {
	if err == nil || err.Error() == cause.Error() {
		return cmp.Or(err, cause)
	}
	return fmt.Errorf("%w (%v)", err, cause)
}

// code returns the code of a database error: the SQLSTATE for PostgreSQL, the error number for
// MySQL, or a word for SQLite. SQLite drivers have only the text of the error in common, so code
// derives the word from the text. For any other error, the code is empty.
func code(err error) string {
	if err == nil {
		return "" // errors.As would allocate
	}
	var state interface{ SQLState() string } // pgx, lib/pq
	if errors.As(err, &state) {
		return state.SQLState()
	}
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		if number, ok := strings.CutPrefix(text, "Error "); ok && len(number) > 4 {
			return number[:4] // go-sql-driver/mysql: "Error 1213 (40001): …"
		}
		switch {
		case strings.Contains(text, "database is locked"), strings.Contains(text, "database table is locked"):
			return "locked" // the second text occurs if connections share a cache
		case strings.Contains(text, "UNIQUE constraint failed"):
			return "unique"
		case strings.Contains(text, "FOREIGN KEY constraint failed"):
			return "foreign key"
		}
	}
	return ""
}

// MaxAttempts is the maximum number of times that a call executes its statement.
const MaxAttempts = 5

// Pause waits for a random time before the next attempt. The maximum is 10 ms after the first
// attempt, and doubles after each further attempt. If ctx ends during the wait, Pause returns
// false.
func Pause(ctx context.Context, attempt int) bool {
	select {
	case <-time.After(rand.N(10 * time.Millisecond << (attempt - 1))):
		return true
	case <-ctx.Done():
		return false
	}
}
