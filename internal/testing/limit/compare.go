package limit

import (
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"
)

const roundTime = 5 * time.Millisecond

var start = time.Now()

// Compare measures the times of limit and subject, in rounds of five milliseconds. See [Rounds] for
// the metrics.
func Compare(b *testing.B, limit, subject func()) {
	b.Helper()
	now := func() time.Duration { return time.Since(start) }
	Rounds(b, "ns", Timed(now, roundTime, limit), Timed(now, roundTime, subject))
}

// A Meter takes one measurement, for example of the time per call of a function.
type Meter func() float64

// Timed returns a Meter for the nanoseconds per call of f. Each measurement calls f until the clock
// now has advanced by the given round. Timed calls f for one round before it returns, so that
// caches are filled and statements are prepared.
func Timed(now func() time.Duration, round time.Duration, f func()) Meter {
	calls := 1
	measure := func() float64 {
		begin, n := now(), 0
		for now()-begin < round {
			for range calls { // several calls per reading of the clock, which is slow
				f()
			}
			n += calls
		}
		took := float64(now()-begin) / float64(n)
		calls = max(1, int(float64(round)/took/20))
		return took
	}
	measure()
	return measure
}

// Rounds takes measurements of limit and subject alternately, and reports three metrics. The metric
// x-limit is the median of the ratios of all rounds, where a ratio is the subject's measurement
// divided by the limit's measurement of the same round. Other work on the machine slows down both
// sides of a round, so it hardly changes the ratio. The metrics limit-UNIT and UNIT are the medians
// of the measurements.
func Rounds(b *testing.B, unit string, limit, subject Meter) {
	b.Helper()
	runtime.GC()
	limits, subjects, ratio := rounds(b.Loop, limit, subject)
	b.ReportMetric(0, "ns/op") // hides ns/op, which would be the time of a round
	b.ReportMetric(limits, "limit-"+unit)
	b.ReportMetric(subjects, unit)
	b.ReportMetric(ratio, "x-limit")
}

// rounds takes measurements alternately while next returns true. It returns the medians of the
// measurements and of the ratios.
func rounds(next func() bool, limit, subject Meter) (limits, subjects, ratio float64) {
	var all [3][]float64
	for next() {
		l, s := limit(), subject()
		for i, value := range []float64{l, s, s / l} {
			all[i] = append(all[i], value)
		}
	}
	return median(all[0]), median(all[1]), median(all[2])
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Nobody is a ResponseWriter that keeps the headers and discards the status and the body.
type Nobody struct{ Headers http.Header }

// Header implements [http.ResponseWriter].
func (w Nobody) Header() http.Header { return w.Headers }

// Write implements [http.ResponseWriter].
func (w Nobody) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (w Nobody) WriteHeader(int) {}
