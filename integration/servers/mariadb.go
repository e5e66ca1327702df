package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// Without this call, the driver would log each connection that it loses when a test stops a server.
func init() { mysql.SetLogger(&mysql.NopLogger{}) }

// A MariaDBServer is a MariaDB server to which root can connect without a password.
type MariaDBServer struct{ *Server }

// MariaDB starts a new MariaDB server with the default durability. The settings are lines of the
// group [mariadbd], such as "sql_mode=ANSI".
func MariaDB(settings ...string) (*MariaDBServer, error) {
	return onPorts(1, func(ports []int) (*MariaDBServer, error) { return startMariaDB(ports[0], settings) })
}

func startMariaDB(port int, settings []string) (*MariaDBServer, error) {
	return newMariaDB(port, settings, func(m *MariaDBServer) error {
		m.ready = func(ctx context.Context) error { return m.exec(ctx, "SELECT 1") }
		if err := m.install(); err != nil {
			return err
		}
		return m.Start()
	})
}

// newMariaDB configures a server, whose data folder is still empty, and calls setup.
func newMariaDB(port int, settings []string, setup func(m *MariaDBServer) error) (*MariaDBServer, error) {
	s, err := newServer("MariaDB", "mysql", port, func(s *Server) error {
		m := &MariaDBServer{s}
		s.command = []string{"mariadbd", "--defaults-file=" + filepath.Join(s.dir, "my.cnf")}
		s.quit = syscall.SIGTERM
		if err := s.open("mysql", m.DSN("")); err != nil {
			return err
		}
		err := s.write("my.cnf", append([]string{
			"[mariadbd]",
			"datadir=" + m.data(),
			"socket=" + filepath.Join(s.dir, "socket"),
			"pid-file=" + filepath.Join(s.dir, "pid"),
			fmt.Sprintf("port=%d", port),
			"bind-address=127.0.0.1",
			"max_connections=300",
			"innodb_buffer_pool_size=64M",
			"loose_innodb_snapshot_isolation=OFF", // the default of older versions; tests that need ON set it
		}, settings...)...)
		if err != nil {
			return err
		}
		if err := os.Mkdir(m.data(), 0o700); err != nil {
			return err
		}
		if err := s.chown(m.data()); err != nil {
			return err
		}
		return setup(m)
	})
	if err != nil {
		return nil, err
	}
	return &MariaDBServer{s}, nil
}

func (m *MariaDBServer) data() string { return filepath.Join(m.dir, "data") }

// install creates the data of a new server.
func (m *MariaDBServer) install() error {
	_, err := m.run("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
		"--skip-test-db", "--datadir="+m.data())
	return err
}

// DSN returns the DSN of a database, with parameters such as "clientFoundRows=true". If database is
// empty, the DSN selects no database.
func (m *MariaDBServer) DSN(database string, parameters ...string) string {
	return dsnOfRoot(m.Server, database, parameters...)
}

// CreateDatabase creates a database. It does not quote the name.
func (m *MariaDBServer) CreateDatabase(name string) error {
	return m.execLong("CREATE DATABASE " + name)
}
