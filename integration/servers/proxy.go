package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
)

// A ProxyServer is an nginx or a Caddy.
type ProxyServer struct{ *Server }

// newProxy starts a reverse proxy with the given configuration. The reverse proxy runs as the user
// of its Debian package.
func newProxy(name, debianUser string, port int, config string, command ...string) (*ProxyServer, error) {
	s, err := newServer(name, debianUser, port, func(s *Server) error {
		s.command = command
		s.quit = syscall.SIGTERM
		s.ready = func(ctx context.Context) error { return speaksHTTP(ctx, s.Addr()) }
		if err := s.write("config", config); err != nil {
			return err
		}
		return s.Start()
	})
	if err != nil {
		return nil, err
	}
	return &ProxyServer{s}, nil
}

// Logs returns all that the server has written to its error log and its access log.
func (s *ProxyServer) Logs() (string, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "*log"))
	text := ""
	for _, file := range files {
		log, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		text += string(log)
	}
	return text, err
}

// speaksHTTP returns nil if an HTTP server responds. The request has no header Host, so the server
// refuses it and does not pass it on.
func speaksHTTP(ctx context.Context, addr string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		return fmt.Errorf("status of a request without Host: %s", response.Status)
	}
	return nil
}
