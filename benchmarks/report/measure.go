package main

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A clock reads a time that has passed since some beginning. A round is as long as is
// good for it.
type clock struct {
	now   func() time.Duration
	round time.Duration
}

// cpuClock is for what waits for nobody. Other processes, which take turns with this
// one on a busy machine, do not count; so a round can be long enough for some
// collections of its own garbage: in a short one, chance would decide who pays.
var cpuClock = clock{cpuTime, 20 * time.Millisecond}

func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// wallClock is for what waits for a server. A round is short, so that some are not
// disturbed.
var wallClock = clock{func() time.Duration { return time.Since(started) }, 3 * time.Millisecond}

var started = time.Now()

// A timing is what a call takes: the nanoseconds in the fastest round, and how many
// times as long as the first of those it was compared with: the median over all rounds
// of what each round says. A busy neighbour slows a whole round of turns, and is not
// felt in the median; the fastest rounds of two may lie far apart.
type timing struct{ ns, times float64 }

// inTurns calls the functions in turns, for so long each. On a machine so busy that
// this takes twice as long, it ends then.
func inTurns(each time.Duration, c clock, calls ...func()) []timing {
	timings := make([]timing, len(calls))
	ratios := make([][]float64, len(calls))
	inRound := make([]int, len(calls))
	for i, call := range calls {
		timings[i].ns = math.Inf(1)
		inRound[i] = callsIn(c, call)
	}
	runtime.GC()
	enough := each * time.Duration(len(calls))
	for begin, wall := c.now(), time.Now(); c.now()-begin < enough && time.Since(wall) < 2*enough; {
		first := 0.0
		for i, call := range calls {
			ns := float64(timed(inRound[i], c.now, call)) / float64(inRound[i])
			if i == 0 {
				first = ns
			}
			timings[i].ns = min(timings[i].ns, ns)
			ratios[i] = append(ratios[i], ns/first)
		}
	}
	for i := range timings {
		timings[i].times = median(ratios[i])
	}
	return timings
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func timed(n int, now func() time.Duration, call func()) time.Duration {
	begin := now()
	for range n {
		call()
	}
	return now() - begin
}

// callsIn returns how many calls fill a round, one at least.
func callsIn(c clock, call func()) int {
	for n := 1; ; n *= 2 {
		if took := timed(n, c.now, call); took > c.round/4 {
			return max(1, int(float64(n)*float64(c.round)/float64(took)))
		}
	}
}

// A cost is what one call allocates.
type cost struct{ bytes, allocs float64 }

// costOf returns the least of three measurements, since goroutines in the background
// allocate too.
func costOf(call func()) cost {
	const n = 200
	least := cost{math.Inf(1), math.Inf(1)}
	call()
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			call()
		}
		runtime.ReadMemStats(&after)
		// Whole ones, as testing.B reports them.
		least.bytes = min(least.bytes, math.Floor(float64(after.TotalAlloc-before.TotalAlloc)/n))
		least.allocs = min(least.allocs, math.Floor(float64(after.Mallocs-before.Mallocs)/n))
	}
	return least
}

// onAllCPUs calls f with all processors at work; everything else has one.
func onAllCPUs(f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
	f()
}

// throughput returns the calls a second of so many goroutines, each with a function
// of its own.
func throughput(d time.Duration, goroutines int, newCall func() func()) float64 {
	var done atomic.Bool
	var total atomic.Int64
	var wg sync.WaitGroup
	calls := make([]func(), goroutines)
	for i := range calls {
		calls[i] = newCall()
	}
	begin := time.Now()
	for _, call := range calls {
		wg.Go(func() {
			n := int64(0)
			for ; !done.Load(); n++ {
				call()
			}
			total.Add(n)
		})
	}
	timer := time.AfterFunc(d, func() { done.Store(true) })
	defer timer.Stop()
	wg.Wait()
	return float64(total.Load()) / time.Since(begin).Seconds()
}

// heap returns how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
