package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// testLoad prepares a test that opens many connections or occupies a processor. A long run starts
// these tests one after the other, because a process has a limited number of file descriptors.
func testLoad(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("opens many connections or hashes many passwords")
	}
	if !load.Long() {
		t.Parallel()
	}
}

// shortTimeout replaces a timeout of the program, so that tests do not wait for long.
const shortTimeout = 500 * time.Millisecond

// A countedListener counts the bytes that the server reads from all its connections.
type countedListener struct {
	net.Listener
	read atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, &l.read}, err
}

type countedConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// startServer starts a server with the limits of the program, which the function change may modify.
// It also returns the number of calls of the handler.
func startServer(t *testing.T, change func(*http.Server)) (ln *countedListener, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	return startHandler(t, handler, change), calls
}

// startHandler is like startServer, but serves the given handler.
func startHandler(t *testing.T, handler http.Handler, change func(*http.Server)) (ln *countedListener) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln = &countedListener{Listener: inner}
	logger := slog.New(slog.NewTextHandler(&leak.Default, nil))
	server := newServer(handler, logger)
	change(server)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, server, logger) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return ln
}

// connections returns the number of concurrent clients that misbehave. In a long run, it is 10,000,
// or fewer if the process may not open that many files.
func connections(t *testing.T) int {
	t.Helper()
	if !load.Long() {
		return 50
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	return min(10_000, int(files.Cur)/2-100)
}

// sendAll sends a bad request on many concurrent connections. It returns the number of responses by
// status line. The server must close each connection.
func sendAll(t *testing.T, addr string, request io.WriterTo) (responses map[string]int) {
	t.Helper()
	responses = map[string]int{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	for range connections(t) {
		clients.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // 10,000 connections may take minutes
			written := make(chan struct{})
			go func() { defer close(written); _, _ = request.WriteTo(conn) }() // returns when the server closes the connection
			response, err := io.ReadAll(conn)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Error("the server must close the connection")
			}
			_ = conn.Close()
			<-written
			line, _, _ := strings.Cut(string(response), "\r\n")
			mu.Lock()
			defer mu.Unlock()
			responses[line]++
		})
	}
	clients.Wait()
	return responses
}

// A text is the text of a request.
type text string

func (s text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

// A client that sends endless headers must use at most MaxHeaderBytes of memory per connection. Its
// request must not reach the handler.
// Case Q5.
func TestLoadBigHeadersAreRefused(t *testing.T) {
	testLoad(t)
	ln, calls := startServer(t, func(*http.Server) {})
	const buffers = 4<<10 + 4<<10 // net/http reads up to 4 KiB beyond the limit, and buffers another 4 KiB
	big := text("GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 1<<20) + "\r\n\r\n")
	n := connections(t)
	responses := sendAll(t, ln.Addr().String(), big)
	const refusal = "HTTP/1.1 431 Request Header Fields Too Large"
	require.Positive(t, responses[refusal])
	// The status line is empty if the connection was reset before the client read the response.
	require.Equal(t, n, responses[refusal]+responses[""], "%v", responses)
	require.Zero(t, calls.Load())
	require.LessOrEqual(t, ln.read.Load(), int64(n*(16<<10+buffers)), "number of bytes that the server reads")

	small := text("GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat("a", 15<<10) + "\r\n\r\n")
	require.Equal(t, map[string]int{"HTTP/1.1 200 OK": n}, sendAll(t, ln.Addr().String(), small))
}

// A client that never completes its headers must lose its connection. It must not delay other
// clients.
// Case Q5.
func TestLoadSlowHeadersReleaseConnections(t *testing.T) {
	testLoad(t)
	limits := newServer(nil, slog.New(slog.DiscardHandler))
	for name, limit := range map[string]time.Duration{
		"ReadHeaderTimeout": limits.ReadHeaderTimeout, "ReadTimeout": limits.ReadTimeout,
		"WriteTimeout": limits.WriteTimeout, "IdleTimeout": limits.IdleTimeout,
	} {
		require.True(t, 0 < limit && limit <= time.Minute, "%s: %v", name, limit)
	}
	require.Equal(t, 16<<10, limits.MaxHeaderBytes)

	timeout := shortTimeout
	if load.Long() {
		timeout *= 4 // 10,000 clients delay the client with complete headers
	}
	ln, calls := startServer(t, func(s *http.Server) { s.ReadHeaderTimeout = timeout })
	answered := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + ln.Addr().String())
		for attempt := 1; err != nil && attempt < 5; attempt++ { // a busy machine may exceed the timeout
			response, err = http.Get("http://" + ln.Addr().String())
		}
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", response.Status)
		}
		answered <- err
		if response != nil {
			_ = response.Body.Close()
		}
	}()
	sendAll(t, ln.Addr().String(), text("GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bear"))
	require.NoError(t, <-answered)
	require.EqualValues(t, 1, calls.Load(), "only the client with complete headers may reach the handler")
}

// A client that never completes its body must lose its connection, and the handler must return. The
// test is about the timeout of the program, which is longer than the timeout of the library's
// handlers.
// Case A6.
func TestSlowBodyReleasesConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	t.Parallel()
	path := sqlite.File(t)
	user := addUser(t, path, demoName, false)
	key, _ := issue(t, path, tokenauth.Spec{UserID: user.tokenID(), Name: "slow", Scopes: []string{scopeWrite}})
	beside(t, path, func(s service) {
		ln := startHandler(t, must.Get(s.newHandler()), func(s *http.Server) { s.ReadTimeout = shortTimeout })
		conn, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "POST /notes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key+"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"text\":\"milk")
		require.NoError(t, err)
		response, err := io.ReadAll(conn)
		require.NoError(t, err, "the server must close the connection")
		require.Contains(t, string(response), "400 Bad Request")
	})
}

// The hash of a password takes a processor for a tenth of a second. Many concurrent logins must not
// delay the requests of other users.
// Case L8.
func TestLoadPasswordsLeaveOtherRoutesFast(t *testing.T) {
	testLoad(t)
	path := sqlite.File(t)
	const logins = 12
	n := fullIterations
	if !load.Long() {
		n /= 4 // with the race detector, a hash takes about seven times as long
	}
	beside(t, path, func(s service) {
		slow := encodePassword(n, make([]byte, saltSize), make([]byte, sha256.Size))
		for i := range logins {
			_, err := s.users.save(t.Context(), fmt.Sprint("user", i), slow, false)
			require.NoError(t, err)
		}
	})
	p := start(t, path)
	ctx, disconnect := context.WithCancel(t.Context())
	statuses := make(chan int, logins)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer disconnect() // the test needs no more responses
	for i := range logins {
		clients.Go(func() {
			form := url.Values{"username": {fmt.Sprint("user", i)}, "password": {"guess"}}
			r, err := http.NewRequestWithContext(ctx, "POST", p.URL+"/api/login", strings.NewReader(form.Encode()))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			_ = response.Body.Close()
			statuses <- response.StatusCode
		})
	}
	require.Equal(t, http.StatusBadRequest, <-statuses, "the other logins have arrived by now")
	for i := range 5 {
		require.Equal(t, http.StatusOK, p.do(t, "GET", "/notes", p.Key, "").StatusCode)
		if i == 0 { // in a short run, the logins may end before the other requests
			require.Less(t, len(statuses), logins-1, "a login must still be running or waiting")
		}
	}
	if load.Long() {
		require.Less(t, len(statuses), logins/2, "most logins must still be running or waiting")
	}
}
