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
)

// This file tests concurrent calls of Find that share a query.

// A thousand concurrent requests with one key must share one query. The query must continue if the
// request that started it is canceled.
// Cases C7, C8.
func TestConcurrentCallsShareOneQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		answer := make(chan struct{})
		interceptFind(s, func(ctx context.Context, next func() error) error {
			select {
			case <-answer:
				return next()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		first, cancel := context.WithCancel(ctx)
		errs := make(chan error, 1000)
		go func() { _, err := c.Find(first, r.Digest); errs <- err }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-errs, context.Canceled)
		for range 999 {
			go func() { _, err := c.Find(ctx, r.Digest); errs <- err }()
		}
		synctest.Wait()
		close(answer)
		for range 999 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, 1, s.Count("Find"))
	})
}

// Find must not start a query if another query has filled the cache since Find's lookup.
// Case C7.
func TestFindUsesRecordThatAnotherCallFetched(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	r := record("laptop")
	require.NoError(t, s.Create(ctx, r))
	_, err := c.Find(ctx, r.Digest)
	require.NoError(t, err)
	got, err := c.FindLate(ctx, r.Digest)
	require.NoError(t, err)
	require.Equal(t, r.Digest, got.Digest)
	require.Equal(t, 1, s.Count("Find"), "queries")
}

// The cache must not store the result of a query that started before a revocation. Otherwise the
// revoked key would work for another MaxStale.
// Case E8.
func TestWriteDetachesRunningQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		seen, answer := make(chan struct{}), make(chan struct{})
		interceptFind(s, func(_ context.Context, next func() error) error {
			err := next()
			close(seen)
			<-answer
			return err
		})
		early := make(chan *tokenauth.Record)
		go func() { found, _ := c.Find(ctx, r.Digest); early <- found }()
		<-seen
		s.Intercept(nil)
		require.NoError(t, c.Revoke(ctx, "u", "laptop", start))
		got, err := c.Find(ctx, r.Digest) // while the first query still runs
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
		close(answer)
		require.Zero(t, (<-early).Token.RevokedAt) // the first query started before the revocation
		got, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
	})
}

// A query on a dead connection may hang. Later calls for the key must start their own query.
func TestFindDoesNotJoinHangingQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: time.Second})
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		hang := make(chan struct{})
		interceptFind(s, func(context.Context, func() error) error {
			<-hang
			return errors.New("late")
		})
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.Find(impatient, r.Digest)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s.Intercept(nil)
		_, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		close(hang)
	})
}

// If the store panics, only one request must fail, and the process must continue.
func TestPanicOfStoreFailsOneRequest(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	interceptFind(s, func(context.Context, func() error) error { panic("key_12345") })
	_, err := c.Find(ctx, tokenauth.DigestOf("x"))
	require.ErrorContains(t, err, "panicked")
	require.NotContains(t, err.Error(), "key_12345")
	require.NotErrorIs(t, err, tokenauth.ErrNotFound)
}
