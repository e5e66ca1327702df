package recipes

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// serveLogged starts a server with an access log around handler. The server speaks HTTP/1.1 and
// HTTP/2. The function stop stops the server, and returns the only line of the log.
func serveLogged(t *testing.T, handler http.HandlerFunc) (server *httptest.Server, stop func() map[string]any) {
	t.Helper()
	s, ended := logged{lines: &bytes.Buffer{}}, make(chan struct{})
	log := AccessLog(slog.New(slog.NewJSONHandler(s.lines, nil)), handler)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		log.ServeHTTP(w, r)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server, func() map[string]any {
		<-ended
		server.Close()
		return s.line(t)
	}
}

// Uploads must not fill the disk: their files must be gone after the request.
func TestAccessLogLeavesNoUploadedFiles(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	var upload bytes.Buffer
	form := multipart.NewWriter(&upload)
	file, err := form.CreateFormFile("file", "large.bin")
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 11<<20))
	require.NoError(t, err)
	require.NoError(t, form.Close())

	for _, panics := range []bool{false, true} {
		files := make(chan int, 1)
		server, stop := serveLogged(t, func(_ http.ResponseWriter, r *http.Request) {
			err := r.ParseMultipartForm(0)
			entries, _ := os.ReadDir(folder)
			files <- len(entries)
			if panics || err != nil {
				panic(http.ErrAbortHandler)
			}
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(upload.Bytes()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", form.FormDataContentType())
		response, err := server.Client().Do(r)
		require.Equal(t, panics, err != nil, "%v", err)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
		stop()
		require.Equal(t, 1, <-files, "the handler must have a file")
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left, "panics: %v", panics)
	}
}

// Streams of gRPC and Connect must work inside AccessLog.
func TestAccessLogServesStreams(t *testing.T) {
	t.Parallel()
	const method = "/orders.v1.Orders/Watch"
	server, stop := serveLogged(t, grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		return s.SendMsg(&emptypb.Empty{})
	})).ServeHTTP)
	conn, err := grpc.NewClient(server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	require.NoError(t, conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}))
	require.NoError(t, conn.Close())
	require.Equal(t, 200.0, stop()["status"])

	server, stop = serveLogged(t, connect.NewServerStreamHandler(method,
		func(_ context.Context, _ *connect.Request[emptypb.Empty], s *connect.ServerStream[emptypb.Empty]) error {
			return s.Send(&emptypb.Empty{})
		}).ServeHTTP)
	client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+method)
	stream, err := client.CallServerStream(t.Context(), connect.NewRequest(&emptypb.Empty{}))
	require.NoError(t, err)
	require.True(t, stream.Receive(), "%v", stream.Err())
	require.False(t, stream.Receive())
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	require.Equal(t, 200.0, stop()["status"])
}

// A flush that the connection does not support must not seem to succeed.
func TestAccessLogReportsFailedFlush(t *testing.T) {
	t.Parallel()
	w := &statusWriter{ResponseWriter: struct{ http.ResponseWriter }{httptest.NewRecorder()}}
	require.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
}

// A handler must be able to take over the connection, for example for a WebSocket. The log must not
// have status 200, which nobody has sent.
func TestAccessLogLetsHandlerTakeOverConnection(t *testing.T) {
	t.Parallel()
	const accepted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"
	asInterface := func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
		return w.(http.Hijacker).Hijack()
	}
	byController := func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
		return http.NewResponseController(w).Hijack()
	}
	tests := []struct {
		name        string
		writeHeader bool
		hijack      func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error)
		status      float64
	}{
		{"the handler writes the response to the connection", false, asInterface, 0},
		{"http.ResponseController", false, byController, 0},
		{"the handler calls WriteHeader", true, asInterface, 101},
	}
	for _, tt := range tests {
		server, stop := serveLogged(t, func(w http.ResponseWriter, _ *http.Request) {
			if tt.writeHeader {
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "test")
				w.WriteHeader(http.StatusSwitchingProtocols)
			}
			conn, _, err := tt.hijack(w)
			if err != nil {
				panic(err)
			}
			if !tt.writeHeader {
				_, _ = io.WriteString(conn, accepted)
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		})
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		require.NoError(t, err)
		text, err := io.ReadAll(conn)
		require.NoError(t, err, tt.name)
		require.NoError(t, conn.Close())
		require.Regexp(t, `^HTTP/1.1 101 (.*\r\n)*\r\nhello$`, string(text), tt.name)
		require.Equal(t, tt.status, stop()["status"], tt.name)
	}
}

// HTTP/2 has no connections to take over. The log must then have the status that the handler sends.
func TestAccessLogHasStatusAfterFailedHijack(t *testing.T) {
	t.Parallel()
	server, stop := serveLogged(t, func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
			panic("HTTP/2 must not allow this")
		}
	})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	response, err := transport.RoundTrip(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, 200.0, stop()["status"])
}
