package storecache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file tests that changes made through the cache are visible immediately.

// changeTime is the time of the calls in changes. The record of newCacheWithLaptop is live and not
// expired at that time.
var changeTime = start.Add(time.Minute)

// changes has, by method name, a call of each method that changes or deletes an existing record.
// Each call changes or deletes the record of newCacheWithLaptop.
var changes = map[string]func(s tokenauth.Store) error{
	"Update": func(s tokenauth.Store) error {
		return s.Update(ctx, "u", "laptop", tokenauth.Patch{Name: new("desktop")}, changeTime)
	},
	"Rotate": func(s tokenauth.Store) error {
		r := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new"), GraceUntil: changeTime}
		return s.Rotate(ctx, "u", "laptop", r, changeTime)
	},
	"Revoke": func(s tokenauth.Store) error { return s.Revoke(ctx, "u", "laptop", changeTime) },
	"RevokeExpired": func(s tokenauth.Store) error {
		return s.RevokeExpired(ctx, "u", "laptop", changeTime.AddDate(1, 0, 0), time.Time{})
	},
	"RevokeAll": func(s tokenauth.Store) error { _, err := s.RevokeAll(ctx, "u", changeTime, 1000); return err },
	"Touch":     func(s tokenauth.Store) error { return s.Touch(ctx, tokenauth.Use{ID: "laptop", At: changeTime}) },
	"Prune": func(s tokenauth.Store) error {
		_, err := s.Prune(ctx, changeTime.AddDate(1, 0, 0), time.Time{}, 10)
		return err
	},
}

// newCacheWithLaptop is like newCache, and creates a record that expires after one hour.
func newCacheWithLaptop(t *testing.T) (*storecache.Cache, *tokenauthtest.Store, tokenauth.Record) {
	t.Helper()
	c, s := newCache(nil)
	r := record("laptop")
	r.Token.ExpiresAt = start.Add(time.Hour)
	require.NoError(t, c.Create(ctx, r))
	return c, s, r
}

// requireSameFind requires that the cache and its store return the same for a digest.
func requireSameFind(t *testing.T, c *storecache.Cache, s *tokenauthtest.Store, d tokenauth.Digest) {
	t.Helper()
	want, wantErr := s.Find(ctx, d)
	got, err := c.Find(ctx, d)
	require.Equal(t, wantErr, err)
	require.Equal(t, want, got)
}

// Every change made through the cache is visible immediately.
// Case C2.
func TestChangeIsVisibleImmediately(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s, r := newCacheWithLaptop(t)
			for range 3 {
				_, err := c.Find(ctx, r.Digest)
				require.NoError(t, err)
			}
			require.Equal(t, 1, s.Count("Find"), "queries for three calls of Find")
			require.NoError(t, change(c))
			requireSameFind(t, c, s, r.Digest)
		})
	}
}

// A request during a change may fetch the previous record. After the change, the cache must not
// serve that record. Otherwise a revoked key would work for another MaxStale. The same holds if the
// change returns an error, because it may have been committed.
// Cases C2, E7, E8.
func TestRecordFetchedDuringChangeIsEvicted(t *testing.T) {
	t.Parallel()
	for outcome, failure := range map[string]error{"done": nil, "unknown": errors.New("connection lost, outcome unknown")} {
		for name, change := range changes {
			t.Run(name+", outcome "+outcome, func(t *testing.T) {
				t.Parallel()
				c, s, r := newCacheWithLaptop(t)
				s.Intercept(func(_ context.Context, method string, next func() error) error {
					if method != name {
						return next()
					}
					_, err := c.Find(ctx, r.Digest)
					return errors.Join(err, next(), failure)
				})
				require.ErrorIs(t, change(c), failure)
				s.Intercept(nil)
				requireSameFind(t, c, s, r.Digest)
			})
		}
	}
}

// A change may be committed long before the call returns, for example if the response of the
// database is late. In this time, the cache must not serve a record that it fetched before the
// call.
// Case C2.
func TestCommittedChangeIsVisibleBeforeCallReturns(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s, r := newCacheWithLaptop(t)
			_, err := c.Find(ctx, r.Digest)
			require.NoError(t, err)
			s.Intercept(func(_ context.Context, method string, next func() error) error {
				err := next()
				if method == name {
					requireSameFind(t, c, s, r.Digest)
				}
				return err
			})
			require.NoError(t, change(c))
		})
	}
}

// A client may use a key as soon as Create returns. Find must then not join a query that started
// before the commit and found nothing. Otherwise the new key would be refused as unknown.
// Cases C2, C12.
func TestNewKeyIsFoundImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		arrive, early := make(chan struct{}), make(chan error)
		s.Intercept(func(_ context.Context, method string, next func() error) error {
			switch {
			case method == "Create":
				go func() { _, err := c.Find(ctx, r.Digest); early <- err }()
				synctest.Wait()
			case s.Count("Find") == 1:
				err := next()
				<-arrive // the result arrives after the commit
				return err
			}
			return next()
		})
		require.NoError(t, c.Create(ctx, r))
		late := make(chan error)
		go func() { _, err := c.Find(ctx, r.Digest); late <- err }()
		synctest.Wait()
		close(arrive)
		require.ErrorIs(t, <-early, tokenauth.ErrNotFound)
		require.NoError(t, <-late)
	})
}

// A token has two cached keys while its previous key is in the grace period. Revoke must evict
// both, even if the cache evicted one of them before. Otherwise the other key would work for
// another MaxStale.
// Cases C2, E13.
func TestRevokeEvictsTheRemainingKeyOfToken(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxEntries: 2, MaxStale: time.Hour})
	rotated, other := record("laptop"), record("phone")
	rotated.Retired = &tokenauth.RetiredKey{Digest: tokenauth.DigestOf("previous key"), Until: changeTime}
	require.NoError(t, c.Create(ctx, rotated, other))
	for _, d := range []tokenauth.Digest{rotated.Retired.Digest, rotated.Digest, other.Digest} {
		_, err := c.Find(ctx, d)
		require.NoError(t, err)
	}
	require.Equal(t, 2, c.Len(), "the previous key is evicted")
	require.NoError(t, c.Revoke(ctx, "u", "laptop", changeTime))
	requireSameFind(t, c, s, rotated.Digest)
}
