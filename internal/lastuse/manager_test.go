package lastuse_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

var errReadOnly = errors.New("read-only")

// The stored LastUsedAt must be at most TouchEvery older than the latest request with the token.
// Otherwise users could not see which tokens are in use. The Manager must not call Touch for every
// request.
func TestLastUseIsWrittenInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: time.Minute})
		h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})

		require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
		require.Zero(t, store.Count("Touch"), "the Manager must not call Touch during a request")
		first := time.Now()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.WithinDuration(t, first, fixture.LastUse(t, store, token.ID), time.Microsecond)

		for range 860 { // 10 minutes of requests, none of them at the instant of a Touch call
			time.Sleep(700 * time.Millisecond)
			require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
			require.LessOrEqual(t, time.Since(fixture.LastUse(t, store, token.ID)), time.Minute+time.Second) // one second allows for the pause between requests
		}
		require.LessOrEqual(t, store.Count("Touch"), 12)
		before := store.Count("Touch")
		time.Sleep(time.Hour)
		require.LessOrEqual(t, store.Count("Touch"), before+1, "the Manager must call Touch at most once more when no token is used")
	})
}

// One call of Touch must write the last-used times of many tokens. Otherwise the database would
// execute one statement per token.
func TestOneTouchWritesManyLastUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		m := fixture.NewManager(store, nil)
		var keys, ids []string
		for i := range 500 {
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: fmt.Sprint(i), Name: "laptop"})
			keys, ids = append(keys, key), append(ids, token.ID)
		}
		for range 3 {
			for _, key := range keys {
				_, err := m.Authenticate(t.Context(), key)
				require.NoError(t, err)
			}
		}
		require.NoError(t, m.Flush(t.Context()))
		require.LessOrEqual(t, store.Count("Touch"), 2, "number of Touch calls that wrote the last-used times of 500 tokens")
		for _, id := range ids {
			require.NotZero(t, fixture.LastUse(t, store, id))
		}
		time.Sleep(time.Hour)
	})
}

// If the database refuses writes, requests must still succeed. The Manager must keep the last-used
// times in memory, and write them when the database accepts writes again.
func TestLastUseSurvivesFailedWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "Touch" {
				return errReadOnly
			}
			return next()
		})
		var failures atomic.Int64
		m := fixture.NewManager(store, &tokenauth.Options{IdleTimeout: time.Hour, OnEvent: func(_ context.Context, e tokenauth.Event) {
			if e.Kind == tokenauth.EventFlushFailed && errors.Is(e.Err, errReadOnly) {
				failures.Add(1)
			}
		}})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		for range 20 { // the loop takes more than three hours, and IdleTimeout is one hour
			time.Sleep(10 * time.Minute)
			_, err := m.Authenticate(t.Context(), key)
			require.NoError(t, err, "a token with a recent request must not expire, even if its last-used time is not written yet")
		}
		require.Positive(t, failures.Load())
		require.Zero(t, fixture.LastUse(t, store, token.ID))
		used := time.Now()
		require.ErrorIs(t, m.Flush(t.Context()), errReadOnly)
		store.Intercept(nil)
		require.NoError(t, m.Flush(t.Context()))
		require.WithinDuration(t, used, fixture.LastUse(t, store, token.ID), 10*time.Minute)
	})
}

// A token must expire if no request uses it for IdleTimeout.
func TestIdleTokenExpires(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		var reasons []tokenauth.Reason
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, OnEvent: func(_ context.Context, e tokenauth.Event) {
			if e.Kind == tokenauth.EventRejected {
				reasons = append(reasons, e.Reason)
			}
		}})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		use := func(at time.Duration) error {
			clock.Set(fixture.Start.Add(at))
			_, err := m.Authenticate(t.Context(), key)
			require.NoError(t, m.Flush(t.Context()))
			return fixture.Noted(err)
		}
		require.NoError(t, use(59*time.Minute), "IdleTimeout of an unused token counts from its creation")
		require.NoError(t, use(118*time.Minute))
		require.NoError(t, use(118*time.Minute+time.Hour-time.Microsecond))
		err := use(300 * time.Minute)
		require.ErrorIs(t, err, tokenauth.ErrExpired)
		require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		require.Equal(t, http.StatusUnauthorized, tokenauth.StatusCode(err))
		require.Equal(t, []tokenauth.Reason{tokenauth.ReasonIdle}, reasons)

		_, _, err = m.Rotate(t.Context(), "u", token.ID, 0)
		require.ErrorIs(t, err, tokenauth.ErrConflict, "Rotate must refuse a token that exceeded IdleTimeout, because its new key would be rejected")
	})
}

// A token that exceeded IdleTimeout must count as expired for every method. Otherwise it would hold
// its name and its place forever, although its key is refused.
func TestIdleTokenCountsAsExpired(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, MaxPerUser: 2})
		_, idle := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		_, other := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "other"})
		require.False(t, m.Expired(&idle))

		// Last-used times may arrive late, so for 2 × TouchEvery the token is refused, but not revoked.
		clock.Set(fixture.Start.Add(time.Hour + 2*time.Minute - time.Microsecond))
		require.True(t, m.Expired(&idle))
		_, err := m.Update(t.Context(), "u", idle.ID, tokenauth.Patch{Name: new("renamed")})
		require.ErrorIs(t, err, tokenauth.ErrConflict)
		_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "laptop"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "phone"})
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
		n, err := m.Prune(t.Context(), clock.Now())
		require.NoError(t, err)
		require.Zero(t, n)

		clock.Set(fixture.Start.Add(time.Hour + 2*time.Minute))
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		revoked, err := m.Get(t.Context(), "u", idle.ID)
		require.NoError(t, err)
		require.NotZero(t, revoked.RevokedAt, "the idle token makes room for its name")
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
		revoked, err = m.Get(t.Context(), "u", other.ID)
		require.NoError(t, err)
		require.NotZero(t, revoked.RevokedAt, "the idle token makes room for another token")
	})
}

// Prune must delete idle tokens, but only if they became idle before the given time, and no token
// in use. The number of tokens exceeds the number of rows that a store reads per statement.
func TestPruneDeletesIdleTokens(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, MaxPerUser: -1})
		var records []tokenauth.Record
		used := map[string]bool{}
		for i := range 2500 {
			r := fixture.NewRecord(fmt.Sprint(i))
			r.Token.CreatedAt = fixture.Start.Add(time.Duration(i) * time.Millisecond)
			if i%100 == 99 {
				r.Token.LastUsedAt, used[r.Token.ID] = fixture.Start.Add(2*time.Hour), true
			}
			records = append(records, r)
		}
		for part := range slices.Chunk(records, 500) {
			require.NoError(t, store.Create(t.Context(), part...))
		}
		clock.Set(fixture.Start.Add(2*time.Hour + 30*time.Minute))
		n, err := m.Prune(t.Context(), fixture.Start.Add(time.Hour+500*time.Millisecond))
		require.NoError(t, err)
		require.Equal(t, 501-5, n, "501 tokens were created until then, and 5 of them were used later")
		n, err = m.Prune(t.Context(), clock.Now())
		require.NoError(t, err)
		live, err := m.List(t.Context(), tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Len(t, live, len(used))
		for _, token := range live {
			require.True(t, used[token.ID])
		}
		require.Positive(t, n)
	})
}

// If the last-used times of this process cannot be written, the store does not know which tokens
// are in use. Then no idle token may be revoked or deleted, because that cannot be undone.
func TestUnwrittenUseKeepsIdleToken(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	store := fixture.NewStore()
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, MaxPerUser: 1})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
	clock.Advance(50 * time.Minute)
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Touch" {
			return errReadOnly
		}
		return next()
	})
	require.Equal(t, []bool{true}, fixture.Accepts(m, key))
	stranger := fixture.NewRecord("stranger") // another process may have uses of this token
	require.NoError(t, store.Create(t.Context(), stranger))
	clock.Advance(10 * time.Hour)
	_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "phone"})
	require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
	n, err := m.Prune(t.Context(), clock.Now())
	require.NoError(t, err)
	require.Zero(t, n)
	store.Intercept(nil)
	fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
	token, err = m.Get(t.Context(), "u", token.ID)
	require.NoError(t, err)
	require.NotZero(t, token.RevokedAt)
	require.Equal(t, fixture.Start.Add(50*time.Minute), token.LastUsedAt, "the last-used times are written before a token is revoked as idle")
}

// Issue waits only briefly for the last-used times of other users, and a client that disconnects
// must not abort their write.
func TestIssueFlushesIndependentlyOfClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		m := fixture.NewManager(store, &tokenauth.Options{IdleTimeout: time.Hour, TouchEvery: 29 * time.Minute})
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "idle"})
		time.Sleep(110 * time.Minute)
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "v", Name: "used"})
		time.Sleep(15 * time.Minute)
		require.Equal(t, []bool{true}, fixture.Accepts(m, key))
		client, disconnect := context.WithCancel(t.Context())
		store.Intercept(func(ctx context.Context, method string, next func() error) error {
			if method == "Touch" {
				disconnect()
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return next()
		})
		_, _, err := m.Issue(client, tokenauth.Spec{UserID: "u", Name: "idle"})
		require.ErrorIs(t, err, context.Canceled)
		require.NotZero(t, fixture.LastUse(t, store, token.ID))

		time.Sleep(15 * time.Minute)
		require.Equal(t, []bool{true}, fixture.Accepts(m, key))
		store.Intercept(func(ctx context.Context, method string, next func() error) error {
			if method == "Touch" {
				<-ctx.Done()
				return ctx.Err()
			}
			return next()
		})
		begin := time.Now()
		_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "idle"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.Equal(t, 2*time.Second, time.Since(begin))
		store.Intercept(nil)
		require.NoError(t, m.Close(t.Context()))
	})
}

// If more tokens are used than a process can remember while the database refuses writes, the store
// does not know which tokens are in use. Prune must then delete no idle token.
func TestForgottenUseKeepsIdleToken(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("creates 34,000 tokens")
	}
	clock := fixture.NewClock()
	store := fixture.NewStore()
	// The leak search does not know these keys, because a search for so many takes too long.
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour, MaxPerUser: -1}))
	var keys []tokenauth.Key
	for i := range 34_000 {
		key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: fmt.Sprint(i), Name: "n"})
		require.NoError(t, err)
		keys = append(keys, key)
	}
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Touch" {
			return errReadOnly
		}
		return next()
	})
	clock.Advance(50 * time.Minute)
	for _, key := range keys {
		_, err := m.Authenticate(t.Context(), key.Reveal())
		require.NoError(t, err)
	}
	store.Intercept(nil)
	clock.Advance(14 * time.Minute)
	n, err := m.Prune(t.Context(), clock.Now())
	require.NoError(t, err)
	require.Zero(t, n)
}

// Each store must receive the last-used times of its own tokens. Otherwise keys that are in use
// would be refused after IdleTimeout.
func TestEachStoreReceivesItsOwnLastUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := fixture.NewStore(), fixture.NewStore()
		m := fixture.NewManager(first, &tokenauth.Options{IdleTimeout: time.Hour})
		other := m.WithStore(second, nil)
		key, token := fixture.Issue(t, other, tokenauth.Spec{UserID: "u", Name: "laptop"})
		for range 10 {
			time.Sleep(50 * time.Minute)
			require.Equal(t, []bool{true}, fixture.Accepts(other, key))
		}
		synctest.Wait()
		require.NoError(t, m.Flush(t.Context()))
		require.NoError(t, other.Flush(t.Context()))
		require.Equal(t, time.Now().UTC(), fixture.LastUse(t, second, token.ID))
		require.Zero(t, first.Count("Touch"))
		require.Equal(t, []bool{true}, fixture.Accepts(other, key))
		require.NoError(t, other.Close(t.Context()))
		require.NoError(t, m.Close(t.Context()))
	})
}

// If TouchEvery is negative, the Manager must not write last-used times.
func TestNegativeTouchEveryDisablesLastUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: -1})
		key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		_, err := m.Authenticate(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, m.Flush(t.Context()))
		time.Sleep(time.Hour)
		require.Zero(t, store.Count("Touch"))
	})
}

// 64 goroutines use one key while the Manager writes the last-used time of its token. No call may
// fail, and the race detector must find no data race.
func TestConcurrentUsesAreRecorded(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: 2 * time.Millisecond})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		var calls sync.WaitGroup
		for range 64 {
			calls.Go(func() {
				for range 20 {
					if _, err := m.Authenticate(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calls.Wait()
		require.NoError(t, m.Flush(t.Context()))
		require.NotZero(t, fixture.LastUse(t, store, token.ID))
	})
}

// Close must write all pending last-used times. After Close, the Manager must not call Touch,
// because a service closes the database next.
func TestNoTouchAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		_, err := m.Authenticate(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, m.Close(t.Context()))
		require.NotZero(t, fixture.LastUse(t, store, token.ID))

		store.ResetCalls()
		events.Take()
		time.Sleep(time.Hour)
		_, err = m.Authenticate(t.Context(), key)
		require.NoError(t, err, "Authenticate must still work after Close")
		time.Sleep(time.Hour)
		require.Equal(t, []string{"Find"}, store.Calls(), "the Manager must not call Touch after Close")
		store.Fail(errors.New("closed"))
		require.NoError(t, m.Close(t.Context()), "a second Close must not call the store")
		require.Empty(t, events.Take())
	})
	require.NoError(t, fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{TouchEvery: -1}).Close(t.Context()))
}
