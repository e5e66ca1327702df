package tokenauth

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
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
// If a statement changes no row, the database does not report the reason. The store then loads the
// few rows that may be the reason into a MemoryStore, and makes the same call on the MemoryStore.
// The method returns the result of that call, so all stores return the same errors. This
// MemoryStore is called the model: see judge in store_sql_change.go and loadModel in
// store_sql_read.go.

// SQLStore is a [Store] in one table of a SQL database. It is safe for concurrent use if its
// database handle is.
type SQLStore struct {
	conn    SQLConn
	dialect Dialect
	engine  *sqldb.Engine
	table   string // without quotation marks
	timeout time.Duration
	find    string // SQL text of the Find query
}

// A Dialect selects the SQL dialect of a database.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"     // SQLite 3.37 or newer
	PostgreSQL Dialect = "postgresql" // PostgreSQL
	MySQL      Dialect = "mysql"      // MySQL, MariaDB and TiDB
)

// SQLOptions are the settings of a [SQLStore]. A zero field selects the default.
type SQLOptions struct {
	// Table is the name of the table: 1 to 40 letters, digits and underscores, not starting with a
	// digit. If Table is empty, the name is tokenauth_tokens. Reserved words are allowed, because
	// each statement quotes the name. On PostgreSQL, letters become lower case.
	//
	// On PostgreSQL and MySQL, the name of a schema may precede the name of the table, as in
	// "auth.tokens". Without it, PostgreSQL searches the schemas of the setting search_path. By
	// default, the first of them is the schema that has the name of the database user, if it exists.
	// A table there hides the table of the same name in the schema public.
	Table string

	// Timeout is the maximum duration of each call. Create, List, Touch and Prune may execute many
	// statements, and Timeout is then the maximum duration of each statement. The deadline of the
	// call's context applies too. If Timeout is zero, the maximum is 2 seconds. The largest Timeout is
	// 24 hours.
	Timeout time.Duration
}

const defaultTable = "tokenauth_tokens"

// NewSQLStore returns a store on db. The caller closes db. NewSQLStore does not use the database.
// [SQLStore.CreateSchema] creates the table, and [SQLStore.CheckSchema] checks it. If db is a
// transaction, the store works as a store that [SQLStore.With] returns.
//
// NewSQLStore copies opts, which may be nil. It returns an error for an unknown dialect, an invalid
// option, or a handle that is neither a pool, a connection nor a transaction of package
// database/sql. The error names the handle to use instead: a bun.Tx, for example, is refused, and
// its field Tx is accepted. NewSQLStore panics if db is nil, or a struct that embeds a nil handle.
func NewSQLStore(db DB, d Dialect, opts *SQLOptions) (*SQLStore, error) {
	conn, err := newDBConn(db, d)
	if err != nil {
		return nil, fmt.Errorf("tokenauth: NewSQLStore: %w", err)
	}
	s, err := NewSQLStoreOn(conn.pool(), d, opts)
	if err == nil && !conn.InTransaction() && d != PostgreSQL {
		// On PostgreSQL, the store prepares no statement: pgx prepares statements itself, and
		// connection poolers break prepared statements.
		conn.prepare = s.find
	}
	return s, err
}

// NewSQLStoreOn is like [NewSQLStore], for a connection that is not a database/sql handle.
func NewSQLStoreOn(c SQLConn, d Dialect, opts *SQLOptions) (*SQLStore, error) {
	if isNil(c) {
		panic("tokenauth: nil SQLConn")
	}
	opts = cmp.Or(opts, &SQLOptions{})
	s := &SQLStore{
		conn: c, dialect: d, engine: sqldb.Engines[string(d)],
		table: cmp.Or(opts.Table, defaultTable), timeout: cmp.Or(opts.Timeout, 2*time.Second),
	}
	switch {
	case s.engine == nil:
		return nil, fmt.Errorf("tokenauth: NewSQLStore: unknown dialect %q", d)
	case !tableName.MatchString(s.table):
		return nil, optionError(fmt.Sprintf("SQLOptions.Table %q must match %s", s.table, tableName))
	case d == SQLite && strings.Contains(s.table, "."):
		return nil, optionError("SQLOptions.Table must not contain a dot on SQLite")
	case s.timeout < 0 || s.timeout > 24*time.Hour:
		return nil, optionError("SQLOptions.Timeout must be from 0 to 24 hours")
	}
	if d == PostgreSQL { // as for a name without quotation marks
		s.table = strings.ToLower(s.table)
	}
	s.find = s.complete(findQuery)
	return s, nil
}

// tableName matches the name of a table, with or without the name of its schema. The maximum length
// leaves room for the names of the indexes, which begin with the table name.
var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,39}\.)?[A-Za-z_][A-Za-z0-9_]{0,39}$`)

// With returns the same store on another database handle. If the handle is a transaction, all
// changes are part of the transaction, and failed statements are not retried. After any error other
// than the sentinel errors of this package, and after [ErrUserUnknown], roll back the transaction.
// With panics if db is nil, and for a handle for which [NewSQLStore] returns an error.
func (s *SQLStore) With(db DB) *SQLStore {
	conn, err := newDBConn(db, s.dialect)
	if err != nil {
		panic("tokenauth: With: " + err.Error())
	}
	return s.WithConn(conn.pool())
}

// WithConn is like [SQLStore.With], for a connection that is not a database/sql handle.
func (s *SQLStore) WithConn(c SQLConn) *SQLStore {
	if isNil(c) {
		panic("tokenauth: nil SQLConn")
	}
	with := *s
	with.conn = c
	return &with
}

// InTransaction reports whether the database handle of the store is a transaction.
func (s *SQLStore) InTransaction() bool { return s.conn.InTransaction() }

// Close closes the prepared statement of a store that NewSQLStore returned. Call Close when no
// other call of the store is running. Close does not close the database handle.
func (s *SQLStore) Close() error {
	if conn, ok := s.conn.(interface{ close() error }); ok {
		return conn.close()
	}
	return nil
}

//go:embed schema
var schemas embed.FS

// Migrations returns the files that create the table and change it, with the name of the table in
// place. They are the files of the folder schema for the dialect. Run them with goose,
// golang-migrate or another tool instead of calling [SQLStore.CreateSchema].
//
// The names of the files have the form 0001_tokens.up.sql. A release never changes a file of an
// earlier release. New files only add columns that may be NULL, and indexes, so that an older
// version of this package works on the newer table. Run new files before you deploy the version
// that has them.
//
// The service may add columns with a default value, indexes and foreign keys to the table. It may
// also change the type of user_id in the first file.
func (s *SQLStore) Migrations() fs.FS { return s.engine.Migrations(s.schemaFolder(), s.table) }

func (s *SQLStore) schemaFolder() fs.FS {
	folder, _ := fs.Sub(schemas, "schema/"+string(s.dialect)) // each dialect has a folder
	return folder
}

// CreateSchema creates the table, or adds the columns, unique keys and indexes that it lacks. It
// compares unique keys and indexes by their columns, not by their names. It may be called any
// number of times, also concurrently.
//
// Requests wait while CreateSchema waits for other transactions. Therefore CreateSchema waits for
// them at most half of SQLOptions.Timeout, and then returns an error. The wait to add an index is
// not limited if the store is in a transaction or on a single connection. SQLOptions.Timeout does
// not limit anything else, but statement_timeout of PostgreSQL applies. Building an index of a
// large table takes long, and changes of tokens wait for it on SQLite and PostgreSQL. On MySQL, a
// change of the schema commits the caller's transaction.
func (s *SQLStore) CreateSchema(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := s.addMissing(ctx)
		if sqldb.IsSchemaChanging(err) && sqldb.Pause(ctx, sqldb.MaxAttempts) {
			attempt = 0 // because the other call may take minutes
			// If rows violate a unique key, another attempt would build the index of the key in vain.
		} else if !sqldb.IsRolledBack(err) || sqldb.IsLockTimeout(err) || !s.retriable(ctx, err, attempt) {
			return s.failed(ctx, "create schema", outcomeUnknown, err)
		}
	}
}

// addMissing adds all parts that the table lacks.
func (s *SQLStore) addMissing(ctx context.Context) error {
	missing, err := s.missingParts(ctx)
	for err == nil && len(missing) > 0 {
		var last sqldb.Part
		var failure error
		for _, last = range missing {
			if failure = s.addPart(ctx, last); failure != nil {
				break
			}
		}
		missing, err = s.missingParts(ctx)
		if err != nil || slices.Contains(missing, last) { // otherwise a concurrent call may have added it
			return cmp.Or(failure, err, sqldb.Lacks(s.table, last))
		}
	}
	return err
}

func (s *SQLStore) addPart(ctx context.Context, part sqldb.Part) error {
	if part.Statement == "" {
		return sqldb.Lacks(s.table, part)
	}
	if strings.HasPrefix(part.Name, "column ") { // adding a column takes no time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout/2)
		defer cancel()
	}
	err := s.changeSchema(ctx, part.Statement)
	if err != nil {
		err = fmt.Errorf("%v: %w", sqldb.Lacks(s.table, part), err)
	}
	return err
}

// changeSchema executes a statement that changes the schema. Requests queue behind the statement
// while it waits for the lock of the table, and must not time out. Therefore it waits for half of
// the timeout of the store, unless the store is on a single connection or in a transaction.
func (s *SQLStore) changeSchema(ctx context.Context, statement string) error {
	pool, ok := s.conn.(SQLPool)
	if !ok || s.engine.LimitWait == "" {
		_, err := s.exec(ctx, statement)
		return err
	}
	return pool.Transact(ctx, func(tx SQLConn) error {
		store := s.WithConn(tx)
		limit := fmt.Sprintf(s.engine.LimitWait, (s.timeout/2).Milliseconds()+1) // 0 is no limit
		_, err := store.exec(ctx, limit)
		if err == nil {
			_, err = store.exec(ctx, statement)
		}
		_, failure := store.exec(ctx, s.engine.RestoreWait)
		return cmp.Or(err, failure)
	})
}

// CheckSchema returns an error if the table does not exist, or lacks a column, a unique key or an
// index. The error names what is missing, and the files of [SQLStore.Migrations] that add it. Call
// CheckSchema when the service starts, so that a missing migration is found before the first
// request.
func (s *SQLStore) CheckSchema(ctx context.Context) error {
	err := s.run(ctx, "check schema", noResponse, func(ctx context.Context) error {
		missing, err := s.missingParts(ctx)
		if err == nil && len(missing) > 0 {
			err = sqldb.Lacks(s.table, missing...)
		}
		return err
	})
	if err == nil { // the database user may read the catalog, but not the table
		_, err = s.read(ctx, "check schema", "SELECT {columns}, live_name FROM {table} WHERE id = ''")
	}
	return err
}

// missingParts returns the parts of the schema that the catalog of the database does not have.
func (s *SQLStore) missingParts(ctx context.Context) ([]sqldb.Part, error) {
	rows, err := s.conn.Query(ctx, s.engine.Catalog(s.table))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err returns any error of the rows
	var found []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		found = append(found, strings.ReplaceAll(name, `"`, "")) // quote_all_identifiers of PostgreSQL adds quotation marks
	}
	return sqldb.Missing(s.engine.Parts(s.schemaFolder(), s.table), found), rows.Err()
}

// These texts are part of an error if the database did not respond to a call.
const (
	noResponse     = "no response"
	outcomeUnknown = "no response, outcome unknown" // for a call that changes rows
)

// errUnchanged means that a statement changed no row, although the same call on the model succeeds.
var errUnchanged = errors.New("no row was changed, for an unknown reason")

// run calls f until f succeeds or returns an error that does not allow another attempt. The timeout
// of the store limits the duration of all attempts together.
func (s *SQLStore) run(ctx context.Context, doing, ifLost string, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if !s.retriable(ctx, err, attempt) {
			return s.failed(ctx, doing, ifLost, err)
		}
	}
}

// retriable reports whether a failed call may be attempted again. It returns true only if a
// concurrent statement caused the failure and attempts are left. Before retriable returns true, it
// waits a few milliseconds. A call inside a transaction gets only one attempt, because the database
// may have rolled back the transaction's earlier statements too.
func (s *SQLStore) retriable(ctx context.Context, err error, attempt int) bool {
	concurrent := sqldb.IsRolledBack(err) || sqldb.IsDuplicate(err) || errors.Is(err, errUnchanged)
	return concurrent && attempt < sqldb.MaxAttempts && !s.conn.InTransaction() && sqldb.Pause(ctx, attempt)
}

// failed returns the error of a call for the caller of the store. It returns the sentinel errors of
// [Store] unchanged. If the context ended or the connection failed, the error text contains ifLost.
func (s *SQLStore) failed(ctx context.Context, doing, ifLost string, err error) error {
	if err == nil || isStoreError(err) {
		return err
	}
	ended, unmade := ctx.Err(), s.engine.IsUnsent(err) || sqldb.IsRolledBack(err)
	if deadline, ok := ctx.Deadline(); ended == nil && ok && !time.Now().Before(deadline) {
		ended = context.DeadlineExceeded // a driver's timer may fire before the timer of ctx
	}
	if ended != nil && !errors.Is(err, ended) { // some drivers do not wrap ctx.Err()
		err = fmt.Errorf("%w (%w)", ended, err)
	}
	if !unmade && (ended != nil || s.engine.IsLost(err) && !errors.Is(err, errUnchanged)) {
		return fmt.Errorf("tokenauth: %s: %s: %w", doing, ifLost, err)
	}
	return fmt.Errorf("tokenauth: %s: %w", doing, err)
}

// isStoreError reports whether err is an error that [Store] documents.
func isStoreError(err error) bool {
	return isAny(err, ErrNotFound, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrConflict, ErrUserUnknown)
}

// exec executes a statement and returns the number of rows that the statement changed.
func (s *SQLStore) exec(ctx context.Context, query string, args ...any) (int, error) {
	n, err := s.conn.Exec(ctx, s.complete(query), args...)
	return int(n), sqldb.HideValues(err)
}

// complete replaces {table} and {columns} in a query by the names of the table and its columns, and
// the ? placeholders by those of the dialect.
func (s *SQLStore) complete(query string) string {
	return s.engine.Complete(query, s.engine.Quote(s.table), columns)
}
