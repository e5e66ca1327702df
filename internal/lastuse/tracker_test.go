package lastuse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

// A table stands for the database table with the last-used times.
type table struct {
	mu    sync.Mutex
	rows  map[string]time.Time
	calls []int // number of tokens in each call of write
	err   error // returned by write
	told  int   // number of calls of failed
}

func (t *table) write(_ context.Context, latest map[string]time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, len(latest))
	if t.err != nil {
		return t.err
	}
	for id, at := range latest { // a Store never moves a last-used time backwards
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

// seen returns copies of the fields of t.
func (t *table) seen() (rows map[string]time.Time, calls []int, told int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rows), slices.Clone(t.calls), t.told
}

func newTracker(delay time.Duration) (*Tracker, *table) {
	rows := &table{rows: map[string]time.Time{}}
	return New(delay, rows.write, rows.failed), rows
}

// neighbors returns four other IDs of id's bucket, so that all five do not fit in it.
func neighbors(uses *Tracker, id string) (others []string) {
	for range 100_000 {
		if other := rand.Text(); len(others) < places && uses.recent.bucket(other) == uses.recent.bucket(id) {
			others = append(others, other)
		}
	}
	return others
}

// Many uses of a token are written as one row when the delay has passed.
func TestCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		for i := range 1000 {
			uses.Note(fmt.Sprint(i%3), time.Time{}, begin.Add(time.Duration(i%7)*time.Second))
		}
		require.Equal(t, begin.Add(6*time.Second), uses.Latest("1"))
		require.Zero(t, uses.Latest("unknown"))
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		_, calls, _ := rows.seen()
		require.Empty(t, calls)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		written, calls, _ := rows.seen()
		require.Equal(t, []int{3}, calls)
		require.Equal(t, map[string]time.Time{"0": begin.Add(6 * time.Second), "1": begin.Add(6 * time.Second), "2": begin.Add(6 * time.Second)}, written)
		require.Zero(t, uses.Latest("1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		_, calls, _ = rows.seen()
		require.Len(t, calls, 1, "a timer runs though nothing is pending")
	})
}

// A use less than the delay after the stored last-used time is not written.
func TestNotDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		now := time.Now()
		uses.Note("fresh", now.Add(1-time.Minute), now)
		uses.Note("ahead", now.Add(time.Hour), now)
		uses.Note("due", now.Add(-time.Minute), now)
		require.NoError(t, uses.Flush(t.Context()))
		written, _, _ := rows.seen()
		require.Equal(t, map[string]time.Time{"due": now}, written)
	})
}

// Uses that are recorded without the lock must be written, too. Tokens that do not fit in their
// bucket must not be lost.
func TestSameRow(t *testing.T) {
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
		uses.Note("", time.Time{}, time.Now()) // a broken store may return a token without an ID
		time.Sleep(time.Hour)
		_, calls, _ := rows.seen()
		require.Equal(t, []int{2 + places, 2 + places, 2 + places}, calls)
	})
}

// With many tokens, memory must stay bounded, and a call of write has at most 500 tokens.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		for i := range 1234 {
			uses.Note(fmt.Sprint(i), time.Time{}, time.Now())
		}
		synctest.Wait()
		written, calls, _ := rows.seen()
		require.GreaterOrEqual(t, len(written), 1000, "full batches are written before the delay has passed")
		for _, n := range calls {
			require.LessOrEqual(t, n, 500)
		}
	})
}

// While new tokens keep coming, each call of write must have a full batch.
func TestFullBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		uses := New(time.Minute, func(ctx context.Context, latest map[string]time.Time) error {
			time.Sleep(5 * time.Millisecond) // other tokens are used meanwhile
			return rows.write(ctx, latest)
		}, rows.failed)
		const tokens = 20_000 // used within 80 seconds
		for i := range tokens {
			uses.Note(fmt.Sprint(i), time.Time{}, time.Now())
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		written, calls, told := rows.seen()
		require.Len(t, written, tokens)
		require.Zero(t, told)
		require.LessOrEqual(t, len(calls), tokens/500+3, "at most three calls without a full batch")
	})
}

// Calls of write must also be full if the same tokens are used again and again.
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
		for i := range 120 * 2000 { // 2,000 per second
			id := fmt.Sprint(i % tokens)
			rows.mu.Lock()
			last := rows.rows[id]
			rows.mu.Unlock()
			if time.Since(last) >= 30*time.Second {
				due++
			}
			uses.Note(id, last, time.Now())
			time.Sleep(time.Second / 2000)
		}
		require.NoError(t, uses.Flush(t.Context()))
		_, calls, told := rows.seen()
		require.Zero(t, told)
		require.LessOrEqual(t, len(calls), 2*due/500)
	})
}

// The Tracker must drop no use, and write none late, if many batches become pending during one slow
// write.
func TestSlowWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const delay, tokens = 30 * time.Second, 600_000 // 10,000 per second
		begin := time.Now()
		written, slow := 0, false
		uses := New(delay, func(_ context.Context, latest map[string]time.Time) error {
			if !slow && time.Since(begin) > 20*time.Second {
				slow = true
				time.Sleep(300 * time.Millisecond)
			}
			for id, at := range latest {
				if time.Since(at) > 2*delay {
					t.Errorf("the use of token %s is written %v late", id, time.Since(at))
				}
			}
			written += len(latest)
			return nil
		}, func(err error) { t.Error(err) })
		for i := range tokens {
			uses.Note(strconv.Itoa(i), time.Time{}, time.Now())
			if i%10 == 9 {
				time.Sleep(time.Millisecond)
			}
		}
		require.NoError(t, uses.Flush(t.Context()))
		require.True(t, slow)
		require.Equal(t, tokens, written)
	})
}

// Latest must know the uses that were recorded without the lock. Otherwise a token in constant use
// looks idle while the table hangs.
func TestLatestOfSameRow(t *testing.T) {
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
		time.Sleep(time.Hour) // a timer would run now
	})
}

// While a call of write hangs, goroutines must not pile up. When it returns, all uses are written.
func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		answer := make(chan struct{})
		uses := New(time.Minute, func(_ context.Context, latest map[string]time.Time) error {
			<-answer // ignores the context
			return rows.write(ctx, latest)
		}, rows.failed)
		uses.Note("a", time.Time{}, time.Now())
		time.Sleep(2 * time.Minute)
		uses.Note("b", time.Time{}, time.Now())
		time.Sleep(time.Hour)
		close(answer)
		time.Sleep(2 * time.Minute)
		written, calls, _ := rows.seen()
		require.Len(t, written, 2)
		require.Equal(t, []int{1, 1}, calls)
	})
}

// While write fails, the Tracker keeps uses, up to a bound, and retries. Latest returns them, so that
// a token in use does not look idle.
func TestFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		rows.fail(errors.New("read-only"))
		for i := range most + 1000 {
			uses.Note(fmt.Sprint(i), time.Time{}, begin)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		_, _, told := rows.seen()
		require.Greater(t, told, 2)
		require.Less(t, told, 10, "too many retries while the table is down")
		require.Equal(t, begin, uses.Latest("0"))

		uses.Note("0", time.Time{}, begin.Add(time.Hour))
		rows.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		written, _, _ := rows.seen()
		require.InDelta(t, most, len(written), 500, "the bound")
		require.Equal(t, begin.Add(time.Hour), written["0"], "an earlier use replaced a later one")
		require.Zero(t, uses.Latest("0"))
	})
}

// A panic in write must not end the process, and the uses must be written later.
func TestPanic(t *testing.T) {
	t.Parallel()
	broken := true
	var written map[string]time.Time
	uses := New(time.Minute, func(_ context.Context, latest map[string]time.Time) error {
		if broken {
			panic("bug in a store")
		}
		written = latest
		return nil
	}, func(error) {})
	uses.Note("a", time.Time{}, time.Unix(1, 0))
	require.ErrorContains(t, uses.Flush(ctx), "panicked")
	broken = false
	require.NoError(t, uses.Flush(ctx))
	require.Contains(t, written, "a")
}

// Flush writes all uses, waits for a running flush, and returns when its context ends.
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
		uses.Note("a", time.Time{}, begin)
		first := make(chan error, 1)
		go func() { first <- uses.Flush(ctx) }()
		synctest.Wait()
		require.Equal(t, begin, uses.Latest("a"), "during the write")
		uses.Note("b", time.Time{}, begin)

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
		time.Sleep(time.Hour) // a timer would run now
	})
}

// Close writes every earlier use. After Close, no timer runs and no use is recorded.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		uses.Note("a", time.Time{}, begin)
		uses.Note("a", time.Time{}, begin.Add(time.Second)) // recorded without the lock
		require.NoError(t, uses.Close(ctx))
		want := map[string]time.Time{"a": begin.Add(time.Second)}
		for _, id := range []string{"a", "b"} {
			uses.Note(id, time.Time{}, begin.Add(time.Hour))
			require.Zero(t, uses.Latest(id))
		}
		time.Sleep(time.Hour)
		require.NoError(t, uses.Close(ctx), "a second Close")
		require.NoError(t, uses.Flush(ctx))
		written, calls, _ := rows.seen()
		require.Len(t, calls, 1)
		require.True(t, maps.EqualFunc(want, written, time.Time.Equal), "%v", written)
	})
}

// A Close that fails must stop the timer, too. A later Flush writes the uses.
func TestCloseFails(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	failure := errors.New("read-only")
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error // returned by write
		want error
	}{
		"context":  {canceled, nil, context.Canceled},
		"deadline": {nil, nil, context.DeadlineExceeded}, // another flush runs
		"table":    {ctx, failure, failure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				uses, rows := newTracker(time.Minute)
				closing := tt.ctx
				if closing == nil {
					var cancel context.CancelFunc
					closing, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
					uses.flushing <- struct{}{}
				}
				begin := time.Now()
				uses.Note("a", time.Time{}, begin)
				rows.fail(tt.err)
				require.ErrorIs(t, uses.Close(closing), tt.want)
				if tt.ctx == nil {
					<-uses.flushing
				}
				rows.fail(nil)
				require.NoError(t, uses.Close(ctx), "a second Close")
				uses.Note("b", time.Time{}, begin)
				time.Sleep(time.Hour)
				require.True(t, begin.Equal(uses.Latest("a")))
				written, _, _ := rows.seen()
				require.Empty(t, written, "the timer runs after Close")
				require.NoError(t, uses.Flush(ctx))
				written, _, _ = rows.seen()
				require.Len(t, written, 1)
			})
		})
	}
}

// For the race detector: uses are recorded while others are written.
func TestConcurrent(t *testing.T) {
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

// A use that is recorded without the lock during a flush must not be lost: it may be the token's
// last one.
func TestUseDuringFlush(t *testing.T) {
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
		require.True(t, at.Equal(written[id]), "%v, not %v", written[id], at)
	}
}
