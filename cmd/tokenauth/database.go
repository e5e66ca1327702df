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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokencli"
)

const databaseHelp = `

A database is given by a DSN, in --dsn or TOKENAUTH_DSN:

  sqlite:PATH                      SQLite; or a PATH alone that ends in .db, .sqlite or .sqlite3
  postgres://USER@HOST/DATABASE    PostgreSQL, as libpq takes it
  mysql:USER@tcp(HOST:3306)/NAME   MySQL or MariaDB, as github.com/go-sql-driver/mysql takes it

Of a DSN, no error shows more than the scheme. The source of import is given in the same way, in
--source or TOKENAUTH_SOURCE_DSN. A SQLite file that schema --create makes can be read by its owner
alone.`

// An app is what the flags say, and what is open.
type app struct {
	dsn, prefix, table string

	dsns   []string // of the databases that were named, to be hidden in errors
	opened []*sql.DB
	store  *tokenauth.SQLStore
	tokens *tokenauth.Manager
}

// close closes what is open. Its errors do not matter: every command has its answer.
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

// An access says what a database is opened for.
type access string

const (
	use    access = "use"
	create access = "create" // where it may be missing
	read   access = "read"   // and change nothing, as somebody else's
)

// maxConns limits the connections of each database handle, and all of them stay open when they are
// idle. A command runs one statement at a time on each handle. The second connection is for
// lacksTable, if the previous statement still hangs.
const maxConns = 2

// answerTime is long: no request waits, and on a busy server a batch takes its time.
const answerTime = 30 * time.Second

func (a *app) manager(context.Context) (*tokenauth.Manager, error) {
	if err := a.openStore(use); err != nil {
		return nil, err
	}
	m, err := tokenauth.New(a.store, orEnv(a.prefix, "TOKENAUTH_PREFIX"), nil)
	if err != nil { // without options, only the prefix can be wrong; err repeats it, and it may be a key
		return nil, usage("--prefix or TOKENAUTH_PREFIX must be the prefix of the service's keys: 1 to 20 of a-z, 0-9 and _, " +
			"starting with a letter and not ending in _")
	}
	a.tokens = m
	return m, nil
}

func (a *app) schema(context.Context) (*tokenauth.SQLStore, error) {
	err := a.openStore(create)
	return a.store, err
}

// openStore doesn't reach for the database yet.
func (a *app) openStore(purpose access) error {
	dsn := orEnv(a.dsn, "TOKENAUTH_DSN")
	if dsn == "" {
		return usage("which database? give --dsn or TOKENAUTH_DSN")
	}
	db, dialect, err := a.open(dsn, purpose)
	if err != nil {
		return err
	}
	a.store, err = tokenauth.NewSQLStore(db, dialect, &tokenauth.SQLOptions{
		Table:   orEnv(a.table, "TOKENAUTH_TABLE"),
		Timeout: answerTime,
	})
	if err != nil {
		return usage("--table or TOKENAUTH_TABLE: " + err.Error())
	}
	return nil
}

// source opens what tokens are imported from.
func (a *app) source(ctx context.Context, dsn string) (*sql.DB, tokenauth.Dialect, error) {
	dsn = cmp.Or(dsn, os.Getenv("TOKENAUTH_SOURCE_DSN"), orEnv(a.dsn, "TOKENAUTH_DSN"))
	db, dialect, err := a.open(dsn, read)
	if err != nil {
		return nil, "", err
	}
	// Reading it has no deadline, since pages may take long; to find out that nobody answers has
	// one.
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, "", fmt.Errorf("the source doesn't answer: %w", err) // or somebody interrupts, which is for tokencli to tell
	}
	return db, dialect, nil
}

// lacksTable reports whether the database answers, but not for its table.
func (a *app) lacksTable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return a.store != nil && a.opened[0].PingContext(ctx) == nil && a.store.CheckSchema(ctx) != nil
}

func orEnv(flag, name string) string { return cmp.Or(flag, os.Getenv(name)) }

func usage(text string) error {
	return &tokencli.Error{Code: tokencli.Usage, Err: errors.New(text)}
}

// open opens the database that dsn names. The text of its errors contains nothing of the DSN.
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
		config, err := pgx.ParseConfig(dsn)
		// After a slash in a password that is not escaped, its rest is taken for the
		// database, which errors name.
		if err != nil || strings.Contains(config.Database, "@") {
			return nil, "", usage("the DSN is no URL that PostgreSQL's driver takes")
		}
		return stdlib.OpenDB(*config), tokenauth.PostgreSQL, nil
	case scheme == "mysql":
		config, err := mysql.ParseDSN(rest)
		if err != nil {
			return nil, "", usage("the DSN, after mysql:, is none that MySQL's driver takes")
		}
		config.Logger = &mysql.NopLogger{} // its errors come back too
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, "", usage("the DSN, after mysql:, is none that MySQL's driver takes")
		}
		return sql.OpenDB(connector), tokenauth.MySQL, nil
	case scheme == "sqlite":
		return openSQLite(rest, purpose)
	}
	switch filepath.Ext(dsn) {
	case ".db", ".sqlite", ".sqlite3":
		if !strings.ContainsAny(dsn, "@?=") { // else it may be another engine's, with a password
			return openSQLite(dsn, purpose)
		}
	}
	return nil, "", usage("the DSN doesn't name its engine: begin it with sqlite:, postgres:// or mysql:")
}

// openSQLite opens the file with the settings that docs/databases/sqlite.md advises, unless
// it is somebody else's. Its journal is set only where it may be new: the setting stays
// in the file, and a file that may not be written can be read all the same.
func openSQLite(path string, purpose access) (*sql.DB, tokenauth.Dialect, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, "", fmt.Errorf("find the database: %w", err)
	}
	if _, err := os.Stat(path); err != nil && purpose != create {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err // without the path, of which a part may be a password
		}
		err = fmt.Errorf("open the file of the database: %w", err)
		if purpose == use {
			err = fmt.Errorf("%w; to make a new database: tokenauth schema --create", err)
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
