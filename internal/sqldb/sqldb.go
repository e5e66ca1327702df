// Package sqldb runs statements on a SQL database: on one table, in one engine,
// within a deadline, and again where the database undid them.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Handle is *sql.DB, *sql.Tx or *sql.Conn.
type Handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// A Table runs statements in which {table} and {columns} stand for its own.
type Table struct {
	Handle  Handle
	Engine  *Engine
	Name    string
	Columns string
	Timeout time.Duration // of a call of Run
}

// Alone reports whether the handle is a database's, and not a transaction, which
// can't begin another: there nothing may be repeated or prepared.
func (t *Table) Alone() bool {
	_, ok := t.Handle.(interface {
		BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
	})
	return ok
}

const attempts = 5

// Run calls f as Repeat does, within the deadline.
func (t *Table) Run(ctx context.Context, doing string, isAnswer func(error) bool, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	return t.Repeat(ctx, doing, isAnswer, f)
}

// Repeat calls f, and again if the database undid it. An error for which
// isAnswer is true is returned as it is. After a deadline or a lost connection
// nobody knows whether it was done: that is told, and left to the caller.
func (t *Table) Repeat(ctx context.Context, doing string, isAnswer func(error) bool, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if err == nil || isAnswer(err) {
			return err
		}
		told := errors.Is(err, ErrUnchanged) || IsUndone(err)
		if told && attempt < attempts && t.Alone() && pause(ctx, attempt) {
			continue
		}
		late := ctx.Err()
		switch {
		case late != nil && !errors.Is(err, late): // some drivers report an error of their own
			return fmt.Errorf("tokenauth: %s: no answer, outcome unknown: %w (%w)", doing, late, err)
		case late != nil || !told && t.isLost(err):
			return fmt.Errorf("tokenauth: %s: no answer, outcome unknown: %w", doing, err)
		}
		return fmt.Errorf("tokenauth: %s: %w", doing, err)
	}
}

// isLost reports whether err comes from the way to the database, not from it.
func (t *Table) isLost(err error) bool {
	c := code(err)
	return errors.Is(err, driver.ErrBadConn) || t.Engine.Remote && c == "" || slices.Contains(lostCodes, c)
}

// pause waits up to 10 ms after the first attempt, twice that after the second,
// and so on, and reports whether the context allows another.
func pause(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(rand.N(10 * time.Millisecond << (attempt - 1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Exec runs a statement and returns the number of rows it affected: none, if it
// broke a unique key. The error for that holds the values on some databases.
func (t *Table) Exec(ctx context.Context, query string, args ...any) (int, error) {
	result, err := t.Handle.ExecContext(ctx, t.Text(query), args...)
	if slices.Contains(takenCodes, code(err)) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// Query runs a query.
func (t *Table) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.Handle.QueryContext(ctx, t.Text(query), args...)
}

// A Prepared is a query that is kept prepared where that is worth it.
type Prepared struct {
	table *Table
	text  string
	stmt  atomic.Pointer[sql.Stmt] // nil: not yet, or not any more
}

// Prepare returns a query that is prepared when it is first needed.
func (t *Table) Prepare(query string) *Prepared { return &Prepared{table: t, text: t.Text(query)} }

// Query runs the query. A failure to prepare it is that of this call alone.
func (p *Prepared) Query(ctx context.Context, args ...any) (*sql.Rows, error) {
	if !p.table.Engine.Prepare || !p.table.Alone() {
		return p.table.Handle.QueryContext(ctx, p.text, args...)
	}
	stmt := p.stmt.Load()
	if stmt == nil {
		var err error
		if stmt, err = p.table.Handle.PrepareContext(ctx, p.text); err != nil {
			return nil, err
		}
		if !p.stmt.CompareAndSwap(nil, stmt) { // another call came first
			defer func() { _ = stmt.Close() }()
		}
	}
	return stmt.QueryContext(ctx, args...)
}

// Close frees what the database keeps of the query.
func (p *Prepared) Close() error {
	if stmt := p.stmt.Swap(nil); stmt != nil {
		return stmt.Close()
	}
	return nil
}

// Text completes a statement.
func (t *Table) Text(query string) string {
	query = strings.NewReplacer("{table}", t.Name, "{columns}", t.Columns).Replace(query)
	if !t.Engine.Numbered {
		return query
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, rest, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		fmt.Fprintf(&b, "$%d", n)
		query = rest
	}
}
