package limit

import (
	"net/http"
	"testing"
	"time"
)

const roundTime = 5 * time.Millisecond

// Compare reports how many times as long as limit subject takes. They run in turns, in
// rounds of some milliseconds, and the fastest round of each counts: noise that slows one
// round down does not.
func Compare(b *testing.B, limit, subject func()) {
	b.Helper()
	var fastest [2]float64 // nanoseconds a call
	calls := [2]int{1, 1}
	for b.Loop() {
		for i, f := range []func(){limit, subject} {
			begin, n := time.Now(), 0
			for time.Since(begin) < roundTime {
				for range calls[i] { // the clock is read seldom
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
	b.ReportMetric(0, "ns/op") // a round's time says nothing
	b.ReportMetric(fastest[0], "limit-ns")
	b.ReportMetric(fastest[1], "ns")
	b.ReportMetric(fastest[1]/fastest[0], "x-limit")
}

// Nobody is a ResponseWriter that costs nothing.
type Nobody struct{ Headers http.Header }

// Header implements [http.ResponseWriter].
func (w Nobody) Header() http.Header { return w.Headers }

// Write implements [http.ResponseWriter].
func (w Nobody) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (w Nobody) WriteHeader(int) {}
