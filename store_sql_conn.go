package tokenauth

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// SQLConn executes the statements of a [SQLStore]: on a connection pool, on one connection, or in
// a transaction. [NewSQLStore] makes one of a database/sql handle. Implement SQLConn to use a
// driver without database/sql.
//
// Queries contain the placeholders of the [Dialect]: $1, $2 and so on for PostgreSQL, ? for the
// others. Arguments are string, int, int64, []byte and nil. The texts of the queries are few: a
// driver may cache prepared statements by their text.
//
// Both methods must return when ctx ends. An error of the driver must be in the chain of the
// returned error, because SQLStore reads its code: for PostgreSQL from a method
// SQLState() string, for MySQL from a text such as "Error 1213 (40001): …", for SQLite from texts
// such as "database is locked".
//
// A SQLConn must be safe for concurrent use if its SQLStore is used concurrently.
type SQLConn interface {
	// Exec executes a statement and returns the number of rows that it matched or changed.
	// It must return an error if ctx ended before the database confirmed the statement.
	// A nil error means that the statement was executed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)

	// Query executes a SELECT. SQLStore closes the rows before it calls another method.
	Query(ctx context.Context, query string, args ...any) (SQLRows, error)

	// InTransaction reports whether the statements are part of a transaction of the caller.
	// Then SQLStore never executes a statement again after an error.
	InTransaction() bool
}

// SQLRows is the result of a query. *sql.Rows implements it.
type SQLRows interface {
	// Next moves to the next row. It returns false after the last row and after an error.
	Next() bool

	// Scan copies the columns of the row to its arguments: *string, *int, and values that
	// implement [database/sql.Scanner]. A Scanner gets an int64, a string, a []byte or nil. It
	// keeps no []byte after Scan returns.
	Scan(dest ...any) error

	// Err returns the error that ended Next, if any.
	Err() error

	// Close frees the connection. SQLStore may call it before Next returned false. It then
	// returns any error that reading the remaining rows would have returned.
	Close() error
}

// DB is a database handle: *sql.DB, *sql.Tx and *sql.Conn implement it.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// A dbConn is a [SQLConn] on database/sql.
type dbConn struct {
	db       DB
	prepare  string                   // the query to keep prepared; empty: none
	prepared atomic.Pointer[sql.Stmt] // nil until the first query, and after SQLStore.Close
}

func (c *dbConn) InTransaction() bool {
	_, canBegin := c.db.(interface {
		BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
	})
	return !canBegin
}

func (c *dbConn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := c.db.ExecContext(ctx, query, args...)
	if err == nil {
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
		return nil, err // not an interface that holds a nil *sql.Rows
	}
	return rows, nil
}

func (c *dbConn) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if query != c.prepare {
		return c.db.QueryContext(ctx, query, args...)
	}
	stmt := c.prepared.Load()
	if stmt == nil {
		var err error
		if stmt, err = c.db.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		if !c.prepared.CompareAndSwap(nil, stmt) { // a concurrent call has stored its own
			defer func() { _ = stmt.Close() }() // takes effect when the rows are closed
		}
	}
	return stmt.QueryContext(ctx, args...)
}
