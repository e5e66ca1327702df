package lastuse

import (
	"context"
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

// A table is a fake of the database table that stores the last-used time of each token.
type table struct {
	mu    sync.Mutex
	rows  map[string]time.Time
	calls []int // number of tokens in each call of the method write
	err   error // error that the method write returns
	told  int   // number of calls of the method failed
}

func (t *table) write(_ context.Context, latest map[string]time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, len(latest))
	if t.err != nil {
		return t.err
	}
	for id, at := range latest { // like a Store, keep the later time
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

// seen returns copies of the fields rows, calls and told.
func (t *table) seen() (rows map[string]time.Time, calls []int, told int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rows), slices.Clone(t.calls), t.told
}

func newTracker(delay time.Duration) (*Tracker, *table) {
	rows := &table{rows: map[string]time.Time{}}
	return New(delay, rows.write, rows.failed), rows
}

// If one token is used many times, only the time of its last use must be written, when the delay
// has passed.
func TestUsesOfOneTokenAreWrittenAsOneRow(t *testing.T) {
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
		require.Len(t, calls, 1, "the Tracker must not call write if nothing is pending")
	})
}

// Note must ignore a request if it comes less than delay after the stored last-used time of the
// token.
func TestNoteIgnoresUseBeforeDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		now := time.Now()
		uses.Note("fresh", now.Add(time.Microsecond-time.Minute), now)
		uses.Note("ahead", now.Add(time.Hour), now)
		uses.Note("due", now.Add(-time.Minute), now)
		require.NoError(t, uses.Flush(t.Context()))
		written, _, _ := rows.seen()
		require.Equal(t, map[string]time.Time{"due": now}, written)
	})
}

// The Tracker must write full batches before the delay has passed, so that its memory use stays
// bounded. Each call of write must contain at most 500 tokens.
func TestFullBatchIsWrittenBeforeDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		for i := range 1234 {
			uses.Note(fmt.Sprint(i), time.Time{}, time.Now())
		}
		synctest.Wait()
		written, calls, _ := rows.seen()
		require.GreaterOrEqual(t, len(written), 1000, "the Tracker must write full batches before the delay has passed")
		for _, n := range calls {
			require.LessOrEqual(t, n, 500)
		}
	})
}

// While requests with new tokens keep arriving, each call of write must contain a full batch.
func TestBatchesAreFullForNewTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		uses := New(time.Minute, func(ctx context.Context, latest map[string]time.Time) error {
			time.Sleep(5 * time.Millisecond) // Note is called for other tokens during this time
			return rows.write(ctx, latest)
		}, rows.failed)
		const tokens = 20_000 // one request with each token, in 80 seconds
		for i := range tokens {
			uses.Note(fmt.Sprint(i), time.Time{}, time.Now())
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		written, calls, told := rows.seen()
		require.Len(t, written, tokens)
		require.Zero(t, told)
		require.LessOrEqual(t, len(calls), tokens/500+3, "at most three calls of write may have less than a full batch")
	})
}

// Calls of write must contain full batches even if requests use the same tokens repeatedly.
func TestBatchesAreFullForBusyTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 240,000 requests")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		uses := New(30*time.Second, func(ctx context.Context, latest map[string]time.Time) error {
			time.Sleep(5 * time.Millisecond)
			return rows.write(ctx, latest)
		}, rows.failed)
		const tokens = 60_000
		due := 0
		for i := range 120 * 2000 { // 2,000 requests per second
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

// While a call of write does not return, the Tracker must not start more goroutines. When write
// returns, all pending last-used times must be written.
func TestHangingWriteStartsNoFurtherWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		answer := make(chan struct{})
		uses := New(time.Minute, func(_ context.Context, latest map[string]time.Time) error {
			<-answer // write ignores its context
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

// While write fails, the Tracker must keep pending last-used times and retry. It must keep at most
// the number of tokens in the constant most. Latest must return the pending times, so that a token
// in use does not expire as idle.
// Case F9.
func TestFailedWriteIsRetried(t *testing.T) {
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
		require.Less(t, told, 10, "number of retries while every write fails")
		require.Equal(t, begin, uses.Latest("0"))

		uses.Note("0", time.Time{}, begin.Add(time.Hour))
		rows.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		written, _, _ := rows.seen()
		require.InDelta(t, most, len(written), 500, "number of tokens that the Tracker kept")
		require.Equal(t, begin.Add(time.Hour), written["0"], "an earlier last-used time must not replace a later one")
		require.Zero(t, uses.Latest("0"))
	})
}

// While a write is slow, the Tracker must not keep more tokens than the constant most. The tokens
// of the running write count, too. Otherwise a slow database would double the memory.
func TestSlowWriteDoesNotDoubleMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{rows: map[string]time.Time{}}
		answer := make(chan struct{})
		uses := New(time.Minute, func(ctx context.Context, latest map[string]time.Time) error {
			<-answer
			return rows.write(ctx, latest)
		}, rows.failed)
		note := func(kind string) {
			for i := range most {
				uses.Note(fmt.Sprint(kind, i), time.Time{}, time.Now())
			}
		}
		uses.flushing <- struct{}{} // no flush starts before all tokens are pending
		note("first ")
		<-uses.flushing
		synctest.Wait() // until the flush has taken the tokens
		note("second ")
		close(answer)
		require.NoError(t, uses.Flush(t.Context()))
		written, _, _ := rows.seen()
		require.Len(t, written, most)
	})
}

// A panic in write must not end the process. The pending last-used times must be written later.
func TestPanicOfWriteLosesNoUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
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
		require.ErrorContains(t, uses.Flush(t.Context()), "panicked")
		broken = false
		require.NoError(t, uses.Flush(t.Context()))
		require.Contains(t, written, "a")
	})
}
