// Package databases opens the databases of the benchmarks: SQLite files, and database servers that
// it starts.
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

// A Database is a database that is ready to be opened.
type Database struct {
	Name        string // name of the database and of its driver
	Dialect     tokenauth.Dialect
	Driver, DSN string // the arguments of sql.Open
}

const (
	Modernc    = "SQLite (modernc)"
	Mattn      = "SQLite (mattn)"
	PostgreSQL = "PostgreSQL (pgx)"
	MariaDB    = "MariaDB (go-sql-driver)"
)

// Names lists the names of all databases.
var Names = []string{Modernc, Mattn, PostgreSQL, MariaDB}

// ErrMissing means that the programs of a database server are not installed.
var ErrMissing = servers.ErrMissing

// Start creates an empty database. SQLite databases are files in dir. Start starts the server of
// the database, if it has one, and Stop stops it.
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

// Stop stops all database servers and removes their data.
func Stop() error { return servers.StopAll() }

// Open opens the database.
func (d *Database) Open() (*sql.DB, error) { return sql.Open(d.Driver, d.DSN) }

// OpenCounting opens the database with a driver that adds the number of executed statements to n.
func (d *Database) OpenCounting(n *atomic.Int64) (*sql.DB, error) {
	db, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return sql.OpenDB(&connector{db.Driver(), d.DSN, n}), nil
}

// Analyze updates the statistics of a table that was filled, so that the database can choose good
// query plans.
func (d *Database) Analyze(db *sql.DB, table string) error {
	analyze := "ANALYZE "
	if d.Dialect == tokenauth.MySQL {
		analyze = "ANALYZE TABLE "
	}
	_, err := db.Exec(analyze + table)
	return err
}
