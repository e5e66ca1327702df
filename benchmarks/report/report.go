package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
)

// What the budgets name.
var (
	tableSizes    = []int{1_000, 100_000, 1_000_000} // the last of one SQLite and PostgreSQL alone
	tokenCounts   = []int{1_000, 100_000, 1_000_000}
	touchedTokens = []int{1, 100, 400} // all pending: 500 are written at once
	inMemory      = []memoryPlan{{1_000_000, 1}, {900_000, 1}, {1_000_000, 10}}
)

// sizesOf returns how many rows the tables in a database have.
func sizesOf(database string) []int {
	if database == databases.Modernc || database == databases.PostgreSQL {
		return tableSizes
	}
	return tableSizes[:2]
}

// A memoryPlan is so many tokens in memory, some of each user.
type memoryPlan struct{ tokens, perUser int }

// A report is what was measured.
type report struct {
	plan   plan
	dir    string // for database files
	lines  []line
	chains []chainResult
	finds  []findResult
	prunes []pruneResult
	grid   []gridResult
}

// A plan says how much is measured.
type plan struct {
	each        time.Duration // for each function in a comparison
	rows        int           // in a table, at most
	tokens      int           // in memory, at most
	populations int           // of each number of tokens: an odd number
	load        bool          // many goroutines on many tokens, and lookups beside Prune
}

var (
	fullPlan  = plan{each: 3 * time.Second, rows: 1_000_000, tokens: 1_000_000, populations: 3, load: true}
	quickPlan = plan{each: 250 * time.Millisecond, rows: 1_000, tokens: 100_000, populations: 1}
)

// A chainResult is what a request costs.
type chainResult struct {
	timing             // beside the limit's
	limit      float64 // nanoseconds
	name       string
	ours       bool
	cost       cost
	statements float64 // a request; negative: there is no database
}

func (r *report) set(name string, measured float64) { r.line(name).measured = measured }

// raise sets the worst of several measurements.
func (r *report) raise(name string, measured float64) {
	if l := r.line(name); math.IsNaN(l.measured) || measured > l.measured {
		l.measured = measured
	}
}

func (r *report) line(name string) *line {
	for i := range r.lines {
		if r.lines[i].name == name {
			return &r.lines[i]
		}
	}
	panic("no line " + name)
}

// measure takes all measurements of the plan. Databases that are not installed are
// left out.
func (r *report) measure(ctx context.Context) error {
	stages := []stage{
		{"memory", r.measureMemory}, // before a Manager's timer keeps a store for a while
		{"hits", r.measureHits},
		{"last uses", r.measureTouched},
		{"rejects", r.measureRejects},
		{"list", r.measureList},
		{"parallel", r.measureParallel},
	}
	for _, name := range databases.Names {
		stages = append(stages, stage{name, func(ctx context.Context) error { return r.measureDatabase(ctx, name) }})
	}
	stages = append(stages, stage{"peers", r.measurePeers}, stage{"tokens", r.measureTokens}, stage{"grid", r.measureGrid}, stage{"prune", r.measurePruneMemory})
	for _, s := range stages {
		begin := time.Now()
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", s.name, time.Since(begin).Seconds())
	}
	return nil
}

type stage struct {
	name string
	run  func(context.Context) error
}

// compare measures chains in turns with the limit, which comes first, and appends
// what they cost.
func (r *report) compare(by clock, all []*chains.Chain) ([]chainResult, error) {
	calls := make([]func(), len(all))
	for i, c := range all {
		if err := c.Check(); err != nil {
			return nil, err
		}
		calls[i] = c.Requester()
		for range c.Good { // statements are prepared, and caches full
			calls[i]()
		}
	}
	timings := inTurns(r.plan.each, by, calls...)
	results := make([]chainResult, len(all))
	for i, c := range all {
		results[i] = chainResult{name: c.Name, timing: timings[i], limit: timings[0].ns, cost: costOf(calls[i]), statements: -1}
	}
	return results, nil
}
