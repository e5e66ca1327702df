package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	_ "modernc.org/sqlite" // the driver

	"github.com/go-tokenauth/tokenauth"
)

// The service's own tables stand beside that of the tokens, which has a schema
// of its own: SQLStore.CreateSchema.
const schema = `
CREATE TABLE IF NOT EXISTS users (
	id     INTEGER PRIMARY KEY,
	name   TEXT    NOT NULL,
	active INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE IF NOT EXISTS notes (
	id      INTEGER PRIMARY KEY,
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	text    TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS notes_user ON notes (user_id, id);
INSERT INTO users (id, name) VALUES (1, 'Ada') ON CONFLICT DO NOTHING;
`

const demoUser int64 = 1 // whom the schema adds

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

// openStore creates the table of the tokens if it is missing, and checks it: an
// earlier version may have made it.
func openStore(ctx context.Context, db *sql.DB) (*tokenauth.SQLStore, error) {
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	if err != nil {
		return nil, err
	}
	if err := store.CreateSchema(ctx); err != nil {
		return nil, err
	}
	return store, store.CheckSchema(ctx)
}

type user struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type users struct{ db *sql.DB }

// byID finds the user of a token. It must tell one who is not there (401) from a
// database that is not (503).
func (u users) byID(ctx context.Context, id string) (*user, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil, tokenauth.ErrNoUser
	}
	var found user
	err = u.db.QueryRowContext(ctx, "SELECT id, name FROM users WHERE id = ? AND active", number).Scan(&found.ID, &found.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	return &found, nil
}
