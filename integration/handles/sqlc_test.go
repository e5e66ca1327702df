package handles

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/handles/generated/sqlcdb"
)

// withSQLC uses queries that were generated with sql_package: database/sql.
func withSQLC(t *testing.T, e engine, dsn string) service {
	db := open(t, e.driver, dsn)
	store, err := tokenauth.NewSQLStore(db, e.dialect, patient)
	require.NoError(t, err)
	queries := sqlcdb.New(db)
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		// docs: sqlc
		if err := queries.WithTx(tx).CreateProject(ctx, id); err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		// docs: end
		return tx.Commit()
	}}
}
