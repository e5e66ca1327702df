package handles

import (
	"context"
	"database/sql"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/handles/generated/ent"
)

// entDialects maps dialects to their names in ent.
var entDialects = map[tokenauth.Dialect]string{
	tokenauth.PostgreSQL: dialect.Postgres, tokenauth.MySQL: dialect.MySQL, tokenauth.SQLite: dialect.SQLite,
}

// withEnt uses a client that was generated with the feature sql/execquery.
func withEnt(t *testing.T, e engine, dsn string) service {
	db, dialect, opts, entDialect := open(t, e.driver, dsn), e.dialect, patient, entDialects[e.dialect]
	// docs: ent pool
	client := ent.NewClient(ent.Driver(entsql.OpenDB(entDialect, db)))
	store, err := tokenauth.NewSQLStore(db, dialect, opts)
	// docs: end
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		// docs: ent
		tx, err := client.Tx(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after the commit
		if err := tx.Project.Create().SetID(id).Exec(ctx); err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		return tx.Commit()
		// docs: end
	}}
}

// withEntOnTx uses a client in a transaction of database/sql, which needs no feature of ent.
func withEntOnTx(t *testing.T, e engine, dsn string) service {
	db, entDialect := open(t, e.driver, dsn), entDialects[e.dialect]
	store, err := tokenauth.NewSQLStore(db, e.dialect, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	clientOn := func(tx *sql.Tx) *ent.Client {
		// docs: ent on a transaction
		client := ent.NewClient(ent.Driver(entsql.NewDriver(entDialect, entsql.Conn{ExecQuerier: tx})))
		// docs: end
		return client
	}
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := clientOn(tx).Project.Create().SetID(id).Exec(ctx); err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		return tx.Commit()
	}}
}
