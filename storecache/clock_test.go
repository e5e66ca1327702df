package storecache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// If the wall clock is set back by an hour, a revoked token must not stay cached for an hour
// longer. If the clock is set forward, the cache must still serve entries. The expiry of tokens
// follows the wall clock.
// Cases C9, F12.
func TestMaxStaleIgnoresJumpsOfWallClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		c, inner := newCache(nil)
		m := must.Get(tokenauth.New(c, "acme", &tokenauth.Options{
			Now: func() time.Time { return time.Now().Add(offset) }, TouchEvery: -1,
		}))
		key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		authenticate := func() error { _, err := m.Authenticate(ctx, key.Reveal()); return err }
		require.NoError(t, authenticate())
		offset = time.Hour
		require.ErrorIs(t, authenticate(), tokenauth.ErrExpired, "a cached token expires")
		offset = -time.Hour
		time.Sleep(10*time.Second - time.Nanosecond)
		require.NoError(t, authenticate())
		require.Equal(t, 1, inner.Count("Find"), "queries within MaxStale")

		require.NoError(t, inner.Revoke(ctx, "u", token.ID, time.Now(), "")) // as another process would
		time.Sleep(time.Nanosecond)
		require.ErrorIs(t, authenticate(), tokenauth.ErrRevoked, "after MaxStale")
	})
}

// A replicated store writes to a primary and reads from a replica that lags behind.
type replicated struct {
	tokenauth.Store
	replica tokenauth.Store
}

func (s replicated) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	return s.replica.Find(ctx, d)
}

// If Find reads from a replica, the cache may fetch a revoked token again. The token then stays
// accepted until MaxStale after the replica has the revocation, and no longer. If Find reads from
// the primary, the revocation takes effect immediately.
// Case C13.
func TestRevocationWithReplicaTakesLagPlusMaxStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const lag, maxStale = 5 * time.Second, 10 * time.Second
		primary, replica := tokenauth.NewMemoryStore(), tokenauth.NewMemoryStore()
		r := record("laptop")
		require.NoError(t, primary.Create(ctx, r))
		require.NoError(t, replica.Create(ctx, r))
		c := must.Get(storecache.New(replicated{primary, replica}, &storecache.Options{MaxStale: maxStale}))
		revoked := func() bool {
			got, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
			return !got.Token.RevokedAt.IsZero()
		}
		require.False(t, revoked())
		require.NoError(t, c.Revoke(ctx, "u", "laptop", start, ""))
		time.Sleep(lag - time.Nanosecond)
		require.False(t, revoked(), "fetched from the replica just before it has the revocation")
		time.Sleep(time.Nanosecond)
		require.NoError(t, replica.Revoke(ctx, "u", "laptop", start, ""))
		time.Sleep(maxStale - 2*time.Nanosecond)
		require.False(t, revoked(), "cached")
		time.Sleep(time.Nanosecond)
		require.True(t, revoked())

		c = must.Get(storecache.New(primary, nil))
		require.True(t, revoked(), "with reads from the primary")
	})
}
