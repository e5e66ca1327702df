package limit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// If another process that uses the processor for a while changed the ratio, a benchmark would
// report a regression that does not exist.
func TestMedianRatioIgnoresBusyPeriods(t *testing.T) {
	t.Parallel()
	var now time.Duration
	clock := func() time.Duration { return now }
	takes := func(d time.Duration) func() {
		return func() {
			if now%(10*time.Millisecond) < 4*time.Millisecond { // the machine is busy for some rounds
				d *= 5
				defer func() { d /= 5 }()
			}
			now += d
		}
	}
	limit, subject := Timed(clock, 100*time.Microsecond, takes(100)), Timed(clock, 100*time.Microsecond, takes(250))
	left := 1001
	limits, subjects, ratio := rounds(func() bool { left--; return left >= 0 }, limit, subject)
	require.InDelta(t, 100, limits, 1)
	require.InDelta(t, 250, subjects, 1)
	require.InDelta(t, 2.5, ratio, 0.01)
	require.Equal(t, 2.5, median([]float64{4, 2, 1, 3}))
}
