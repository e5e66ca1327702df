// Package sqldb keeps rows in one table of a SQL database, in one engine, and runs
// statements on it: within a deadline, and again where the database undid them. What
// a change that changed nothing comes to is for its caller to say.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
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
	handle   Handle
	engine   *engine
	name     string
	timeout  time.Duration // of a call of Run
	schema   string
	isAnswer func(error) bool
	find     *prepared
}

// On returns the same table on another handle.
func (t *Table) On(h Handle) *Table {
	on := *t
	on.handle = h
	on.find = &prepared{table: &on, text: on.text(findQuery)}
	return &on
}

// Close frees what the database keeps of the table's prepared query.
func (t *Table) Close() error { return t.find.close() }

// alone reports whether the handle is a database's, and not a transaction, which
// can't begin another: there nothing may be repeated or prepared.
func (t *Table) alone() bool {
	_, ok := t.handle.(interface {
		BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
	})
	return ok
}

const attempts = 5

// Run calls f within the deadline, and again if the database undid it. An answer
// is returned as it is. After a deadline or a lost connection nobody knows whether
// it was done: that is told, and left to the caller.
func (t *Table) Run(ctx context.Context, doing string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return t.repeat(ctx, doing, unknown, f)
}

// ask is Run for what changes nothing.
func (t *Table) ask(ctx context.Context, doing string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return t.repeat(ctx, doing, noAnswer, f)
}

// What is told where no answer came.
const (
	noAnswer = "no answer"
	unknown  = "no answer, outcome unknown" // of a change
)

// repeat is Run without a deadline, and with what it tells where no answer came.
func (t *Table) repeat(ctx context.Context, doing, without string, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if err == nil || t.isAnswer(err) {
			return err
		}
		told := errors.Is(err, errUnchanged) || isUndone(err)
		if told && attempt < attempts && t.alone() && pause(ctx, attempt) {
			continue
		}
		late := ctx.Err()
		switch {
		case late != nil && !errors.Is(err, late): // some drivers report an error of their own
			return fmt.Errorf("tokenauth: %s: %s: %w (%w)", doing, without, late, err)
		case late != nil || !told && t.isLost(err):
			return fmt.Errorf("tokenauth: %s: %s: %w", doing, without, err)
		}
		return fmt.Errorf("tokenauth: %s: %w", doing, err)
	}
}

// Refused reports whether the database itself says that a write was not made: it undid it,
// or is read-only or full. What it shows of the rows is then no answer: a server that takes
// no writes may not know what another one has written.
func (t *Table) Refused(err error) bool {
	return err != nil && !errors.Is(err, errUnchanged) && !t.isLost(err)
}

// isLost reports whether err comes from the way to the database, not from it.
func (t *Table) isLost(err error) bool {
	c := code(err)
	return errors.Is(err, driver.ErrBadConn) || t.engine.remote && c == "" || slices.Contains(lostCodes, c) ||
		t.engine.numbered && strings.HasPrefix(c, "08") // a SQLSTATE: connection exception; poolers too
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

// exec runs a statement and returns the number of rows it affected: none, if it
// broke a unique key. The error for that holds the values on some databases.
func (t *Table) exec(ctx context.Context, query string, args ...any) (int, error) {
	result, err := t.handle.ExecContext(ctx, t.text(query), args...)
	if slices.Contains(takenCodes, code(err)) {
		return 0, nil
	}
	if err == nil && t.engine.remote {
		// lib/pq has the server cancel what takes too long, and PostgreSQL then stops to wait
		// for its standby and answers as if that had it.
		err = ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// write is exec as a whole call.
func (t *Table) write(ctx context.Context, doing, query string, args ...any) (n int, err error) {
	err = t.Run(ctx, doing, func(ctx context.Context) (err error) {
		n, err = t.exec(ctx, query, args...)
		return err
	})
	return n, err
}

// query returns the rows that a query finds.
func (t *Table) query(ctx context.Context, query string, args ...any) ([]Row, error) {
	return scanAll(t.handle.QueryContext(ctx, t.text(query), args...))
}

// read is query as a whole call.
func (t *Table) read(ctx context.Context, doing, query string, args ...any) (rows []Row, err error) {
	err = t.ask(ctx, doing, func(ctx context.Context) (err error) {
		rows, err = t.query(ctx, query, args...)
		return err
	})
	return rows, err
}

// A prepared is a query that is prepared when it is first needed, and kept, where
// that is worth it.
type prepared struct {
	table *Table
	text  string
	stmt  atomic.Pointer[sql.Stmt] // nil: not yet, or not any more
}

// query returns the first row that the query finds, or nil. A failure to prepare it is
// that of this call alone.
func (p *prepared) query(ctx context.Context, args ...any) (*Row, error) {
	if !p.table.engine.prepare || !p.table.alone() {
		return scanFirst(p.table.handle.QueryContext(ctx, p.text, args...))
	}
	stmt := p.stmt.Load()
	if stmt == nil {
		var err error
		if stmt, err = p.table.handle.PrepareContext(ctx, p.text); err != nil {
			return nil, err
		}
		if !p.stmt.CompareAndSwap(nil, stmt) { // another call came first
			defer func() { _ = stmt.Close() }()
		}
	}
	return scanFirst(stmt.QueryContext(ctx, args...))
}

func (p *prepared) close() error {
	if stmt := p.stmt.Swap(nil); stmt != nil {
		return stmt.Close()
	}
	return nil
}

// text completes a statement.
func (t *Table) text(query string) string {
	query = strings.NewReplacer("{table}", t.name, "{columns}", columns).Replace(query)
	if !t.engine.numbered {
		return query
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, rest, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = rest
	}
}
