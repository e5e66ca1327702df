package integration

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// These tests run the procedures that docs/databases.md describes to operators: grant rights, back
// up and restore, and change the engine.

// A database user with the rights that docs/databases.md grants must be able to call every method
// of the store.
func TestGrantedRightsSuffice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, owner string
		dsn         func(t testing.TB) string // DSN of the user app
		grants      []string
	}{
		{"PostgreSQL", "PostgreSQL, pgx",
			func(t testing.TB) string {
				return strings.Replace(servers.Started(t, postgres).DSN("postgres"), "postgres://postgres@", "postgres://app@", 1)
			},
			[]string{"CREATE ROLE app LOGIN"}},
		{"MariaDB", "MariaDB",
			func(t testing.TB) string {
				return strings.Replace(servers.Started(t, mariaDB).DSN("t"), "root@", "app@", 1)
			},
			[]string{"CREATE USER app@'127.0.0.1'"}},
		{"TiDB", "TiDB",
			func(t testing.TB) string { return strings.Replace(onTiDB()(t), "root@", "app@", 1) },
			[]string{"CREATE USER app@'127.0.0.1'"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, c.owner)
			owner := s.open(t)[0]
			for _, grant := range c.grants {
				_, err := owner.Exec(grant)
				require.NoError(t, err)
			}
			app := open(t, s.driver, c.dsn(t))
			user := map[tokenauth.Dialect]string{tokenauth.PostgreSQL: "app", tokenauth.MySQL: "app@'127.0.0.1'"}[s.dialect]
			opts := newTable()
			newStore(t, owner, s.dialect, opts)
			grant := pageSQL(t, "databases", "GRANT ")
			_, err := owner.Exec(strings.NewReplacer("tokenauth_tokens", opts.Table, "app", user).Replace(grant))
			require.NoError(t, err)
			store, err := newStoreAs(app, s.dialect, opts)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			require.NoError(t, store.CheckSchema(t.Context()))
			_, err = app.Exec("DROP TABLE " + opts.Table)
			require.Error(t, err, "the user must not have more rights than the docs grant")
			storetest.Run(t, func(t *testing.T) tokenauth.Store {
				switch area := strings.Split(t.Name(), "/")[2]; area {
				case "Large_batches", "Ending_context", "Concurrent_reads":
					t.Skip("needs the same rights as the rest of the suite")
				}
				_, err := owner.Exec("DELETE FROM " + opts.Table)
				require.NoError(t, err)
				return store
			})
		})
	}
}

// move copies all records from one store to another. A caller may repeat it, because Create skips
// existing records.
func move(ctx context.Context, from, to tokenauth.Store) error {
	// docs: move
	q := tokenauth.Query{AllUsers: true, IncludeRevoked: true, Limit: 500}
	for {
		records, err := from.List(ctx, q)
		if err != nil || len(records) == 0 {
			return err
		}
		if err := to.Create(ctx, records...); err != nil {
			return err
		}
		q.After = records[len(records)-1].Token.Cursor()
	}
	// docs: end
}

// everything returns all records of a store.
func everything(t testing.TB, s tokenauth.Store) []tokenauth.Record {
	t.Helper()
	records, err := s.List(context.Background(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	return records
}

// fill issues tokens, rotates some of them, and revokes others. It returns a valid key.
func fill(t testing.TB, s tokenauth.Store, n int) (key string) {
	t.Helper()
	m := must.Get(tokenauth.New(s, "acme", nil))
	for i := range n {
		k, token, err := m.Issue(t.Context(), tokenauth.Spec{
			UserID: fmt.Sprint(i % 50), Name: fmt.Sprintf("client %d \\ '\" é🙂", i), Scopes: []string{"a", "b"}[:i%3],
			ExpiresAt: time.Date(2100, 1, 1, 0, 0, 0, i*1000, time.UTC),
		})
		require.NoError(t, err)
		switch i % 5 {
		case 1:
			k, _, err = m.Rotate(t.Context(), token.UserID, token.ID, time.Hour)
			require.NoError(t, err)
		case 2:
			require.NoError(t, m.Revoke(t.Context(), token.UserID, token.ID))
		}
		if i%5 != 2 {
			key = revealed(k)
		}
	}
	return key
}

// A service that changes its database engine must keep its tokens, and all keys must still work.
func TestMoveBetweenEnginesKeepsTokens(t *testing.T) {
	t.Parallel()
	var stores []tokenauth.Store
	for _, name := range []string{"SQLite, modernc", "PostgreSQL, pgx", "MariaDB", "SQLite, mattn"} {
		s := setupNamed(t, name)
		stores = append(stores, s.newStore(t, s.open(t)))
	}
	stores = append(stores, tokenauth.NewMemoryStore())
	key := fill(t, stores[0], 700)
	want := everything(t, stores[0])
	require.Len(t, want, 700)
	for i, to := range stores[1:] {
		for range 2 {
			require.NoError(t, move(t.Context(), stores[i], to))
		}
		require.Equal(t, want, everything(t, to))
		_, err := must.Get(tokenauth.New(to, "acme", nil)).Authenticate(t.Context(), key)
		require.NoError(t, err)
	}
}

// After a backup was restored over a damaged table, the table must contain the same tokens, and
// their keys must work. An operator would notice a changed digest or name only after the restore.
func TestRestoredBackupKeepsTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		setup  string
		backup func(t *testing.T, db *sql.DB, table string) (restore func() *sql.DB)
	}{
		{"SQLite, modernc", func(t *testing.T, db *sql.DB, _ string) func() *sql.DB {
			copied := filepath.Join(t.TempDir(), "copy.db")
			_, err := db.Exec("VACUUM INTO ?", copied)
			require.NoError(t, err)
			return func() *sql.DB {
				live := filepath.Join(t.TempDir(), "live.db")
				for _, suffix := range []string{"", "-wal"} { // the files that a crash leaves
					require.NoError(t, os.WriteFile(live+suffix, must.Get(os.ReadFile(fileOf(t, db)+suffix)), 0o600))
				}
				require.NoError(t, os.Remove(live+"-wal"))
				require.NoError(t, os.Rename(copied, live))
				return open(t, "sqlite", "file:"+live+modernc)
			}
		}},
		{"PostgreSQL, pgx", func(t *testing.T, db *sql.DB, table string) func() *sql.DB {
			pg := servers.Started(t, postgres)
			dump := runTool(t, nil, "pg_dump", "--clean", "--if-exists", "-t", table, "-d", pg.DSN("postgres"))
			return func() *sql.DB {
				runTool(t, dump, "psql", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-X", "-q", "-d", pg.DSN("postgres"))
				return db
			}
		}},
		{"MariaDB", func(t *testing.T, db *sql.DB, table string) func() *sql.DB {
			m := servers.Started(t, mariaDB)
			at := []string{"--no-defaults", "-h127.0.0.1", fmt.Sprint("-P", m.Port()), "-uroot"}
			dump := runTool(t, nil, "mariadb-dump", append(at, "--single-transaction", "--hex-blob", "t", table)...)
			return func() *sql.DB {
				runTool(t, dump, "mariadb", append(at, "t")...)
				return db
			}
		}},
	} {
		t.Run(c.setup, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, c.setup)
			opts := newTable()
			db := s.open(t)[0]
			store := newStore(t, db, s.dialect, opts)
			key := fill(t, store, 100)
			want := everything(t, store)
			restore := c.backup(t, db, opts.Table)
			require.NoError(t, store.Create(t.Context(), newRecord("mallory", "after the backup")))
			_, err := db.Exec("UPDATE " + opts.Table + " SET hint = 'lost'")
			require.NoError(t, err)
			restored, err := newStoreAs(restore(), s.dialect, opts)
			require.NoError(t, err)
			require.NoError(t, restored.CheckSchema(t.Context()))
			require.Equal(t, want, everything(t, restored))
			_, err = must.Get(tokenauth.New(restored, "acme", nil)).Authenticate(t.Context(), key)
			require.NoError(t, err)
			t.Cleanup(func() { _ = restored.Close() })
		})
	}
}

// fileOf returns the path of a SQLite database.
func fileOf(t *testing.T, db *sql.DB) (path string) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path))
	return path
}

// runTool runs a program that belongs to the database, and returns its output.
func runTool(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(input)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", name, &complaint)
	return out
}
