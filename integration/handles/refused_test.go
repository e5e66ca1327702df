package handles

import (
	"testing"

	entsql "entgo.io/ent/dialect/sql"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"gorm.io/gorm"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/handles/generated/ent"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// requireRefused requires that NewSQLStore and With refuse a handle. The text says what the handle
// is and what to pass.
func requireRefused(t *testing.T, handle tokenauth.DB, text string) {
	t.Helper()
	_, err := tokenauth.NewSQLStore(handle, tokenauth.PostgreSQL, nil)
	require.EqualError(t, err, "tokenauth: NewSQLStore: "+text)
	store := must.Get(tokenauth.NewSQLStore(&sqlx.DB{DB: open(t, "pgx", "")}, tokenauth.PostgreSQL, nil))
	require.PanicsWithValue(t, "tokenauth: With: "+text, func() { store.With(handle) })
}

// bun formats placeholders itself, so PostgreSQL would refuse each statement that a store sends
// through a handle of bun. The errors must name the field to pass.
func TestBunHandlesAreRefused(t *testing.T) {
	t.Parallel()
	db := openBun(t, onPostgres, onPostgres.dsn(t))
	_, err := db.ExecContext(t.Context(), "SELECT $1::text", "shop")
	require.ErrorContains(t, err, "SQLSTATE 42P02", "there is no parameter $1")

	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	requireRefused(t, db, "*bun.DB has its own BeginTx; pass its field DB, a *sql.DB")
	requireRefused(t, conn, "bun.Conn has its own BeginTx; pass its field Conn, a *sql.Conn")
	requireRefused(t, tx, "bun.Tx has its own BeginTx; pass its field Tx, a *sql.Tx")
	requireRefused(t, bun.IDB(tx), "bun.Tx has its own BeginTx; pass its field Tx, a *sql.Tx")
}

// With PrepareStmt, gorm has a pool of its own, which caches prepared statements and is no *sql.DB.
// The store must not take this pool for a transaction.
func TestGORMPoolOfStatementsIsRefused(t *testing.T) {
	t.Parallel()
	db := openGORM(t, onSQLite, onSQLite.dsn(t), gormOptions{prepare: true})
	const text = "*gorm.PreparedStmtDB has its own BeginTx; pass its field ConnPool, a *sql.DB"
	requireRefused(t, db.Statement.ConnPool, text)
	plain := openGORM(t, onSQLite, onSQLite.dsn(t), gormOptions{})
	requireRefused(t, plain.Session(&gorm.Session{PrepareStmt: true}).Statement.ConnPool, text)
	store := must.Get(tokenauth.NewSQLStore(plain.Statement.ConnPool, tokenauth.SQLite, nil))
	require.False(t, store.InTransaction())
}

// Only the transaction of ent works as a handle. A client may be a pool or a transaction.
func TestEntClientsAreRefused(t *testing.T) {
	t.Parallel()
	db := open(t, onSQLite.driver, onSQLite.dsn(t))
	client := ent.NewClient(ent.Driver(entsql.OpenDB(entDialects[tokenauth.SQLite], db)))
	tx, err := client.Tx(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	const text = "*ent.Client has its own BeginTx; pass the *sql.DB or *sql.Tx under it"
	requireRefused(t, client, text)
	requireRefused(t, tx.Client(), text)
	requireRefused(t, tx.Project, "*ent.ProjectClient has neither BeginTx nor Commit and Rollback; pass the *sql.DB or *sql.Tx under it")
}

// The handles of sqlx embed those of database/sql. The store must know which of them is a
// transaction.
func TestSQLXHandlesWork(t *testing.T) {
	t.Parallel()
	db := sqlx.NewDb(open(t, onSQLite.driver, onSQLite.dsn(t)), onSQLite.driver)
	conn, err := db.Connx(t.Context())
	require.NoError(t, err)
	tx, err := conn.BeginTxx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	defer func() { require.NoError(t, tx.Rollback()) }()
	store := must.Get(tokenauth.NewSQLStore(db, tokenauth.SQLite, nil))
	require.False(t, store.InTransaction())
	require.False(t, store.With(conn).InTransaction())
	require.True(t, store.With(tx).InTransaction())
}
