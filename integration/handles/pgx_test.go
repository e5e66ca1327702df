package handles

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/handles/generated/sqlcpgx"
	"github.com/go-tokenauth/tokenauth/pgxstore"
)

func openPgxpool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// withPgxstore uses pgx without database/sql.
func withPgxstore(t *testing.T, _ engine, dsn string) service {
	pool, opts := openPgxpool(t, dsn), patient
	// docs: pgx pool
	store, err := pgxstore.New(pool, opts)
	// docs: end
	require.NoError(t, err)
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		// docs: pgx
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO projects (id) VALUES ($1)", id); err != nil {
				return err
			}
			return issue(store.With(tx))
		})
		// docs: end
	}}
}

// withSQLCOnPgx uses queries that were generated with sql_package: pgx/v5.
func withSQLCOnPgx(t *testing.T, _ engine, dsn string) service {
	pool := openPgxpool(t, dsn)
	store, err := pgxstore.New(pool, patient)
	require.NoError(t, err)
	queries := sqlcpgx.New(pool)
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		// docs: sqlc on pgx
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if err := queries.WithTx(tx).CreateProject(ctx, id); err != nil {
				return err
			}
			return issue(store.With(tx))
		})
		// docs: end
	}}
}
