package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/go-tokenauth/tokenauth"
)

// schema has the service's own tables. SQLStore.CreateSchema creates the tables of the tokens and
// of the sessions.
const schema = `
CREATE TABLE IF NOT EXISTS users (
	id       INTEGER PRIMARY KEY,
	name     TEXT    NOT NULL COLLATE NOCASE UNIQUE,
	password TEXT    NOT NULL,
	staff    INTEGER NOT NULL DEFAULT 0,
	active   INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE IF NOT EXISTS notes (
	id      INTEGER PRIMARY KEY,
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	text    TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS notes_user ON notes (user_id, id);
`

// maxConns limits the connections to the database. Idle connections stay open. By default,
// database/sql keeps only two idle connections, and opens new connections for the next requests.
// docs/databases.md shows how much CPU time the default costs.
const maxConns = 32

// openDatabase opens the database file. It creates the file and its tables if they are missing.
func openDatabase(ctx context.Context, path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	db, err := sql.Open("sqlite", dataSource(path))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// createFile creates an empty database file if it is missing. Only the user who runs the program
// can read the file, because it holds password hashes. SQLite gives its other files, whose names
// end in -wal and -shm, the mode of the database file. An existing file keeps its mode.
func createFile(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // do not open it: closing a file releases the locks that SQLite holds on it
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// dataSource returns the DSN of a database file with an absolute path. The DSN is a URI, so the
// path may contain any character. Its settings are:
//
//   - journal_mode(WAL): readers and a writer do not block each other.
//   - busy_timeout(5000): a writer waits for another writer.
//   - _txlock=immediate: a transaction takes the write lock when it begins. SQLite cannot wait for
//     the lock in a transaction that has already read.
//   - synchronous(FULL): a committed change survives a power cut. Otherwise a revoked key could be
//     accepted again.
func dataSource(path string) string {
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	return "file:" + escaped + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
}

// openStores creates the tables of the tokens and of the sessions if they are missing. It also
// checks them, because an earlier version of the program may have created them.
func openStores(ctx context.Context, db *sql.DB) (tokens, sessions *tokenauth.SQLStore, err error) {
	if tokens, err = openStore(ctx, db, "tokenauth_tokens"); err != nil {
		return nil, nil, err
	}
	sessions, err = openStore(ctx, db, "sessions")
	return tokens, sessions, err
}

func openStore(ctx context.Context, db *sql.DB, table string) (*tokenauth.SQLStore, error) {
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Table: table})
	if err != nil {
		return nil, err
	}
	if err := store.CreateSchema(ctx); err != nil {
		return nil, err
	}
	return store, store.CheckSchema(ctx)
}
