// Package pgxstore keeps API tokens in PostgreSQL, for services that use pgx without database/sql.
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	…
//	store, err := pgxstore.New(pool, nil)
//
// The store executes the statements of [tokenauth.SQLStore], on the same table. [Store.With]
// returns the store in a transaction of the service.
package pgxstore

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/go-tokenauth/tokenauth"
)

// A Store is a [tokenauth.SQLStore] on a pool of pgx connections, or in a transaction of pgx. Use
// New to create it. Functions that need a *tokenauth.SQLStore take the field SQLStore. A Store on a
// pool is safe for concurrent use. A Store in a transaction is not, because pgx.Tx is not.
type Store struct {
	*tokenauth.SQLStore
}

// New returns a store on pool. The caller closes pool. New does not use the database: call
// CreateSchema, or check the table with CheckSchema.
//
// Behind a connection pooler that does not support prepared statements, set the query mode of the
// pool to [pgx.QueryExecModeExec], for example by default_query_exec_mode=exec in the connection
// string.
//
// New copies opts, which may be nil. It returns an error for an invalid option, and panics if pool
// is nil.
func New(pool *pgxpool.Pool, opts *tokenauth.SQLOptions) (*Store, error) {
	if pool == nil {
		panic("pgxstore: New: nil pool")
	}
	store, err := tokenauth.NewSQLStoreOn(poolConn{pool}, tokenauth.PostgreSQL, opts)
	if err != nil {
		return nil, err
	}
	return &Store{store}, nil
}

// With returns the same store in tx, for example a transaction that [pgxpool.Pool.Begin] returned.
// All changes are part of the transaction, and failed statements are not retried. After any error
// other than the sentinel errors of package tokenauth, and after [tokenauth.ErrUserUnknown], roll
// back the transaction. With panics if tx is nil.
func (s *Store) With(tx pgx.Tx) *Store {
	if isNil(tx) {
		panic("pgxstore: With: nil transaction")
	}
	return &Store{s.WithConn(txConn{tx})}
}
