package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A touchedStore counts the calls of Touch. If fails is set, Touch returns an error.
type touchedStore struct {
	tokenauth.Store
	calls atomic.Int64
	most  atomic.Int64 // largest number of uses in one call
	fails atomic.Bool
}

var errReadOnly = errors.New("read-only")

func (s *touchedStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	s.calls.Add(1)
	s.most.Store(max(s.most.Load(), int64(len(uses))))
	if s.fails.Load() {
		return errReadOnly
	}
	return s.Store.Touch(ctx, uses...)
}

func lastUse(t *testing.T, s tokenauth.Store, id string) time.Time {
	t.Helper()
	records, err := s.List(ctx, tokenauth.Query{AllUsers: true, IDs: []string{id}})
	require.NoError(t, err)
	require.Len(t, records, 1)
	return records[0].Token.LastUsedAt
}

// The stored LastUsedAt must be at most TouchEvery behind the last use, so that users see
// which tokens are in use. The Manager must write it seldom.
func TestLastUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &touchedStore{Store: tokenauth.NewMemoryStore()}
		m := newManager(store, &tokenauth.Options{TouchEvery: time.Minute})
		h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})

		require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
		require.Zero(t, store.calls.Load(), "calls of Touch during a request")
		first := time.Now()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.WithinDuration(t, first, lastUse(t, store, token.ID), time.Microsecond)

		for range 860 { // for ten minutes; the interval avoids requests at the instant of a write
			time.Sleep(700 * time.Millisecond)
			require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
			require.LessOrEqual(t, time.Since(lastUse(t, store, token.ID)), time.Minute+time.Second) // plus the time until the next request
		}
		require.LessOrEqual(t, store.calls.Load(), int64(12))
		before := store.calls.Load()
		time.Sleep(time.Hour)
		require.LessOrEqual(t, store.calls.Load(), before+1, "calls of Touch while no token is used")
	})
}

// If many tokens are in use, one statement must record the uses of many tokens.
func TestLastUseOfManyTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &touchedStore{Store: tokenauth.NewMemoryStore()}
		m := newManager(store, nil)
		var keys, ids []string
		for i := range 500 {
			key, token := issue(t, m, tokenauth.Spec{UserID: fmt.Sprint(i), Name: "laptop"})
			keys, ids = append(keys, key), append(ids, token.ID)
		}
		for range 3 {
			for _, key := range keys {
				_, err := m.Authenticate(ctx, key)
				require.NoError(t, err)
			}
		}
		require.NoError(t, m.Flush(ctx))
		require.LessOrEqual(t, store.calls.Load(), int64(2), "calls of Touch for 500 tokens")
		require.LessOrEqual(t, store.most.Load(), int64(500))
		for _, id := range ids {
			require.NotZero(t, lastUse(t, store, id))
		}
		time.Sleep(time.Hour)
	})
}

// If the database refuses writes, no request must fail. The Manager must keep the
// last-used times and write them later.
func TestLastUseSurvivesFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &touchedStore{Store: tokenauth.NewMemoryStore()}
		store.fails.Store(true)
		var failures atomic.Int64
		m := newManager(store, &tokenauth.Options{IdleTimeout: time.Hour, OnEvent: func(_ context.Context, e tokenauth.Event) {
			if e.Kind == tokenauth.EventFlushFailed && errors.Is(e.Err, errReadOnly) {
				failures.Add(1)
			}
		}})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		for range 20 { // more than three hours
			time.Sleep(10 * time.Minute)
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, err, "the Manager counts uses that it has not written yet")
		}
		require.Positive(t, failures.Load())
		require.Zero(t, lastUse(t, store, token.ID))
		used := time.Now()
		require.ErrorIs(t, m.Flush(ctx), errReadOnly)
		store.fails.Store(false)
		require.NoError(t, m.Flush(ctx))
		require.WithinDuration(t, used, lastUse(t, store, token.ID), 10*time.Minute)
	})
}

// A token that is not used for IdleTimeout must expire.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		var reasons []tokenauth.Reason
		m := newManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, OnEvent: func(_ context.Context, e tokenauth.Event) {
			if e.Kind == tokenauth.EventRejected {
				reasons = append(reasons, e.Reason)
			}
		}})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		use := func(at time.Duration) error {
			clock.Set(start.Add(at))
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, m.Flush(ctx))
			return noted(err)
		}
		require.NoError(t, use(59*time.Minute), "a new token that was never used")
		require.NoError(t, use(118*time.Minute))
		require.NoError(t, use(118*time.Minute+time.Hour-time.Microsecond))
		err := use(300 * time.Minute)
		require.ErrorIs(t, err, tokenauth.ErrExpired)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		require.Equal(t, http.StatusUnauthorized, tokenauth.StatusCode(err))
		require.Equal(t, []tokenauth.Reason{tokenauth.ReasonIdle}, reasons)

		_, _, err = m.Rotate(ctx, "u", token.ID, 0)
		require.ErrorIs(t, err, tokenauth.ErrConflict, "the new key of an idle token would be rejected")
	})
}

func TestOptionsOfLastUse(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]tokenauth.Options{
		"negative idle timeout":       {IdleTimeout: -1},
		"idle before a use is seen":   {IdleTimeout: time.Minute},
		"idle, and uses not recorded": {IdleTimeout: time.Hour, TouchEvery: -1},
		"idle, and seldom recorded":   {IdleTimeout: time.Hour, TouchEvery: 31 * time.Minute},
	} {
		require.Panics(t, func() { tokenauth.New(tokenauth.NewMemoryStore(), "acme", &opts) }, name)
	}
	synctest.Test(t, func(t *testing.T) {
		store := &touchedStore{Store: tokenauth.NewMemoryStore()}
		m := newManager(store, &tokenauth.Options{TouchEvery: -1})
		key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		_, err := m.Authenticate(ctx, key)
		require.NoError(t, err)
		require.NoError(t, m.Flush(ctx))
		time.Sleep(time.Hour)
		require.Zero(t, store.calls.Load())
	})
}

// Case Q3. Many concurrent requests use one key while the Manager writes its last-used time,
// for the race detector.
func TestLastUseConcurrently(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, &tokenauth.Options{TouchEvery: 2 * time.Millisecond})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		var calls sync.WaitGroup
		for range 64 {
			calls.Go(func() {
				for range 20 {
					if _, err := m.Authenticate(ctx, key); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calls.Wait()
		require.NoError(t, m.Flush(ctx))
		require.NotZero(t, lastUse(t, store, token.ID))
	})
}
