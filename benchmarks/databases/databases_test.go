package databases_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := databases.Stop(); err != nil && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// If OpenCounting missed a way to execute a statement, the report would print too few statements
// per request. Connections must return to the pool, because new connections would distort the
// times.
func TestOpenCountingCountsAllStatements(t *testing.T) {
	t.Parallel()
	for _, name := range databases.Names {
		t.Run(name, func(t *testing.T) {
			d, err := databases.Start(name, t.TempDir())
			if err != nil && os.Getenv("CI") == "" {
				require.ErrorIs(t, err, databases.ErrMissing)
				t.Skip(err)
			}
			require.NoError(t, err)
			var n atomic.Int64
			db, err := d.OpenCounting(&n)
			require.NoError(t, err)
			defer db.Close()
			store, err := tokenauth.NewSQLStore(db, d.Dialect, nil)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			require.NoError(t, store.CreateSchema(ctx))
			p := chains.NewPopulation(1, 1)
			require.NoError(t, store.Create(ctx, p.Records[0]))

			n.Store(0)
			for range 100 {
				_, err = store.Find(ctx, p.Records[0].Digest)
				require.NoError(t, err)
			}
			require.EqualValues(t, 100, n.Load())
			require.NoError(t, store.Revoke(ctx, "0", p.Records[0].Token.ID, p.Records[0].Token.CreatedAt, ""))
			require.EqualValues(t, 101, n.Load())
			require.LessOrEqual(t, db.Stats().OpenConnections, 2)
			require.Zero(t, db.Stats().MaxIdleClosed)
		})
	}
}
