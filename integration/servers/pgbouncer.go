package servers

import (
	"context"
	"fmt"
	"syscall"
)

// A PgBouncerServer is a PgBouncer in transaction pooling mode: a client has a connection to the
// PostgreSQL server for one transaction at a time.
type PgBouncerServer struct{ *Server }

// PgBouncer starts a PgBouncer that connects clients to all databases of a PostgreSQL server. The
// PgBouncer starts and runs even if the PostgreSQL server is down.
func PgBouncer(pg *PostgresServer) (*PgBouncerServer, error) {
	return onPorts(1, func(ports []int) (*PgBouncerServer, error) { return newPgBouncer(ports[0], pg) })
}

func newPgBouncer(port int, pg *PostgresServer) (*PgBouncerServer, error) {
	s, err := newServer("PgBouncer", "postgres", port, func(s *Server) error {
		s.command = []string{"pgbouncer", "pgbouncer.ini"}
		s.quit = syscall.SIGTERM
		s.ready = func(ctx context.Context) error { return s.exec(ctx, "SHOW VERSION") }
		// The database pgbouncer belongs to PgBouncer itself. It responds even if the PostgreSQL server
		// is down.
		if err := s.open("pgx", postgresDSN(s, "pgbouncer", []string{"default_query_exec_mode=simple_protocol"})); err != nil {
			return err
		}
		prepared, err := noPreparedStatements(s)
		if err != nil {
			return err
		}
		err = s.write("pgbouncer.ini",
			"[databases]",
			fmt.Sprintf("* = host=127.0.0.1 port=%d user=postgres", pg.port),
			"[pgbouncer]",
			"listen_addr = 127.0.0.1",
			fmt.Sprintf("listen_port = %d", port),
			"unix_socket_dir =",
			"auth_type = any",
			"admin_users = postgres",
			"pool_mode = transaction",
			"default_pool_size = 20",
			"max_client_conn = 500",
			"server_login_retry = 1", // seconds until it connects again to a server that was down; default 15
			prepared,
		)
		if err != nil {
			return err
		}
		return s.Start()
	})
	if err != nil {
		return nil, err
	}
	return &PgBouncerServer{s}, nil
}

// noPreparedStatements returns the setting that turns off the support for prepared statements.
// Versions before 1.21 have neither this support nor the setting.
func noPreparedStatements(s *Server) (string, error) {
	version, err := s.run("pgbouncer", "--version")
	if err != nil {
		return "", err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "PgBouncer %d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("PgBouncer: %w: %s", err, version)
	}
	if major == 1 && minor < 21 {
		return "", nil
	}
	return "max_prepared_statements = 0", nil
}

// DSN returns the URL of a database of the PostgreSQL server. With pgx, pass the parameter
// "default_query_exec_mode=exec" or another mode that keeps no prepared statements.
func (b *PgBouncerServer) DSN(database string, parameters ...string) string {
	return postgresDSN(b.Server, database, parameters)
}
