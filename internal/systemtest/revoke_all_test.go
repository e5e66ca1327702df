package systemtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// RevokeAll must revoke more tokens than one batch has, and must report all of them in one event.
func TestRevokeAllRevokesInBatches(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := tokenauthtest.NewStore(inner)
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1, OnEvent: events.Record})
		importTokens(t, m, 2500)
		events.Take()
		n, err := m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		require.Equal(t, 2500, n)
		require.Equal(t, 4, store.Count("RevokeAll"), "three batches, and a call that finds no live token")
		require.Equal(t, []tokenauth.Event{{Kind: tokenauth.EventRevoked, Token: tokenauth.Token{UserID: "u"}, Count: 2500}}, events.Take())
		live, err := m.List(ctx, tokenauth.Query{UserID: "u"})
		require.NoError(t, err)
		require.Empty(t, live)
	})
}

// importTokens imports n tokens of the user u.
func importTokens(t *testing.T, m *tokenauth.Manager, n int) {
	t.Helper()
	var specs []tokenauth.ImportSpec
	for i := range n {
		name := fmt.Sprint("token ", i)
		specs = append(specs, tokenauth.ImportSpec{UserID: "u", Name: name, Origin: "drf", Digest: tokenauth.DigestOf(name)})
		if len(specs) == 500 || i == n-1 {
			_, err := m.Import(ctx, specs...)
			require.NoError(t, err)
			specs = nil
		}
	}
}

// If a batch fails, the tokens of the earlier batches stay revoked, and the caller and the audit
// log must learn their number.
func TestRevokeAllReportsRevokedTokensAfterError(t *testing.T) {
	t.Parallel()
	store := fixture.NewStore()
	var events fixture.Recorder
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1, OnEvent: events.Record})
	importTokens(t, m, 1500)
	events.Take()
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if store.Count("RevokeAll") == 2 {
			return errors.New("down")
		}
		return next()
	})
	n, err := m.RevokeAll(ctx, "u")
	require.Error(t, err)
	require.Equal(t, 1000, n)
	told := events.Take()
	require.Len(t, told, 1)
	require.Equal(t, 1000, told[0].Count)
	require.Error(t, told[0].Err)
	store.Intercept(nil)
	n, err = m.RevokeAll(ctx, "u")
	require.NoError(t, err)
	require.Equal(t, 500, n)
}

// If other calls issue tokens as fast as RevokeAll revokes them, RevokeAll must end with an error
// and not run forever.
func TestRevokeAllGivesUp(t *testing.T) {
	t.Parallel()
	store := endlessStore{tokenauth.NewMemoryStore()}
	var events fixture.Recorder
	n, err := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record}).RevokeAll(ctx, "u")
	require.ErrorIs(t, err, tokenauth.ErrConflict)
	require.Equal(t, 10_000, n)
	require.Equal(t, 10_000, events.Take()[0].Count)
}

// An endlessStore always has one more live token to revoke.
type endlessStore struct{ *tokenauth.MemoryStore }

func (s endlessStore) RevokeAll(context.Context, string, time.Time, string, int) (int, error) {
	return 1, nil
}

// When one of two concurrent calls of RevokeAll returns, no token may be live. Otherwise a service
// would report that all devices are signed out while some keys are still accepted.
func TestConcurrentRevokeAllsLeaveNoToken(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1})
		importTokens(t, m, 1200)
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				if _, err := m.RevokeAll(ctx, "u"); err != nil {
					t.Error(err)
				}
				live, err := m.List(ctx, tokenauth.Query{UserID: "u"})
				if len(live) > 0 || err != nil {
					t.Errorf("%d tokens are live after RevokeAll has returned, %v", len(live), err)
				}
			})
		}
		calls.Wait()
	})
}
