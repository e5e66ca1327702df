package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// newDatabase returns the driver and the DSN of an empty database.
func newDatabase(t *testing.T, d tokenauth.Dialect) (driver, dsn string) {
	t.Helper()
	name := fmt.Sprint("d", tables.Add(1))
	switch d {
	case tokenauth.PostgreSQL:
		require.NoError(t, started(t, postgres).CreateDatabase(name))
		return "pgx", started(t, postgres).DSN(name)
	case tokenauth.MySQL:
		require.NoError(t, started(t, mariaDB).CreateDatabase(name))
		return "mysql", started(t, mariaDB).DSN(name)
	}
	return "sqlite", sqliteFile(t) + modernc
}

var dialects = []tokenauth.Dialect{tokenauth.SQLite, tokenauth.PostgreSQL, tokenauth.MySQL}

const dropTable = "DROP TABLE tokenauth_tokens;\n"

// migrationTools are tools that services use for their migrations. Each gets the schema as it is,
// and creates the table or drops it.
var migrationTools = map[string]func(t *testing.T, d tokenauth.Dialect, db *sql.DB, schema string, up bool){
	"goose": func(t *testing.T, d tokenauth.Dialect, db *sql.DB, schema string, up bool) {
		files := fstest.MapFS{"00001_tokens.sql": {Data: []byte("-- +goose Up\n" + schema + "\n-- +goose Down\n" + dropTable)}}
		dialect := map[tokenauth.Dialect]goose.Dialect{
			tokenauth.SQLite: goose.DialectSQLite3, tokenauth.PostgreSQL: goose.DialectPostgres, tokenauth.MySQL: goose.DialectMySQL,
		}
		provider, err := goose.NewProvider(dialect[d], db, files)
		require.NoError(t, err)
		if up {
			_, err = provider.Up(t.Context())
		} else {
			_, err = provider.Down(t.Context())
		}
		require.NoError(t, err)
	},
	"golang-migrate": func(t *testing.T, d tokenauth.Dialect, db *sql.DB, schema string, up bool) {
		files := fstest.MapFS{"1_tokens.up.sql": {Data: []byte(schema)}, "1_tokens.down.sql": {Data: []byte(dropTable)}}
		from, err := iofs.New(files, ".")
		require.NoError(t, err)
		var to database.Driver
		switch d {
		case tokenauth.SQLite:
			to, err = migratesqlite.WithInstance(db, &migratesqlite.Config{})
		case tokenauth.PostgreSQL:
			to, err = migratepgx.WithInstance(db, &migratepgx.Config{})
		default: // without multiStatements=true in the DSN
			to, err = migratemysql.WithInstance(db, &migratemysql.Config{})
		}
		require.NoError(t, err)
		m, err := migrate.NewWithInstance("files", from, "database", to)
		require.NoError(t, err)
		if up {
			require.NoError(t, m.Up())
		} else {
			require.NoError(t, m.Down())
		}
		errFrom, errTo := m.Close()
		require.NoError(t, errFrom)
		require.NoError(t, errTo)
	},
	// As Atlas and others do it.
	"statement by statement": func(t *testing.T, d tokenauth.Dialect, db *sql.DB, schema string, up bool) {
		if !up {
			schema = dropTable
		}
		for statement := range strings.SplitSeq(schema, ";\n") {
			if strings.TrimSpace(statement) != "" {
				_, err := db.Exec(statement)
				require.NoError(t, err, statement)
			}
		}
	},
}

// A migration tool must be able to run the schema as it is. Otherwise services with such a tool
// must maintain a copy of their own.
func TestMigrationToolsCreateSchema(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for tool, run := range migrationTools {
			t.Run(fmt.Sprint(d, "/", tool), func(t *testing.T) {
				t.Parallel()
				driver, dsn := newDatabase(t, d)
				db := open(t, driver, dsn)
				store, err := tokenauth.NewSQLStore(db, d, nil)
				require.NoError(t, err)
				defer func() { require.NoError(t, store.Close()) }()
				require.Error(t, store.CheckSchema(t.Context()))

				run(t, d, open(t, driver, dsn), store.Schema(), true)
				require.NoError(t, store.CheckSchema(t.Context()))
				useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
				require.NoError(t, store.CreateSchema(t.Context()), "which finds that it is there")
				indexes := indexesOf(t, db, d)

				run(t, d, open(t, driver, dsn), store.Schema(), false)
				require.Error(t, store.CheckSchema(t.Context()))
				require.NoError(t, store.CreateSchema(t.Context()))
				require.Equal(t, indexesOf(t, db, d), indexes, "that CreateSchema makes")
			})
		}
	}
}

// indexesOf returns the number of indexes of the table.
func indexesOf(t *testing.T, db *sql.DB, d tokenauth.Dialect) (n int) {
	t.Helper()
	query := map[tokenauth.Dialect]string{
		tokenauth.SQLite:     "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tokenauth_tokens'",
		tokenauth.PostgreSQL: "SELECT count(*) FROM pg_indexes WHERE tablename = 'tokenauth_tokens'",
		tokenauth.MySQL:      "SELECT count(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema = database() AND table_name = 'tokenauth_tokens'",
	}
	require.NoError(t, db.QueryRow(query[d]).Scan(&n))
	require.GreaterOrEqual(t, n, 9)
	return n
}

// useAll calls each method that a service calls.
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

// A service may name the table like an alias or a subquery inside a statement. Every statement must
// still refer to the right one.
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
	store, err := tokenauth.NewSQLStore(db, s.dialect, opts)
	require.NoError(t, err)
	userTable, number := "users"+opts.Table, "BIGINT"
	if s.dialect == tokenauth.SQLite {
		number = "INTEGER" // as a STRICT table calls it
	}
	before, after, ok := strings.Cut(store.Schema(), "    user_id ")
	_, after, ok2 := strings.Cut(after, ",\n")
	require.True(t, ok && ok2)
	reference := ""
	if s.dialect == tokenauth.MySQL {
		reference = ", FOREIGN KEY (user_id)" // MySQL ignores a reference within a column
	}
	schema := fmt.Sprintf("%s    user_id %s NOT NULL%s REFERENCES %s (id) ON DELETE CASCADE,\n%s", before, number, reference, userTable, after)
	for statement := range strings.SplitSeq("CREATE TABLE "+userTable+" (id "+number+" NOT NULL PRIMARY KEY);"+
		"INSERT INTO "+userTable+" VALUES (1), (42), (9007199254740992), (9007199254740993);"+schema, ";") {
		if strings.TrimSpace(statement) != "" {
			_, err := db.Exec(statement)
			require.NoError(t, err, statement)
		}
	}
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
		"MariaDB", "MariaDB, interpolateParams",
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
			// A database that compares numbers as floating point takes these two for one.
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
