package tokenauth

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// How SQLStore works.
//
// Each method normally executes one statement. Create with several records, Prune, and on MySQL
// also Create, Rotate and a rename may take more. Statements rolled back by a deadlock or a
// serialization failure are executed up to five times.
//
// A statement that changed no row does not say why. The store then loads the few rows involved
// into a MemoryStore, the reference implementation, and makes the same call on it. The result of
// that call is the result of the method. So all stores return the same errors. The MemoryStore is
// called the model: see judge in store_sql_change.go and loadModel in store_sql_read.go.

// SQLStore is a [Store] in one table of a SQL database. It is safe for concurrent use if its
// database handle is.
type SQLStore struct {
	conn    SQLConn
	dialect Dialect
	engine  *sqldb.Engine
	table   string
	timeout time.Duration
	find    string // the complete query of Find
}

// A Dialect names the SQL of a database.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"     // SQLite 3.37 or newer
	PostgreSQL Dialect = "postgresql" // PostgreSQL
	MySQL      Dialect = "mysql"      // MySQL and MariaDB
)

// SQLOptions are the settings of a [SQLStore]. A zero field means its default.
type SQLOptions struct {
	// Table is the name of the table: 1 to 40 letters, digits and underscores, not starting
	// with a digit. If empty, it is tokenauth_tokens.
	Table string

	// Timeout is the maximum duration of a call, in addition to the deadline of its context.
	// If zero, it is 2 seconds.
	Timeout time.Duration
}

const defaultTable = "tokenauth_tokens" // also in the schema files

// NewSQLStore returns a store on db. The caller closes db. NewSQLStore does not use the database:
// see [SQLStore.CreateSchema] and [SQLStore.CheckSchema]. A handle without a BeginTx method is a
// transaction, as for [SQLStore.With]. NewSQLStore returns an error for a nil handle, an unknown
// dialect, a malformed table name and a negative timeout.
func NewSQLStore(db DB, d Dialect, opts *SQLOptions) (*SQLStore, error) {
	conn := &dbConn{db: db}
	s, err := NewSQLStoreOn(conn, d, opts)
	if err == nil && !conn.InTransaction() && d != PostgreSQL {
		// On PostgreSQL, pgx prepares statements itself, and poolers break prepared statements.
		conn.prepare = s.find
	}
	return s, err
}

// NewSQLStoreOn is [NewSQLStore] for a connection that is not a database/sql handle.
func NewSQLStoreOn(c SQLConn, d Dialect, opts *SQLOptions) (*SQLStore, error) {
	opts = cmp.Or(opts, &SQLOptions{})
	s := &SQLStore{
		conn: c, dialect: d, engine: sqldb.Engines[string(d)],
		table: cmp.Or(opts.Table, defaultTable), timeout: cmp.Or(opts.Timeout, 2*time.Second),
	}
	switch {
	case isNilConn(c):
		return nil, errNilHandle
	case s.engine == nil:
		return nil, fmt.Errorf("tokenauth: unknown dialect %q", d)
	case !tableName.MatchString(s.table):
		return nil, fmt.Errorf("tokenauth: table name %q must match %s", s.table, tableName)
	case s.timeout < 0:
		return nil, errors.New("tokenauth: negative timeout")
	}
	s.find = s.complete(findQuery)
	return s, nil
}

var errNilHandle = errors.New("tokenauth: nil database handle")

// isNilConn reports whether a connection or its database handle is nil or holds a nil pointer.
func isNilConn(c SQLConn) bool {
	v := reflect.ValueOf(c)
	if conn, ok := c.(*dbConn); ok {
		v = reflect.ValueOf(conn.db)
	}
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// tableName matches the names that need no quotes in a statement. The maximum length leaves room
// for the names of the indexes.
var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,39}$`)

// With returns the same store on another handle. If the handle is a transaction, all changes are
// part of it, and failed statements are not retried. Roll back the transaction after any error
// that is not one of this package's. With panics if db is nil.
func (s *SQLStore) With(db DB) *SQLStore { return s.WithConn(&dbConn{db: db}) }

// WithConn is [SQLStore.With] for a connection that is not a database/sql handle.
func (s *SQLStore) WithConn(c SQLConn) *SQLStore {
	if isNilConn(c) {
		panic(errNilHandle)
	}
	with := *s
	with.conn = c
	return &with
}

// Close frees the prepared statement of a store that NewSQLStore made. Call it when no other call
// is running. It does not close the database handle.
func (s *SQLStore) Close() error {
	if conn, ok := s.conn.(*dbConn); ok {
		if stmt := conn.prepared.Swap(nil); stmt != nil {
			return stmt.Close()
		}
	}
	return nil
}

//go:embed schema/*.sql
var schemas embed.FS

// Schema returns the statements that create the table, to be copied into the service's own
// migrations. Columns may be added, and user_id may be a foreign key to the service's table of
// users. Do not change anything else.
func (s *SQLStore) Schema() string {
	schema, _ := schemas.ReadFile("schema/" + string(s.dialect) + ".sql") // each dialect has its file
	return strings.ReplaceAll(string(schema), defaultTable, s.table)
}

// CreateSchema creates the table and its indexes if they do not exist. It may be called any number
// of times, also concurrently. SQLOptions.Timeout does not apply to it.
func (s *SQLStore) CreateSchema(ctx context.Context) error {
	// Some drivers execute one statement per call. The schemas have semicolons only at the end
	// of a statement.
	for statement := range strings.SplitSeq(strings.TrimRight(s.Schema(), ";\n"), ";") {
		err := s.retry(ctx, "create schema", outcomeUnknown, func(ctx context.Context) error {
			_, err := s.exec(ctx, statement) // a concurrent CREATE IF NOT EXISTS may violate a unique key
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckSchema returns an error if the table or one of its columns does not exist. Call it when the
// service starts: otherwise the first request fails.
func (s *SQLStore) CheckSchema(ctx context.Context) error {
	_, err := s.read(ctx, "check schema", "SELECT {columns}, live_name FROM {table} WHERE id = ''")
	return err
}

// What an error says if the database did not respond to a call.
const (
	noResponse     = "no response"
	outcomeUnknown = "no response, outcome unknown" // for a change
)

// errUnchanged means that a statement changed no row, and that the model shows no reason.
var errUnchanged = errors.New("no row was changed, for an unknown reason")

// run is retry with the timeout.
func (s *SQLStore) run(ctx context.Context, doing, ifLost string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.retry(ctx, doing, ifLost, f)
}

// retry calls f until it succeeds or its error is final.
func (s *SQLStore) retry(ctx context.Context, doing, ifLost string, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if !s.retriable(ctx, err, attempt) {
			return s.failed(ctx, doing, ifLost, err)
		}
	}
}

// retriable reports whether an attempt failed because of a concurrent statement, and another
// attempt is allowed. It then waits a moment. A transaction gets one attempt, because the database
// may have rolled back the transaction's earlier statements too.
func (s *SQLStore) retriable(ctx context.Context, err error, attempt int) bool {
	concurrent := sqldb.IsRolledBack(err) || sqldb.IsDuplicate(err) || errors.Is(err, errUnchanged)
	return concurrent && attempt < sqldb.MaxAttempts && !s.conn.InTransaction() && sqldb.Pause(ctx, attempt)
}

// failed returns the error of a call. The errors of [Store] are returned as they are. If the
// context ended or the connection failed, the text contains ifLost.
func (s *SQLStore) failed(ctx context.Context, doing, ifLost string, err error) error {
	if err == nil || isStoreError(err) {
		return err
	}
	ended := ctx.Err()
	if ended != nil && !errors.Is(err, ended) { // some drivers return an error of their own
		err = fmt.Errorf("%w (%w)", ended, err)
	}
	if ended != nil || s.engine.IsLost(err) && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("tokenauth: %s: %s: %w", doing, ifLost, err)
	}
	return fmt.Errorf("tokenauth: %s: %w", doing, err)
}

// isStoreError reports whether err is an error that [Store] documents.
func isStoreError(err error) bool {
	return isAny(err, ErrNotFound, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrConflict)
}

// exec executes a statement and returns the number of rows.
func (s *SQLStore) exec(ctx context.Context, query string, args ...any) (int, error) {
	n, err := s.conn.Exec(ctx, s.complete(query), args...)
	return int(n), sqldb.HideValues(err)
}

// complete returns a query with the names of the table and its columns, and with the placeholders
// of the dialect.
func (s *SQLStore) complete(query string) string { return s.engine.Complete(query, s.table, columns) }
