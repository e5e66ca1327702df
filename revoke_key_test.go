package tokenauth_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A person who finds a leaked key must be able to revoke its token with RevokeKey, even if the
// token has expired. After the grace period, a previous key must not revoke the token, because
// users do not keep replaced keys secret.
func TestRevokeKey(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		var events recorder
		m := newManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.tell})
		revoked := func(token tokenauth.Token) bool {
			got, err := m.Get(ctx, "u", token.ID)
			require.NoError(t, err)
			return !got.RevokedAt.IsZero()
		}
		current, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "current"})
		events.take()
		got, err := m.RevokeKey(ctx, current)
		require.NoError(t, err)
		want, err := m.Get(ctx, "u", token.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.True(t, revoked(token))
		all := events.take()
		require.Len(t, all, 1)
		require.Equal(t, tokenauth.EventRevoked, all[0].Kind)
		require.Equal(t, token.ID, all[0].Token.ID)

		clock.Advance(time.Minute)
		again, err := m.RevokeKey(ctx, current)
		require.NoError(t, err)
		require.Equal(t, got, again, "a second call of RevokeKey must not change RevokedAt")
		require.Empty(t, events.take())

		expired, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: clock.Now().Add(time.Second)})
		clock.Advance(time.Hour)
		_, err = m.RevokeKey(ctx, expired)
		require.NoError(t, err)
		require.True(t, revoked(token))

		previous, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "rotated"})
		_, _, err = m.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		clock.Advance(time.Minute)
		_, err = m.RevokeKey(ctx, previous)
		require.ErrorIs(t, noted(err), tokenauth.ErrInvalidKey, "RevokeKey must refuse the previous key after its grace period")
		require.False(t, revoked(token))

		inGrace, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "in grace"})
		_, _, err = m.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		_, err = m.RevokeKey(ctx, inGrace)
		require.NoError(t, err)
		require.True(t, revoked(token))

		for _, wrong := range []string{"", "x", "acme_", tokenauth.GenerateKey("acme"), tokenauth.GenerateKey("other")} {
			_, err := m.RevokeKey(ctx, wrong)
			require.ErrorIs(t, noted(err), tokenauth.ErrInvalidKey)
			require.Equal(t, 401, tokenauth.StatusCode(err))
		}
	})
}

// RevokeKey must look up the key in the store, not in a cache. Otherwise a key that another process
// has replaced could still revoke the token.
func TestRevokeKeyAsksTheStore(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := newManager(must.Get(storecache.New(store, nil)), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	_, err := m.Authenticate(ctx, key) // now the cache holds the token
	require.NoError(t, err)
	fresh, _, err := newManager(store, nil).Rotate(ctx, "u", token.ID, 0)
	require.NoError(t, err)
	_, err = m.RevokeKey(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Equal(t, []bool{true}, accepts(m, fresh.Reveal()))
	store.Fail(errors.New("down"))
	_, err = m.RevokeKey(ctx, fresh.Reveal())
	require.Equal(t, 503, tokenauth.StatusCode(err))
}

// Close must write all pending last-used times. After Close, the Manager must not call Touch,
// because a service closes the database next.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		var events recorder
		m := newManager(store, &tokenauth.Options{OnEvent: events.tell})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		_, err := m.Authenticate(ctx, key)
		require.NoError(t, err)
		require.NoError(t, m.Close(ctx))
		require.NotZero(t, lastUse(t, store, token.ID))

		store.ResetCalls()
		events.take()
		time.Sleep(time.Hour)
		_, err = m.Authenticate(ctx, key)
		require.NoError(t, err, "Authenticate must still work after Close")
		time.Sleep(time.Hour)
		require.Equal(t, []string{"Find"}, store.Calls(), "the Manager must not call Touch after Close")
		store.Fail(errors.New("closed"))
		require.NoError(t, m.Close(ctx), "a second Close must not call the store")
		require.Empty(t, events.take())
	})
	require.NoError(t, newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{TouchEvery: -1}).Close(ctx))
}
