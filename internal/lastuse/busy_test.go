package lastuse

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// This file tests a Tracker of a busy service, and of a service whose database fails for long.

// A service authenticates 10,000 distinct tokens per second for 60 seconds. One write is slow, or
// all writes of a second fail. The Tracker must not drop any last-used time, and must write each
// within twice TouchEvery. Otherwise tokens in use would expire as idle.
func TestBusyServiceLosesNoUse(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 600,000 requests per case")
	}
	t.Parallel()
	const touchEvery, tokens = time.Minute, 600_000
	for name, tt := range map[string]struct {
		usual, slow time.Duration // durations of a write
		failing     time.Duration // time for which all writes fail
	}{
		"usual write of 5 ms, slow write of 300 ms":       {5 * time.Millisecond, 300 * time.Millisecond, 0},
		"usual write of 40 ms, slow write of 300 ms":      {40 * time.Millisecond, 300 * time.Millisecond, 0},
		"usual write of 5 ms, slow write of 2 s":          {5 * time.Millisecond, 2 * time.Second, 0},
		"usual write of 5 ms, failed writes for 1 second": {5 * time.Millisecond, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				trouble, slow := time.Now().Add(10*time.Second), false
				restarting := errors.New("the database restarts")
				var lag time.Duration
				written := map[string]bool{}
				uses := New(touchEvery/2, func(_ context.Context, latest map[string]time.Time) error {
					since := time.Since(trouble)
					if since >= 0 && since < tt.failing {
						return restarting
					}
					if since >= 0 && !slow {
						slow = true
						time.Sleep(tt.slow)
					}
					time.Sleep(tt.usual)
					for id, at := range latest {
						lag = max(lag, time.Since(at))
						written[id] = true
					}
					return nil
				}, func(err error) { require.Equal(t, restarting, err) })
				for i := range tokens {
					uses.Note(strconv.Itoa(i), time.Time{}, time.Now())
					if i%100 == 99 {
						time.Sleep(10 * time.Millisecond)
					}
				}
				require.NoError(t, uses.Close(t.Context()))
				require.True(t, slow)
				require.Zero(t, uses.Dropped())
				require.Len(t, written, tokens)
				require.Less(t, lag, 10*time.Second, "greatest time from a use to its write")
			})
		})
	}
}

// A service that authenticates new tokens all the time cannot write for five minutes. The Tracker
// must keep a bounded number of tokens, must not flood the database with retries, and must write
// again soon after the database has recovered. Otherwise it would drop last-used times for longer
// than necessary.
func TestTrackerRecoversQuickly(t *testing.T) {
	if testing.Short() {
		t.Skip("keeps many tokens during 30 writes")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(30 * time.Minute)
		rows.fail(errors.New("read-only"))
		next := 0
		note := func(n int, pause time.Duration) {
			for range n {
				uses.Note(strconv.Itoa(next), time.Time{}, time.Now())
				next++
				time.Sleep(pause)
			}
		}
		note(most, 0)
		note(300, time.Second)
		synctest.Wait() // a write may begin at this time
		written, calls, told := rows.seen()
		require.Empty(t, written)
		require.LessOrEqual(t, len(calls), 300/int(maxRetry/time.Second)+10)
		require.Equal(t, len(calls), told)
		require.Len(t, uses.pending, most)
		require.NotZero(t, uses.Dropped())

		rows.fail(nil)
		note(int(maxRetry/time.Second), time.Second)
		synctest.Wait() // the retry may be due at this time
		written, _, _ = rows.seen()
		require.GreaterOrEqual(t, len(written), most)
		dropped := uses.Dropped()
		note(1000, time.Second)
		require.Equal(t, dropped, uses.Dropped())
		require.NoError(t, uses.Close(ctx))
	})
}

// A service closes its database but not its Manager, and the process continues. The Tracker must
// not report failures regularly. When the database works again, a new use must restart the writes.
func TestQuietTrackerRarelyRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(30 * time.Second)
		begin := time.Now()
		uses.Note("a", time.Time{}, begin)
		rows.fail(errors.New("sql: database is closed"))
		time.Sleep(24 * time.Hour)
		_, _, first := rows.seen()
		require.Greater(t, first, 5, "retries on the first day")
		require.LessOrEqual(t, first, 150, "retries on the first day, most of them in the first hour")
		time.Sleep(30 * 24 * time.Hour)
		_, _, all := rows.seen()
		require.LessOrEqual(t, all-first, 31, "retries in the next month")
		require.GreaterOrEqual(t, all-first, 25, "retries in the next month")
		require.True(t, begin.Equal(uses.Latest("a")), "a token in use must not expire as idle")

		rows.fail(nil)
		uses.Note("b", time.Time{}, time.Now())
		time.Sleep(maxRetry)
		synctest.Wait()
		written, _, _ := rows.seen()
		require.Len(t, written, 2)
		time.Sleep(time.Hour) // a timer that still runs would fire now
		_, calls, told := rows.seen()
		require.Equal(t, told+1, len(calls))
	})
}

// A token that is used once during a short outage must be written soon after the outage, although
// no token is used any more. Otherwise another process could judge the token as idle.
func TestUseIsWrittenSoonAfterOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(30 * time.Second)
		rows.fail(errors.New("read-only"))
		uses.Note("a", time.Time{}, time.Now())
		time.Sleep(45 * time.Minute)
		rows.fail(nil)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		written, _, _ := rows.seen()
		require.Len(t, written, 1)
		require.NoError(t, uses.Close(ctx))
	})
}

// After a failure, the time until the next write must be the usual delay again.
func TestDelayIsUsualAfterRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		rows.fail(errors.New("read-only"))
		uses.Note("a", time.Time{}, time.Now())
		time.Sleep(time.Hour)
		rows.fail(nil)
		require.NoError(t, uses.Flush(ctx))
		_, before, failures := rows.seen()
		uses.Note("b", time.Time{}, time.Now())
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		_, calls, _ := rows.seen()
		require.Len(t, calls, len(before))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		rows.fail(errors.New("read-only"))
		uses.Note("c", time.Time{}, time.Now())
		time.Sleep(time.Minute + minRetry)
		synctest.Wait()
		_, _, told := rows.seen()
		require.Equal(t, failures+2, told, "failures, with the retry after the first")
		rows.fail(nil)
		require.NoError(t, uses.Close(ctx))
	})
}

// If each write hangs and then fails, the Tracker must wait longer and longer between two writes,
// even if further tokens are used meanwhile. Otherwise an overloaded database gets one write after
// the other.
func TestBusyTrackerRarelyRetriesHangingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		uses := New(30*time.Second, func(context.Context, map[string]time.Time) error {
			writes++
			time.Sleep(2 * time.Second)
			return errors.New("the database is overloaded")
		}, func(error) {})
		for i := range 40 * 600 {
			uses.Note(strconv.Itoa(i), time.Time{}, time.Now())
			time.Sleep(time.Second / 600)
		}
		require.LessOrEqual(t, writes, 6, "after 0.1, 0.4, 1.6, 6.4 and 10 s")
		require.Error(t, uses.Close(t.Context()))
	})
}
