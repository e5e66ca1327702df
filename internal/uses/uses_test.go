package uses

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

// A table is what uses are written to.
type table struct {
	mu    sync.Mutex
	rows  map[string]time.Time
	calls []int // how many tokens each call wrote
	err   error
	told  int // of failures
}

func (t *table) write(_ context.Context, latest map[string]time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, len(latest))
	if t.err != nil {
		return t.err
	}
	for id, at := range latest { // forward only, as a Store's
		if at.After(t.rows[id]) {
			t.rows[id] = at
		}
	}
	return nil
}

func (t *table) failed(error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told++
}

func (t *table) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// seen returns copies of what was written.
func (t *table) seen() (rows map[string]time.Time, calls []int, told int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rows), slices.Clone(t.calls), t.told
}

func newTracker(delay time.Duration) (*Tracker, *table) {
	rows := &table{rows: map[string]time.Time{}}
	return New(delay, rows.write, rows.failed), rows
}

// neighbours returns more IDs of id's bucket than it has places for.
func neighbours(uses *Tracker, id string) (others []string) {
	for range 100_000 {
		if other := rand.Text(); len(others) < places && uses.bucket(other) == uses.bucket(id) {
			others = append(others, other)
		}
	}
	return others
}

// Many uses of a token are one row in one call, written when the delay is over.
func TestCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		for i := range 1000 {
			uses.Note(new(fmt.Sprint(i%3)), time.Time{}, begin.Add(time.Duration(i%7)))
		}
		require.Equal(t, begin.Add(6), uses.Latest("1"))
		require.Zero(t, uses.Latest("unknown"))
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		_, calls, _ := rows.seen()
		require.Empty(t, calls)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		written, calls, _ := rows.seen()
		require.Equal(t, []int{3}, calls)
		require.Equal(t, map[string]time.Time{"0": begin.Add(6), "1": begin.Add(6), "2": begin.Add(6)}, written)
		require.Zero(t, uses.Latest("1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		_, calls, _ = rows.seen()
		require.Len(t, calls, 1, "something runs at rest")
	})
}

// What is written down already must not be written once more in the same while.
func TestNotDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		now := time.Now()
		uses.Note(new("fresh"), now.Add(1-time.Minute), now)
		uses.Note(new("ahead"), now.Add(time.Hour), now)
		uses.Note(new("due"), now.Add(-time.Minute), now)
		require.NoError(t, uses.Flush(t.Context()))
		written, _, _ := rows.seen()
		require.Equal(t, map[string]time.Time{"due": now}, written)
	})
}

// A busy token whose row stays in memory must not cost a lock a request, nor be
// forgotten because it was seen before.
func TestSameRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		id := rand.Text()
		others := neighbours(uses, id)
		require.Len(t, others, places)
		for range 3 {
			at := time.Now()
			for _, later := range []time.Duration{0, time.Second, time.Second + 1} {
				uses.Note(&id, time.Time{}, at.Add(later))
			}
			for i := range others {
				uses.Note(&others[i], time.Time{}, at)
				uses.Note(&others[i], time.Time{}, at.Add(time.Second))
			}
			uses.Note(new("b"), time.Time{}, at)
			uses.Note(new("b"), time.Time{}, at.Add(time.Second)) // another copy of its row
			time.Sleep(time.Minute)
			synctest.Wait()
			written, _, _ := rows.seen()
			for _, id := range append([]string{id, "b"}, others...) {
				require.True(t, at.Add(time.Second).Equal(written[id]), "%s: %v", id, written[id])
			}
		}
		uses.Note(new(""), time.Time{}, time.Now()) // of a store that makes none
		time.Sleep(time.Hour)
		_, calls, _ := rows.seen()
		require.Equal(t, []int{2 + places, 2 + places, 2 + places}, calls)
	})
}

// With many tokens the memory must stay bounded, and no statement may grow without end.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		for i := range 1234 {
			uses.Note(new(fmt.Sprint(i)), time.Time{}, time.Now())
		}
		synctest.Wait()
		written, calls, _ := rows.seen()
		require.GreaterOrEqual(t, len(written), 1000, "many are written before the delay is over")
		for _, n := range calls {
			require.LessOrEqual(t, n, 500)
		}
	})
}

// While tokens keep coming, the database must not be written to for a few at a time.
func TestFullBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		uses := New(time.Minute, func(ctx context.Context, latest map[string]time.Time) error {
			time.Sleep(5 * time.Millisecond) // in which others come
			return rows.write(ctx, latest)
		}, rows.failed)
		const tokens = 20_000 // in 80 seconds
		for i := range tokens {
			uses.Note(new(fmt.Sprint(i)), time.Time{}, time.Now())
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		written, calls, told := rows.seen()
		require.Len(t, written, tokens)
		require.Zero(t, told)
		require.LessOrEqual(t, len(calls), tokens/500+3, "one more at each end of the delay")
	})
}

// The same where tokens are used again all the time, as long as a service runs.
func TestFullBatchesOfBusyTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		uses := New(30*time.Second, func(ctx context.Context, latest map[string]time.Time) error {
			time.Sleep(5 * time.Millisecond)
			return rows.write(ctx, latest)
		}, rows.failed)
		const tokens = 60_000
		due := 0
		for i := range 120 * 2000 { // 2,000 a second
			id := fmt.Sprint(i % tokens)
			rows.mu.Lock()
			last := rows.rows[id]
			rows.mu.Unlock()
			if time.Since(last) >= 30*time.Second {
				due++
			}
			uses.Note(&id, last, time.Now())
			time.Sleep(time.Second / 2000)
		}
		require.NoError(t, uses.Flush(t.Context()))
		_, calls, told := rows.seen()
		require.Zero(t, told)
		require.LessOrEqual(t, len(calls), 2*due/500)
	})
}

// A token in constant use must not be taken for idle while the table hangs.
func TestLatestOfSameRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, _ := newTracker(time.Minute)
		id, now := rand.Text(), time.Now()
		uses.Note(&id, time.Time{}, now)
		uses.Note(&id, time.Time{}, now.Add(30*time.Second))
		require.True(t, now.Add(30*time.Second).Equal(uses.Latest(id)))
		require.Zero(t, uses.Latest(neighbours(uses, id)[0]))
		require.Zero(t, uses.Latest(""))
		require.NoError(t, uses.Flush(t.Context()))
		require.Zero(t, uses.Latest(id))
		time.Sleep(time.Hour) // for the timer
	})
}

// A table that hangs must not pile up what waits for it; when it answers again all
// goes on.
func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		answer := make(chan struct{})
		uses := New(time.Minute, func(_ context.Context, latest map[string]time.Time) error {
			<-answer // whatever the context says
			return rows.write(ctx, latest)
		}, rows.failed)
		uses.Note(new("a"), time.Time{}, time.Now())
		time.Sleep(2 * time.Minute)
		uses.Note(new("b"), time.Time{}, time.Now())
		time.Sleep(time.Hour)
		close(answer)
		time.Sleep(2 * time.Minute)
		written, calls, _ := rows.seen()
		require.Len(t, written, 2)
		require.Equal(t, []int{1, 1}, calls)
	})
}

// While the table can't be written to, uses are kept, up to a bound, and tried again:
// nobody who uses a token is taken for idle.
func TestFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		rows.fail(errors.New("read-only"))
		for i := range most + 1000 {
			uses.Note(new(fmt.Sprint(i)), time.Time{}, begin)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		_, _, told := rows.seen()
		require.Greater(t, told, 2)
		require.Less(t, told, 10, "it must not hammer a table that is down")
		require.Equal(t, begin, uses.Latest("0"))

		uses.Note(new("0"), time.Time{}, begin.Add(time.Hour))
		rows.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		written, _, _ := rows.seen()
		require.InDelta(t, most, len(written), 500, "a bound")
		require.Equal(t, begin.Add(time.Hour), written["0"], "the later use is the one that counts")
		require.Zero(t, uses.Latest("0"))
	})
}

// A bug in a store must not end the process, nor lose what it was to write.
func TestPanic(t *testing.T) {
	t.Parallel()
	broken := true
	var written map[string]time.Time
	uses := New(time.Minute, func(_ context.Context, latest map[string]time.Time) error {
		if broken {
			panic("a store's bug")
		}
		written = latest
		return nil
	}, func(error) {})
	uses.Note(new("a"), time.Time{}, time.Unix(1, 0))
	require.ErrorContains(t, uses.Flush(ctx), "panicked")
	broken = false
	require.NoError(t, uses.Flush(ctx))
	require.Contains(t, written, "a")
}

// At shutdown nothing may be lost, nor may a table that hangs hold it up.
func TestFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		answer := make(chan struct{})
		uses := New(time.Minute, func(ctx context.Context, latest map[string]time.Time) error {
			<-answer
			return rows.write(ctx, latest)
		}, rows.failed)
		begin := time.Now()
		uses.Note(new("a"), time.Time{}, begin)
		first := make(chan error, 1)
		go func() { first <- uses.Flush(ctx) }()
		synctest.Wait()
		require.Equal(t, begin, uses.Latest("a"), "while it is being written")
		uses.Note(new("b"), time.Time{}, begin)

		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, uses.Flush(impatient), context.DeadlineExceeded)
		second := make(chan error, 1)
		go func() { second <- uses.Flush(ctx) }()
		close(answer)
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		written, _, _ := rows.seen()
		require.Len(t, written, 2)
		require.NoError(t, uses.Flush(ctx))
		time.Sleep(time.Hour) // the timer finds nothing
	})
}

// Under -race: uses come while they are written.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	uses, rows := newTracker(time.Millisecond)
	var noting sync.WaitGroup
	for g := range 64 {
		noting.Go(func() {
			for i := range 200 {
				uses.Note(new(fmt.Sprint(g*i%700)), time.Time{}, time.Unix(int64(i), 0))
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

// A use that comes while the pending ones are taken must not get lost: it may be the
// last one of its token.
func TestUseDuringFlush(t *testing.T) {
	t.Parallel()
	uses, rows := newTracker(time.Hour)
	id, at := "a", time.Unix(0, 0)
	for range 3000 {
		uses.Note(&id, time.Time{}, at)
		at = at.Add(time.Minute)
		var flush sync.WaitGroup
		flush.Go(func() { _ = uses.Flush(ctx) })
		uses.Note(&id, time.Time{}, at)
		flush.Wait()
		require.NoError(t, uses.Flush(ctx))
		written, _, _ := rows.seen()
		require.True(t, at.Equal(written[id]), "%v, not %v", written[id], at)
	}
}
