// Package databases opens the databases of the benchmarks: SQLite files, and servers
// that it starts.
package databases

import (
	"database/sql"
	"errors"
	"path/filepath"
	"sync/atomic"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// A Database is one that can be opened.
type Database struct {
	Name    string // with that of its driver
	Dialect tokenauth.Dialect
	driver  string
	dsn     string
}

// The names of all databases.
const (
	Modernc    = "SQLite (modernc)"
	Mattn      = "SQLite (mattn)"
	PostgreSQL = "PostgreSQL (pgx)"
	MariaDB    = "MariaDB (go-sql-driver)"
)

// Names lists them.
var Names = []string{Modernc, Mattn, PostgreSQL, MariaDB}

// ErrMissing means that a server isn't installed.
var ErrMissing = servers.ErrMissing

// Start makes a database ready, a SQLite one as a new file in dir. Servers run until Stop.
func Start(name, dir string) (*Database, error) {
	switch name {
	case Modernc:
		return &Database{name, tokenauth.SQLite, "sqlite", "file:" + filepath.Join(dir, "modernc.db") +
			"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"}, nil
	case Mattn:
		return &Database{name, tokenauth.SQLite, "sqlite3", "file:" + filepath.Join(dir, "mattn.db") +
			"?_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_txlock=immediate"}, nil
	case PostgreSQL:
		server, err := servers.Postgres()
		if err != nil {
			return nil, err
		}
		return &Database{name, tokenauth.PostgreSQL, "pgx", server.DSN("app")}, server.CreateDatabase("app")
	case MariaDB:
		server, err := servers.MariaDB()
		if err != nil {
			return nil, err
		}
		return &Database{name, tokenauth.MySQL, "mysql", server.DSN("app")}, server.CreateDatabase("app")
	}
	return nil, errors.New("no database " + name)
}

// Stop stops all servers and removes their data.
func Stop() error { return servers.StopAll() }

// Open opens the database.
func (d *Database) Open() (*sql.DB, error) { return sql.Open(d.driver, d.dsn) }

// OpenCounting opens the database through a driver that adds to n each statement
// that is run.
func (d *Database) OpenCounting(n *atomic.Int64) (*sql.DB, error) {
	db, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return sql.OpenDB(&connector{db.Driver(), d.dsn, n}), nil
}

// Analyze lets the database look at a table that was filled, so that it plans well.
func (d *Database) Analyze(db *sql.DB, table string) error {
	analyze := "ANALYZE "
	if d.Dialect == tokenauth.MySQL {
		analyze = "ANALYZE TABLE "
	}
	_, err := db.Exec(analyze + table)
	return err
}
