package integration

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// A unitOfWork is a transaction that embeds its pool.
type unitOfWork struct {
	*sql.DB
	tx *sql.Tx
}

func (u unitOfWork) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return u.tx.ExecContext(ctx, query, args...)
}

func (u unitOfWork) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return u.tx.QueryContext(ctx, query, args...)
}

func (u unitOfWork) Commit() error   { return u.tx.Commit() }
func (u unitOfWork) Rollback() error { return u.tx.Rollback() }

// If a transaction also has the methods of its pool, CreateSchema must not begin a transaction on
// the pool. Otherwise a rollback of the service would leave the table.
func TestCreateSchemaStaysInTransactionWithPool(t *testing.T) {
	t.Parallel()
	db := open(t, "pgx", servers.Started(t, postgres).DSN("postgres"))
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	opts := newTable()
	in, err := tokenauth.NewSQLStore(unitOfWork{db, tx}, tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	require.True(t, in.InTransaction())
	require.NoError(t, in.CreateSchema(t.Context()))
	require.NoError(t, in.CheckSchema(t.Context()))
	require.NoError(t, tx.Rollback())
	outside, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	require.ErrorContains(t, outside.CheckSchema(t.Context()), "does not exist")
}
