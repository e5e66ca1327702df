package handles

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/go-tokenauth/tokenauth"
)

type gormOptions struct {
	prepare bool // PrepareStmt
	skip    bool // SkipDefaultTransaction
}

// gormProject is a row of the table projects.
type gormProject struct{ ID string }

func (gormProject) TableName() string { return "projects" }

func openGORM(t *testing.T, e engine, dsn string, opts gormOptions) *gorm.DB {
	t.Helper()
	dialectors := map[tokenauth.Dialect]func(string) gorm.Dialector{
		tokenauth.PostgreSQL: gormpostgres.Open, tokenauth.MySQL: mysql.Open, tokenauth.SQLite: sqlite.Open,
	}
	db, err := gorm.Open(dialectors[e.dialect](dsn), &gorm.Config{
		PrepareStmt: opts.prepare, SkipDefaultTransaction: opts.skip, Logger: logger.Discard,
	})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

func withGORM(options gormOptions) func(*testing.T, engine, string) service {
	return func(t *testing.T, e engine, dsn string) service {
		db, dialect, opts := openGORM(t, e, dsn, options), e.dialect, patient
		newStore := func() (*tokenauth.SQLStore, error) {
			// docs: gorm pool
			pool, err := db.DB()
			if err != nil {
				return nil, err
			}
			return tokenauth.NewSQLStore(pool, dialect, opts)
			// docs: end
		}
		store, err := newStore()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return service{store, func(ctx context.Context, id string, issue issuer) error {
			// docs: gorm
			return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				if err := tx.Create(&gormProject{id}).Error; err != nil {
					return err
				}
				return issue(store.With(tx.Statement.ConnPool))
			})
			// docs: end
		}}
	}
}

// With PrepareStmt, gorm caches the statements that the store executes in a transaction of gorm. A
// second transaction must be able to use the cached statements.
func TestGORMPreparesStatementsOfTransaction(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, library{open: withGORM(gormOptions{})}, e)
			db := openGORM(t, e, a.dsn, gormOptions{prepare: true})
			cache := db.Statement.ConnPool.(*gorm.PreparedStmtDB).Stmts
			for _, name := range []string{"laptop", "phone"} {
				require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
					require.IsType(t, &gorm.PreparedStmtTX{}, tx.Statement.ConnPool)
					_, err := a.issue(t, a.store.(*tokenauth.SQLStore).With(tx.Statement.ConnPool), name)
					return err
				}))
			}
			require.Contains(t, strings.Join(cache.Keys(), "\n"), "tokenauth_tokens")
			require.Equal(t, []string{"laptop", "phone"}, a.names(t))
		})
	}
}

// A hookedProject is a row of the table projects with a hook of gorm.
type hookedProject struct {
	ID    string
	after func(gorm.ConnPool) error
}

func (hookedProject) TableName() string { return "projects" }

func (p *hookedProject) AfterCreate(tx *gorm.DB) error { return p.after(tx.Statement.ConnPool) }

// A hook of gorm may issue a token in the transaction of the statement. With
// SkipDefaultTransaction, the statement has no transaction, so the token is committed at once.
func TestGORMHookHasTransactionUnlessSkipped(t *testing.T) {
	t.Parallel()
	failure := errors.New("the hook fails")
	for _, skip := range []bool{false, true} {
		a := newApp(t, library{open: withGORM(gormOptions{skip: skip})}, onPostgres)
		db := openGORM(t, onPostgres, a.dsn, gormOptions{skip: skip})
		err := db.Create(&hookedProject{ID: "shop", after: func(pool gorm.ConnPool) error {
			in := a.store.(*tokenauth.SQLStore).With(pool)
			require.Equal(t, !skip, in.InTransaction())
			_, err := a.issue(t, in, "laptop")
			require.NoError(t, err)
			return failure
		}}).Error
		require.ErrorIs(t, err, failure)
		if skip {
			require.Equal(t, 1, a.projects(t))
			require.Equal(t, []string{"laptop"}, a.names(t))
		} else {
			require.Zero(t, a.projects(t))
			require.Empty(t, a.names(t))
		}
	}
}
