package storecache_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// This file tests concurrent calls of Find that share a query.

// A thousand concurrent requests with one key must share one query. The query must continue for the
// other requests if the request that started it is canceled.
// Cases C7, C8.
func TestConcurrentCallsShareOneQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		answer := make(chan struct{})
		interceptFind(s, waitFor(answer))
		first, cancel := context.WithCancel(ctx)
		errs := make(chan error, 1000)
		find := func(ctx context.Context) { _, err := c.Find(ctx, r.Digest); errs <- err }
		go find(first)
		synctest.Wait()
		for range 999 {
			go find(ctx)
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-errs, context.Canceled)
		synctest.Wait()
		close(answer)
		for range 999 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, 1, s.Count("Find"))
	})
}

// waitFor returns a function for interceptFind. Each call of Find waits until answer is closed or
// the context ends.
func waitFor(answer <-chan struct{}) func(ctx context.Context, next func() error) error {
	return func(ctx context.Context, next func() error) error {
		select {
		case <-answer:
			return next()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// If all clients that wait for a query have disconnected, the query must end. Otherwise clients
// that give up and retry would fill the connection pool of a slow database.
// Case C8.
func TestQueryEndsWithItsLastCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		running := 0
		type valueKey struct{}
		interceptFind(s, func(ctx context.Context, _ func() error) error {
			running++
			defer func() { running-- }()
			require.Equal(t, "value", ctx.Value(valueKey{}), "the query has the context values of its first caller")
			<-ctx.Done()
			return ctx.Err()
		})
		var cancels []context.CancelFunc
		errs := make(chan error, 3)
		for range 3 {
			client, cancel := context.WithCancel(context.WithValue(ctx, valueKey{}, "value"))
			cancels = append(cancels, cancel)
			go func() { _, err := c.Find(client, r.Digest); errs <- err }()
		}
		for i, cancel := range cancels {
			synctest.Wait()
			require.Equal(t, 1, running, "after %d of 3 clients have disconnected", i)
			cancel()
			require.ErrorIs(t, <-errs, context.Canceled)
		}
		synctest.Wait()
		require.Zero(t, running)
		require.Zero(t, c.Running())

		s.Intercept(nil)
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
	})
}

// A client may arrive between the disconnect of the last waiting client and the end of the canceled
// query. The new client must not receive the error of the canceled query.
// Case C8.
func TestFindDoesNotJoinCanceledQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		interceptFind(s, func(ctx context.Context, next func() error) error {
			if s.Count("Find") > 1 {
				return next()
			}
			<-ctx.Done()
			time.Sleep(5 * time.Second) // the database takes a while to cancel the query
			return ctx.Err()
		})
		client, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.Find(client, r.Digest)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		time.Sleep(6 * time.Second)
		_, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.Equal(t, 2, s.Count("Find"), "queries")
	})
}

// If a store does not honor the context and never returns, callers must get an error within bounded
// time. The service then responds with 503.
func TestHangingStoreFailsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: time.Hour})
		hang := make(chan struct{})
		interceptFind(s, func(context.Context, func() error) error {
			<-hang
			return nil
		})
		begin := time.Now()
		_, err := c.Find(ctx, tokenauth.DigestOf("x"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, tokenauth.ErrNotFound)
		require.LessOrEqual(t, time.Since(begin), time.Minute)
		require.Zero(t, c.Running())
		close(hang)
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
		require.NoError(t, c.Revoke(ctx, "u", "laptop", start, ""))
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

// A query on a dead connection may hang. Later calls for the key must start their own query, even
// if the first client still waits.
func TestFindDoesNotJoinHangingQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: time.Second})
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		hang, first := make(chan struct{}), make(chan error)
		interceptFind(s, func(context.Context, func() error) error {
			<-hang
			return errors.New("late")
		})
		go func() { _, err := c.Find(ctx, r.Digest); first <- err }()
		time.Sleep(time.Second)
		s.Intercept(nil)
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
		close(hang)
		require.ErrorContains(t, <-first, "late")
	})
}

// A store that ends the goroutine of Find, as a fake with require does, must fail the request. An
// answer without an error would make the caller use a nil record.
func TestEndedGoroutineFailsRequest(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	interceptFind(s, func(context.Context, func() error) error { runtime.Goexit(); return nil })
	_, err := c.Find(ctx, tokenauth.DigestOf("x"))
	require.Error(t, err)
	require.NotErrorIs(t, err, tokenauth.ErrNotFound)
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
