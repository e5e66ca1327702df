package integration

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// newDatabase returns the driver and the DSN of an empty database.
func newDatabase(t *testing.T, d tokenauth.Dialect) (driver, dsn string) {
	t.Helper()
	name := fmt.Sprint("d", tables.Add(1))
	switch d {
	case tokenauth.PostgreSQL:
		require.NoError(t, servers.Started(t, postgres).CreateDatabase(name))
		return "pgx", servers.Started(t, postgres).DSN(name)
	case tokenauth.MySQL:
		require.NoError(t, servers.Started(t, mariaDB).CreateDatabase(name))
		return "mysql", servers.Started(t, mariaDB).DSN(name)
	}
	return "sqlite", sqliteFile(t) + modernc
}

var dialects = []tokenauth.Dialect{tokenauth.SQLite, tokenauth.PostgreSQL, tokenauth.MySQL}

// newestMigration returns the number of the newest file of the schema.
func newestMigration(t *testing.T, store *tokenauth.SQLStore) int {
	t.Helper()
	names, err := fs.Glob(store.Migrations(), "*.sql")
	require.NoError(t, err)
	return len(names)
}

// A migration tool must be able to run the files of the schema without changes. This must work in
// an empty database, in a database of an older version of the library, and after CreateSchema.
// Otherwise services with such a tool must maintain their own copy of the files.
func TestMigrationToolsRunFiles(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for name, tool := range migrationTools {
			t.Run(fmt.Sprint(d, "/", name), func(t *testing.T) {
				t.Parallel()
				for _, table := range []string{"", "order"} {
					for from, prepare := range map[string]func(*sql.DB, *tokenauth.SQLStore){
						"empty": func(*sql.DB, *tokenauth.SQLStore) {},
						"old library": func(db *sql.DB, store *tokenauth.SQLStore) {
							fixture.ExecAll(t, db, fixture.OldSchema(t, d, cmp.Or(table, "tokenauth_tokens")))
							require.NoError(t, tool.baseline(t.Context(), d, db, store, 1))
						},
						"CreateSchema": func(db *sql.DB, store *tokenauth.SQLStore) {
							require.NoError(t, store.CreateSchema(t.Context()))
							require.NoError(t, tool.baseline(t.Context(), d, db, store, newestMigration(t, store)))
						},
					} {
						if from == "old library" && table != "" {
							continue // that library did not quote the name
						}
						driver, dsn := newDatabase(t, d)
						db := open(t, driver, dsn)
						store := must.Get(tokenauth.NewSQLStore(db, d, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute}))
						prepare(open(t, driver, dsn), store)
						require.NoError(t, tool.up(t.Context(), d, open(t, driver, dsn), store), from)
						require.NoError(t, store.CheckSchema(t.Context()), from)
						require.NoError(t, tool.up(t.Context(), d, open(t, driver, dsn), store), "%s: no file is left", from)
						useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
						indexes := indexesOf(t, db, d, cmp.Or(table, "tokenauth_tokens"))
						require.Equal(t, 12, indexes, from)
						require.NoError(t, store.CreateSchema(t.Context()), from)
						require.Equal(t, indexes, indexesOf(t, db, d, cmp.Or(table, "tokenauth_tokens")), from)
						require.NoError(t, store.Close())
					}
				}
			})
		}
	}
}

// indexesOf returns the number of indexes of a table, including those of unique keys.
func indexesOf(t *testing.T, db *sql.DB, d tokenauth.Dialect, table string) (n int) {
	t.Helper()
	query := map[tokenauth.Dialect]string{
		tokenauth.SQLite:     "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = '%s'",
		tokenauth.PostgreSQL: "SELECT count(*) FROM pg_indexes WHERE tablename = '%s'",
		tokenauth.MySQL:      "SELECT count(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema = database() AND table_name = '%s'",
	}
	require.NoError(t, db.QueryRow(fmt.Sprintf(query[d], table)).Scan(&n))
	return n
}

// useAll calls each method of the Manager that a service calls.
func useAll(t *testing.T, m *tokenauth.Manager, userID string) {
	t.Helper()
	ctx := t.Context()
	key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: userID, Name: "laptop", Scopes: []string{"read"}})
	require.NoError(t, err, "Issue")
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: userID, Name: "laptop"})
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	got, err := m.Authenticate(ctx, revealed(key))
	require.NoError(t, err, "Authenticate")
	require.Equal(t, token, got)
	require.Equal(t, userID, got.UserID)

	name := "phone"
	_, err = m.Update(ctx, userID, token.ID, tokenauth.Patch{Name: &name})
	require.NoError(t, err, "Update")
	second, _, err := m.Rotate(ctx, userID, token.ID, 0)
	require.NoError(t, err, "Rotate")
	_, err = m.Authenticate(ctx, revealed(key))
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	list, err := m.List(ctx, tokenauth.Query{UserID: userID})
	require.NoError(t, err, "List")
	require.Len(t, list, 1)
	require.NoError(t, m.Revoke(ctx, userID, token.ID), "Revoke")
	require.NoError(t, m.Revoke(ctx, userID, token.ID), "Revoke again")
	_, err = m.Authenticate(ctx, revealed(second))
	require.ErrorIs(t, err, tokenauth.ErrRevoked)
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: userID, Name: "tablet"})
	require.NoError(t, err, "Issue")
	n, err := m.RevokeAll(ctx, userID)
	require.NoError(t, err, "RevokeAll")
	require.Equal(t, 1, n)
	n, err = m.Prune(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err, "Prune")
	require.Equal(t, 2, n)
}

// The name of the table may equal an alias, or the name of a subquery, in the statements of the
// store. These statements must still refer to the table.
func TestTableNameMayEqualAlias(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			driver, dsn := newDatabase(t, d)
			db := open(t, driver, dsn)
			for _, name := range []string{"uses", "due", "wanted", "found", "other", "t", "u"} {
				store := newStore(t, db, d, &tokenauth.SQLOptions{Table: name, Timeout: time.Minute})
				useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
				r := newRecord("anna", "laptop")
				require.NoError(t, store.Create(t.Context(), r), name)
				require.NoError(t, store.Create(t.Context(), r), name)
				require.NoError(t, store.Touch(t.Context(), tokenauth.Use{ID: r.Token.ID, At: r.Token.CreatedAt}), name)
				got, err := store.Find(t.Context(), r.Digest)
				require.NoError(t, err, name)
				require.Equal(t, r.Token.CreatedAt, got.Token.LastUsedAt, name)
			}
		})
	}
}

// newStoreOfUsers returns a store whose column user_id is a number that references a table of
// users. The table contains the users 1 and 42, and two users with large numbers.
func newStoreOfUsers(t *testing.T, s setup) (*sql.DB, *tokenauth.SQLStore, string) {
	t.Helper()
	opts := newTable()
	db := s.open(t)[0]
	store, err := newStoreAs(db, s.dialect, opts)
	require.NoError(t, err)
	userTable, number := "users"+opts.Table, "BIGINT"
	if s.dialect == tokenauth.SQLite {
		number = "INTEGER" // a STRICT table accepts INTEGER, but not BIGINT
	}
	before, after, ok := strings.Cut(fixture.SchemaText(t, store), "    user_id ")
	_, after, ok2 := strings.Cut(after, ",\n")
	require.True(t, ok && ok2)
	reference := ""
	if s.dialect == tokenauth.MySQL {
		reference = ", FOREIGN KEY (user_id)" // MySQL ignores a reference within a column
	}
	schema := fmt.Sprintf("%s    user_id %s NOT NULL%s REFERENCES %s (id) ON DELETE CASCADE,\n%s", before, number, reference, userTable, after)
	fixture.ExecAll(t, db, "CREATE TABLE "+userTable+" (id "+number+" NOT NULL PRIMARY KEY);"+
		"INSERT INTO "+userTable+" VALUES (1), (42), (9007199254740992), (9007199254740993);"+schema)
	require.NoError(t, store.CheckSchema(t.Context()))
	t.Cleanup(func() {
		_ = store.Close()
		for _, table := range []string{opts.Table, userTable} {
			_, _ = db.ExecContext(context.Background(), "DROP TABLE "+table)
		}
	})
	return db, store, userTable
}

// The column user_id may reference the service's own table of users. The tokens of a deleted user
// must be deleted with the user.
func TestUserIDMayReferenceUserTable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL, lib-pq", "PgBouncer, pgx", "PgBouncer, lib-pq",
		"pgxstore", "pgxstore, PgBouncer",
		"MariaDB", "MariaDB, interpolateParams", "TiDB",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store, users := newStoreOfUsers(t, setupNamed(t, name))
			m := must.Get(tokenauth.New(store, "acme", nil))
			useAll(t, m, "42")
			require.NoError(t, store.Touch(t.Context(), tokenauth.Use{ID: "unknown", At: time.Now()}))

			keys := map[string]string{}
			for _, id := range []string{"1", "42", "9007199254740992", "9007199254740993"} {
				key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: id, Name: "laptop"})
				require.NoError(t, err)
				keys[id] = revealed(key)
			}
			// If a database compared the numbers as floating point, the two large IDs would be equal.
			list, err := m.List(t.Context(), tokenauth.Query{UserID: "9007199254740993"})
			require.NoError(t, err)
			require.Len(t, list, 1)
			n, err := m.RevokeAll(t.Context(), "9007199254740993")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			_, err = m.Authenticate(t.Context(), keys["9007199254740992"])
			require.NoError(t, err)

			_, err = db.Exec("DELETE FROM " + users + " WHERE id = 42")
			require.NoError(t, err)
			_, err = m.Authenticate(t.Context(), keys["42"])
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
			require.Equal(t, 401, tokenauth.StatusCode(err))
			_, err = m.Authenticate(t.Context(), keys["1"])
			require.NoError(t, err)

			for _, unknown := range []string{"42", "777"} {
				_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: unknown, Name: "laptop"})
				require.ErrorIs(t, err, tokenauth.ErrUserUnknown)
				require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
				require.Equal(t, 400, tokenauth.StatusCode(err))
			}
		})
	}
}
