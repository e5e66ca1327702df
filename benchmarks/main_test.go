// Package benchmarks compares this library with a baseline and with other libraries. The program in
// the folder report runs the benchmarks and compares the results with the budgets.
//
//	go test -run '^$' -bench .                # runs all benchmarks
//	go test -run '^$' -bench . -short         # leaves out large tables and long runs
//	go test -run '^$' -bench 'Find/SQLite' .  # runs some benchmarks
//
// A benchmark is skipped if it needs a program that is not installed, such as a database server.
package benchmarks

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
)

// namesOnly makes the benchmarks print their names and measure nothing.
var namesOnly = flag.Bool("names", false, "print the names of the benchmarks and measure nothing")

var dir string // for database files

func TestMain(m *testing.M) {
	if setup := os.Getenv(setupVariable); setup != "" {
		if err := serve(setup); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	var err error
	if dir, err = os.MkdirTemp("", "tokenauth-benchmarks-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := errors.Join(stopServers(), databases.Stop(), os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run runs the sub-benchmark f.
func run(b *testing.B, name string, f func(*testing.B)) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		if !*namesOnly {
			f(b)
		}
	})
}

// skip skips a benchmark for which a program is missing. In CI, the benchmark fails. skip prints
// the reason, because go test does not print it.
func skip(b *testing.B, reason any) {
	b.Helper()
	if os.Getenv("CI") != "" {
		b.Fatal(reason)
	}
	fmt.Fprintf(os.Stderr, "skipped %s: %v\n", b.Name(), reason)
	b.Skip(reason)
}

// cpuTime returns the CPU time that this process has used. Other processes on a busy machine change
// the CPU time of a function less than they change its elapsed time.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// compare measures the CPU time per call of limitCall (the baseline) and of subject, on one
// processor. It also reports the allocations per call of subject. A round takes 20 ms, so that each
// round contains its own garbage collections.
func compare(b *testing.B, limitCall, subject func()) {
	b.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const round = 20 * time.Millisecond
	limit.Rounds(b, "ns", limit.Timed(cpuTime, round, limitCall), limit.Timed(cpuTime, round, subject))
	reportAllocations(b, subject)
}

// compareOn does the same as compare for calls that use a database. If the database is a server,
// compareOn measures elapsed time, because the time of the server counts as well.
func compareOn(b *testing.B, d *databases.Database, limitCall, subject func()) {
	b.Helper()
	if d.Dialect == tokenauth.SQLite {
		compare(b, limitCall, subject)
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	limit.Compare(b, limitCall, subject)
	reportAllocations(b, subject)
}

// reportAllocations reports the least of three measurements, because goroutines in the background
// allocate as well. It rounds down to whole numbers, as package testing does.
func reportAllocations(b *testing.B, f func()) {
	const calls = 1000
	b.ReportAllocs()
	size, count := math.Inf(1), math.Inf(1)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			f()
		}
		runtime.ReadMemStats(&after)
		size = min(size, math.Floor(float64(after.TotalAlloc-before.TotalAlloc)/calls))
		count = min(count, math.Floor(float64(after.Mallocs-before.Mallocs)/calls))
	}
	b.ReportMetric(size, "B/op")
	b.ReportMetric(count, "allocs/op")
}

// requester returns a function that sends requests to c, after a check of the responses of c.
func requester(b *testing.B, c *chains.Chain) func() {
	b.Helper()
	if err := c.Check(); err != nil {
		b.Fatal(err)
	}
	return c.Requester()
}
