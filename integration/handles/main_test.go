// Package handles tests SQLStore on the database handles of other libraries, and in their
// transactions. The tests of each library show how a service uses the library beside the store.
package handles

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

func TestMain(m *testing.M) {
	leak.Ignore("gorm.io/gorm/internal/lru.NewLRU") // gorm cannot close its cache of prepared statements
	leak.Main(servers.Main{Tests: m})
}

// patient are options with a timeout that a busy machine does not reach.
var patient = &tokenauth.SQLOptions{Timeout: time.Minute}

// An engine is a kind of database and its driver.
type engine struct {
	name    string
	dialect tokenauth.Dialect
	driver  string
	dsn     func(t *testing.T) string // returns the DSN of a new, empty database
}

var (
	postgres = sync.OnceValues(func() (*servers.PostgresServer, error) {
		return servers.Postgres("fsync=off", "max_connections=500")
	})
	mariaDB = sync.OnceValues(func() (*servers.MariaDBServer, error) {
		return servers.MariaDB("max_connections=500", "innodb_flush_log_at_trx_commit=0")
	})
	databases atomic.Int64
)

var (
	onPostgres = engine{"PostgreSQL", tokenauth.PostgreSQL, "pgx", func(t *testing.T) string {
		pg, name := servers.Started(t, postgres), newName()
		_, err := open(t, "pgx", pg.DSN("postgres")).Exec("CREATE SCHEMA " + name) // faster than a database
		require.NoError(t, err)
		return pg.DSN("postgres", "search_path="+name)
	}}
	onMariaDB = engine{"MariaDB", tokenauth.MySQL, "mysql", func(t *testing.T) string {
		m, name := servers.Started(t, mariaDB), newName()
		require.NoError(t, m.CreateDatabase(name))
		return m.DSN(name, "parseTime=true")
	}}
	onSQLite = engine{"SQLite", tokenauth.SQLite, "sqlite3", func(t *testing.T) string {
		return "file:" + filepath.Join(t.TempDir(), "app.db") + "?_busy_timeout=5000&_journal_mode=WAL&_synchronous=OFF&_txlock=immediate"
	}}
	engines = []engine{onPostgres, onMariaDB, onSQLite}
)

func newName() string { return fmt.Sprint("d", databases.Add(1)) }

// open opens a database. The test closes it when it ends.
func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// A service uses a library for its table of projects, and has its tokens in the same database.
type service struct {
	store tokenauth.Store

	// createProject creates a project and calls issue in one transaction of the library. If issue
	// returns an error, createProject returns it and rolls the transaction back.
	createProject func(ctx context.Context, id string, issue issuer) error
}

// An issuer issues a token in a store that works in the transaction of the project.
type issuer func(in tokenauth.Store) error

// A library is a library by which a service uses its database, and a way to use the library.
type library struct {
	name    string
	engines []engine
	open    func(t *testing.T, e engine, dsn string) service
}

var libraries = []library{
	{"database-sql", engines, withSQL},
	{"pgxpool", []engine{onPostgres}, withPgxpool},
	{"sqlx", engines, withSQLX},
	{"gorm", engines, withGORM(gormOptions{})},
	{"gorm, PrepareStmt", engines, withGORM(gormOptions{prepare: true})},
	{"gorm, SkipDefaultTransaction", engines, withGORM(gormOptions{skip: true})},
	{"gorm, both", engines, withGORM(gormOptions{prepare: true, skip: true})},
	{"bun", engines, withBun},
	{"ent", engines, withEnt},
	{"ent on a transaction", engines, withEntOnTx},
	{"sqlc", []engine{onPostgres}, withSQLC},
	{"pgxstore", []engine{onPostgres}, withPgxstore},
	{"sqlc on pgx", []engine{onPostgres}, withSQLCOnPgx},
}

// An app is a service on a new database with a table of projects.
type app struct {
	service
	dsn    string
	db     *sql.DB // not opened by the library
	tokens *tokenauth.Manager
}

// onEach runs a test on each library and engine.
func onEach(t *testing.T, test func(t *testing.T, a app)) {
	t.Helper()
	for _, l := range libraries {
		for _, e := range l.engines {
			t.Run(l.name+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				test(t, newApp(t, l, e))
			})
		}
	}
}

func newApp(t *testing.T, l library, e engine) app {
	t.Helper()
	dsn := e.dsn(t)
	a := app{dsn: dsn, db: open(t, e.driver, dsn)}
	setup := must.Get(tokenauth.NewSQLStore(a.db, e.dialect, patient))
	require.NoError(t, setup.CreateSchema(t.Context()))
	_, err := a.db.Exec("CREATE TABLE projects (id VARCHAR(100) NOT NULL PRIMARY KEY)")
	require.NoError(t, err)
	a.service = l.open(t, e, dsn)
	a.tokens = must.Get(tokenauth.New(a.store, "acme", nil))
	t.Cleanup(func() { require.NoError(t, a.tokens.Close(context.Background())) })
	return a
}

// issue issues a token of anna in a store, and returns its key.
func (a app) issue(t *testing.T, in tokenauth.Store, name string) (string, error) {
	t.Helper()
	key, _, err := a.tokens.WithStore(in, nil).Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: name})
	if err != nil {
		return "", err
	}
	leak.Default.Secret(key.Reveal())
	return key.Reveal(), nil
}

// projects returns the number of projects.
func (a app) projects(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, a.db.QueryRow("SELECT count(*) FROM projects").Scan(&n))
	return n
}

// names returns the names of the tokens of anna.
func (a app) names(t *testing.T) (names []string) {
	t.Helper()
	all, err := a.tokens.List(t.Context(), tokenauth.Query{UserID: "anna"})
	require.NoError(t, err)
	for _, token := range all {
		names = append(names, token.Name)
	}
	return names
}
