package limit

import (
	"net/http"
	"testing"
	"time"
)

const roundTime = 5 * time.Millisecond

// Compare measures the times of limit and subject, and reports their ratio as the metric x-limit.
// It runs the two functions alternately, in rounds of five milliseconds. Compare uses only the
// fastest round of each function, so noise that slows down some rounds does not change the result.
func Compare(b *testing.B, limit, subject func()) {
	b.Helper()
	var fastest [2]float64 // nanoseconds per call in the fastest round
	calls := [2]int{1, 1}
	for b.Loop() {
		for i, f := range []func(){limit, subject} {
			begin, n := time.Now(), 0
			for time.Since(begin) < roundTime {
				for range calls[i] { // several calls per reading of the clock, which is slow
					f()
				}
				n += calls[i]
			}
			took := float64(time.Since(begin)) / float64(n)
			if fastest[i] == 0 || took < fastest[i] {
				fastest[i] = took
			}
			calls[i] = max(1, int(float64(roundTime)/took/20))
		}
	}
	b.ReportMetric(0, "ns/op") // hides ns/op, which would be the time of a round
	b.ReportMetric(fastest[0], "limit-ns")
	b.ReportMetric(fastest[1], "ns")
	b.ReportMetric(fastest[1]/fastest[0], "x-limit")
}

// Nobody is a ResponseWriter that keeps the headers and discards the status and the body.
type Nobody struct{ Headers http.Header }

// Header implements [http.ResponseWriter].
func (w Nobody) Header() http.Header { return w.Headers }

// Write implements [http.ResponseWriter].
func (w Nobody) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (w Nobody) WriteHeader(int) {}
