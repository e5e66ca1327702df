package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver for queries of this package
)

// A PostgresServer is a PostgreSQL server to which every user can connect without a password. The
// administrator is "postgres".
type PostgresServer struct{ *Server }

// Postgres starts a new PostgreSQL server with the default durability. The settings are lines of
// postgresql.conf, such as "synchronous_commit=remote_apply".
func Postgres(settings ...string) (*PostgresServer, error) {
	settings = append([]string{
		"listen_addresses='127.0.0.1'",
		"unix_socket_directories=''",
		"max_connections=200",
		"wal_keep_size=256MB",             // keeps the changes that a stopped replica needs
		"dynamic_shared_memory_type=mmap", // keeps shared memory in files of the folder, which Close removes
	}, settings...) // if a setting is repeated, PostgreSQL uses the last line
	return onPorts(1, func(ports []int) (*PostgresServer, error) {
		return newPostgres(ports[0], settings, "initdb", "-D", "data", "-A", "trust", "-U", "postgres",
			"-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	})
}

// newPostgres runs a command that creates the folder "data", and starts a server on this folder.
func newPostgres(port int, settings []string, command ...string) (*PostgresServer, error) {
	s, err := newServer("PostgreSQL", "postgres", port, func(s *Server) error {
		s.command = []string{"postgres", "-D", "data"}
		s.quit = syscall.SIGINT
		s.cleanup = func() { removeSegment(s) }
		s.ready = func(ctx context.Context) error { return s.exec(ctx, "SELECT 1") }
		if err := s.open("pgx", postgresDSN(s, "postgres", nil)); err != nil {
			return err
		}
		if _, err := s.run(command...); err != nil {
			return err
		}
		own := []string{fmt.Sprintf("port=%d", port), "cluster_name=" + clusterName(port)}
		if err := s.write("data/postgresql.conf", slices.Concat(settings, own)...); err != nil {
			return err
		}
		return s.Start()
	})
	if err != nil {
		return nil, err
	}
	return &PostgresServer{s}, nil
}

// clusterName returns the name by which a primary identifies the replica on the port.
func clusterName(port int) string { return fmt.Sprintf("server%d", port) }

// DSN returns the URL of a database, with parameters such as
// "default_transaction_isolation=serializable".
func (p *PostgresServer) DSN(database string, parameters ...string) string {
	return postgresDSN(p.Server, database, parameters)
}

func postgresDSN(s *Server, database string, parameters []string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?%s", s.Addr(), database,
		strings.Join(append([]string{"sslmode=disable"}, parameters...), "&"))
}

// CreateDatabase creates a database. It does not quote the name.
func (p *PostgresServer) CreateDatabase(name string) error {
	return p.execLong("CREATE DATABASE " + name)
}

// CreateTablespace mounts a disk of size bytes, and creates a tablespace on it. Close unmounts the
// disk. If the process has no right to mount a disk, CreateTablespace returns [syscall.EPERM].
func (p *PostgresServer) CreateTablespace(name string, size int) error {
	disk := filepath.Join(p.dir, name)
	if err := os.Mkdir(disk, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	before := p.cleanup
	p.cleanup = func() {
		before()
		_ = syscall.Unmount(disk, syscall.MNT_DETACH)
	}
	if err := p.chown(disk); err != nil {
		return err
	}
	return p.execLong("CREATE TABLESPACE " + name + " LOCATION '" + disk + "'")
}

// Set changes a setting of the running server, and returns when the setting is in effect.
func (p *PostgresServer) Set(name, value string) error {
	var before, after time.Time
	const loaded = "SELECT pg_conf_load_time()"
	if err := p.db.QueryRow(loaded).Scan(&before); err != nil {
		return err
	}
	value = strings.ReplaceAll(value, "'", "''")
	if err := p.execLong("ALTER SYSTEM SET " + name + " = '" + value + "'"); err != nil {
		return err
	}
	if err := p.execLong("SELECT pg_reload_conf()"); err != nil {
		return err
	}
	err := p.await("set "+name, func(ctx context.Context) error {
		err := p.db.QueryRowContext(ctx, loaded).Scan(&after)
		if err == nil && !after.After(before) {
			err = errors.New("not loaded")
		}
		return err
	})
	if err != nil {
		return err
	}
	// The checkpointer process turns synchronous replication on and off. After a checkpoint, this
	// process has read the new settings.
	return p.execLong("CHECKPOINT")
}

// Replica starts a replica of the server, and returns when replication runs. The replica has the
// settings that the server has now. Its name in synchronous_standby_names is "server" followed by
// the port of the replica.
func (p *PostgresServer) Replica() (*PostgresServer, error) {
	return onPorts(1, func(ports []int) (*PostgresServer, error) {
		replica, err := newPostgres(ports[0], nil,
			"pg_basebackup", "-d", p.DSN(""), "-D", "data", "-R", "-c", "fast", "-X", "stream", "--no-sync")
		if err != nil {
			return nil, err
		}
		err = replica.await("replicate", func(ctx context.Context) error {
			var found bool
			const query = "SELECT true FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'"
			return p.db.QueryRowContext(ctx, query, clusterName(replica.port)).Scan(&found)
		})
		if err != nil {
			return nil, errors.Join(err, replica.Close())
		}
		return replica, nil
	})
}

// Promote makes a replica a primary, and returns when the new primary accepts writes.
func (p *PostgresServer) Promote() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var done bool
	err := p.db.QueryRowContext(ctx, "SELECT pg_promote()").Scan(&done)
	if err == nil && !done {
		err = errors.New("PostgreSQL: not promoted in time")
	}
	return err
}

// removeSegment removes the shared memory segment that a killed server leaves behind. Otherwise the
// segment would stay until the next start of the server.
func removeSegment(s *Server) {
	const removeNow = 0 // IPC_RMID
	status, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return // the server was stopped and not killed
	}
	lines := strings.Split(string(status), "\n")
	if len(lines) < 7 {
		return
	}
	var key, id int
	if n, _ := fmt.Sscan(lines[6], &key, &id); n == 2 {
		syscall.Syscall(syscall.SYS_SHMCTL, uintptr(id), removeNow, 0)
	}
}
