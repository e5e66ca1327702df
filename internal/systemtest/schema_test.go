package systemtest_test

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// storeOf returns a store on a table that may not exist.
func storeOf(t *testing.T, db tokenauth.DB, table string) *tokenauth.SQLStore {
	t.Helper()
	store := must.Get(tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute}))
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// requireWorks requires that a store can execute its statements.
func requireWorks(t *testing.T, store *tokenauth.SQLStore) {
	t.Helper()
	r := fixture.NewRecord("laptop")
	require.NoError(t, store.Create(ctx, r))
	for _, call := range fixture.Calls(r) {
		if err := call.Do(ctx, store); err != nil {
			require.NotEqual(t, 503, tokenauth.StatusCode(err), "%s: %v", call.Name, err)
		}
	}
}

// The folder schema has the files for services that run them without this package. Migrations must
// return the same files. A migration tool must be able to read them as a file system.
func TestMigrationsAreSchemaFiles(t *testing.T) {
	t.Parallel()
	for _, d := range []tokenauth.Dialect{tokenauth.SQLite, tokenauth.PostgreSQL, tokenauth.MySQL} {
		store := must.Get(tokenauth.NewSQLStore(sqlite.New(t), d, nil))
		files := store.Migrations()
		folder := os.DirFS("../../schema/" + string(d))
		names := must.Get(fs.Glob(folder, "*"))
		require.NoError(t, fstest.TestFS(files, names...))
		require.Equal(t, names, must.Get(fs.Glob(files, "*")))
		for _, name := range names {
			text := string(must.Get(fs.ReadFile(files, name)))
			require.Equal(t, string(must.Get(fs.ReadFile(folder, name))), text, name)
			require.Regexp(t, `^\d{4}_[a-z_]+\.up\.sql$`, name)
			require.True(t, strings.HasPrefix(text, "-- +goose Up\n"), name)
			if d == tokenauth.MySQL { // the MySQL driver of golang-migrate executes one statement per file
				require.Equal(t, 1, strings.Count(text, ";"), name)
			}
		}

		store = must.Get(tokenauth.NewSQLStore(sqlite.New(t), d, &tokenauth.SQLOptions{Table: "Order"}))
		text := fixture.SchemaText(t, store)
		require.NotContains(t, text, "tokenauth_tokens")
		require.Contains(t, text, map[tokenauth.Dialect]string{
			tokenauth.SQLite: `"Order"`, tokenauth.PostgreSQL: `"order"`, tokenauth.MySQL: "`Order`",
		}[d])
	}
	text := fixture.SchemaText(t, must.Get(tokenauth.NewSQLStore(sqlite.New(t), tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "Auth.tokens"})))
	require.Contains(t, text, `CREATE TABLE "auth"."tokens" (`)
	require.Contains(t, text, `"tokens.created" ON "auth"."tokens"`)
}

// A service may choose any name for the table, also a reserved word. Its own tables may have the
// names of other tables of this package and of their indexes.
func TestTableNamesDoNotCollide(t *testing.T) {
	t.Parallel()
	names := []string{"order", "user", "table", "select", "index", "tokens", "tokens_user", "tokens_user_created", "sess", "Sess_created", "uses", "wanted"}
	db := sqlite.New(t)
	fixture.ExecAll(t, db, fixture.ServiceTables("tokenauth_tokens"))
	for _, name := range append(names, "") {
		store := storeOf(t, db, name)
		require.NoError(t, store.CreateSchema(ctx), name)
		require.NoError(t, store.CheckSchema(ctx), name)
		requireWorks(t, store)
	}
}

// CheckSchema must name each part that is missing, also a unique key: without it, two live tokens
// of a user can have the same name. CreateSchema must add what can be added to an existing table.
//
// Case S24.
func TestCheckSchemaNamesMissingPart(t *testing.T) {
	t.Parallel()
	store := storeOf(t, sqlite.New(t), "")
	require.EqualError(t, store.CheckSchema(ctx), "tokenauth: check schema: table tokenauth_tokens does not exist (0001_tokens.up.sql)")
	for _, lack := range fixture.Lacks(t, store) {
		t.Run(lack.Part, func(t *testing.T) {
			t.Parallel()
			db := sqlite.New(t)
			fixture.ExecAll(t, db, lack.Statements)
			store := storeOf(t, db, "")
			err := store.CheckSchema(ctx)
			fixture.RequireStoreFailure(t, err)
			require.ErrorContains(t, err, "tokenauth: check schema: table tokenauth_tokens lacks "+lack.Part)
			require.Regexp(t, `\(000\d_[a-z_]+\.up\.sql\)$`, err.Error())
			err = store.CreateSchema(ctx)
			if !lack.CanAdd {
				require.ErrorContains(t, err, "tokenauth: create schema: table tokenauth_tokens lacks "+lack.Part)
				return
			}
			require.NoError(t, err)
			require.NoError(t, store.CheckSchema(ctx))
			requireWorks(t, store)
		})
	}
}

// A service may add columns, indexes and foreign keys of its own. CheckSchema must accept them, and
// CreateSchema must keep them.
func TestSchemaMayHaveMoreParts(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	fixture.ExecAll(t, db, `ALTER TABLE tokenauth_tokens ADD COLUMN note TEXT DEFAULT 'none'; CREATE INDEX notes ON tokenauth_tokens (lower(note));
		CREATE UNIQUE INDEX own ON tokenauth_tokens (created_at, id); DROP INDEX "tokenauth_tokens.created"`)
	require.NoError(t, store.CheckSchema(ctx), "a unique key on the columns of an index takes the place of the index")
	before := indexNames(t, db)
	require.NoError(t, store.CreateSchema(ctx))
	require.Equal(t, before, indexNames(t, db))
	requireWorks(t, store)
}

func indexNames(t *testing.T, db *sql.DB) (names string) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name)").Scan(&names))
	return names
}

// A database that an older version created must get the columns and indexes of this version,
// without a second index on the same columns. All instances of a service may upgrade it at the same
// time.
func TestCreateSchemaUpgradesOldTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	db := sqlite.Open(t, path)
	fixture.ExecAll(t, db, fixture.OldSchema(t, tokenauth.SQLite, "tokens_user")+fixture.OldSchema(t, tokenauth.SQLite, "sess")+
		"CREATE TABLE sess_user (id INTEGER);"+fixture.OldSchema(t, tokenauth.SQLite, "tokens"))
	before := strings.Count(indexNames(t, db), ",")
	for _, table := range []string{"sess", "tokens_user", "tokens"} {
		require.ErrorContains(t, storeOf(t, db, table).CheckSchema(ctx), "lacks")
		require.Equal(t, 8, fixture.Together(8, func(int) bool {
			store := storeOf(t, sqlite.Open(t, path), table)
			return store.CreateSchema(ctx) == nil && store.CheckSchema(ctx) == nil
		}), table)
		requireWorks(t, storeOf(t, db, table))
	}
	// Each table gets three indexes. The table tokens also gets the index that it never had, because
	// the table tokens_user already had an index with the name.
	require.Equal(t, before+3*3+1, strings.Count(indexNames(t, db), ","))
}

// CreateSchema must also work in a transaction of the caller, and leave nothing after a rollback.
func TestCreateSchemaInTransaction(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := storeOf(t, db, "")
	tx := must.Get(db.Begin())
	require.NoError(t, store.With(tx).CreateSchema(ctx))
	require.NoError(t, store.With(tx).CheckSchema(ctx))
	require.NoError(t, tx.Rollback())
	require.ErrorContains(t, store.CheckSchema(ctx), "does not exist")
	tx = must.Get(db.Begin())
	require.NoError(t, store.With(tx).CreateSchema(ctx))
	require.NoError(t, tx.Commit())
	require.NoError(t, store.CheckSchema(ctx))
}

// If another index has the name of a missing index, CreateSchema must return an error and not try
// forever.
func TestCreateSchemaReportsForeignIndex(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	fixture.ExecAll(t, db, `DROP INDEX "tokenauth_tokens.expires"; DROP INDEX "tokenauth_tokens.revoked"; CREATE INDEX "tokenauth_tokens.expires" ON tokenauth_tokens (hint)`)
	require.EqualError(t, store.CreateSchema(ctx), "tokenauth: create schema: table tokenauth_tokens lacks index (expires_at) WHERE expires_at IS NOT NULL (0001_tokens.up.sql)")
}

// A lost unique key cannot be added while rows violate it. The error must name the key, and contain
// no values of the rows.
func TestCreateSchemaNamesViolatedKey(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := storeOf(t, db, "")
	fixture.ExecAll(t, db, strings.Replace(fixture.SchemaText(t, store), "    UNIQUE (user_id, live_name),\n", "", 1))
	first, second := fixture.NewRecord("laptop"), fixture.NewRecord("phone")
	require.NoError(t, store.Create(ctx, first, second))
	fixture.ExecAll(t, db, "UPDATE tokenauth_tokens SET live_name = 'laptop'")
	require.EqualError(t, store.CreateSchema(ctx),
		"tokenauth: create schema: table tokenauth_tokens lacks unique key (user_id, live_name) (0001_tokens.up.sql): a unique key was violated")
}
