package storecache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// C9, F12: a wall clock that is set back must not keep a revoked token for an hour more,
// and one that is set ahead must not send every request to the store. Expiry does follow it.
func TestC9ClockJumps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		inner := &watched{Store: tokenauth.NewMemoryStore()}
		m := tokenauth.New(storecache.New(inner, nil), "acme", &tokenauth.Options{
			Now: func() time.Time { return time.Now().Add(offset) }, TouchEvery: -1,
		})
		key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		leaktest.Default.Secret(key.Reveal())
		authenticate := func() error { _, err := m.Authenticate(ctx, key.Reveal()); return err }
		require.NoError(t, authenticate())
		offset = time.Hour
		require.ErrorIs(t, authenticate(), tokenauth.ErrExpired, "though it is kept")
		offset = -time.Hour
		time.Sleep(10*time.Second - time.Nanosecond)
		require.NoError(t, authenticate())
		require.EqualValues(t, 1, inner.finds.Load(), "kept for MaxStale")

		require.NoError(t, inner.Revoke(ctx, "u", token.ID, time.Now())) // by another process
		time.Sleep(time.Nanosecond)
		require.ErrorIs(t, authenticate(), tokenauth.ErrRevoked, "and not for longer")
	})
}

// A replicated store writes to one store and finds in another that lags behind.
type replicated struct {
	tokenauth.Store
	replica tokenauth.Store
}

func (s replicated) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	return s.replica.Find(ctx, d)
}

// C13: with lookups on a replica a revoked token may be fetched, and kept, again: for as
// long as the replica lags and MaxStale after that, and not a moment longer. What reads
// where it writes sees the revoke at once.
func TestC13Replica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const lag, maxStale = 5 * time.Second, 10 * time.Second
		primary, replica := tokenauth.NewMemoryStore(), tokenauth.NewMemoryStore()
		r := record("laptop")
		require.NoError(t, primary.Create(ctx, r))
		require.NoError(t, replica.Create(ctx, r))
		c := storecache.New(replicated{primary, replica}, &storecache.Options{MaxStale: maxStale})
		revoked := func() bool {
			got, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
			return !got.Token.RevokedAt.IsZero()
		}
		require.False(t, revoked())
		require.NoError(t, c.Revoke(ctx, "u", "laptop", start))
		time.Sleep(lag - time.Nanosecond)
		require.False(t, revoked(), "fetched from the replica, a moment before it knows")
		time.Sleep(time.Nanosecond)
		require.NoError(t, replica.Revoke(ctx, "u", "laptop", start))
		time.Sleep(maxStale - 2*time.Nanosecond)
		require.False(t, revoked(), "kept")
		time.Sleep(time.Nanosecond)
		require.True(t, revoked())

		c = storecache.New(primary, nil)
		require.True(t, revoked(), "by default")
	})
}
