package servers

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireOtherPort listens on the port of the first start, and requires that the server starts on
// another port.
func requireOtherPort[S interface {
	Port() int
	Close() error
}](t *testing.T, start func(port int) (S, error)) {
	t.Helper()
	taken := 0
	s, err := onPorts(1, func(ports []int) (S, error) {
		if taken == 0 {
			taken = ports[0]
			l, err := net.Listen("tcp", address(taken))
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() }) // the second start must not get this port again
		}
		return start(ports[0])
	})
	require.NoError(t, err)
	require.NotEqual(t, taken, s.Port())
	require.NoError(t, s.Close())
}

// Another program may take the chosen port before the server does. The server must then start on
// another port.
func TestTakenPortIsReplaced(t *testing.T) {
	for _, program := range []string{"postgres", "pgbouncer", "mariadbd", "nginx", "caddy"} {
		if _, err := installed(program); err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
	}
	requireOtherPort(t, func(port int) (*PostgresServer, error) {
		// By default, PostgreSQL also listens on ::1 if localhost has this address, where the port is free.
		settings := []string{"listen_addresses='127.0.0.1'", "unix_socket_directories=''"}
		return newPostgres(port, settings, "initdb", "-D", "data", "-A", "trust", "-U", "postgres")
	})
	requireOtherPort(t, func(port int) (*MariaDBServer, error) { return startMariaDB(port, nil) })
	requireOtherPort(t, func(port int) (*PgBouncerServer, error) {
		return newPgBouncer(port, &PostgresServer{&Server{port: 1}})
	})
	requireOtherPort(t, func(port int) (*ProxyServer, error) {
		return newNginx(port, func(addr string) string { return "server { listen " + addr + "; }" }, nil)
	})
	requireOtherPort(t, func(port int) (*ProxyServer, error) {
		return newCaddy(port, func(addr string) string { return "http://" + addr + " {\n}" })
	})
}
