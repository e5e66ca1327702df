package systemtest_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// The tests in this file kill a process while it changes tokens. The kernel kills a process in this
// way when memory runs out. Each change that the store confirmed must be in the database file. No
// change may be stored partly.

const (
	killedFile = "TOKENAUTH_TEST_KILLED_FILE"
	killedKind = "TOKENAUTH_TEST_KILLED_KIND"
	killedUser = "TOKENAUTH_TEST_KILLED_USER"

	migration = "migration"
)

// kills returns the number of processes that each test kills for each kind of change.
func kills() int {
	if os.Getenv("TOKENAUTH_LONG") != "" {
		return 200
	}
	return 10
}

// TestChildToKill changes tokens in a child process until another test kills this process.
func TestChildToKill(t *testing.T) {
	path := os.Getenv(killedFile)
	if path == "" {
		t.Skip("runs only in the child processes of the tests TestKilled…")
	}
	db := sqlite.OpenDurable(t, path)
	if os.Getenv(killedKind) == migration {
		require.NoError(t, kill.Steps(func(i int) error { return migrated(t, db, i).CreateSchema(ctx) }))
	}
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	require.NoError(t, kill.Child(store, os.Getenv(killedKind), os.Getenv(killedUser)))
}

// If a process is killed during a change, the database must hold the state before or after the
// change. Valid keys must still work, and revoked keys must stay rejected. Each process opens the
// database file that the previous, killed process left. Case F10.
func TestKilledChangeIsWholeOrAbsent(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	t.Parallel()
	for _, kind := range kill.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens.db")
			db := sqlite.OpenDurable(t, path)
			sqlite.NewStore(t, db, nil)
			// If this process kept a connection open, the next process would not have to recover the
			// file after a kill.
			require.NoError(t, db.Close())
			steps := 0
			for n := range kills() {
				user := fmt.Sprint("user", n)
				acked := kill.Kill(t, "TestChildToKill", killedFile+"="+path, killedKind+"="+kind, killedUser+"="+user)
				steps += acked
				requireWhole(t, path, func(db *sql.DB) {
					store := sqlite.NewStore(t, db, nil)
					require.NoError(t, store.CheckSchema(ctx))
					kill.Require(t, store, kind, user, acked)
				})
			}
			t.Logf("%s: killed %d processes, which had completed %d steps in total", kind, kills(), steps)
		})
	}
}

// requireWhole opens the database file at path and calls f with it. Then it requires that SQLite
// finds no damage in the file, and that no row contains only a part of a change.
func requireWhole(t *testing.T, path string, f func(*sql.DB)) {
	t.Helper()
	db := sqlite.OpenDurable(t, path)
	defer func() { require.NoError(t, db.Close()) }()
	f(db)
	var integrity string
	require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&integrity))
	require.Equal(t, "ok", integrity)
	var halves int
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM tokenauth_tokens WHERE coalesce(length(digest), 0) <> 32
		OR id = '' OR user_id = '' OR hint = '' OR (generation > 1) <> (retired_digest IS NOT NULL)
		OR (retired_digest IS NULL) <> (retired_until IS NULL) OR (live_name IS NULL) <> (revoked_at IS NOT NULL)
		OR slot IS NOT NULL AND revoked_at IS NOT NULL`).Scan(&halves))
	require.Zero(t, halves, "number of rows that contain only a part of a change")
}

// migrated returns a store with a table of its own. The name of the table contains the number i.
func migrated(t *testing.T, db *sql.DB, i int) *tokenauth.SQLStore {
	t.Helper()
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Table: fmt.Sprintf("t%04d", i), Timeout: time.Minute})
	require.NoError(t, err)
	return store
}

// If a process is killed during CreateSchema, the next call of CreateSchema must complete the
// schema. Otherwise the service could not start again. Case F10.
func TestKilledMigrationCanBeRepeated(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	t.Parallel()
	for range kills() {
		path := filepath.Join(t.TempDir(), "tokens.db")
		acked := kill.Kill(t, "TestChildToKill", killedFile+"="+path, killedKind+"="+migration)
		db := sqlite.OpenDurable(t, path)
		require.NoError(t, migrated(t, db, acked-1).CheckSchema(ctx))
		store := migrated(t, db, acked)
		require.NoError(t, store.CreateSchema(ctx))
		require.NoError(t, store.CheckSchema(ctx))
		require.NoError(t, store.Create(ctx, fixture.NewRecord("laptop")))
		_, err := store.Find(ctx, fixture.NewRecord("laptop").Digest)
		require.NoError(t, err)
		const objects = "SELECT count(*) FROM sqlite_master WHERE tbl_name = ?"
		var whole, completed int
		require.NoError(t, db.QueryRow(objects, fmt.Sprintf("t%04d", acked-1)).Scan(&whole))
		require.NoError(t, db.QueryRow(objects, fmt.Sprintf("t%04d", acked)).Scan(&completed))
		require.Equal(t, whole, completed, "number of tables and indexes of the completed schema")
		require.NoError(t, db.Close())
	}
}
