package pgxstore

import (
	"cmp"
	"context"
	"errors"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/go-tokenauth/tokenauth"
)

// A poolConn is a [tokenauth.SQLPool] on a pool.
type poolConn struct{ pool *pgxpool.Pool }

var _ tokenauth.SQLPool = poolConn{}

func (poolConn) InTransaction() bool { return false }

func (c poolConn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	conn, err := c.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	return exec(ctx, conn, query, args)
}

func (c poolConn) Query(ctx context.Context, query string, args ...any) (tokenauth.SQLRows, error) {
	conn, err := c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	var r pgx.Rows
	defer func() {
		if r == nil { // also after a panic of a tracer
			conn.Release()
		}
	}()
	found, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	r = found
	return &rows{Rows: r, conn: conn}, nil
}

func (c poolConn) Transact(ctx context.Context, f func(tokenauth.SQLConn) error) error {
	conn, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return unsentError{err} // no statement of f was sent
	}
	defer func() { _ = tx.Rollback(ctx) }() // after a commit, Rollback does nothing
	if err := f(txConn{tx}); err != nil {
		return err
	}
	return cmp.Or(tx.Commit(ctx), ctx.Err()) // ctx.Err as in exec
}

// acquire is like Acquire of the pool. Its error reports that no statement was sent.
func (c poolConn) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return nil, unsentError{err}
	}
	return conn, nil
}

// A txConn is a [tokenauth.SQLConn] in a transaction of the caller.
type txConn struct{ tx pgx.Tx }

func (txConn) InTransaction() bool { return true }

func (c txConn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := exec(ctx, c.tx, query, args)
	return n, unsentIfClosed(err)
}

func (c txConn) Query(ctx context.Context, query string, args ...any) (tokenauth.SQLRows, error) {
	r, err := c.tx.Query(ctx, query, args...)
	if err != nil {
		return nil, unsentIfClosed(err)
	}
	return &rows{Rows: r}, nil
}

// exec executes a statement and returns the number of rows that it changed.
func exec(ctx context.Context, on interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
}, query string, args []any) (int64, error) {
	tag, err := on.Exec(ctx, query, args...)
	// A pool may be configured to cancel the statement when ctx ends. PostgreSQL then stops waiting
	// for its synchronous standby and reports success, though the standby may lack the change.
	return tag.RowsAffected(), cmp.Or(err, ctx.Err())
}

// An unsentError is the error of a statement that was not sent to the database. SQLStore recognizes
// it by the method SafeToRetry, as an error of package pgconn.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

func (unsentError) SafeToRetry() bool { return true }

// SQLState returns the code for a failed connection. Otherwise the code of an error that a hook of
// the pool returned would count as the code of the statement.
func (unsentError) SQLState() string { return "08001" }

func unsentIfClosed(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return unsentError{err}
	}
	return err
}

// isNil reports whether v is nil or holds a nil pointer.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || r.Kind() == reflect.Pointer && r.IsNil()
}
