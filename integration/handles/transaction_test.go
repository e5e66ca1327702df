package handles

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// inTransaction reports whether the store treats its handle as a transaction.
func inTransaction(s tokenauth.Store) bool {
	return s.(interface{ InTransaction() bool }).InTransaction()
}

// A service must be able to commit its own row, written with its own library, together with a
// token. The key must work as soon as the transaction is committed, and its use must be recorded.
func TestTokenIsCommittedWithOwnRow(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, a app) {
		require.False(t, inTransaction(a.store))
		ctx, tokens, createProject := t.Context(), a.tokens, a.createProject
		spec := tokenauth.Spec{UserID: "anna", Name: "laptop"}
		collect := func(context.Context, tokenauth.Event) {}
		var key tokenauth.Key
		// docs: issue
		err := createProject(ctx, "shop", func(in tokenauth.Store) (err error) {
			key, _, err = tokens.WithStore(in, collect).Issue(ctx, spec)
			return err
		})
		// docs: end
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		require.Equal(t, 1, a.projects(t))
		require.Equal(t, []string{"laptop"}, a.names(t))
		token, err := a.tokens.Authenticate(ctx, key.Reveal())
		require.NoError(t, err)
		require.Equal(t, "anna", token.UserID)
		require.NoError(t, a.tokens.Flush(ctx))
		require.NotZero(t, fixture.LastUse(t, a.store, token.ID))
	})
}

// If the service rolls its transaction back, the token must not exist. Otherwise somebody may have
// a key to a project that was never created.
func TestTokenIsRolledBackWithOwnRow(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, a app) {
		var key string
		failure := errors.New("the service rolls back")
		err := a.createProject(t.Context(), "shop", func(in tokenauth.Store) (err error) {
			key, err = a.issue(t, in, "laptop")
			require.NoError(t, err)
			_, err = a.tokens.WithStore(in, nil).Authenticate(t.Context(), key)
			require.NoError(t, err, "in the transaction")
			return failure
		})
		require.ErrorIs(t, err, failure)
		require.Zero(t, a.projects(t))
		require.Empty(t, a.names(t))
		_, err = a.tokens.Authenticate(t.Context(), key)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	})
}

// After a conflict, such as a taken name, the transaction of the library must continue: the service
// can choose another name, and commit its own row.
func TestTransactionContinuesAfterTakenName(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, a app) {
		_, err := a.issue(t, a.store, "laptop")
		require.NoError(t, err)
		err = a.createProject(t.Context(), "shop", func(in tokenauth.Store) error {
			_, err := a.issue(t, in, "laptop")
			require.ErrorIs(t, err, tokenauth.ErrNameTaken)
			_, err = a.issue(t, in, "laptop 2")
			return err
		})
		require.NoError(t, err)
		require.Equal(t, 1, a.projects(t))
		require.Equal(t, []string{"laptop", "laptop 2"}, a.names(t))
	})
}

// If the service returns the error of a conflict from its transaction, each library must roll back
// and return an error that wraps the sentinel error.
func TestReturnedConflictRollsBack(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, a app) {
		_, err := a.issue(t, a.store, "laptop")
		require.NoError(t, err)
		err = a.createProject(t.Context(), "shop", func(in tokenauth.Store) error {
			_, err := a.issue(t, in, "laptop")
			return err
		})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.Zero(t, a.projects(t))
	})
}

// Every statement of the store must work on the pool of the library and in its transaction.
func TestEveryStatementWorks(t *testing.T) {
	t.Parallel()
	requireWorks := func(t *testing.T, s tokenauth.Store, name string) {
		for _, call := range fixture.Calls(fixture.NewRecord(name)) {
			if err := call.Do(t.Context(), s); err != nil {
				require.NotEqual(t, 503, tokenauth.StatusCode(err), "%s: %v", call.Name, err)
			}
		}
	}
	onEach(t, func(t *testing.T, a app) {
		requireWorks(t, a.store, "pool")
		err := a.createProject(t.Context(), "shop", func(in tokenauth.Store) error {
			require.True(t, inTransaction(in))
			requireWorks(t, in, "transaction")
			return nil
		})
		require.NoError(t, err)
	})
}
