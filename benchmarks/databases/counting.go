package databases

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync/atomic"
)

// A connector opens connections that count the executed statements.
type connector struct {
	driver driver.Driver
	dsn    string
	n      *atomic.Int64
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	inner, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	able, ok := inner.(capable)
	if !ok {
		return nil, errors.Join(errors.New("the connection of the driver lacks a method"), inner.Close())
	}
	return &conn{able, c.n}, nil
}

// capable contains the interfaces that the connections of all drivers of this package implement.
type capable interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type conn struct {
	capable
	n *atomic.Int64
}

// CheckNamedValue calls CheckNamedValue of the driver's connection, if the connection has this
// method.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.capable.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ResetSession calls ResetSession of the driver's connection, if the connection has this method.
func (c *conn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.capable.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.capable.ExecContext(ctx, query, args)
	c.count(err)
	return result, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.capable.QueryContext(ctx, query, args)
	c.count(err)
	return rows, err
}

// count adds one to n, unless err is driver.ErrSkip. After ErrSkip, database/sql prepares and
// executes the statement, and the stmt counts this execution.
func (c *conn) count(err error) {
	if err != driver.ErrSkip {
		c.n.Add(1)
	}
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	inner, err := c.capable.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	able, ok := inner.(capableStmt)
	if !ok {
		return nil, errors.Join(errors.New("the statement of the driver lacks a method"), inner.Close())
	}
	return &stmt{able, c.n}, nil
}

type capableStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type stmt struct {
	capableStmt
	n *atomic.Int64
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.n.Add(1)
	return s.capableStmt.ExecContext(ctx, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.n.Add(1)
	return s.capableStmt.QueryContext(ctx, args)
}
