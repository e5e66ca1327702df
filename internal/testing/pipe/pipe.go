// Package pipe serves HTTP over connections in memory. Their deadlines follow the clock of a
// [testing/synctest] bubble, so that a test of slow clients takes no time.
package pipe

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Listener accepts connections in memory. It implements [net.Listener].
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

// NewListener returns an open Listener. The Listener belongs to the bubble of the caller.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// Connect returns the client's end of a new connection. If the Listener is closed, Connect returns
// [net.ErrClosed].
func (l *Listener) Connect() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// A Server is a running HTTP server without timeouts.
type Server struct{ listener *Listener }

// Serve starts a Server with the handler h. The server speaks HTTP/1.1 and, without TLS, HTTP/2. It
// stops when the test ends.
func Serve(t testing.TB, h http.Handler) *Server {
	s := &Server{NewListener()}
	server := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(s.listener) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return s
}

// Dial opens a connection to s. The test closes it when it ends.
func (s *Server) Dial(t testing.TB) *Conn {
	client, err := s.listener.Connect()
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return &Conn{Conn: client, in: bufio.NewReader(client)}
}

// HTTP2 returns a client that sends all requests over one HTTP/2 connection to s. If the server has
// closed the connection, requests fail.
func (s *Server) HTTP2(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return s.Dial(t), nil }
	conn, err := tr.NewClientConn(t.Context(), "http", "pipe:80")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &http.Client{Transport: conn}
}

// A Conn is the client's end of an HTTP/1.1 connection.
type Conn struct {
	net.Conn
	in *bufio.Reader
}

// Send sends text without a change. Send returns at once, because a server may respond before it
// reads the text. Only one Send may run at a time.
func (c *Conn) Send(text string) {
	go func() { _, _ = io.WriteString(c, text) }() // it fails if the server has closed the connection
}

// Receive reads a response and its body.
func (c *Conn) Receive(t testing.TB) (*http.Response, string) {
	t.Helper()
	w, err := http.ReadResponse(c.in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w, string(body)
}

// RequireClosed requires that the server has closed the connection, or closes it, and has sent
// nothing more.
func (c *Conn) RequireClosed(t testing.TB) {
	t.Helper()
	_, err := c.in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "the server must close the connection")
}
