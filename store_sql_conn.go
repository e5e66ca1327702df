package tokenauth

import (
	"cmp"
	"context"
	"database/sql"
	"sync/atomic"
)

// SQLConn executes the statements of a [SQLStore] on a connection pool, on one connection, or in
// a transaction. [NewSQLStore] adapts a database/sql handle to SQLConn. Implement SQLConn to use a
// driver without database/sql.
//
// Queries contain the placeholders of the [Dialect]: $1, $2 and so on for PostgreSQL, and ? for
// the other dialects. Each argument is a string, an int, an int64, a []byte or nil. A SQLConn may
// cache prepared statements by the text of the query.
//
// Exec and Query must return when ctx ends. If the driver returns an error, that error must be in
// the chain of the returned error, because SQLStore reads its code. For PostgreSQL, an error in the
// chain must have a method SQLState() string. For MySQL, the text of an error in the chain must
// start like "Error 1213 (40001): ". For SQLite, the text must contain SQLite's own message, such
// as "database is locked".
//
// If an error in the chain has a method SafeToRetry() bool that returns true, nothing was sent to
// the database. SQLStore then does not report that the outcome is unknown.
//
// A SQLConn must be safe for concurrent use if its SQLStore is used concurrently. A SQLConn on a
// pool of connections should be a [SQLPool].
type SQLConn interface {
	// Exec executes a statement. It returns the number of rows that the statement matched, or the
	// number that it changed. SQLStore works with both.
	// It may return a nil error only if the database has confirmed the statement. If ctx ended
	// before that, Exec must return an error.
	Exec(ctx context.Context, query string, args ...any) (int64, error)

	// Query executes a SELECT. If Query returns no error, the rows are not nil. SQLStore closes the
	// rows before it uses the SQLConn again in the same call.
	Query(ctx context.Context, query string, args ...any) (SQLRows, error)

	// InTransaction reports whether the statements are part of a transaction of the caller. In a
	// transaction, SQLStore does not retry statements.
	InTransaction() bool
}

// A SQLPool is a [SQLConn] on a pool of connections. [SQLStore.Create] needs a SQLPool to add more
// than 512 records, unless its SQLStore is in a transaction. [SQLStore.CreateSchema] uses a SQLPool
// to limit how long it waits for locks.
type SQLPool interface {
	SQLConn

	// Transact begins a transaction on a connection of its own, and calls f with a SQLConn in this
	// transaction. If f returns nil, Transact commits the transaction. Otherwise, it rolls the
	// transaction back and returns the error of f. Like Exec, Transact may return nil only if the
	// database has confirmed the commit.
	Transact(ctx context.Context, f func(tx SQLConn) error) error
}

// SQLRows is the result of a query. *sql.Rows implements it.
type SQLRows interface {
	// Next moves to the next row. It returns false after the last row and after an error.
	Next() bool

	// Scan copies the columns of the current row to dest. Each dest is a *string, an *int, a
	// *[]byte, which is nil for NULL, or a *[database/sql.NullInt64].
	Scan(dest ...any) error

	// Err returns the error that made Next return false, if any.
	Err() error

	// Close releases the connection. If SQLStore needs only one row, it calls Close before Next
	// has returned false. In this case, Close must return any later error of the query.
	Close() error
}

// A dbConn is a [SQLConn] on database/sql.
type dbConn struct {
	db       DB
	inTx     bool                     // whether db is a transaction
	remote   bool                     // whether the database is a server
	prepare  string                   // SQL text of the query to keep prepared; empty if there is none
	prepared atomic.Pointer[sql.Stmt] // nil until the first query, and after SQLStore.Close
}

func newDBConn(db DB, d Dialect) (*dbConn, error) {
	inTx, err := inspect(db)
	return &dbConn{db: db, inTx: inTx, remote: d != SQLite}, err
}

// A dbPool is a [SQLPool] on database/sql. A *sql.Conn is no pool, because concurrent calls of the
// caller would become part of the transaction.
type dbPool struct {
	*dbConn
	beginner
}

var _ SQLPool = dbPool{}

func (c dbPool) Transact(ctx context.Context, f func(SQLConn) error) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit, Rollback does nothing
	if err := f(&dbConn{db: tx, inTx: true, remote: c.remote}); err != nil {
		return err
	}
	return cmp.Or(tx.Commit(), ctx.Err()) // ctx.Err as in Exec
}

// pool returns a SQLPool on c if the handle of c is a pool and no transaction. Otherwise, pool
// returns c.
func (c *dbConn) pool() SQLConn {
	type pool interface {
		beginner
		Conn(context.Context) (*sql.Conn, error)
	}
	if db, ok := c.db.(pool); ok && !c.inTx {
		return dbPool{c, db}
	}
	return c
}

func (c *dbConn) InTransaction() bool { return c.inTx }

func (c *dbConn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := c.db.ExecContext(ctx, query, args...)
	if err == nil && c.remote {
		// When ctx ends, lib/pq cancels the statement. PostgreSQL then stops waiting for its
		// synchronous standby and reports success, though the standby may lack the change.
		err = ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *dbConn) Query(ctx context.Context, query string, args ...any) (SQLRows, error) {
	rows, err := c.query(ctx, query, args)
	if err != nil {
		return nil, err // returning rows would make an interface that holds a nil *sql.Rows
	}
	return rows, nil
}

func (c *dbConn) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	db, canPrepare := c.db.(preparer)
	if query != c.prepare || !canPrepare {
		return c.db.QueryContext(ctx, query, args...)
	}
	stmt := c.prepared.Load()
	if stmt == nil {
		var err error
		if stmt, err = db.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		if !c.prepared.CompareAndSwap(nil, stmt) { // a concurrent call has stored its statement
			defer func() { _ = stmt.Close() }() // stmt is closed only after the rows of this query are closed
		}
	}
	return stmt.QueryContext(ctx, args...)
}

// close closes the prepared statement. A later query prepares it again.
func (c *dbConn) close() error {
	if stmt := c.prepared.Swap(nil); stmt != nil {
		return stmt.Close()
	}
	return nil
}
