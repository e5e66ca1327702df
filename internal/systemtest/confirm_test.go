package systemtest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// Confirm must see changes that were made after the request arrived, so it must read from the store
// and not from a cache. Otherwise a handler could change data for a token that was revoked
// meanwhile.
func TestConfirmSeesLaterChanges(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	cache := must.Get(storecache.New(inner, nil))
	m := fixture.NewManager(cache, &tokenauth.Options{Now: clock.Now, IdleTimeout: 24 * time.Hour})
	// The Manager elsewhere stands for another process. Its changes do not reach the cache.
	elsewhere := fixture.NewManager(inner, &tokenauth.Options{Now: clock.Now})
	active := true
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		if !active {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}, nil))
	need := tokenauth.Need{Scopes: []string{"a"}}
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, token tokenauth.Token)
		want      error
	}{
		"nothing": {func(*testing.T, tokenauth.Token) {}, nil},
		"narrowed": {func(t *testing.T, token tokenauth.Token) {
			_, err := elsewhere.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"b"}})
			require.NoError(t, err)
		}, tokenauth.ErrInsufficientScope},
		"revoked": {func(t *testing.T, token tokenauth.Token) {
			require.NoError(t, elsewhere.Revoke(ctx, "u", token.ID))
		}, tokenauth.ErrRevoked},
		"rotated without grace": {func(t *testing.T, token tokenauth.Token) {
			_, _, err := elsewhere.Rotate(ctx, "u", token.ID, 0)
			require.NoError(t, err)
		}, tokenauth.ErrInvalidKey},
		"rotated twice": {func(t *testing.T, token tokenauth.Token) {
			for range 2 {
				_, _, err := elsewhere.Rotate(ctx, "u", token.ID, time.Hour)
				require.NoError(t, err)
			}
		}, tokenauth.ErrInvalidKey},
		"rotated with grace": {func(t *testing.T, token tokenauth.Token) {
			_, _, err := elsewhere.Rotate(ctx, "u", token.ID, time.Hour)
			require.NoError(t, err)
		}, nil},
		"expired": {func(t *testing.T, _ tokenauth.Token) { clock.Advance(time.Hour) }, tokenauth.ErrExpired},
		"deleted": {func(t *testing.T, token tokenauth.Token) {
			require.NoError(t, elsewhere.Revoke(ctx, "u", token.ID))
			clock.Advance(time.Minute)
			_, err := elsewhere.Prune(ctx, clock.Now())
			require.NoError(t, err)
		}, tokenauth.ErrInvalidKey},
		"user switched off": {func(*testing.T, tokenauth.Token) { active = false }, tokenauth.ErrNoUser},
	} {
		t.Run(name, func(t *testing.T) {
			active = true
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: name, Scopes: []string{"a", "b"}, ExpiresAt: clock.Now().Add(time.Hour)})
			served := false
			w := fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				served = true
				c.meanwhile(t, token)
				u, got, err := auth.Confirm(r.Context(), need)
				if c.want != nil {
					require.ErrorIs(t, fixture.Noted(err), c.want)
					require.Nil(t, u)
					require.Zero(t, got)
					return
				}
				require.NoError(t, err)
				require.Equal(t, "u", u.ID)
				require.Equal(t, token.ID, got.ID)
				got.Scopes[0] = "changed" // must have no effect, because Confirm returns a copy
				_, got, err = auth.Confirm(r.Context(), need)
				require.NoError(t, err)
				require.Equal(t, tokenauth.Scopes{"a", "b"}, got.Scopes)
			})), "Bearer "+key)
			require.Equal(t, 200, w.Code)
			require.True(t, served)
		})
	}
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "down", Scopes: []string{"a"}})
	active = true
	fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner.Fail(errors.New("down"))
		_, _, err := auth.Confirm(r.Context(), need)
		require.Equal(t, 503, tokenauth.StatusCode(err))
		inner.Fail(nil)
		_, _, err = fixture.NewAuthenticator(m, nil).Confirm(r.Context(), need)
		require.ErrorIs(t, err, tokenauth.ErrNoKey, "the context contains no identity from this other Authenticator")
	})), "Bearer "+key)
	_, _, err := auth.Confirm(ctx, need)
	require.ErrorIs(t, err, tokenauth.ErrNoKey)
	require.Same(t, m, auth.Manager())
}

// Clients with imported keys, and with keys in their grace, must be able to do what Confirm
// protects.
func TestConfirmAcceptsImportedAndRetiredKeys(t *testing.T) {
	t.Parallel()
	m := fixture.NewLegacyManager(tokenauth.NewMemoryStore(), fixture.DRF)
	auth := fixture.NewAuthenticator(m, nil)
	confirmed := func(key string) int {
		status := 0
		w := fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _, err := auth.Confirm(r.Context(), tokenauth.Need{})
			status = tokenauth.StatusCode(fixture.Noted(err))
		})), "Token "+key)
		require.Equal(t, 200, w.Code)
		return status
	}
	legacy := fixture.HexKey("imported")
	imported, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf(legacy)})
	require.NoError(t, err)
	require.Equal(t, 200, confirmed(legacy))
	first, _, err := m.Rotate(ctx, "u", imported[0].ID, time.Hour)
	require.NoError(t, err)
	leak.Default.Secret(first.Reveal())
	require.Equal(t, 200, confirmed(legacy), "the imported key is in its grace")
	require.Equal(t, 200, confirmed(first.Reveal()))
	second, _, err := m.Rotate(ctx, "u", imported[0].ID, time.Hour)
	require.NoError(t, err)
	leak.Default.Secret(second.Reveal())
	require.Equal(t, 200, confirmed(first.Reveal()), "a key of the Manager is in its grace")
	require.Equal(t, 200, confirmed(second.Reveal()))
}
