package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

var schemaSetups = []string{
	"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL, lib-pq", "PgBouncer, pgx", "MariaDB", "MariaDB, interpolateParams",
	"TiDB",
}

// CheckSchema must name each missing part of the table, so that an operator notices a forgotten
// migration when the service starts. CreateSchema must add the parts that can be added to an
// existing table.
// Case S24.
func TestCheckSchemaFindsMissingMigration(t *testing.T) {
	t.Parallel()
	for _, name := range schemaSetups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			db := s.open(t)[0]
			lacks := fixture.Lacks(t, must.Get(tokenauth.NewSQLStore(db, s.dialect, newTable())))
			for i := range lacks {
				opts := newTable()
				store := must.Get(tokenauth.NewSQLStore(db, s.dialect, opts))
				err := store.CheckSchema(t.Context())
				requireUnavailable(t, err, "no table")
				require.ErrorContains(t, err, "table "+opts.Table+" does not exist (0001_tokens.up.sql)")

				lack := fixture.Lacks(t, store)[i]
				fixture.ExecAll(t, db, lack.Statements)
				err = store.CheckSchema(t.Context())
				requireUnavailable(t, err, lack.Part)
				require.ErrorContains(t, err, "table "+opts.Table+" lacks "+lack.Part)
				err = store.CreateSchema(t.Context())
				if lack.CanAdd {
					require.NoError(t, err, lack.Part)
					require.NoError(t, store.CheckSchema(t.Context()))
				} else {
					require.ErrorContains(t, err, "table "+opts.Table+" lacks "+lack.Part)
				}
				require.NoError(t, store.Close())
				fixture.ExecAll(t, db, "DROP TABLE "+opts.Table)
			}
		})
	}
}

// A database that an older version created must get the columns and indexes of this version. Tables
// of the service may have the names that the older version gave to its indexes. All instances of a
// service may upgrade the table at the same time.
func TestCreateSchemaUpgradesOldTable(t *testing.T) {
	t.Parallel()
	for _, name := range schemaSetups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			dsn := s.dsn(t)
			db := open(t, s.driver, dsn)
			tokens := newTable().Table
			user := tokens + "_user" // the older version gave this name to an index of the table tokens
			fixture.ExecAll(t, db, fixture.OldSchema(t, s.dialect, user)+fixture.OldSchema(t, s.dialect, tokens))
			before := indexesOf(t, db, s.dialect, tokens)
			for _, table := range []string{tokens, user} {
				require.Equal(t, 8, fixture.Together(8, func(int) bool {
					store := must.Get(tokenauth.NewSQLStore(open(t, s.driver, dsn), s.dialect, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute}))
					defer func() { _ = store.Close() }()
					return store.CreateSchema(t.Context()) == nil && store.CheckSchema(t.Context()) == nil
				}))
				require.Equal(t, 12, indexesOf(t, db, s.dialect, table))
				store := must.Get(tokenauth.NewSQLStore(db, s.dialect, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute}))
				useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
				require.NoError(t, store.Close())
			}
			if s.dialect != tokenauth.MySQL { // on MySQL, two tables may have indexes of the same name
				require.Equal(t, 8, before, "the older version skipped an index")
			}
			fixture.ExecAll(t, db, "DROP TABLE "+tokens+"; DROP TABLE "+user)

			fixture.ExecAll(t, db, fixture.ServiceTables(tokens))
			useAll(t, must.Get(tokenauth.New(newStore(t, db, s.dialect, &tokenauth.SQLOptions{Table: tokens, Timeout: time.Minute}), "acme", nil)), "42")
		})
	}
}

// A service may choose any name for the table, even a reserved word. On a server, the name may have
// a schema. All statements must use this table.
func TestTableNameMayBeReserved(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			driver, dsn := newDatabase(t, d)
			db := open(t, driver, dsn)
			names := []string{"order", "user", "table", "select", "Group"}
			if d != tokenauth.SQLite {
				schema := fmt.Sprint("auth", tables.Add(1))
				fixture.ExecAll(t, db, "CREATE SCHEMA "+schema)
				names = append(names, schema+".tokens", schema+".user", schema+".tokens_user")
			}
			for _, name := range names {
				store := must.Get(tokenauth.NewSQLStore(db, d, &tokenauth.SQLOptions{Table: name, Timeout: time.Minute}))
				require.ErrorContains(t, store.CheckSchema(t.Context()), "does not exist", name)
				require.NoError(t, store.CreateSchema(t.Context()), name)
				require.NoError(t, store.CheckSchema(t.Context()), name)
				useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
				require.NoError(t, store.Close())
			}
		})
	}
}

// An older version did not quote the name, so PostgreSQL created the table mytokens for the name
// MyTokens. The name must still refer to this table. A name without a schema must refer to the
// table in the first schema of search_path that has the table.
func TestTableNameFindsUnquotedTableOnPostgreSQL(t *testing.T) {
	t.Parallel()
	_, dsn := newDatabase(t, tokenauth.PostgreSQL)
	db := open(t, "pgx", dsn)
	fixture.ExecAll(t, db, fixture.OldSchema(t, tokenauth.PostgreSQL, "MyTokens"))
	store := must.Get(tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "MyTokens", Timeout: time.Minute}))
	require.ErrorContains(t, store.CheckSchema(t.Context()), "table mytokens lacks column resources")
	require.NoError(t, store.CreateSchema(t.Context()))
	useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")

	// By default, search_path begins with the schema that has the name of the database user, postgres.
	fixture.ExecAll(t, db, "CREATE SCHEMA postgres; CREATE TABLE postgres.mytokens (id text)")
	require.ErrorContains(t, store.CheckSchema(t.Context()), "table mytokens lacks column user_id")
	qualified := must.Get(tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "public.MyTokens"}))
	require.NoError(t, qualified.CheckSchema(t.Context()))
	public := must.Get(tokenauth.NewSQLStore(open(t, "pgx", dsn+"&search_path=public"), tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "MyTokens"}))
	require.NoError(t, public.CheckSchema(t.Context()))
}

// CheckSchema must report keys and indexes that the store cannot use:
//
//   - an index that PostgreSQL could not complete, or that has no order;
//   - a deferrable unique key, because ON CONFLICT does not support such keys;
//   - a unique key that treats NULLs as equal, because a user could then have only one revoked
//     token.
func TestCheckSchemaFindsUnusableKeys(t *testing.T) {
	t.Parallel()
	_, dsn := newDatabase(t, tokenauth.PostgreSQL)
	db := open(t, "pgx", dsn)
	store := newStore(t, db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "tokens", Timeout: time.Minute})
	fixture.ExecAll(t, db, `ALTER TABLE tokens DROP CONSTRAINT tokens_user_id_slot_key;
		ALTER TABLE tokens ADD UNIQUE (user_id, slot) DEFERRABLE;
		UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"tokens.created"'::regclass`)
	require.EqualError(t, store.CheckSchema(t.Context()),
		"tokenauth: check schema: table tokens lacks unique key (user_id, slot), index (created_at, id) (0001_tokens.up.sql)")
	fixture.ExecAll(t, db, `ALTER TABLE tokens DROP CONSTRAINT tokens_user_id_live_name_key;
		ALTER TABLE tokens ADD UNIQUE NULLS NOT DISTINCT (user_id, live_name);
		DROP INDEX "tokens.revoked";
		CREATE INDEX ON tokens USING hash (revoked_at) WHERE revoked_at IS NOT NULL`)
	require.ErrorContains(t, store.CheckSchema(t.Context()), "lacks unique key (user_id, live_name), unique key (user_id, slot), "+
		"index (created_at, id), index (revoked_at) WHERE revoked_at IS NOT NULL (0001")
	require.ErrorContains(t, store.CreateSchema(t.Context()), "lacks index (created_at, id)",
		"the invalid index still has the name")
	fixture.ExecAll(t, db, `DROP INDEX "tokens.created"`)
	require.NoError(t, store.CreateSchema(t.Context()))
	require.NoError(t, store.CheckSchema(t.Context()))
}

// CreateSchema and CheckSchema must succeed in every session. Some settings change how a database
// describes its tables.
func TestCheckSchemaSucceedsInUnusualSessions(t *testing.T) {
	t.Parallel()
	for _, s := range unusualSessions {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			newStore(t, s.open(t)[0], s.dialect, nil)
		})
	}
}

// An operator may build the indexes of a large table before the upgrade, without blocking writes.
// Neither CreateSchema nor a migration tool may build these indexes again.
func TestIndexMayBeBuiltBeforehand(t *testing.T) {
	t.Parallel()
	for name, upgrade := range map[string]func(*sql.DB, *tokenauth.SQLStore) error{
		"CreateSchema": func(_ *sql.DB, store *tokenauth.SQLStore) error { return store.CreateSchema(t.Context()) },
		"goose": func(db *sql.DB, store *tokenauth.SQLStore) error {
			require.NoError(t, gooseBaseline(t.Context(), tokenauth.PostgreSQL, db, store, 1))
			return gooseUp(t.Context(), tokenauth.PostgreSQL, db, store)
		},
	} {
		_, dsn := newDatabase(t, tokenauth.PostgreSQL)
		db := open(t, "pgx", dsn)
		fixture.ExecAll(t, db, fixture.OldSchema(t, tokenauth.PostgreSQL, "tokenauth_tokens")+
			`CREATE INDEX CONCURRENTLY "tokenauth_tokens.user_live" ON "tokenauth_tokens" (user_id, created_at, id) WHERE revoked_at IS NULL`)
		store := must.Get(tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Timeout: time.Minute}))
		require.NoError(t, upgrade(db, store), name)
		require.NoError(t, store.CheckSchema(t.Context()), name)
		require.Equal(t, 12, indexesOf(t, db, tokenauth.PostgreSQL, "tokenauth_tokens"), name)
	}
}

// The statements that add columns must not rewrite the table. To rewrite a large table takes
// minutes, during which requests wait.
func TestColumnsAreAddedInstantly(t *testing.T) {
	t.Parallel()
	for _, d := range []tokenauth.Dialect{tokenauth.PostgreSQL, tokenauth.MySQL} {
		driver, dsn := newDatabase(t, d)
		db := open(t, driver, dsn)
		fixture.ExecAll(t, db, fixture.OldSchema(t, d, "tokenauth_tokens"))
		store := must.Get(tokenauth.NewSQLStore(db, d, nil))
		file := func() (n int) { // when PostgreSQL rewrites a table, the table gets a new file
			if d == tokenauth.PostgreSQL {
				require.NoError(t, db.QueryRow("SELECT relfilenode FROM pg_class WHERE relname = 'tokenauth_tokens'").Scan(&n))
			}
			return n
		}
		before, columns := file(), 0
		for statement := range strings.SplitSeq(fixture.SchemaText(t, store), ";") {
			if !strings.Contains(statement, "ADD COLUMN") {
				continue
			}
			columns++
			if d == tokenauth.MySQL {
				statement += ", ALGORITHM=INSTANT" // fails if the statement must rewrite the table
			}
			fixture.ExecAll(t, db, statement)
		}
		require.Equal(t, 4, columns)
		require.Equal(t, before, file())
		require.NoError(t, store.CreateSchema(t.Context()))
	}
}

// A statement that adds a column or an index waits for transactions that use the table, such as a
// backup. While the statement waits, it blocks requests. CreateSchema must cancel the statement
// before a request times out.
func TestCreateSchemaDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "PostgreSQL, lib-pq", "MariaDB"} {
		s := setupNamed(t, name)
		for lack, prepare := range map[string]func(t *testing.T, db *sql.DB, store *tokenauth.SQLStore, table string){
			// No statement of the store names this column, so the store can serve requests without it.
			"column imported_expires_at": func(t *testing.T, db *sql.DB, store *tokenauth.SQLStore, table string) {
				require.NoError(t, store.CreateSchema(t.Context()))
				fixture.ExecAll(t, db, "ALTER TABLE "+table+" DROP COLUMN imported_expires_at")
			},
			"index (user_id, ": func(t *testing.T, db *sql.DB, store *tokenauth.SQLStore, table string) {
				require.NoError(t, store.CreateSchema(t.Context()))
				drop := map[tokenauth.Dialect]string{tokenauth.PostgreSQL: `DROP INDEX "%s.user_live"`, tokenauth.MySQL: "DROP INDEX user_live ON %s"}
				fixture.ExecAll(t, db, fmt.Sprintf(drop[s.dialect], table))
			},
		} {
			t.Run(name+"/"+lack, func(t *testing.T) {
				t.Parallel()
				db := s.open(t)[0]
				opts := &tokenauth.SQLOptions{Table: newTable().Table, Timeout: 8 * time.Second}
				store := must.Get(tokenauth.NewSQLStore(db, s.dialect, opts))
				prepare(t, db, store, opts.Table)
				requireUnblocked(t, db, store, opts.Table, lack)
				require.NoError(t, store.CreateSchema(t.Context()))
				require.NoError(t, store.CheckSchema(t.Context()))
				require.NoError(t, store.Close())
				fixture.ExecAll(t, db, "DROP TABLE "+opts.Table)
			})
		}
	}
}

// requireUnblocked requires that requests succeed while CreateSchema waits for a transaction, and
// that CreateSchema then returns an error.
func requireUnblocked(t *testing.T, db *sql.DB, store *tokenauth.SQLStore, table, lack string) {
	t.Helper()
	r := newRecord("anna", "laptop")
	require.NoError(t, store.Create(t.Context(), r))
	transaction := must.Get(db.BeginTx(t.Context(), nil))
	_, err := transaction.Exec("UPDATE " + table + " SET hint = hint WHERE id = 'unknown'")
	require.NoError(t, err)
	request := func() {
		_, err := store.Find(t.Context(), r.Digest)
		require.NoError(t, err)
		require.NoError(t, store.Touch(t.Context(), tokenauth.Use{ID: r.Token.ID, At: time.Now()}))
	}
	upgraded := make(chan error)
	go func() { upgraded <- store.CreateSchema(context.Background()) }()
	for done := false; !done; {
		select {
		case err = <-upgraded:
			done = true
		default:
			request()
		}
	}
	requireUnavailable(t, err, "CreateSchema")
	require.ErrorContains(t, err, "lacks "+lack)
	for range 3 { // the server must no longer execute the statement
		request()
	}
	require.NoError(t, transaction.Rollback())
}
