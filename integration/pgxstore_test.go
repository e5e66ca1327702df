package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/pgxstore"
)

// pgxstore has no database/sql handle. The tests of the setups need one to read and change tables.
// Therefore the driver pgxstore stands for both: the tests use database/sql, and their stores use
// the pool of pgx under it.

// pools maps each *sql.DB of the driver pgxstore to its *pgxpool.Pool.
var pools sync.Map

// openPool opens a pool and returns a *sql.DB on this pool. If dsn has no pool_max_conns, the pool
// has 32 connections.
func openPool(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = 32
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	db := stdlib.OpenDBFromPool(pool)
	pools.Store(db, pool)
	t.Cleanup(func() {
		_ = db.Close()
		pool.Close()
		pools.Delete(db)
	})
	return db
}

// poolOf returns the pool under a *sql.DB of the driver pgxstore, or nil for another driver.
func poolOf(db *sql.DB) *pgxpool.Pool {
	if pool, ok := pools.Load(db); ok {
		return pool.(*pgxpool.Pool)
	}
	return nil
}

// inUse returns the number of connections of a pool that are in use.
func inUse(db *sql.DB) int {
	if pool := poolOf(db); pool != nil {
		return int(pool.Stat().AcquiredConns())
	}
	return db.Stats().InUse
}

// newStoreAs is like [tokenauth.NewSQLStore]. If db has the driver pgxstore, the store is a
// [pgxstore.Store].
func newStoreAs(db *sql.DB, d tokenauth.Dialect, opts *tokenauth.SQLOptions) (*tokenauth.SQLStore, error) {
	pool := poolOf(db)
	if pool == nil {
		return tokenauth.NewSQLStore(db, d, opts)
	}
	store, err := pgxstore.New(pool, opts)
	if err != nil {
		return nil, err
	}
	return store.SQLStore, nil
}

// A transaction is a transaction of database/sql or of pgx.
type transaction interface {
	exec(statement string, args ...any) error
	Commit() error
	Rollback() error
}

type sqlTx struct{ *sql.Tx }

func (tx sqlTx) exec(statement string, args ...any) error {
	_, err := tx.Exec(statement, args...)
	return err
}

type pgxTx struct{ tx pgx.Tx }

func (tx pgxTx) exec(statement string, args ...any) error {
	_, err := tx.tx.Exec(context.Background(), statement, args...)
	return err
}

func (tx pgxTx) Commit() error   { return tx.tx.Commit(context.Background()) }
func (tx pgxTx) Rollback() error { return tx.tx.Rollback(context.Background()) }

// beginOn begins a transaction, and returns the store in this transaction. It rolls the transaction
// back at the end of the test.
func beginOn(t *testing.T, db *sql.DB, store *tokenauth.SQLStore) (transaction, *tokenauth.SQLStore) {
	t.Helper()
	var tx transaction
	var in *tokenauth.SQLStore
	if pool := poolOf(db); pool != nil {
		began, err := pool.Begin(t.Context())
		require.NoError(t, err)
		tx, in = pgxTx{began}, (&pgxstore.Store{SQLStore: store}).With(began).SQLStore
	} else {
		began, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		tx, in = sqlTx{began}, store.With(began)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx, in
}

// If the pool is closed or has no free connection, or if the transaction has ended, no statement
// was sent. The error must not say that the outcome is unknown, because a client would then look
// for a change that cannot exist.
func TestPgxstoreKnowsThatNothingWasSent(t *testing.T) {
	t.Parallel()
	dsn := servers.Started(t, postgres).DSN("postgres", "pool_max_conns=1")
	db, opts := open(t, "pgxstore", dsn), newTable()
	patient := newStore(t, db, tokenauth.PostgreSQL, opts)
	r := newRecord("anna", "laptop")
	require.NoError(t, patient.Create(t.Context(), r))
	revoke := func(s *tokenauth.SQLStore) {
		t.Helper()
		err := s.Revoke(t.Context(), "anna", r.Token.ID, r.Token.CreatedAt, "")
		requireUnavailable(t, err, "revoke")
		require.NotContains(t, err.Error(), "outcome unknown")
		err = s.Create(t.Context(), newRecord("anna", "phone"))
		requireUnavailable(t, err, "create")
		require.NotContains(t, err.Error(), "outcome unknown")
	}
	tx, in := beginOn(t, db, patient)
	quick := *opts
	quick.Timeout = 20 * time.Millisecond
	busy, err := newStoreAs(db, tokenauth.PostgreSQL, &quick)
	require.NoError(t, err)
	revoke(busy)
	require.NoError(t, tx.Commit())
	revoke(in)

	other := open(t, "pgxstore", dsn)
	closed, err := newStoreAs(other, tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	poolOf(other).Close()
	revoke(closed)
	got, err := patient.Find(t.Context(), r.Digest)
	require.NoError(t, err)
	require.Zero(t, got.Token.RevokedAt)
}

// A pool of pgx can cancel a statement instead of closing the connection. If it cancels the wait
// for the synchronous standby, PostgreSQL reports success. The store must return an error, because
// the loss of the primary would undo the revocation.
func TestPgxstoreReportsCanceledWaitForStandby(t *testing.T) {
	primary := closing(t, startPostgres)
	config, err := pgxpool.ParseConfig(primary.DSN("postgres"))
	require.NoError(t, err)
	config.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: time.Minute}
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	patient, err := pgxstore.New(pool, &tokenauth.SQLOptions{Timeout: time.Minute})
	require.NoError(t, err)
	require.NoError(t, patient.CreateSchema(t.Context()))
	var many []tokenauth.Record
	for i := range 600 { // needs a transaction
		many = append(many, newRecord("anna", fmt.Sprint(i)))
	}
	require.NoError(t, patient.Create(t.Context(), many[0]))
	store, err := pgxstore.New(pool, &tokenauth.SQLOptions{Timeout: time.Second})
	require.NoError(t, err)
	require.NoError(t, primary.Set("synchronous_standby_names", "nobody"))
	requireUnknown(t, store.Revoke(t.Context(), "anna", many[0].Token.ID, many[0].Token.CreatedAt, ""))
	requireUnknown(t, store.Create(t.Context(), many[1:]...))
	require.NoError(t, primary.Set("synchronous_standby_names", ""))
}

// docs: pgxstore

func openTokens(ctx context.Context, pool *pgxpool.Pool) (*pgxstore.Store, *tokenauth.Manager, error) {
	store, err := pgxstore.New(pool, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := store.CreateSchema(ctx); err != nil { // creates the table, or adds missing columns and indexes
		return nil, nil, err
	}
	tokens, err := tokenauth.New(store, "acme", nil)
	return store, tokens, err
}

// docs: end

func addDevice(ctx context.Context, pool *pgxpool.Pool, store *pgxstore.Store, tokens *tokenauth.Manager, spec tokenauth.Spec, model string) (key tokenauth.Key, err error) {
	// docs: a transaction of pgx
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var token tokenauth.Token
		key, token, err = tokens.WithStore(store.With(tx), nil).Issue(ctx, spec)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO devices (token_id, model) VALUES ($1, $2)", token.ID, model)
		return err
	})
	// docs: end
	return key, err
}

// The code of docs/databases/postgresql.md must issue a token together with a row of the service,
// and must leave neither of them after an error.
func TestPgxstoreOfPageIssuesInTransaction(t *testing.T) {
	t.Parallel()
	server, database := servers.Started(t, postgres), fmt.Sprint("own", tables.Add(1))
	require.NoError(t, server.CreateDatabase(database))
	ctx := t.Context()
	pool := poolOf(open(t, "pgxstore", server.DSN(database)))
	store, tokens, err := openTokens(ctx, pool)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, "CREATE TABLE devices (token_id TEXT NOT NULL, model TEXT NOT NULL UNIQUE)")
	require.NoError(t, err)
	add := func(name, model string) (string, error) {
		key, err := addDevice(ctx, pool, store, tokens, tokenauth.Spec{UserID: "anna", Name: name}, model)
		if key.Reveal() == "" {
			return "", err
		}
		return revealed(key), err
	}
	key, err := add("laptop", "T14")
	require.NoError(t, err)
	_, err = tokens.Authenticate(ctx, key)
	require.NoError(t, err)
	_, err = add("laptop", "T15")
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	key, err = add("phone", "T14")
	require.Error(t, err, "the table has this model")
	_, err = tokens.Authenticate(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey, "the rollback must remove the token")
	var devices int
	require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM devices").Scan(&devices))
	require.Equal(t, 1, devices)
}

// A hook of the pool may fail, for example with an error of a foreign key. The error is not about
// the statement of the store, so the client must get 503 and not 400.
func TestPgxstoreHookErrorReturns503(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(servers.Started(t, postgres).DSN("postgres"))
	require.NoError(t, err)
	var failure error
	config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return true, failure }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	store, err := pgxstore.New(pool, newTable())
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(t.Context()))
	for _, code := range []string{"23503", "23505", "40001"} {
		failure = &pgconn.PgError{Code: code}
		err := store.Create(t.Context(), newRecord("anna", "laptop"))
		requireUnavailable(t, err, code)
		require.ErrorIs(t, err, failure)
		require.NotContains(t, err.Error(), "unique key")
	}
	failure = nil
	require.NoError(t, store.Create(t.Context(), newRecord("anna", "laptop")))
}

// If a tracer of pgx panics during a call, the connection of the call must return to the pool.
// Otherwise, Close of the pool waits forever.
func TestPgxstoreReleasesConnectionAfterPanic(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(servers.Started(t, postgres).DSN("postgres"))
	require.NoError(t, err)
	config.ConnConfig.Tracer = panicTracer{}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	store, err := pgxstore.New(pool, newTable())
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = store.Find(t.Context(), tokenauth.DigestOf("key")) })
	require.Zero(t, pool.Stat().AcquiredConns())
	pool.Close()
}

type panicTracer struct{}

func (panicTracer) TraceQueryStart(context.Context, *pgx.Conn, pgx.TraceQueryStartData) context.Context {
	panic("tracer")
}

func (panicTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
