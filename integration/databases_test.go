package integration

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// This file contains the code that docs/databases.md and the pages in docs/databases show. It also
// runs the SQL statements of these pages.

func openModernc(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
		"&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	return db, nil
}

func openMattn(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", "file:"+path+
		"?_busy_timeout=400&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	return db, nil
}

func openPostgres(dsn string) (*sql.DB, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, nil
}

func openMySQL(dsn string) (*sql.DB, error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	db.SetConnMaxLifetime(3 * time.Minute)
	return db, nil
}

func quickStart(ctx context.Context, db *sql.DB) (*tokenauth.Manager, error) {
	store, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, nil)
	if err != nil {
		return nil, err
	}
	if err := store.CreateSchema(ctx); err != nil { // creates the table, or adds missing columns and indexes
		return nil, err
	}
	return tokenauth.New(store, "acme", nil)
}

// A documentedEngine is an engine with a page in docs/databases.
type documentedEngine struct {
	name    string
	page    string
	dialect tokenauth.Dialect
	open    func(dsn string) (*sql.DB, error) // code that the page shows
}

var documentedEngines = []documentedEngine{
	{"SQLite, modernc", "sqlite", tokenauth.SQLite, openModernc},
	{"SQLite, mattn", "sqlite", tokenauth.SQLite, openMattn},
	{"PostgreSQL", "postgresql", tokenauth.PostgreSQL, openPostgres},
	{"MariaDB", "mysql", tokenauth.MySQL, openMySQL},
	{"TiDB", "tidb", tokenauth.MySQL, openMySQL},
}

// newDatabase opens a new database. The table does not exist yet.
func (e documentedEngine) newDatabase(t *testing.T) (*sql.DB, *tokenauth.SQLStore) {
	t.Helper()
	dsn := filepath.Join(t.TempDir(), "app.db")
	switch {
	case e.name == "TiDB":
		dsn = newTiDBDatabase(t)
	case e.dialect != tokenauth.SQLite:
		_, dsn = newDatabase(t, e.dialect)
	}
	db, err := e.open(dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store, err := tokenauth.NewSQLStore(db, e.dialect, &tokenauth.SQLOptions{Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return db, store
}

// The quick start of docs/databases.md must create the table, and must return a Manager that
// accepts the keys that it issues.
func TestQuickStartIssuesWorkingKeys(t *testing.T) {
	t.Parallel()
	db, _ := documentedEngines[2].newDatabase(t) // PostgreSQL
	for range 2 {                                // the second time, the table exists
		tokens, err := quickStart(t.Context(), db)
		require.NoError(t, err)
		key, _, err := tokens.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: rand.Text()})
		require.NoError(t, err)
		_, err = tokens.Authenticate(t.Context(), revealed(key))
		require.NoError(t, err)
		require.NoError(t, tokens.Close(t.Context()))
	}
}

var sqlBlock = regexp.MustCompile("(?sm)^```sql\n(.*?)\n```$")

// pageSQL returns the block of SQL on a page that begins with the given text.
func pageSQL(t *testing.T, page, begin string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page + ".md")
	require.NoError(t, err)
	for _, block := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(block[1], begin) {
			return block[1]
		}
	}
	t.Fatalf("%s has no SQL that begins with %q", page, begin)
	return ""
}

// The foreign keys that the pages show must work. The database must delete the tokens of a deleted
// user. Prune must delete tokens that rows of the service reference. The page says that Prune fails
// if the foreign key has no ON DELETE.
func TestForeignKeysOfPagesWork(t *testing.T) {
	t.Parallel()
	for _, e := range documentedEngines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			const onDelete = " ON DELETE SET NULL"
			reference := pageSQL(t, "databases/"+e.page, "token_id ")
			require.Contains(t, reference, onDelete)
			db, store := e.newDatabase(t)
			schema := fixture.SchemaText(t, store)
			if e.dialect == tokenauth.SQLite {
				before, after, ok := strings.Cut(schema, "    user_id ")
				_, after, ok2 := strings.Cut(after, ",\n")
				require.True(t, ok && ok2)
				schema = before + "    " + pageSQL(t, "databases/"+e.page, "user_id ") + "\n" + after
			} else {
				schema += pageSQL(t, "databases/"+e.page, "ALTER TABLE tokenauth_tokens\n")
			}
			fixture.ExecAll(t, db, "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO users VALUES (7);"+
				schema+"CREATE TABLE devices (id BIGINT NOT NULL PRIMARY KEY, "+reference+");"+
				"CREATE TABLE sessions (id BIGINT NOT NULL PRIMARY KEY, "+strings.Replace(reference, onDelete, "", 1)+")")
			require.NoError(t, store.CheckSchema(t.Context()))

			m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID}))
			issue := func(name string) tokenauth.Token {
				key, token, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "7", Name: name})
				require.NoError(t, err)
				revealed(key)
				return token
			}
			insert := func(table string, token tokenauth.Token) {
				_, err := db.Exec("INSERT INTO " + table + " VALUES (1, '" + token.ID + "')")
				require.NoError(t, err)
			}
			token := issue("laptop")
			insert("devices", token)
			require.NoError(t, m.Revoke(t.Context(), "7", token.ID))
			n, err := m.Prune(t.Context(), time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.NoError(t, db.QueryRow("SELECT id FROM devices WHERE token_id IS NULL").Scan(&n))

			token = issue("phone")
			insert("sessions", token)
			require.NoError(t, m.Revoke(t.Context(), "7", token.ID))
			n, err = m.Prune(t.Context(), time.Now().Add(time.Hour))
			requireUnavailable(t, err, "Prune of a token with a row in sessions")
			require.Zero(t, n)

			_, err = db.Exec("DELETE FROM sessions")
			require.NoError(t, err)
			_, err = db.Exec("DELETE FROM users")
			require.NoError(t, err)
			require.Empty(t, everything(t, store))
		})
	}
}

// The DELETE statement of the page must delete expired and revoked imported tokens, which Prune
// keeps, and no other tokens.
func TestPageDeletesEndedImports(t *testing.T) {
	t.Parallel()
	for _, e := range documentedEngines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db, store := e.newDatabase(t)
			require.NoError(t, store.CreateSchema(t.Context()))
			end := time.UnixMicro(1772366400000000) // the time in the statement of the page
			for name, change := range map[string]func(*tokenauth.Token){
				"live import":    func(token *tokenauth.Token) { token.ExpiresAt = end },
				"expired import": func(token *tokenauth.Token) { token.ExpiresAt = end.Add(-time.Microsecond) },
				"revoked import": func(token *tokenauth.Token) { token.RevokedAt = end },
				"revoked":        func(token *tokenauth.Token) { token.Origin, token.RevokedAt = "", end },
			} {
				r := newRecord("anna", name)
				r.Token.Origin = "drf"
				change(&r.Token)
				require.NoError(t, store.Create(t.Context(), r))
			}
			_, err := db.Exec(pageSQL(t, "databases", "DELETE FROM tokenauth_tokens"))
			require.NoError(t, err)
			var left []string
			for _, r := range everything(t, store) {
				left = append(left, r.Token.Name)
			}
			require.ElementsMatch(t, []string{"live import", "revoked"}, left)
		})
	}
}

// mattn/go-sqlite3 does not interrupt a statement that waits for the lock of the file. With the
// settings of the page, a call must nevertheless return soon after the timeout of the store.
// Otherwise requests wait 5 seconds, and new requests pile up behind them. A long run also measures
// longer busy timeouts for the page.
func TestLockedFileEndsAtTimeoutWithMattn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := openMattn(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	const timeout, attempts = 2 * time.Second, 5 // defaults of the store
	var busy int
	require.NoError(t, db.QueryRow("PRAGMA busy_timeout").Scan(&busy))
	require.LessOrEqual(t, time.Duration(busy)*time.Millisecond*attempts, timeout,
		"all attempts together must not wait longer than the timeout")
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	require.NoError(t, store.CreateSchema(t.Context()))

	other := must.Get(openMattn(path))
	t.Cleanup(func() { _ = other.Close() })
	tx, err := other.BeginTx(t.Context(), nil) // takes the lock, because of _txlock=immediate
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	db.SetMaxOpenConns(1)
	for _, longer := range shortOrLong([]int{0}, []int{0, 1500, 5000}) {
		if longer > 0 {
			_, err := db.Exec(fmt.Sprint("PRAGMA busy_timeout = ", longer))
			require.NoError(t, err)
		}
		const limit = 4 * time.Second
		tries, took := 3, time.Hour // a busy machine may delay one call
		if longer > 0 {
			tries = 1 // the test measures this busy timeout, and has no limit for it
		}
		for ; tries > 0 && took >= limit; tries-- {
			began := time.Now()
			err = store.Create(t.Context(), newRecord("anna", "laptop"))
			took = min(took, time.Since(began))
			requireUnavailable(t, err, "create in a locked file")
		}
		t.Logf("_busy_timeout=%d: %.1f s", cmp.Or(longer, busy), took.Seconds())
		if longer == 0 {
			require.Less(t, took, limit)
		}
	}
}

// The column user_id may have the type UUID. Every call of a Manager must work with this type and
// with each driver.
func TestUserIDMayBeUUID(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "PostgreSQL, lib-pq", "PgBouncer, pgx", "PgBouncer, lib-pq", "MariaDB"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			opts := newTable()
			db := s.open(t)[0]
			store, err := tokenauth.NewSQLStore(db, s.dialect, opts)
			require.NoError(t, err)
			before, after, ok := strings.Cut(fixture.SchemaText(t, store), "    user_id ")
			_, after, ok2 := strings.Cut(after, ",\n")
			require.True(t, ok && ok2)
			fixture.ExecAll(t, db, before+"    user_id UUID NOT NULL,\n"+after)
			t.Cleanup(func() {
				_ = store.Close()
				_, _ = db.ExecContext(context.Background(), "DROP TABLE "+opts.Table)
			})
			require.NoError(t, store.CheckSchema(t.Context()))
			m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{CheckUserID: tokenauth.UUIDUserID}))
			useAll(t, m, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
		})
	}
}
