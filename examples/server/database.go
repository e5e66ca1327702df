package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/go-tokenauth/tokenauth"
)

// The service's own tables stand beside those of the tokens and of the sessions,
// which have a schema of their own: SQLStore.CreateSchema.
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

// openDatabase opens the file, and creates it and its tables where they are missing.
func openDatabase(ctx context.Context, path string) (*sql.DB, error) {
	name, err := dataSource(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// dataSource names the file in a URI, in which a path may hold any character.
//
// Readers and a writer don't wait for each other (WAL), writers wait their turn
// (busy_timeout, and immediate, since a transaction that becomes a writer halfway
// can't wait), and what is acknowledged outlives a power cut (FULL): without that a
// revoked key might come back.
func dataSource(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find database: %w", err)
	}
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	return "file:" + escaped + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate", nil
}

// openStores creates the tables of tokens and sessions if they are missing, and
// checks them: an earlier version may have made them.
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
