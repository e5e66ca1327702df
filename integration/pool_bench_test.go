package integration

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// BenchmarkIdleConns measures the CPU time that a service and its database need per request. It
// compares a pool that keeps 2 idle connections with a pool that keeps 16. For each request, the
// service also reads the user through the same pool. A child process sends the requests. It has 8
// concurrent clients and the keys of 75,000 tokens. The metric opened/request is the number of
// connections that the pool opens per request.
//
// The clients use HTTP because a client that only calls Find never leaves its connection idle.
func BenchmarkIdleConns(b *testing.B) {
	for _, name := range []string{"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "MariaDB"} {
		for _, idle := range []int{2, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, idle), func(b *testing.B) { benchmarkIdleConns(b, setupNamed(b, name), idle) })
		}
	}
}

func benchmarkIdleConns(b *testing.B, s setup, idle int) {
	const batch = 1000 // requests per iteration
	db := s.open(b)[0]
	db.SetMaxIdleConns(idle)
	opts := newTable()
	store := newStore(b, db, s.dialect, opts)
	keys := createMany(b, store, 75_000)
	findUser := usersOf(b, db, s.dialect, opts.Table)
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: -1}))
	auth := must.Get(tokenauth.NewAuthenticator(m, findUser, nil))
	var served atomic.Int64
	batches := make(chan struct{}, 1)
	server := httptest.NewServer(auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1)%batch == 0 {
			select {
			case batches <- struct{}{}:
			default:
			}
		}
	})))
	defer server.Close()
	child := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestChildSendsRequests$", "-test.timeout=0")
	child.Env = append(os.Environ(), requestsAddr+"="+server.Listener.Addr().String())
	child.Stdin = strings.NewReader(strings.Join(keys, "\n"))
	require.NoError(b, child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()

	<-batches // after the first batch, all clients are connected
	cpu, closed, before := cpuTime(b, s.dialect), db.Stats().MaxIdleClosed, served.Load()
	for b.Loop() {
		<-batches
	}
	requests := float64(served.Load() - before)
	b.ReportMetric(0, "ns/op") // hides the duration of a batch, which depends on other processes
	b.ReportMetric(float64((cpuTime(b, s.dialect)-cpu).Nanoseconds())/1000/requests, "cpu-µs/request")
	b.ReportMetric(float64(db.Stats().MaxIdleClosed-closed)/requests, "opened/request")
}

// usersOf creates a table with the users of the tokens, and returns a function that finds a user.
func usersOf(b *testing.B, db *sql.DB, d tokenauth.Dialect, tokens string) func(context.Context, string) (string, error) {
	b.Helper()
	users := tokens + "_users"
	for _, statement := range []string{
		"CREATE TABLE " + users + " AS SELECT DISTINCT user_id AS id FROM " + tokens,
		"CREATE UNIQUE INDEX " + users + "_id ON " + users + " (id)",
	} {
		_, err := db.ExecContext(b.Context(), statement)
		require.NoError(b, err)
	}
	b.Cleanup(func() { _, _ = db.ExecContext(context.Background(), "DROP TABLE "+users) })
	query := "SELECT id FROM " + users + " WHERE id = ?"
	if d == tokenauth.PostgreSQL {
		query = "SELECT id FROM " + users + " WHERE id = $1"
	}
	return func(ctx context.Context, id string) (found string, err error) {
		return found, db.QueryRowContext(ctx, query, id).Scan(&found)
	}
}

const requestsAddr = "TOKENAUTH_TEST_REQUESTS_ADDR"

// TestChildSendsRequests runs in the process that sends the requests of BenchmarkIdleConns until
// the process is killed.
func TestChildSendsRequests(t *testing.T) {
	addr := os.Getenv(requestsAddr)
	if addr == "" {
		t.Skip("runs only as a child process of BenchmarkIdleConns")
	}
	text, err := io.ReadAll(os.Stdin)
	require.NoError(t, err)
	keys := strings.Split(string(text), "\n")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() { sendRequests(addr, keys) })
	}
	clients.Wait()
}

// sendRequests sends requests over one connection until the server closes the connection. It needs
// less CPU time than http.Client.
func sendRequests(addr string, keys []string) {
	conn := must.Get(net.Dial("tcp", addr))
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	for {
		key := keys[rand.N(len(keys))]
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+key+"\r\n\r\n")
		if err != nil {
			return
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return
		}
		if response.StatusCode != http.StatusOK {
			panic(response.Status)
		}
	}
}

// cpuTime returns the CPU time of this process and of the database server.
func cpuTime(t testing.TB, d tokenauth.Dialect) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	own := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	switch d {
	case tokenauth.PostgreSQL:
		return own + servers.Started(t, postgres).CPUTime()
	case tokenauth.MySQL:
		return own + servers.Started(t, mariaDB).CPUTime()
	}
	return own
}
