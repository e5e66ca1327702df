package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // for --timezone, on any machine

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

const databaseHelp = `

Set the DSN of the database with --dsn or TOKENAUTH_DSN:

  sqlite:PATH                      SQLite; a PATH that ends in .db, .sqlite or .sqlite3 needs no prefix
  postgres://USER@HOST/DATABASE    PostgreSQL, in the format of libpq
  mysql:USER@tcp(HOST:3306)/NAME   MySQL or MariaDB, in the format of github.com/go-sql-driver/mysql

Errors show no part of a DSN except the scheme. For import, set the DSN of the source in the same
format with --source or TOKENAUTH_SOURCE_DSN. If schema --create creates a SQLite file, only its
owner can read it.`

// An app holds the values of the flags and the open databases.
type app struct {
	dsn, prefix, table string // flags

	dsns   []string // all DSNs in use, to hide them in errors
	opened []*sql.DB
	store  *tokenauth.SQLStore
	tokens *tokenauth.Manager
}

// close closes the Manager, the store and the databases. It ignores errors, because the command has
// already returned its result.
func (a *app) close() {
	if a.tokens != nil {
		_ = a.tokens.Close(context.Background()) // the commands record no uses, so nothing is written
	}
	if a.store != nil {
		_ = a.store.Close()
	}
	for _, db := range a.opened {
		_ = db.Close()
	}
}

// An access is a purpose for which a command opens a database.
type access string

const (
	use    access = "use"    // read and write an existing database
	create access = "create" // create the database, if it does not exist
	read   access = "read"   // only read a database, such as the source of an import
)

// maxConns limits the connections of each database handle. Idle connections stay open. A command
// runs one statement at a time on each handle. The second connection is for lacksTable, if the
// previous statement still hangs.
const maxConns = 2

// timeout is long, because no HTTP request waits for a command, and a batch on a busy server takes
// long.
const timeout = 30 * time.Second

func (a *app) manager(context.Context) (*tokenauth.Manager, error) {
	if err := a.openStore(use); err != nil {
		return nil, err
	}
	m, err := tokenauth.New(a.store, orEnv(a.prefix, "TOKENAUTH_PREFIX"), nil)
	if err != nil { // the prefix is invalid; err is not shown, because the prefix may be a pasted key
		return nil, usage("--prefix or TOKENAUTH_PREFIX must be the prefix of the service's keys: 1 to 20 characters of a-z, 0-9 and _, " +
			"starting with a letter and not ending in _")
	}
	a.tokens = m
	return m, nil
}

func (a *app) schema(context.Context) (*tokenauth.SQLStore, error) {
	err := a.openStore(create)
	return a.store, err
}

// openStore sets a.store. It does not connect to the database.
func (a *app) openStore(purpose access) error {
	dsn := orEnv(a.dsn, "TOKENAUTH_DSN")
	if dsn == "" {
		return usage("--dsn or TOKENAUTH_DSN is required")
	}
	db, dialect, err := a.open(dsn, purpose)
	if err != nil {
		return err
	}
	a.store, err = tokenauth.NewSQLStore(db, dialect, &tokenauth.SQLOptions{
		Table:   orEnv(a.table, "TOKENAUTH_TABLE"),
		Timeout: timeout,
	})
	if err != nil {
		return usage("--table or TOKENAUTH_TABLE: " + err.Error())
	}
	return nil
}

// source opens the database to import from, and connects to it.
func (a *app) source(ctx context.Context, dsn string) (*sql.DB, tokenauth.Dialect, error) {
	dsn = cmp.Or(dsn, os.Getenv("TOKENAUTH_SOURCE_DSN"), orEnv(a.dsn, "TOKENAUTH_DSN"))
	db, dialect, err := a.open(dsn, read)
	if err != nil {
		return nil, "", err
	}
	// Only the connection has a deadline. The queries of an import have none, because a page may
	// take long.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, "", fmt.Errorf("connect to the source database: %w", err) // after an interrupt, tokencli replaces this error
	}
	return db, dialect, nil
}

// lacksTable reports whether the database responds, but its table is missing or has another schema.
func (a *app) lacksTable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return a.store != nil && a.opened[0].PingContext(ctx) == nil && a.store.CheckSchema(ctx) != nil
}

func orEnv(flag, name string) string { return cmp.Or(flag, os.Getenv(name)) }

func usage(text string) error {
	return &tokencli.Error{Code: tokencli.Usage, Err: errors.New(text)}
}

// open opens the database that dsn names. Its errors contain no part of the DSN.
func (a *app) open(dsn string, purpose access) (*sql.DB, tokenauth.Dialect, error) {
	a.dsns = append(a.dsns, dsn)
	db, dialect, err := openDSN(dsn, purpose)
	if err != nil {
		return nil, "", err
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	a.opened = append(a.opened, db)
	return db, dialect, nil
}

func openDSN(dsn string, purpose access) (*sql.DB, tokenauth.Dialect, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch {
	case scheme == "postgres", scheme == "postgresql":
		config, err := pgxpool.ParseConfig(dsn) // the DSN of a service may have parameters such as pool_max_conns
		// If the password contains a slash that is not escaped, the driver parses the rest of the
		// password as the name of the database. Errors show this name.
		if err != nil || strings.Contains(config.ConnConfig.Database, "@") {
			return nil, "", usage("the DSN is not a valid URL for PostgreSQL")
		}
		return stdlib.OpenDB(*config.ConnConfig), tokenauth.PostgreSQL, nil
	case scheme == "mysql":
		config, err := mysql.ParseDSN(rest)
		if err != nil {
			return nil, "", usage("the part of the DSN after mysql: is not valid for MySQL")
		}
		config.Logger = &mysql.NopLogger{} // the driver also returns the errors that it logs
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, "", usage("the part of the DSN after mysql: is not valid for MySQL")
		}
		return sql.OpenDB(connector), tokenauth.MySQL, nil
	case scheme == "sqlite":
		return openSQLite(rest, purpose)
	}
	switch filepath.Ext(dsn) {
	case ".db", ".sqlite", ".sqlite3":
		if !strings.ContainsAny(dsn, "@?=") { // otherwise, it may be the DSN of another engine, with a password
			return openSQLite(dsn, purpose)
		}
	}
	return nil, "", usage("the DSN must begin with sqlite:, postgres:// or mysql:")
}

// openSQLite opens a SQLite file. To use or create the database, it applies the settings that
// docs/databases/sqlite.md recommends. It sets the journal mode only if it may create the file,
// because the file keeps this setting. Without the setting, it can also read a file that is not
// writable.
func openSQLite(path string, purpose access) (*sql.DB, tokenauth.Dialect, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, "", fmt.Errorf("resolve the path of the database file: %w", err)
	}
	if _, err := os.Stat(path); err != nil && purpose != create {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err // without the path, because a part of the path may be a password
		}
		err = fmt.Errorf("open the database file: %w", err)
		if purpose == use {
			err = fmt.Errorf("%w; to create a database, run tokenauth schema --create", err)
		}
		return nil, "", &tokencli.Error{Code: tokencli.Unavailable, Err: err}
	}
	const durable = "&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	settings := "?_pragma=busy_timeout(5000)"
	switch purpose {
	case read:
		settings += "&mode=rw&_pragma=query_only(1)"
	case use:
		settings += "&mode=rw" + durable
	case create:
		settings += "&_pragma=journal_mode(WAL)" + durable
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+settings)
	return db, tokenauth.SQLite, err
}
