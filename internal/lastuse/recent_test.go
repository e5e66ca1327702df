package lastuse

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// neighbors returns four IDs that belong to the same bucket as id. A bucket holds only four
// entries, so id and the four IDs do not all fit.
func neighbors(uses *Tracker, id string) (others []string) {
	for range 100_000 {
		if other := rand.Text(); len(others) < places && uses.recent.bucket(other) == uses.recent.bucket(id) {
			others = append(others, other)
		}
	}
	return others
}

// Last-used times that Note stores without the lock must also be written. Last-used times of tokens
// that do not fit into their bucket must not be lost.
func TestUsesNotedWithoutLockAreWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		id := rand.Text()
		others := neighbors(uses, id)
		require.Len(t, others, places)
		for range 3 {
			at := time.Now()
			for _, later := range []time.Duration{0, time.Second, time.Second + 1} {
				uses.Note(id, time.Time{}, at.Add(later))
			}
			for i := range others {
				uses.Note(others[i], time.Time{}, at)
				uses.Note(others[i], time.Time{}, at.Add(time.Second))
			}
			uses.Note("b", time.Time{}, at)
			uses.Note("b", time.Time{}, at.Add(time.Second))
			time.Sleep(time.Minute)
			synctest.Wait()
			written, _, _ := rows.seen()
			for _, id := range append([]string{id, "b"}, others...) {
				require.True(t, at.Add(time.Second).Equal(written[id]), "%s: %v", id, written[id])
			}
		}
		uses.Note("", time.Time{}, time.Now()) // a faulty store may return a token without an ID
		time.Sleep(time.Hour)
		_, calls, _ := rows.seen()
		require.Equal(t, []int{2 + places, 2 + places, 2 + places}, calls)
	})
}

// Latest must include last-used times that Note stores without the lock. Otherwise a token in
// constant use would expire as idle while the database does not respond.
func TestLatestIncludesUsesNotedWithoutLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, _ := newTracker(time.Minute)
		id, now := rand.Text(), time.Now()
		uses.Note(id, time.Time{}, now)
		uses.Note(id, time.Time{}, now.Add(30*time.Second))
		require.True(t, now.Add(30*time.Second).Equal(uses.Latest(id)))
		require.Zero(t, uses.Latest(neighbors(uses, id)[0]))
		require.Zero(t, uses.Latest(""))
		require.NoError(t, uses.Flush(t.Context()))
		require.Zero(t, uses.Latest(id))
		time.Sleep(time.Hour) // a timer that still runs would fire now
	})
}

// The race detector must find no data race when 64 goroutines call Note and Latest while the
// Tracker writes.
func TestNoteAndLatestAreRaceFree(t *testing.T) {
	t.Parallel()
	uses, rows := newTracker(time.Millisecond)
	var noting sync.WaitGroup
	for g := range 64 {
		noting.Go(func() {
			for i := range 200 {
				uses.Note(fmt.Sprint(g*i%700), time.Time{}, time.Unix(int64(i), 0))
				_ = uses.Latest(fmt.Sprint(i))
			}
		})
	}
	noting.Wait()
	require.NoError(t, uses.Flush(ctx))
	written, calls, _ := rows.seen()
	require.Equal(t, time.Unix(199, 0), written["0"])
	require.NotContains(t, calls, 0)
}

// If Note stores a last-used time without the lock during a flush, the time must not be lost. The
// token may never be used again.
func TestUseDuringFlushIsWritten(t *testing.T) {
	t.Parallel()
	uses, rows := newTracker(time.Hour)
	id, at := "a", time.Unix(0, 0)
	for range 3000 {
		uses.Note(id, time.Time{}, at)
		at = at.Add(time.Minute)
		var flush sync.WaitGroup
		flush.Go(func() { _ = uses.Flush(ctx) })
		uses.Note(id, time.Time{}, at)
		flush.Wait()
		require.NoError(t, uses.Flush(ctx))
		written, _, _ := rows.seen()
		require.True(t, at.Equal(written[id]), "written time %v, want %v", written[id], at)
	}
}
