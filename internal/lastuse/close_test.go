package lastuse

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Flush must write all pending last-used times, and must wait for a running flush. It must return
// when its context ends.
func TestFlushWaitsForRunningFlush(t *testing.T) {
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
		require.Equal(t, begin, uses.Latest("a"), "Latest must include last-used times that are being written")
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
		time.Sleep(time.Hour) // a timer that still runs would fire now
	})
}

// Close must write all pending last-used times. After Close, no timer may run, and Note must record
// nothing.
// Case F16.
func TestCloseWritesPendingUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		uses, rows := newTracker(time.Minute)
		begin := time.Now()
		uses.Note("a", time.Time{}, begin)
		uses.Note("a", time.Time{}, begin.Add(time.Second)) // Note stores this time without the lock
		require.NoError(t, uses.Close(ctx))
		want := map[string]time.Time{"a": begin.Add(time.Second)}
		for _, id := range []string{"a", "b"} {
			uses.Note(id, time.Time{}, begin.Add(time.Hour))
			require.Zero(t, uses.Latest(id))
		}
		time.Sleep(time.Hour)
		require.NoError(t, uses.Close(ctx), "a second Close must succeed")
		require.NoError(t, uses.Flush(ctx))
		written, calls, _ := rows.seen()
		require.Len(t, calls, 1)
		require.True(t, maps.EqualFunc(want, written, time.Time.Equal), "%v", written)
	})
}

// Close must stop the timer even if it returns an error. A later Flush must write the pending
// last-used times.
// Case F16.
func TestFailedCloseStopsTimer(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	failure := errors.New("read-only")
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error // error that the method write returns
		want error
	}{
		"context":  {canceled, nil, context.Canceled},
		"deadline": {nil, nil, context.DeadlineExceeded}, // another flush is running
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
				require.NoError(t, uses.Close(ctx), "a second Close must succeed")
				uses.Note("b", time.Time{}, begin)
				time.Sleep(time.Hour)
				require.True(t, begin.Equal(uses.Latest("a")))
				written, _, _ := rows.seen()
				require.Empty(t, written, "no timer may run after Close")
				require.NoError(t, uses.Flush(ctx))
				written, _, _ = rows.seen()
				require.Len(t, written, 1)
			})
		})
	}
}
