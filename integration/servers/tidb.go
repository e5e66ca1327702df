package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A TiDBServer is a TiDB server to which root can connect without a password. It is one process
// that holds all data in its memory, so the data is lost when the process ends.
type TiDBServer struct{ *Server }

// TiDB starts a new TiDB server. The variable TOKENAUTH_TIDB is the path of the program, because
// Debian has no package of TiDB. integration/run -tidb builds the program.
func TiDB() (*TiDBServer, error) {
	program := os.Getenv("TOKENAUTH_TIDB")
	if program == "" {
		return nil, fmt.Errorf("TOKENAUTH_TIDB: %w", ErrMissing)
	}
	return onPorts(2, func(ports []int) (*TiDBServer, error) { return startTiDB(program, ports[0], ports[1]) })
}

func startTiDB(program string, port, statusPort int) (*TiDBServer, error) {
	s, err := newServer("TiDB", "", port, func(s *Server) error {
		s.command = []string{
			program, "-store=unistore",
			// TiDB keeps the data in memory if the path begins like this in its folder for temporary files.
			"-path=" + filepath.Join(s.dir, "tidb-unistore-temp"),
			"-host=127.0.0.1", "-P=" + strconv.Itoa(port),
			"-status-host=127.0.0.1", "-status=" + strconv.Itoa(statusPort),
			"-socket=" + filepath.Join(s.dir, "socket"), "-temp-dir=" + s.dir, "-L=error",
		}
		s.quit = syscall.SIGTERM
		s.cleanup = func() { release(statusPort) }
		s.ready = func(ctx context.Context) error { return s.exec(ctx, "SELECT 1") }
		if err := s.open("mysql", dsnOfRoot(s, "")); err != nil {
			return err
		}
		return s.Start()
	})
	if err != nil {
		return nil, err
	}
	return &TiDBServer{s}, nil
}

// DSN returns the DSN of a database, with parameters such as "clientFoundRows=true". If database is
// empty, the DSN selects no database.
func (s *TiDBServer) DSN(database string, parameters ...string) string {
	return dsnOfRoot(s.Server, database, parameters...)
}

// dsnOfRoot returns the DSN of a server that speaks the protocol of MySQL.
func dsnOfRoot(s *Server, database string, parameters ...string) string {
	return fmt.Sprintf("root@tcp(%s)/%s?%s", s.Addr(), database, strings.Join(parameters, "&"))
}

// CreateDatabase creates a database. It does not quote the name.
func (s *TiDBServer) CreateDatabase(name string) error { return s.execLong("CREATE DATABASE " + name) }
