package limit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// If another process that uses the processor for a while changed the ratio, a benchmark would report
// a regression that does not exist.
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
	var limits, subjects, ratios []float64
	for range 1001 {
		l, s := limit(), subject()
		limits, subjects, ratios = append(limits, l), append(subjects, s), append(ratios, s/l)
	}
	require.InDelta(t, 100, median(limits), 1)
	require.InDelta(t, 250, median(subjects), 1)
	require.InDelta(t, 2.5, median(ratios), 0.01)
	require.Equal(t, 2.5, median([]float64{4, 2, 1, 3}))
}
