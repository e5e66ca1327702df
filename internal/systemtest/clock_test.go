package systemtest_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// The tests in this file cover three faults: a clock that jumps, a clock that stands still, and
// instances of a service whose clocks differ. Other tests in this file cover the shutdown of a
// service.

const day = 24 * time.Hour

// The Manager must check the expiry, the grace period and the idle timeout by the time that
// Options.Now returns. This must hold even if that time jumps by a day. A jump backward must not
// move LastUsedAt backward. Case F12.
func TestClockJumpsDecideExpiry(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: 2 * time.Hour, MaxTTL: 30 * day})
		short, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "an hour", ExpiresAt: fixture.Start.Add(time.Hour)})
		old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "rotated", ExpiresAt: fixture.Start.Add(3 * day)})
		next, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		at := func(offset time.Duration) []bool {
			clock.Set(fixture.Start.Add(offset))
			accepted := fixture.Accepts(m, short, old, next.Reveal())
			require.NoError(t, m.Flush(ctx))
			return accepted
		}
		require.Equal(t, []bool{true, true, true}, at(0))
		require.Equal(t, []bool{true, true, true}, at(time.Hour-time.Microsecond))
		require.Equal(t, []bool{false, false, false}, at(day), "one day later, key 1 has expired, the grace period of key 2 is over, and key 3 is idle")
		require.Equal(t, []bool{true, true, true}, at(time.Hour-time.Microsecond), "the Manager must accept the keys again after the clock is set back by a day")
		require.Equal(t, []bool{true, true, true}, at(-day), "the Manager must accept the keys if the clock shows a time before CreatedAt")
		require.Equal(t, fixture.Start.Add(time.Hour-time.Microsecond), fixture.LastUse(t, store, token.ID))

		// Changes must take effect even if the Manager makes them while its clock is one day
		// behind.
		behind, made := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "made a day ago", ExpiresAt: fixture.Start.Add(-day + time.Hour)})
		require.Equal(t, []bool{true}, fixture.Accepts(m, behind))
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(2 * time.Hour))})
		require.NoError(t, err)
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "an hour"})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		pruned, err := m.Prune(ctx, fixture.Start.Add(day))
		require.NoError(t, err)
		require.Zero(t, pruned, "Prune must delete no token, because no token has expired by the clock that is a day behind")
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []bool{true, false, false}, at(0))
		require.Equal(t, []bool{false}, fixture.Accepts(m, behind))
		_, _, err = m.Rotate(ctx, "u", made.ID, time.Hour)
		require.ErrorIs(t, err, tokenauth.ErrConflict, "Rotate must refuse to rotate an expired token")
	})
}

// If Options.Now always returns the same time, the Manager must still write last-used times. The
// clock of a suspended virtual machine can stand still in this way. The Manager starts each write
// by a timer, which does not depend on Options.Now. Case F12.
func TestStoppedClockDoesNotStopWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fixture.NewStore()
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		for range 3 {
			require.Equal(t, []bool{true}, fixture.Accepts(m, key))
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, fixture.Start, fixture.LastUse(t, store, token.ID))
		}
		require.Equal(t, 1, store.Count("Touch"), "Touch must be called only once for three uses that have the same time")

		// A use that is earlier than LastUsedAt must not change LastUsedAt.
		clock.Set(fixture.Start.Add(-day))
		require.Equal(t, []bool{true}, fixture.Accepts(m, key))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, fixture.Start, fixture.LastUse(t, store, token.ID))
	})
}

// Two instances of a service share a store, but their clocks differ by 61 seconds. Neither instance
// may undo a change that the other one has made. Neither instance may accept a key more than 61
// seconds after the key expired. Case F12.
func TestSkewedInstancesUndoNoChange(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		const skew = 61 * time.Second
		clock := fixture.NewClock()
		behind := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxTTL: time.Hour})
		ahead := fixture.NewManager(store, &tokenauth.Options{Now: func() time.Time { return clock.Now().Add(skew) }, MaxTTL: time.Hour})
		both := func(key string) [2]bool {
			return [2]bool{fixture.Accepts(behind, key)[0], fixture.Accepts(ahead, key)[0]}
		}

		minute, _ := fixture.Issue(t, behind, tokenauth.Spec{UserID: "u", Name: "a minute", ExpiresAt: fixture.Start.Add(time.Minute)})
		require.Equal(t, [2]bool{true, false}, both(minute))
		fresh, token := fixture.Issue(t, ahead, tokenauth.Spec{UserID: "u", Name: "from the future"})
		require.Equal(t, [2]bool{true, true}, both(fresh))
		require.NoError(t, behind.Flush(ctx))
		require.Equal(t, fixture.Start.Add(skew), fixture.LastUse(t, store, token.ID), "LastUsedAt must be CreatedAt if the clock shows an earlier time than CreatedAt")
		clock.Advance(10 * time.Minute)
		require.Equal(t, [2]bool{true, true}, both(fresh))
		require.NoError(t, ahead.Flush(ctx))
		require.NoError(t, behind.Flush(ctx))
		require.Equal(t, fixture.Start.Add(10*time.Minute+skew), fixture.LastUse(t, store, token.ID), "an instance must not replace LastUsedAt by an earlier time")

		next, _, err := behind.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		require.Equal(t, [2]bool{true, false}, both(fresh), "the grace period of the previous key is over only on the instance whose clock is ahead")
		require.Equal(t, [2]bool{true, true}, both(next.Reveal()))
		require.NoError(t, ahead.Revoke(ctx, "u", token.ID))
		require.Equal(t, [2]bool{false, false}, both(next.Reveal()), "both instances must reject the revoked key, even if RevokedAt is in the future for one of them")
		clock.Advance(-day)
		require.Equal(t, [2]bool{false, false}, both(next.Reveal()))
	})
}

// At shutdown, Flush must return by the deadline of its context and must leave no goroutine. If
// Flush fails, the next Flush must write the last-used times that are still pending. If a goroutine
// remains, synctest fails the test. Case F16.
func TestFlushReturnsByDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, begun, end := fixture.NewStore(), make(chan struct{}, 100), make(chan struct{})
		store.Intercept(func(ctx context.Context, method string, next func() error) error {
			if method != "Touch" {
				return next()
			}
			begun <- struct{}{}
			select {
			case <-end:
				return next()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
		require.Equal(t, []bool{true}, fixture.Accepts(m, key))
		used := time.Now()
		events.Take()

		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var calls sync.WaitGroup
		for range 3 { // only one of the three concurrent calls writes to the store
			calls.Go(func() { require.ErrorIs(t, m.Flush(limited), context.DeadlineExceeded) })
		}
		<-begun
		require.Equal(t, []bool{true}, fixture.Accepts(m, other), "the Manager must accept a request while Flush runs")
		calls.Wait()
		require.Equal(t, used.Add(5*time.Second), time.Now())
		require.ErrorIs(t, m.Flush(limited), context.DeadlineExceeded, "Flush must fail if the deadline of its context is over")
		require.Zero(t, fixture.LastUse(t, store, token.ID))
		told := events.Take()
		require.Len(t, told, 1)
		require.Equal(t, tokenauth.EventFlushFailed, told[0].Kind)

		close(end)
		require.NoError(t, m.Flush(ctx))
		require.NoError(t, m.Flush(ctx), "Flush must succeed if no last-used time is pending")
		require.WithinDuration(t, used, fixture.LastUse(t, store, token.ID), time.Microsecond)
		time.Sleep(time.Hour)
		require.Equal(t, []bool{true}, fixture.Accepts(m, key), "the Manager must accept a request after Flush")
		used = time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.WithinDuration(t, used, fixture.LastUse(t, store, token.ID), time.Microsecond, "the Manager must write the last-used time of a request that came after Flush")
	})
}

// A service may close the store and the database in either order, and the store more than once.
// After the database is closed, requests must get status 503. With status 401, clients would
// discard valid keys. The test is not parallel, because it would find the open resources of other
// tests. Case F16.
func TestStoreClosesInAnyOrder(t *testing.T) {
	for name, databaseFirst := range map[string]bool{"store first": false, "database first": true} {
		before := leak.TakeStock()
		db := sqlite.New(t)
		store := sqlite.NewStore(t, db, nil)
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
		require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code, name)
		require.NoError(t, m.Flush(ctx))
		require.NotZero(t, fixture.LastUse(t, store, token.ID))
		if !databaseFirst {
			require.NoError(t, store.Close())
			require.NoError(t, store.Close())
			require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code, "requests must succeed after SQLStore.Close, which closes only the prepared statement")
		}
		require.NoError(t, db.Close())
		require.NoError(t, store.Close())
		require.NoError(t, store.Close())
		events.Take()
		require.Equal(t, http.StatusServiceUnavailable, fixture.Get(h, "Bearer "+key).Code, name)
		require.Len(t, events.Take(), 1)
		requireUnavailable(t, m.Revoke(ctx, "u", token.ID), name)
		require.NoError(t, m.Flush(ctx), "Flush must succeed, because no last-used time is pending")
		require.Empty(t, before.Left(), name)
	}
}
