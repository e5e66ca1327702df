package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// In these tests the response to a change is lost. The store must report that the outcome is
// unknown. If a client repeats the change, the store must make the change only once.

// An engine is a database that tests reach through one driver, with the statements that find and
// kill its connections.
type engine struct {
	name, driver string
	dialect      tokenauth.Dialect
	addr, dsn    string
	connections  string // query that returns all other connections to the database
	blocked      string // query that returns the connections whose statement waits for a lock
	kill         string // statement that kills a connection
	lock         string // query that locks a row of a table
}

// engines creates a database on each of the shared servers, and returns one engine for each driver.
func engines(t *testing.T) []engine {
	t.Helper()
	pg, m := servers.Started(t, postgres), servers.Started(t, mariaDB)
	database := fmt.Sprint("own", tables.Add(1))
	require.NoError(t, pg.CreateDatabase(database))
	require.NoError(t, m.CreateDatabase(database))
	const lock = "SELECT id FROM %s WHERE id = '%s' FOR UPDATE"
	onPG := "SELECT pid FROM pg_stat_activity WHERE datname = '" + database + "' AND pid <> pg_backend_pid()"
	onMariaDB := "SELECT id FROM information_schema.processlist WHERE db = '" + database + "' AND id <> connection_id()"
	pgx := engine{"pgx", "pgx", tokenauth.PostgreSQL, pg.Addr(), pg.DSN(database),
		onPG, onPG + " AND wait_event_type = 'Lock'", "SELECT pg_terminate_backend(%d)", lock}
	native := pgx
	native.name, native.driver = "pgxstore", "pgxstore"
	libPQ := pgx
	libPQ.name, libPQ.driver = "lib-pq", "postgres"
	maria := engine{"MariaDB", "mysql", tokenauth.MySQL, m.Addr(), m.DSN(database),
		onMariaDB, onMariaDB + " AND state IN ('Update', 'Updating')", "KILL %d", lock}
	interpolated := maria
	interpolated.name, interpolated.dsn = "MariaDB, interpolateParams", m.DSN(database, "interpolateParams=true")
	return []engine{pgx, libPQ, maria, interpolated, native}
}

// newRecord returns the record of a token.
func newRecord(userID, name string) tokenauth.Record {
	secret := rand.Text()
	leak.Default.Secret(secret)
	now := time.Now().UTC().Truncate(time.Microsecond)
	return tokenauth.Record{
		Token:  tokenauth.Token{ID: rand.Text(), UserID: userID, Name: name, Generation: 1, CreatedAt: now},
		Digest: tokenauth.DigestOf(secret),
	}
}

// requireUnknown requires an error that reports an unknown outcome.
func requireUnknown(t *testing.T, err error) {
	t.Helper()
	requireUnavailable(t, err, "change")
	require.ErrorContains(t, err, "outcome unknown")
}

// A cutter is a proxy between a store and its database. It can lose a response.
type cutter struct {
	listener net.Listener
	server   string

	mu       sync.Mutex
	executed func() bool // reports whether to lose the next response; nil to lose none
	down     bool        // whether the cutter accepts no connection
	goesDown bool        // whether to set down when a response is lost
	conns    []net.Conn
}

func startCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{listener: l, server: server}
	var running sync.WaitGroup
	running.Go(func() { c.serve(&running) })
	t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		c.cut()
		c.mu.Unlock()
		running.Wait()
	})
	return c
}

func (c *cutter) serve(running *sync.WaitGroup) {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, client, server)
		if c.down {
			c.cut()
		}
		c.mu.Unlock()
		running.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		running.Go(func() {
			c.respond(client, server)
			_ = client.Close()
			_ = server.Close()
		})
	}
}

// respond forwards the responses of the server until one of them must be lost.
func (c *cutter) respond(client, server net.Conn) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil || c.loses() {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// loses reports whether the current response must be lost.
func (c *cutter) loses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.executed == nil || !c.executed() {
		return false
	}
	c.executed = nil
	if c.down = c.goesDown; c.down {
		c.cut()
	}
	return true
}

// cut closes all connections.
func (c *cutter) cut() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// lose makes the cutter lose the first response that arrives when executed returns true, which
// means that the database has made the change. If goesDown is true, the cutter then accepts no
// other connection.
func (c *cutter) lose(goesDown bool, executed func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.executed, c.goesDown = executed, goesDown
}

// requireLost requires that a response was lost, and accepts connections again.
func (c *cutter) requireLost(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Nil(t, c.executed, "a response must have been lost")
	c.down = false
}

// A lostChange is a change whose response is lost.
type lostChange struct {
	name   string
	before bool // whether the record must exist before the change
	do     func(ctx context.Context, s *tokenauth.SQLStore, r tokenauth.Record) error
	done   func(r tokenauth.Record) bool
}

var lostChanges = []lostChange{
	{"create", false, func(ctx context.Context, s *tokenauth.SQLStore, r tokenauth.Record) error {
		return s.Create(ctx, r)
	}, func(r tokenauth.Record) bool { return r.Token.Generation == 1 }},
	{"update", true, func(ctx context.Context, s *tokenauth.SQLStore, r tokenauth.Record) error {
		name := "new name"
		return s.Update(ctx, r.Token.UserID, r.Token.ID, tokenauth.Patch{Name: &name}, r.Token.CreatedAt)
	}, func(r tokenauth.Record) bool { return r.Token.Name == "new name" }},
	{"rotate", true, func(ctx context.Context, s *tokenauth.SQLStore, r tokenauth.Record) error {
		return s.Rotate(ctx, r.Token.UserID, r.Token.ID, tokenauth.Rotation{
			Replaces: 1, Digest: tokenauth.DigestOf("after " + r.Token.ID), Hint: "abcd", GraceUntil: r.Token.CreatedAt.Add(time.Hour),
		}, r.Token.CreatedAt)
	}, func(r tokenauth.Record) bool {
		return r.Token.Generation == 2 && r.Digest == tokenauth.DigestOf("after "+r.Token.ID)
	}},
	{"revoke", true, func(ctx context.Context, s *tokenauth.SQLStore, r tokenauth.Record) error {
		return s.Revoke(ctx, r.Token.UserID, r.Token.ID, time.Now(), "")
	}, func(r tokenauth.Record) bool { return !r.Token.RevokedAt.IsZero() }},
}

// test loses the response, and then repeats the change.
func (c lostChange) test(t *testing.T, p *cutter, direct, through *tokenauth.SQLStore, goesDown bool) {
	r := newRecord(rand.Text(), "laptop")
	ctx := t.Context()
	rows := func() []tokenauth.Record {
		all, err := direct.List(context.Background(), tokenauth.Query{UserID: r.Token.UserID, IncludeRevoked: true})
		require.NoError(t, err)
		return all
	}
	if c.before {
		require.NoError(t, direct.Create(ctx, r))
	}
	p.lose(goesDown, func() bool {
		all := rows()
		return len(all) > 0 && c.done(all[0])
	})
	err := c.do(ctx, through, r)
	p.requireLost(t)
	if goesDown || err != nil {
		requireUnknown(t, err)
	} // without an error, the store has read the table again
	t.Logf("lost response, goes down: %v: %v", goesDown, err)
	once := rows()
	require.Len(t, once, 1)
	require.NoError(t, c.do(ctx, through, r), "the repeated change must succeed")
	require.Equal(t, once, rows(), "the repeated change must change nothing")
}

// testLostIssue loses the response to Issue, and then repeats Issue with a new key.
func testLostIssue(t *testing.T, p *cutter, direct, through *tokenauth.SQLStore, goesDown bool) {
	spec := tokenauth.Spec{UserID: rand.Text(), Name: "laptop"}
	rows := func() []tokenauth.Record {
		all, err := direct.List(context.Background(), tokenauth.Query{UserID: spec.UserID, IncludeRevoked: true})
		require.NoError(t, err)
		return all
	}
	m := must.Get(tokenauth.New(through, "acme", nil))
	p.lose(goesDown, func() bool { return len(rows()) > 0 })
	key, _, err := m.Issue(t.Context(), spec)
	p.requireLost(t)
	if goesDown || err != nil {
		requireUnknown(t, err)
	} else {
		_, err = m.Authenticate(t.Context(), revealed(key))
		require.NoError(t, err)
	}
	_, _, err = m.Issue(t.Context(), spec)
	require.ErrorIs(t, err, tokenauth.ErrNameTaken, "the first call must have issued the token")
	require.Len(t, rows(), 1, "the second call must issue no token")
}

// A connection breaks after the commit and before the response. The store must either report that
// the outcome is unknown, or find that the change was made. A repeated call must not create a
// second token.
// Case F8.
func TestLostResponseCreatesNoSecondToken(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			p := startCutter(t, e.addr)
			opts := newTable()
			direct := newStore(t, open(t, e.driver, e.dsn), e.dialect, opts)
			dsn := strings.Replace(e.dsn, e.addr, p.listener.Addr().String(), 1)
			through, err := newStoreAs(open(t, e.driver, dsn), e.dialect, opts)
			require.NoError(t, err)
			for _, goesDown := range []bool{false, true} {
				for _, c := range lostChanges {
					t.Run(fmt.Sprintf("%s, down %v", c.name, goesDown), func(t *testing.T) {
						c.test(t, p, direct, through, goesDown)
					})
				}
				t.Run(fmt.Sprintf("issue, down %v", goesDown), func(t *testing.T) {
					testLostIssue(t, p, direct, through, goesDown)
				})
			}
		})
	}
}

// killed waits until the query returns n connections, and kills these connections. It returns when
// they no longer exist.
func (e engine) killed(t *testing.T, db *sql.DB, query string, n int) {
	t.Helper()
	numbers := func(query string) (all []int64) {
		rows, err := db.QueryContext(t.Context(), query)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			all = append(all, 0)
			require.NoError(t, rows.Scan(&all[len(all)-1]))
		}
		require.NoError(t, rows.Err())
		return all
	}
	var ids []int64
	fixture.Await(t, fmt.Sprint(n, " connections: ", query), func() bool {
		ids = numbers(query)
		return len(ids) == n
	})
	for _, id := range ids {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(e.kill, id))
		require.NoError(t, err)
	}
	fixture.Await(t, "the killed connections no longer exist", func() bool {
		return !slices.ContainsFunc(numbers(e.connections), func(id int64) bool { return slices.Contains(ids, id) })
	})
}

// The server kills a connection whose statement waits for a lock. No change may be made in part,
// and the client must be able to repeat the change.
// Case F7.
func TestConnectionLossLeavesChangeWhole(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			opts := newTable()
			other := open(t, e.driver, e.dsn)
			store := newStore(t, open(t, e.driver, e.dsn), e.dialect, opts)
			first, second := newRecord("anna", "laptop"), newRecord("anna", "phone")
			first.Token.CreatedAt = first.Token.CreatedAt.Add(-2 * time.Second) // for the order of List
			second.Token.CreatedAt = first.Token.CreatedAt.Add(time.Second)
			rotation := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf(rand.Text()), Hint: "abcd", GraceUntil: time.Now()}
			require.NoError(t, store.Create(t.Context(), first))
			require.NoError(t, store.Create(t.Context(), newRecord("anna", "warm up"))) // leaves an idle connection in the pool
			kill := func(what string, lock func(*sql.Tx) error, change func() error) {
				tx, err := other.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, lock(tx))
				result := make(chan error)
				go func() { result <- change() }()
				e.killed(t, other, e.blocked, 1)
				require.NoError(t, tx.Rollback())
				err = <-result
				t.Logf("killed mid query, %s, %s: %v", e.name, what, err)
				if err != nil || e.driver != "postgres" { // with lib/pq, database/sql may repeat the statement
					requireUnknown(t, err)
				}
				require.NoError(t, change(), "the client must be able to repeat the change")
				require.NoError(t, change(), "the client must be able to repeat the change twice")
			}
			kill("create", func(tx *sql.Tx) error {
				return store.With(tx).Create(t.Context(), newRecord("anna", "phone")) // locks the name
			}, func() error { return store.Create(t.Context(), second) })
			kill("rotate", func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), fmt.Sprintf(e.lock, opts.Table, first.Token.ID))
				return err
			}, func() error {
				return store.Rotate(t.Context(), "anna", first.Token.ID, rotation, time.Now())
			})
			all, err := store.List(t.Context(), tokenauth.Query{UserID: "anna"})
			require.NoError(t, err)
			require.Len(t, all, 3)
			require.Equal(t, first.Token.ID, all[0].Token.ID)
			require.Equal(t, 2, all[0].Token.Generation, "the store must rotate the token once")
			require.Equal(t, second.Token.ID, all[1].Token.ID)
		})
	}
}
