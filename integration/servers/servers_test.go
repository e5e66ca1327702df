package servers_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) {
	if os.Getenv(abandon) != "" {
		startAndAbandon()
	}
	leak.Main(servers.Main{Tests: m})
}

// skipIfMissing skips a test if the package of the server is not installed. In CI, it fails the
// test instead.
func skipIfMissing(t *testing.T, err error) {
	t.Helper()
	switch {
	case !errors.Is(err, servers.ErrMissing):
	case os.Getenv("CI") == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// started returns a server that is closed at the end of the test.
func started[S io.Closer](t *testing.T, start func() (S, error)) S {
	t.Helper()
	begin := time.Now()
	s := servers.Started(t, start)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	t.Logf("%T: %v", s, time.Since(begin).Round(time.Millisecond))
	return s
}

func postgres() (*servers.PostgresServer, error) { return servers.Postgres() }

func mariaDB() (*servers.MariaDBServer, error) { return servers.MariaDB() }

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.NoError(t, err, statement)
}

// count returns the number of rows of the table "t".
func count(t *testing.T, db *sql.DB) int {
	t.Helper()
	n, err := countWithin(db, 30*time.Second)
	require.NoError(t, err)
	return n
}

func countWithin(db *sql.DB, timeout time.Duration) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n)
	return n, err
}

// testServer kills, stops and freezes a server with a row in the table "t".
func testServer(t *testing.T, s *servers.Server, db *sql.DB) {
	mustExec(t, db, "CREATE TABLE t (n int)")
	mustExec(t, db, "INSERT INTO t VALUES (1)")
	require.Equal(t, 1, count(t, db))

	for name, end := range map[string]func() error{"killed": s.Kill, "stopped": s.Stop} {
		require.NoError(t, end(), name)
		_, err := net.Dial("tcp", s.Addr())
		require.Error(t, err, name)
		require.NoError(t, s.Start(), name)
		db.SetMaxIdleConns(0) // closes the connections to the previous process
		require.Equal(t, 1, count(t, db), name)
	}
	require.Error(t, s.Start(), "Start must refuse a server that is already running")
	db.SetMaxIdleConns(1)
	require.Equal(t, 1, count(t, db))

	require.NoError(t, s.Freeze())
	_, err := countWithin(db, 300*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.Thaw())
	require.Equal(t, 1, count(t, db))

	require.NoError(t, s.Freeze())
	require.NoError(t, s.Kill(), "frozen")
	require.NoError(t, s.Start())
	require.NoError(t, s.Freeze())
	require.NoError(t, s.Stop(), "frozen")
}

// After a test has killed, stopped or frozen PostgreSQL, the server must still have its rows.
func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	pg := started(t, postgres)
	require.NoError(t, pg.CreateDatabase("app"))
	db := open(t, "pgx", pg.DSN("app", "application_name=test"))
	testServer(t, pg.Server, db)
}

// A setting of a PostgreSQL server must be in effect, and a malformed setting must cause an error.
func TestPostgresAppliesSettings(t *testing.T) {
	t.Parallel()
	pg := started(t, func() (*servers.PostgresServer, error) { return servers.Postgres("work_mem=5MB") })
	db := open(t, "pgx", pg.DSN("postgres"))
	show := func(setting string) (value string) {
		require.NoError(t, db.QueryRow("SHOW "+setting).Scan(&value))
		return value
	}
	require.Equal(t, "5MB", show("work_mem"))
	require.Equal(t, "on", show("fsync"))
	require.NoError(t, pg.Set("work_mem", "6MB"))
	require.Equal(t, "6MB", show("work_mem"))
	require.Error(t, pg.Set("work_mem", "it's wrong"))
}

// A replica must have all rows of its primary. It must refuse writes, and accept them after its
// promotion.
func TestReplicaFollowsPrimary(t *testing.T) {
	t.Parallel()
	pg := started(t, func() (*servers.PostgresServer, error) {
		return servers.Postgres("synchronous_commit=remote_apply", "max_connections=300")
	})
	replica := started(t, pg.Replica)
	require.NoError(t, pg.Set("synchronous_standby_names", "*"))
	primary := open(t, "pgx", pg.DSN("postgres"))
	mustExec(t, primary, "CREATE TABLE t (n int)")
	db := open(t, "pgx", replica.DSN("postgres"))
	for n := range 20 {
		mustExec(t, primary, "INSERT INTO t VALUES (1)")
		require.Equal(t, n+1, count(t, db))
	}

	_, err := db.Exec("INSERT INTO t VALUES (1)")
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "25006", refused.Code)

	require.NoError(t, replica.Kill())
	require.NoError(t, replica.Start())
	mustExec(t, primary, "INSERT INTO t VALUES (1)")
	db.SetMaxIdleConns(0)
	require.Equal(t, 21, count(t, db))

	require.NoError(t, pg.Kill())
	require.NoError(t, replica.Promote())
	mustExec(t, db, "INSERT INTO t VALUES (1)")
	require.Equal(t, 22, count(t, db))
}

// A test may kill, stop and freeze PgBouncer, even while its PostgreSQL server is down. Afterwards,
// PgBouncer must serve queries again.
func TestPgBouncerRestarts(t *testing.T) {
	t.Parallel()
	pg := started(t, postgres)
	bouncer := started(t, func() (*servers.PgBouncerServer, error) { return servers.PgBouncer(pg) })
	require.NoError(t, pg.CreateDatabase("app"))
	db := open(t, "pgx", bouncer.DSN("app", "default_query_exec_mode=exec"))
	testServer(t, bouncer.Server, db)

	require.NoError(t, bouncer.Start())
	require.NoError(t, pg.Kill())
	require.NoError(t, bouncer.Stop())
	require.NoError(t, bouncer.Start(), "PgBouncer must start while the PostgreSQL server is down")
	require.NoError(t, pg.Start())
	db.SetMaxIdleConns(0)
	require.Equal(t, 1, count(t, db))
}

// After a test has killed, stopped or frozen MariaDB, the server must still have its rows.
func TestMariaDBRestarts(t *testing.T) {
	t.Parallel()
	m := started(t, mariaDB)
	require.NoError(t, m.CreateDatabase("app"))
	testServer(t, m.Server, open(t, "mysql", m.DSN("app", "clientFoundRows=true")))
}

// A setting of a MariaDB server must be in effect.
func TestMariaDBAppliesSettings(t *testing.T) {
	t.Parallel()
	m := started(t, func() (*servers.MariaDBServer, error) { return servers.MariaDB("sql_mode=''") })
	var mode string
	require.NoError(t, open(t, "mysql", m.DSN("")).QueryRow("SELECT @@sql_mode").Scan(&mode))
	require.Empty(t, mode)
}

// A test may kill, stop and freeze Redis. Afterwards, the server must still have the values that it
// has acknowledged.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	s := started(t, func() (*servers.RedisServer, error) { return servers.Redis() })
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	for i, end := range []func() error{s.Kill, s.Stop} {
		require.NoError(t, client.Set(t.Context(), "n", i, 0).Err())
		require.NoError(t, end())
		require.Error(t, client.Get(t.Context(), "n").Err())
		require.NoError(t, s.Start())
		n, err := client.Get(t.Context(), "n").Int()
		require.NoError(t, err)
		require.Equal(t, i, n)
	}
	require.NoError(t, s.Freeze())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.Error(t, client.Get(ctx, "n").Err())
	require.NoError(t, s.Thaw())
	require.NoError(t, client.Get(t.Context(), "n").Err())
}

// A test may kill one node and then two. A node without a majority must not serve queries. After
// all nodes have restarted, each node must have the rows.
func TestGaleraNodesRestart(t *testing.T) {
	t.Parallel()
	c := started(t, func() (*servers.GaleraCluster, error) { return servers.Galera(time.Second) })
	require.NoError(t, c.Nodes[0].CreateDatabase("app"))
	var dbs [3]*sql.DB
	for i, node := range c.Nodes {
		dbs[i] = open(t, "mysql", node.DSN("app", "wsrep_sync_wait=1"))
		dbs[i].SetMaxIdleConns(0) // the pool must not keep connections to a killed process
	}
	mustExec(t, dbs[0], "CREATE TABLE t (n int PRIMARY KEY)")
	mustExec(t, dbs[0], "INSERT INTO t VALUES (1)")
	require.Equal(t, 1, count(t, dbs[2]))

	require.NoError(t, c.Nodes[1].Kill())
	mustExec(t, dbs[0], "INSERT INTO t VALUES (2)")
	require.Equal(t, 2, count(t, dbs[2]))
	begin := time.Now()
	require.NoError(t, c.Nodes[1].Start())
	t.Logf("back after %v", time.Since(begin).Round(time.Millisecond))
	require.Equal(t, 2, count(t, dbs[1]))

	require.NoError(t, c.Nodes[0].Kill())
	require.NoError(t, c.Nodes[1].Kill())
	_, err := countWithin(dbs[2], 10*time.Second)
	require.Error(t, err, "a node without a majority must serve no query")
	require.NoError(t, c.Bootstrap(c.Nodes[2]))
	mustExec(t, dbs[2], "INSERT INTO t VALUES (3)")
	begin = time.Now()
	require.NoError(t, c.Nodes[0].Start())
	require.NoError(t, c.Nodes[1].Start())
	t.Logf("both nodes were ready after %v", time.Since(begin).Round(time.Millisecond))
	require.Equal(t, 3, count(t, dbs[0]))
	require.Equal(t, 3, count(t, dbs[1]))
}
