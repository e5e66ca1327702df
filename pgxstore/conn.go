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
	r, err := conn.Query(ctx, query, args...)
	if err != nil {
		conn.Release()
		return nil, err
	}
	return &rows{Rows: r, conn: conn}, nil
}

func (c poolConn) Transact(ctx context.Context, f func(tokenauth.SQLConn) error) error {
	conn, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return f(txConn{tx}) })
	return cmp.Or(err, ctx.Err()) // ctx.Err as in exec
}

// acquire is like the method of the pool. Its error says that no statement was sent.
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

func (e unsentError) Unwrap() error   { return e.error }
func (unsentError) SafeToRetry() bool { return true }

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
