package pgxstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/pgxstore"
)

// The tests with PostgreSQL are in the folder integration.

func TestMain(m *testing.M) { leak.Main(m) }

// newPool returns a pool that does not connect until it is used.
func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), "postgres://app@127.0.0.1:1/app")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// A mistake in the setup of a service must show when the service starts, not at the first request.
func TestMistakesShowAtConstruction(t *testing.T) {
	t.Parallel()
	var noTx *pgxpool.Tx
	store, err := pgxstore.New(newPool(t), nil)
	require.NoError(t, err)
	require.Panics(t, func() { _, _ = pgxstore.New(nil, nil) })
	for _, tx := range []pgx.Tx{nil, noTx} {
		require.Panics(t, func() { store.With(tx) })
	}
	_, err = pgxstore.New(newPool(t), &tokenauth.SQLOptions{Table: "tokens; --"})
	require.ErrorContains(t, err, "SQLOptions.Table")
}

// While PostgreSQL is down, a client must get 503 and not 401, and the error must name no secret.
func TestServerThatIsDownReturns503(t *testing.T) {
	t.Parallel()
	store, err := pgxstore.New(newPool(t), nil)
	require.NoError(t, err)
	_, err = store.Find(t.Context(), tokenauth.DigestOf("key"))
	require.Equal(t, 503, tokenauth.StatusCode(err))
	require.False(t, store.InTransaction())
	err = store.RevokeExpired(t.Context(), "anna", "1", time.Now(), "", time.Time{})
	require.Equal(t, 503, tokenauth.StatusCode(err))
	require.NotContains(t, err.Error(), "outcome unknown")
	require.NoError(t, store.Close())
}

// A service creates the store on its pool, and checks the table when it starts.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@127.0.0.1:1/app") // where no server runs
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	store, err := pgxstore.New(pool, nil)
	if err != nil {
		panic(err)
	}
	if err := store.CheckSchema(ctx); err != nil {
		fmt.Println(tokenauth.StatusCode(err))
	}
	// Output: 503
}
