package handles

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// insertProject inserts a project by plain SQL.
func insertProject(ctx context.Context, tx tokenauth.DB, id string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO projects (id) VALUES ('"+id+"')")
	return err
}

func withSQL(t *testing.T, e engine, dsn string) service {
	db := open(t, e.driver, dsn)
	store, err := tokenauth.NewSQLStore(db, e.dialect, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		// docs: database-sql
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after the commit
		if err := insertProject(ctx, tx, id); err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		return tx.Commit()
		// docs: end
	}}
}

func withPgxpool(t *testing.T, e engine, dsn string) service {
	pool, dialect, opts := openPgxpool(t, dsn), e.dialect, patient
	// docs: pgxpool
	db := stdlib.OpenDBFromPool(pool)
	store, err := tokenauth.NewSQLStore(db, dialect, opts)
	// docs: end
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := insertProject(ctx, tx, id); err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		return tx.Commit()
	}}
}

func withSQLX(t *testing.T, e engine, dsn string) service {
	db, err := sqlx.Open(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := tokenauth.NewSQLStore(db, e.dialect, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	type project struct {
		ID string `db:"id"`
	}
	return service{store, func(ctx context.Context, id string, issue issuer) error {
		tx, err := db.BeginTxx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		// docs: sqlx
		_, err = tx.NamedExecContext(ctx, "INSERT INTO projects (id) VALUES (:id)", project{id})
		if err != nil {
			return err
		}
		if err := issue(store.With(tx)); err != nil {
			return err
		}
		// docs: end
		return tx.Commit()
	}}
}
