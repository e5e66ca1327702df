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

// Queries that run, and who waits for them.

// C7, C8: a thousand requests with one key at once are one query, which survives the
// client that came first.
func TestC7OneQueryForManyCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		answer := make(chan struct{})
		s.findBy(func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			select {
			case <-answer:
				return s.Store.Find(ctx, d)
			case <-ctx.Done():
				return nil, ctx.Err()
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
		require.EqualValues(t, 1, s.finds.Load())
	})
}

// C7: a call that saw nothing kept, and comes to ask just after another's query ended, takes
// what that one found.
func TestC7NoQueryAfterTheFirst(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	r := record("laptop")
	require.NoError(t, s.Create(ctx, r))
	_, err := c.Find(ctx, r.Digest)
	require.NoError(t, err)
	got, err := c.FindLate(ctx, r.Digest)
	require.NoError(t, err)
	require.Equal(t, r.Digest, got.Digest)
	require.EqualValues(t, 1, s.finds.Load(), "queries")
}

// A query that began before a revoke must not put back what it saw.
func TestWritesDetachRunningQueries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(nil)
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		seen, answer := make(chan struct{}), make(chan struct{})
		s.findBy(func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			found, err := s.Store.Find(ctx, d)
			close(seen)
			<-answer
			return found, err
		})
		early := make(chan *tokenauth.Record)
		go func() { found, _ := c.Find(ctx, r.Digest); early <- found }()
		<-seen
		s.findBy(nil)
		require.NoError(t, c.Revoke(ctx, "u", "laptop", start))
		got, err := c.Find(ctx, r.Digest) // while the other still runs
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
		close(answer)
		require.Zero(t, (<-early).Token.RevokedAt) // it began before
		got, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
	})
}

// A query that hangs, on a connection that nobody answers, must not hang the key.
func TestHangingQueryIsNotJoinedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: time.Second})
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		hang := make(chan struct{})
		s.findBy(func(context.Context, tokenauth.Digest) (*tokenauth.Record, error) {
			<-hang
			return nil, errors.New("late")
		})
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.Find(impatient, r.Digest)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s.findBy(nil)
		_, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		close(hang)
	})
}

// A bug in a store must cost one request, not the process.
func TestPanicOfTheStore(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	s.findBy(func(context.Context, tokenauth.Digest) (*tokenauth.Record, error) { panic("key_12345") })
	_, err := c.Find(ctx, tokenauth.DigestOf("x"))
	require.ErrorContains(t, err, "panicked")
	require.NotContains(t, err.Error(), "key_12345")
	require.NotErrorIs(t, err, tokenauth.ErrNotFound)
}
