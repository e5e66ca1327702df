package handles

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	"github.com/go-tokenauth/tokenauth"
)

// bunProject is a row of the table projects.
type bunProject struct {
	bun.BaseModel `bun:"table:projects"`

	ID string `bun:",pk"`
}

func openBun(t *testing.T, e engine, dsn string) *bun.DB {
	t.Helper()
	dialect := map[tokenauth.Dialect]schema.Dialect{
		tokenauth.PostgreSQL: pgdialect.New(), tokenauth.MySQL: mysqldialect.New(), tokenauth.SQLite: sqlitedialect.New(),
	}[e.dialect]
	return bun.NewDB(open(t, e.driver, dsn), dialect)
}

func withBun(t *testing.T, e engine, dsn string) service {
	db, dialect, opts := openBun(t, e, dsn), e.dialect, patient
	// docs: bun pool
	store, err := tokenauth.NewSQLStore(db.DB, dialect, opts)
	// docs: end
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		// docs: bun
		return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewInsert().Model(&bunProject{ID: id}).Exec(ctx); err != nil {
				return err
			}
			return issue(store.With(tx.Tx))
		})
		// docs: end
	}}
}
