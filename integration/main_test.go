// Package integration tests the library on real servers: with each engine, driver and pooler, and
// while servers fail.
package integration

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(servers.Main{Tests: m}) }

// revealed returns a key, and registers the key with package leak, which searches all output for
// it.
func revealed(k tokenauth.Key) string {
	leak.Default.Secret(k.Reveal())
	return k.Reveal()
}

// long reports whether TOKENAUTH_LONG is set.
func long() bool { return os.Getenv("TOKENAUTH_LONG") != "" }

// shortOrLong returns inLong in a long run, and short otherwise.
func shortOrLong[T any](short, inLong T) T {
	if long() {
		return inLong
	}
	return short
}

// Tests share these servers. A test that breaks a server starts its own.
var (
	postgres = sync.OnceValues(func() (*servers.PostgresServer, error) {
		// These tests do not crash the server, so commits need not wait for the disk. Each parallel test
		// has its own connection pool, so the limit of connections is high.
		return servers.Postgres("fsync=off", "max_connections=1000")
	})
	// twoHosts returns a DSN with a primary and a synchronous standby. With remote_apply, the standby
	// shows a change when the change has succeeded.
	twoHosts = sync.OnceValues(func() (string, error) {
		primary, err := servers.Postgres("fsync=off", "max_connections=100",
			"synchronous_standby_names='*'", "synchronous_commit=remote_apply")
		if err != nil {
			return "", err
		}
		standby, err := primary.Replica()
		if err != nil {
			return "", err
		}
		const format = "postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write"
		return fmt.Sprintf(format, standby.Addr(), primary.Addr()), nil
	})
	pgBouncer = sync.OnceValues(func() (*servers.PgBouncerServer, error) {
		pg, err := postgres()
		if err != nil {
			return nil, err
		}
		return servers.PgBouncer(pg)
	})
	mariaDB = sync.OnceValues(func() (*servers.MariaDBServer, error) {
		m, err := servers.MariaDB("max_connections=1000", "innodb_flush_log_at_trx_commit=2")
		if err != nil {
			return nil, err
		}
		return m, m.CreateDatabase("t")
	})
	galera = sync.OnceValues(func() (*servers.GaleraCluster, error) {
		c, err := servers.Galera(5 * time.Second)
		if err != nil {
			return nil, err
		}
		return c, c.Nodes[0].CreateDatabase("t")
	})
	tiDB = sync.OnceValues(func() (*servers.TiDBServer, error) {
		s, err := servers.TiDB()
		if err != nil {
			return nil, err
		}
		return s, s.CreateDatabase("t")
	})
)

// closing is like servers.Started, but also closes the server at the end of the test.
func closing[S interface{ Close() error }](t testing.TB, start func() (S, error)) S {
	t.Helper()
	s := servers.Started(t, start)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// open opens a database with a pool of 32 connections. For the driver pgxstore, see openPool.
func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	if driver == "pgxstore" {
		return openPool(t, dsn)
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

var tables atomic.Int64

// newTable returns options with the name of a new table.
func newTable() *tokenauth.SQLOptions {
	// With the long timeout, a busy machine does not fail the test.
	return &tokenauth.SQLOptions{Table: fmt.Sprint("t", tables.Add(1)), Timeout: time.Minute}
}

// newStore creates a table and returns a store on it. The table is dropped at the end of the test.
// opts may be nil.
func newStore(t testing.TB, db *sql.DB, d tokenauth.Dialect, opts *tokenauth.SQLOptions) *tokenauth.SQLStore {
	t.Helper()
	if opts == nil {
		opts = newTable()
	}
	store, err := newStoreAs(db, d, opts)
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(t.Context()))
	require.NoError(t, store.CheckSchema(t.Context()))
	t.Cleanup(func() {
		_, _ = db.ExecContext(context.Background(), "DROP TABLE "+opts.Table)
		_ = store.Close()
	})
	return store
}

func sqliteFile(t testing.TB) string { return "file:" + filepath.Join(t.TempDir(), "tokens.db") }

const (
	modernc = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	mattn   = "?_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1&_txlock=immediate"
)
