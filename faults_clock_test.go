package tokenauth_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
)

// This file tests clocks that jump, stand still or differ, and the shutdown of a service.

const day = 24 * time.Hour

// Case F12. Expiry, grace periods and idleness follow the wall clock, even if it jumps
// forward or back by a day. LastUsedAt must not move backwards.
func TestF12ClockJumps(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: 2 * time.Hour, MaxTTL: 30 * day})
		short, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "an hour", ExpiresAt: start.Add(time.Hour)})
		old, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "rotated", ExpiresAt: start.Add(3 * day)})
		next, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		at := func(offset time.Duration) []bool {
			clock.Set(start.Add(offset))
			accepted := accepts(m, short, old, next.Reveal())
			require.NoError(t, m.Flush(ctx))
			return accepted
		}
		require.Equal(t, []bool{true, true, true}, at(0))
		require.Equal(t, []bool{true, true, true}, at(time.Hour-time.Microsecond))
		require.Equal(t, []bool{false, false, false}, at(day), "a day later, the tokens are expired, past their grace period or idle")
		require.Equal(t, []bool{true, true, true}, at(time.Hour-time.Microsecond), "after the clock is set back")
		require.Equal(t, []bool{true, true, true}, at(-day), "at a time before CreatedAt")
		require.Equal(t, start.Add(time.Hour-time.Microsecond), lastUse(t, store, token.ID))

		// Changes made while the clock is a day behind must take effect.
		behind, made := issue(t, m, tokenauth.Spec{UserID: "u", Name: "made a day ago", ExpiresAt: start.Add(-day + time.Hour)})
		require.Equal(t, []bool{true}, accepts(m, behind))
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(start.Add(2 * time.Hour))})
		require.NoError(t, err)
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "an hour"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		pruned, err := m.Prune(ctx, start.Add(day))
		require.NoError(t, err)
		require.Zero(t, pruned, "number of pruned tokens with a clock that is behind")
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []bool{true, false, false}, at(0))
		require.Equal(t, []bool{false}, accepts(m, behind))
		_, _, err = m.Rotate(ctx, "u", made.ID, time.Hour)
		require.ErrorIs(t, err, tokenauth.ErrConflict, "an expired token cannot be rotated")
	})
}

// Case F12. If Options.Now stands still, as in a suspended virtual machine, the Manager must
// still write last-used times. It takes the time of a write from another clock.
func TestF12ClockStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &touchedStore{Store: tokenauth.NewMemoryStore()}
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		for range 3 {
			require.Equal(t, []bool{true}, accepts(m, key))
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, start, lastUse(t, store, token.ID))
		}
		require.EqualValues(t, 1, store.calls.Load(), "calls of Touch for uses at the same instant")

		clock.Set(start.Add(-day)) // an earlier use does not change LastUsedAt
		require.Equal(t, []bool{true}, accepts(m, key))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, start, lastUse(t, store, token.ID))
	})
}

// Case F12. Two instances with one store have clocks that differ by 61 seconds. Each instance
// uses its own clock. Neither may undo a change of the other, and no key may be valid for
// more than 61 seconds too long.
func TestF12SkewedInstances(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		const skew = 61 * time.Second
		clock := newClock()
		behind := newManager(store, &tokenauth.Options{Now: clock.Now, MaxTTL: time.Hour})
		ahead := newManager(store, &tokenauth.Options{Now: func() time.Time { return clock.Now().Add(skew) }, MaxTTL: time.Hour})
		both := func(key string) [2]bool { return [2]bool{accepts(behind, key)[0], accepts(ahead, key)[0]} }

		minute, _ := issue(t, behind, tokenauth.Spec{UserID: "u", Name: "a minute", ExpiresAt: start.Add(time.Minute)})
		require.Equal(t, [2]bool{true, false}, both(minute))
		fresh, token := issue(t, ahead, tokenauth.Spec{UserID: "u", Name: "from the future"})
		require.Equal(t, [2]bool{true, true}, both(fresh))
		require.NoError(t, behind.Flush(ctx))
		require.Equal(t, start.Add(skew), lastUse(t, store, token.ID), "a use before CreatedAt counts as a use at CreatedAt")
		clock.Advance(10 * time.Minute)
		require.Equal(t, [2]bool{true, true}, both(fresh))
		require.NoError(t, ahead.Flush(ctx))
		require.NoError(t, behind.Flush(ctx))
		require.Equal(t, start.Add(10*time.Minute+skew), lastUse(t, store, token.ID), "an earlier use that is written later changes nothing")

		next, _, err := behind.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		require.Equal(t, [2]bool{true, false}, both(fresh), "the previous key during its grace period")
		require.Equal(t, [2]bool{true, true}, both(next.Reveal()))
		require.NoError(t, ahead.Revoke(ctx, "u", token.ID))
		require.Equal(t, [2]bool{false, false}, both(next.Reveal()), "immediately, even if RevokedAt is in the future for one instance")
		clock.Advance(-day)
		require.Equal(t, [2]bool{false, false}, both(next.Reveal()))
	})
}

// A slowTouch blocks each call of Touch until end is closed or the context is done.
type slowTouch struct {
	tokenauth.Store
	begun, end chan struct{}
}

func (s *slowTouch) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	s.begun <- struct{}{}
	select {
	case <-s.end:
		return s.Store.Touch(ctx, uses...)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Case F16. At shutdown, Flush must return by its deadline, must write all last-used times
// that it can, and must leave no goroutine. A goroutine that remains makes synctest fail.
func TestF16Flush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slowTouch{tokenauth.NewMemoryStore(), make(chan struct{}, 100), make(chan struct{})}
		var events recorder
		m := newManager(store, &tokenauth.Options{OnEvent: events.tell})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		other, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
		require.Equal(t, []bool{true}, accepts(m, key))
		used := time.Now()
		events.take()

		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var calls sync.WaitGroup
		for range 3 { // only one of the calls writes
			calls.Go(func() { require.ErrorIs(t, m.Flush(limited), context.DeadlineExceeded) })
		}
		<-store.begun
		require.Equal(t, []bool{true}, accepts(m, other), "a request during the flush")
		calls.Wait()
		require.Equal(t, used.Add(5*time.Second), time.Now())
		require.ErrorIs(t, m.Flush(limited), context.DeadlineExceeded, "a flush after the deadline")
		require.Zero(t, lastUse(t, store, token.ID))
		told := events.take()
		require.Len(t, told, 1)
		require.Equal(t, tokenauth.EventFlushFailed, told[0].Kind)

		close(store.end)
		require.NoError(t, m.Flush(ctx))
		require.NoError(t, m.Flush(ctx), "a second flush")
		require.WithinDuration(t, used, lastUse(t, store, token.ID), time.Microsecond)
		time.Sleep(time.Hour)
		require.Equal(t, []bool{true}, accepts(m, key), "a request after the flush")
		used = time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.WithinDuration(t, used, lastUse(t, store, token.ID), time.Microsecond, "the last-used time of a request after the flush")
	})
}

// Case F16. The store and the database may be closed in either order, and more than once.
// Later requests must get 503, not 401.
func TestF16Close(t *testing.T) { // not parallel, because it searches for leaked resources
	for name, databaseFirst := range map[string]bool{"store first": false, "database first": true} {
		before := leaktest.TakeStock()
		db := openSQLite(t)
		store := newSQLiteStore(t, db, nil)
		var events recorder
		m := newManager(store, &tokenauth.Options{OnEvent: events.tell})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
		require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code, name)
		require.NoError(t, m.Flush(ctx))
		require.NotZero(t, lastUse(t, store, token.ID))
		if !databaseFirst {
			require.NoError(t, store.Close())
			require.NoError(t, store.Close())
			require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code, "SQLStore.Close closes only the prepared statement")
		}
		require.NoError(t, db.Close())
		require.NoError(t, store.Close())
		require.NoError(t, store.Close())
		events.take()
		require.Equal(t, http.StatusServiceUnavailable, get(h, "Bearer "+key).Code, name)
		require.Len(t, events.take(), 1)
		requireUnavailable(t, m.Revoke(ctx, "u", token.ID), name)
		require.NoError(t, m.Flush(ctx), "there are no unwritten uses")
		require.Empty(t, before.Left(), name)
	}
}
