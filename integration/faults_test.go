package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// In these tests a server or a pooler stops or hangs. Each request must get 503 before its
// deadline, and the service must recover by itself.

// startPostgres starts a server whose commits do not wait for the disk, because a slow disk would
// look like an outage. A killed server loses nothing, because Linux keeps what it has written.
func startPostgres() (*servers.PostgresServer, error) { return servers.Postgres("fsync=off") }

// statusOf sends a request with a key to a service on a store, and returns its status.
func statusOf(store tokenauth.Store, key string) int {
	m := must.Get(tokenauth.New(store, "acme", nil))
	service := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, answer := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	r.Header.Set("Authorization", "Bearer "+key)
	service.ServeHTTP(answer, r)
	return answer.Code
}

func anyUser(_ context.Context, id string) (string, error) { return id, nil }

// issued issues a token, and returns the key and the token.
func issued(t *testing.T, store tokenauth.Store, name string) (string, tokenauth.Token) {
	t.Helper()
	key, token, err := must.Get(tokenauth.New(store, "acme", nil)).Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: name})
	require.NoError(t, err)
	return revealed(key), token
}

// requireUnavailable requires an error after which a service responds 503.
func requireUnavailable(t *testing.T, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), "%s: %v", what, err)
	_, _ = fmt.Fprint(&leak.Default, err)
}

// An outage is a failure of a server under load.
type outage struct {
	name       string
	driver     string
	dsn        string
	begin, end func() error
	length     time.Duration
}

// test requires that a load over PostgreSQL survives the outage.
func (o outage) test(t *testing.T) {
	t.Helper()
	opts := newTable()
	opts.Timeout = 0 // the default
	db := open(t, o.driver, o.dsn)
	store := newCalmStore(newStore(t, db, tokenauth.PostgreSQL, opts))
	l := startLoad(t, 32, 16, store)
	l.stockUp(t, 200)
	elapse(t, time.Second)
	refused, failed := l.refused.Load(), store.failures.Load()
	require.NoError(t, o.begin())
	t.Cleanup(func() { _ = o.end() }) // other cleanup functions need the server, even if the test fails here
	elapse(t, o.length)
	require.Greater(t, l.refused.Load(), refused, "requests must get 503 during the outage")
	require.Greater(t, store.failures.Load(), failed, "changes must fail during the outage")
	require.NoError(t, o.end())
	back := l.recovers(t, store, time.Now())
	r := l.finish(t, opts.Table, db)
	r.requireSound(t)
	const format = "%s for %v: %d requests, %d of them 503, slowest %.1f s; %d changes, %d of them failed; " +
		"last 503 %.1f s after the outage"
	t.Logf(format,
		o.name, o.length, r.requests, r.refused, r.slowest.Seconds(), r.changes, r.failed, back.Seconds())
	require.Less(t, back, recovery, "the service must recover by itself")
	require.Less(t, r.slowest, storeTimeout+slack, "a response must come soon after the timeout of the store")
}

// While a database restarts, requests must get 503 and no other error. The service must recover by
// itself.
// Case F2.
func TestPostgresStoppedReturns503(t *testing.T) {
	leak.NothingLeft(t)
	pg := closing(t, startPostgres)
	for _, driver := range nativeOrNot {
		t.Run(driver, func(t *testing.T) {
			outage{"PostgreSQL stopped", driver, pg.DSN("postgres"), pg.Stop, pg.Start, shortOrLong(3*time.Second, 20*time.Second)}.test(t)
		})
	}
}

// nativeOrNot are the drivers with which the outages of PostgreSQL are tested.
var nativeOrNot = []string{"pgx", "pgxstore"}

// A server that hangs keeps its connections open. No client may wait longer than the timeout of the
// store.
// Case F3.
func TestPostgresFrozenReturns503InTime(t *testing.T) {
	leak.NothingLeft(t)
	pg := closing(t, startPostgres)
	for _, driver := range nativeOrNot {
		t.Run(driver, func(t *testing.T) {
			outage{"PostgreSQL frozen", driver, pg.DSN("postgres"), pg.Freeze, pg.Thaw, 3 * time.Second}.test(t)
		})
	}
}

// A failover or a firewall kills idle connections. Each dead connection may cause one 503. No valid
// key may get 401.
// Case F7.
func TestPoolReplacesDeadConnections(t *testing.T) {
	const conns = 8
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			db, other := open(t, e.driver, e.dsn), open(t, e.driver, e.dsn)
			store := newStore(t, db, e.dialect, nil)
			r := newRecord("anna", "laptop")
			require.NoError(t, store.Create(t.Context(), r))
			for range 2 { // opens all connections of the pool and uses each of them once more
				var held [conns]*sql.Conn
				for i := range held {
					conn, err := db.Conn(t.Context())
					require.NoError(t, err)
					held[i] = conn
				}
				for _, conn := range held {
					require.NoError(t, conn.Close())
				}
			}
			e.killed(t, other, e.connections, conns)
			failed := 0
			for range 2 * conns {
				if _, err := store.Find(t.Context(), r.Digest); err != nil {
					requireUnavailable(t, err, "find")
					failed++
				}
			}
			t.Logf("killed idle connections, %s: %d of %d caused an error", e.name, failed, conns)
			require.LessOrEqual(t, failed, conns)
			_, err := store.Find(t.Context(), r.Digest)
			require.NoError(t, err)
		})
	}
}

// blackHole returns the address of a server that accepts connections and never sends anything.
func blackHole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var accepted sync.WaitGroup
	accepted.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // returns when the client closes the connection
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepted.Wait()
	})
	return l.Addr().String()
}

// A server that accepts connections and never responds must not hang the service. Each call must
// end at its timeout.
// Case F3.
func TestSilentServerReturns503InTime(t *testing.T) {
	hole := blackHole(t)
	key, _ := issued(t, tokenauth.NewMemoryStore(), "laptop")
	pgDSN := "postgres://postgres@" + hole + "/postgres?sslmode=disable"
	libPQ, err := pq.NewConnector(pgDSN)
	require.NoError(t, err)
	libPQ.Dialer(deadlineDialer{})
	libPQDB := sql.OpenDB(libPQ)
	defer libPQDB.Close()
	for name, s := range map[string]struct {
		db      *sql.DB
		dialect tokenauth.Dialect
	}{
		"pgx":                         {open(t, "pgx", pgDSN), tokenauth.PostgreSQL},
		"pgxstore":                    {open(t, "pgxstore", pgDSN), tokenauth.PostgreSQL},
		"go-sql-driver/mysql":         {open(t, "mysql", "root@tcp("+hole+")/t"), tokenauth.MySQL},
		"lib/pq, reads with deadline": {libPQDB, tokenauth.PostgreSQL},
	} {
		const timeout = 300 * time.Millisecond
		store, err := newStoreAs(s.db, s.dialect, &tokenauth.SQLOptions{Timeout: timeout})
		require.NoError(t, err)
		began := time.Now()
		_, err = store.Find(t.Context(), tokenauth.DigestOf(key))
		took := time.Since(began)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		requireUnavailable(t, err, name)
		require.Less(t, took, timeout+slack, name)
		t.Logf("black hole, %s, timeout %v: %v", name, timeout, took.Round(time.Millisecond))
		began = time.Now()
		require.Equal(t, http.StatusServiceUnavailable, statusOf(store, key), name)
		require.Less(t, time.Since(began), timeout+slack, name)
	}
}

// A deadlineDialer opens connections that set a deadline for each read. lib/pq itself ignores the
// deadline of a call while the server does not respond.
type deadlineDialer struct{ net.Dialer }

// DialTimeout implements pq.Dialer.
func (d deadlineDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.Timeout = timeout
	return d.Dial(network, address)
}

// Dial implements pq.Dialer.
func (d deadlineDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.Dialer.Dial(network, address)
	return deadlineConn{conn}, err
}

type deadlineConn struct{ net.Conn }

func (c deadlineConn) Read(into []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	return c.Conn.Read(into)
}

// sqlState returns the SQLSTATE of an error of PostgreSQL.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// If a client disconnects while the database is slow, the service must not record a wrong key. Its
// query must be canceled, unless other requests wait for the same result. The next client must get
// its own result.
// Case F4.
func TestCanceledRequestIsNotWrongKey(t *testing.T) {
	for _, e := range engines(t) {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cache %t", e.name, cached), func(t *testing.T) { e.disconnect(t, cached) })
		}
	}
}

func (e engine) disconnect(t *testing.T, cached bool) {
	locker := e.driver
	if locker == "pgxstore" {
		locker = "pgx" // pgxpool closes a connection that comes back with an open transaction
	}
	db, other := open(t, e.driver, e.dsn), open(t, locker, e.dsn)
	other.SetMaxOpenConns(1)
	opts := newTable()
	opts.Timeout = time.Minute
	var store tokenauth.Store = newStore(t, db, e.dialect, opts)
	key, _ := issued(t, store, "laptop")
	if cached {
		store = must.Get(storecache.New(store, nil))
	}
	var events atomic.Int64
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{OnEvent: func(context.Context, tokenauth.Event) { events.Add(1) }}))
	service := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	call := func(ctx context.Context) int {
		r, w := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+key)
		service.ServeHTTP(w, r)
		return w.Code
	}
	exec := func(statement string) {
		_, err := other.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	lock, unlock := "BEGIN; LOCK TABLE "+opts.Table, "ROLLBACK"
	waiting := "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '" + opts.Table + "'::regclass"
	if e.dialect == tokenauth.MySQL {
		lock, unlock = "LOCK TABLES "+opts.Table+" WRITE", "UNLOCK TABLES"
		waiting = "SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting%lock' AND info LIKE '%" + opts.Table + "%'"
	}
	watch := open(t, e.driver, e.dsn)

	exec(lock)
	ctx, disconnect := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- call(ctx) }()
	// If lib/pq cancels a query that the server has not begun, the server ignores the cancellation.
	fixture.Await(t, "the query waits for the lock", func() bool {
		var n int
		require.NoError(t, watch.QueryRowContext(t.Context(), waiting).Scan(&n))
		return n > 0
	})
	disconnect()
	require.Equal(t, http.StatusServiceUnavailable, <-code, "the call must return although the table is locked")
	require.Zero(t, events.Load())
	if !cached {
		fixture.Await(t, "the query is canceled", func() bool { return inUse(db) == 0 })
	}
	exec(unlock)
	require.Equal(t, http.StatusOK, call(t.Context()))
	require.Zero(t, events.Load())
}
