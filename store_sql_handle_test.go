package tokenauth_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// The types of this file are like the database handles of other libraries, which add methods to a
// handle of package database/sql, or replace them.

// An ownTx is a transaction with a BeginTx of another type.
type ownTx struct {
	db *sql.DB
	*sql.Tx
}

func (ownTx) BeginTx(context.Context, *sql.TxOptions) (ownTx, error) { return ownTx{}, nil }

// A poolTx is a transaction with a BeginTx of another type. It also shows its pool.
type poolTx struct {
	Pool *sql.DB
	*sql.Tx
}

func (poolTx) BeginTx(context.Context, *sql.TxOptions) (poolTx, error) { return poolTx{}, nil }

// An ownDB is a pool with a BeginTx of another type. It embeds the pool in a hidden struct.
type ownDB struct{ *state }

type state struct{ *sql.DB }

func (ownDB) BeginTx(context.Context, *sql.TxOptions) (ownTx, error) { return ownTx{}, nil }

// An ownConn is a connection with a BeginTx of another type.
type ownConn struct{ *sql.Conn }

func (ownConn) BeginTx(context.Context) (ownTx, error) { return ownTx{}, nil }

// A cache has its handle in an interface, and a BeginTx of another type.
type cache struct {
	Statements map[string]*sql.Stmt
	Tx         *sql.Tx // always nil
	tokenauth.DB
}

func (*cache) BeginTx(context.Context, *sql.TxOptions) (tokenauth.DB, error) { return nil, nil }

// A client hides its handle, and has a BeginTx of another type.
type client struct{ hidden tokenauth.DB }

func (c client) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return c.hidden.ExecContext(ctx, query, args...)
}

func (c client) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.hidden.QueryContext(ctx, query, args...)
}

func (client) BeginTx() {}

// A tracer has no method of a pool or a transaction.
type tracer struct{ Inner tokenauth.DB }

func (t tracer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.Inner.ExecContext(ctx, query, args...)
}

func (t tracer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.Inner.QueryContext(ctx, query, args...)
}

// A function is a handle that is not a struct.
type function func() *sql.DB

func (f function) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return f().ExecContext(ctx, query, args...)
}

func (f function) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return f().QueryContext(ctx, query, args...)
}

// A genericTracer is a tracer of any type of handle.
type genericTracer[H tokenauth.DB] struct{ tracer }

// begin returns a pool, a connection and a transaction on a database without the table of tokens.
func begin(t *testing.T) (*sql.DB, *sql.Conn, *sql.Tx) {
	t.Helper()
	db := sqlite.New(t)
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return db, conn, tx
}

// A handle of another library may rewrite statements, or be a pool although it lacks the methods of
// *sql.DB. A store that took it for a transaction would not retry statements, nor write last-used
// times. The error must name the handle to use instead.
func TestForeignHandlesAreRefused(t *testing.T) {
	t.Parallel()
	db, conn, tx := begin(t)
	const unknown = "the *sql.DB or *sql.Tx under it"
	for _, c := range []struct {
		handle    tokenauth.DB
		has, pass string
	}{
		{ownTx{db, tx}, "ownTx has its own BeginTx", "its field Tx, a *sql.Tx"},
		{&ownTx{db, tx}, "ownTx has its own BeginTx", "its field Tx, a *sql.Tx"},
		{poolTx{db, tx}, "poolTx has its own BeginTx", "its field Tx, a *sql.Tx"},
		{ownDB{&state{db}}, "ownDB has its own BeginTx", "its field DB, a *sql.DB"},
		{&ownDB{&state{db}}, "*tokenauth_test.ownDB has its own BeginTx", "its field DB, a *sql.DB"},
		{ownConn{conn}, "ownConn has its own BeginTx", "its field Conn, a *sql.Conn"},
		{&cache{DB: db}, "cache has its own BeginTx", "its field DB, a *sql.DB"},
		{&cache{DB: tx}, "cache has its own BeginTx", "its field DB, a *sql.Tx"},
		{&cache{DB: tracer{db}}, "cache has its own BeginTx", unknown},
		{client{db}, "client has its own BeginTx", unknown},
		{struct{ client }{client{db}}, "has its own BeginTx", unknown},
		{tracer{db}, "tracer has neither BeginTx nor Commit and Rollback", "its field Inner, a *sql.DB"},
		{tracer{tx}, "tracer has neither BeginTx nor Commit and Rollback", "its field Inner, a *sql.Tx"},
		{tracer{}, "tracer has neither BeginTx nor Commit and Rollback", unknown},
		{genericTracer[*sql.DB]{tracer{db}}, "has neither BeginTx nor Commit and Rollback", "its field Inner, a *sql.DB"},
		{struct{ tokenauth.DB }{db}, "has neither BeginTx nor Commit and Rollback", "its field DB, a *sql.DB"},
		{function(func() *sql.DB { return db }), "function has neither BeginTx nor Commit and Rollback", unknown},
	} {
		_, err := tokenauth.NewSQLStore(c.handle, tokenauth.SQLite, nil)
		require.ErrorContains(t, err, c.has+"; pass "+c.pass)
		require.Regexp(t, "^tokenauth: NewSQLStore: ", err)
		store := must.Get(tokenauth.NewSQLStore(db, tokenauth.SQLite, nil))
		require.PanicsWithValue(t, "tokenauth: With: "+err.Error()[len("tokenauth: NewSQLStore: "):], func() { store.With(c.handle) })
	}
}

// A nestedTx is a transaction whose BeginTx begins a savepoint.
type nestedTx struct{ *sql.Tx }

func (n nestedTx) BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error) { return n.Tx, nil }

// A connDB is a pool with a Conn of another type.
type connDB struct{ *sql.DB }

func (connDB) Conn() int { return 0 }

// A tracedDB has only the methods of a pool that a store needs, and cannot prepare statements.
type tracedDB struct {
	tracer
	pool *sql.DB
}

func (d tracedDB) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	return d.pool.BeginTx(ctx, opts)
}

// A tracedTx is a transaction that is no *sql.Tx, and cannot prepare statements.
type tracedTx struct {
	tracer
	fixture.Transaction
}

// Handles that embed a handle of package database/sql must work, and so must all other handles with
// its methods. The store must know which of them are transactions, because it must not retry a
// statement there.
func TestEmbeddedHandlesWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inTransaction bool
		handle        func(*sql.DB, *sql.Conn, *sql.Tx) tokenauth.DB
	}{
		"pool":                      {false, func(db *sql.DB, _ *sql.Conn, _ *sql.Tx) tokenauth.DB { return struct{ *sql.DB }{db} }},
		"pointer to pool":           {false, func(db *sql.DB, _ *sql.Conn, _ *sql.Tx) tokenauth.DB { return &struct{ *sql.DB }{db} }},
		"pool in hidden struct":     {false, func(db *sql.DB, _ *sql.Conn, _ *sql.Tx) tokenauth.DB { return &struct{ *state }{&state{db}} }},
		"pool with its own Conn":    {false, func(db *sql.DB, _ *sql.Conn, _ *sql.Tx) tokenauth.DB { return connDB{db} }},
		"pool without Prepare":      {false, func(db *sql.DB, _ *sql.Conn, _ *sql.Tx) tokenauth.DB { return tracedDB{tracer{db}, db} }},
		"connection":                {false, func(_ *sql.DB, conn *sql.Conn, _ *sql.Tx) tokenauth.DB { return struct{ *sql.Conn }{conn} }},
		"transaction":               {true, func(_ *sql.DB, _ *sql.Conn, tx *sql.Tx) tokenauth.DB { return struct{ *sql.Tx }{tx} }},
		"transaction and savepoint": {true, func(_ *sql.DB, _ *sql.Conn, tx *sql.Tx) tokenauth.DB { return nestedTx{tx} }},
		"transaction of its own":    {true, func(_ *sql.DB, _ *sql.Conn, tx *sql.Tx) tokenauth.DB { return tracedTx{tracer: tracer{tx}} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, conn, tx := begin(t)
			if !c.inTransaction {
				require.NoError(t, tx.Rollback()) // otherwise it would hold the lock of the file
			}
			store, err := tokenauth.NewSQLStore(c.handle(db, conn, tx), tokenauth.SQLite, sqlite.Patient())
			require.NoError(t, err)
			require.Equal(t, c.inTransaction, store.InTransaction())
			require.Equal(t, c.inTransaction, store.With(c.handle(db, conn, tx)).InTransaction())
			require.NoError(t, store.CreateSchema(ctx))
			r := fixture.NewRecord("laptop")
			require.NoError(t, store.Create(ctx, r))
			for range 2 { // the second call may use a prepared statement
				require.Equal(t, r, *must.Get(store.Find(ctx, r.Digest)))
			}
			require.NoError(t, store.Close())
		})
	}
}

// A struct with a nil handle in it is a mistake that must show when the service starts, and not at
// the first request.
func TestNilHandlesInStructsPanic(t *testing.T) {
	t.Parallel()
	var noPointer *ownDB
	store := must.Get(tokenauth.NewSQLStore(sqlite.New(t), tokenauth.SQLite, nil))
	for _, handle := range []tokenauth.DB{
		noPointer, ownTx{}, &ownTx{}, ownDB{}, ownDB{&state{}}, struct{ *sql.Tx }{}, &struct{ *sql.DB }{}, struct{ *state }{},
	} {
		require.PanicsWithValue(t, "tokenauth: nil database handle", func() { _, _ = tokenauth.NewSQLStore(handle, tokenauth.SQLite, nil) })
		require.PanicsWithValue(t, "tokenauth: nil database handle", func() { store.With(handle) })
	}
}
