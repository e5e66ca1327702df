package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
)

// A line is one budget and what was measured.
type line struct {
	name     string
	unit     string
	budget   float64
	atLeast  bool    // the budget is a lower bound
	measured float64 // NaN: not measured
	verdict  verdict
	reason   string // why a missed budget is explained
}

type verdict string

const (
	met         verdict = "met"
	missed      verdict = "missed"
	explained   verdict = "explained"
	notMeasured verdict = "not measured"
)

// The units.
const (
	timesLimit  = "× limit"
	timesSelect = "× bare SELECT"
	timesOff    = "× without it"
	timesOthers = "× the limit's"
	timesEcho   = "× echo KeyAuth"
	timesBare   = "× List and encoding/json"
	allocations = "allocations"
	bytes       = "bytes"
	statements  = "statement"
)

// The names of lines that are set in more than one place, or by a number.
const (
	lineHit          = "hit, memory store"
	lineHitAllocs    = "hit, memory store: allocations"
	lineHitNoClock   = "hit, memory store, a clock that costs nothing"
	lineHitEcho      = "hit, memory store, beside echo KeyAuth"
	lineCacheHit     = "hit, storecache"
	lineRejectAllocs = "decisions to reject: allocations"
	lineTouchWrites  = "last uses of 500 tokens: statements"
	lineParallel     = "256 goroutines on one key: speed-up"
	lineList         = "tokenapi: a page of 100 tokens"
)

func lineTouched(n int) string {
	return "hit, with last use recorded, tokens in turn: " + count(n)
}
func lineReject(name string) string { return "decision to reject: " + name }
func lineTokens(n int) string       { return "hit at " + count(n) + " tokens" }
func lineMemory(p memoryPlan) string {
	return fmt.Sprintf("memory of a token, %s of %d a user", count(p.tokens), p.perUser)
}
func lineFind(database string, n int) string { return "Find, " + database + ", " + count(n) + " rows" }

// newLines returns all budgets, with nothing measured.
func newLines() []line {
	lines := []line{
		{name: lineHit, unit: timesLimit, budget: 1.5},
		{name: lineHitAllocs, unit: allocations, budget: 2},
		{name: lineHitNoClock, unit: timesLimit, budget: 1.3},
		{name: lineHitEcho, unit: timesEcho, budget: 1.05},
		{name: lineCacheHit, unit: timesLimit, budget: 1.7},
	}
	for _, r := range rejects {
		lines = append(lines, line{name: lineReject(r.name), unit: timesLimit, budget: 0.35})
	}
	lines = append(lines, line{name: lineRejectAllocs, unit: allocations, budget: 0})
	for _, database := range databases.Names {
		budget := 1.15
		if database == databases.MariaDB {
			budget = 1.5
		}
		for _, n := range sizesOf(database) {
			lines = append(lines, line{name: lineFind(database, n), unit: timesSelect, budget: budget})
		}
	}
	for _, n := range tokenCounts {
		lines = append(lines, line{name: lineTokens(n), unit: timesLimit, budget: 1.3})
	}
	for _, p := range inMemory {
		lines = append(lines, line{name: lineMemory(p), unit: bytes, budget: 450})
	}
	for _, n := range touchedTokens {
		lines = append(lines, line{name: lineTouched(n), unit: timesOff, budget: 1.05})
	}
	lines = append(lines,
		line{name: lineTouchWrites, unit: statements, budget: 1},
		line{name: lineParallel, unit: timesOthers, budget: 0.9, atLeast: true},
		line{name: lineList, unit: timesBare, budget: 1.3})
	for i := range lines {
		lines[i].measured = math.NaN()
	}
	return lines
}

// An explanation is the bound up to which a missed budget is not ours to mend.
type explanation struct {
	name   string
	bound  float64
	reason string
}

// parseExplanations reads lines of a name, a bound and a reason, between bars.
func parseExplanations(text string) ([]explanation, error) {
	var all []explanation
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		parts := strings.SplitN(l, "|", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("explained.txt: not name | bound | reason: %s", l)
		}
		bound, err := strconv.ParseFloat(strings.TrimSpace(parts[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("explained.txt: %w", err)
		}
		all = append(all, explanation{strings.TrimSpace(parts[0]), bound, strings.TrimSpace(parts[2])})
	}
	return all, nil
}

// judge gives each line its verdict. An explanation of a line that is not there is
// an error: its name was misspelt or has changed.
func judge(lines []line, explanations []explanation) error {
	byName := map[string]explanation{}
	for _, e := range explanations {
		byName[e.name] = e
	}
	for i := range lines {
		l := &lines[i]
		e, isExplained := byName[l.name]
		delete(byName, l.name)
		switch {
		case math.IsNaN(l.measured):
			l.verdict = notMeasured
		case l.keeps(l.budget):
			l.verdict = met
		case isExplained && l.keeps(e.bound):
			l.verdict, l.reason = explained, e.reason
		default:
			l.verdict = missed
		}
	}
	for name := range byName {
		return fmt.Errorf("explained.txt: no line %q", name)
	}
	return nil
}

// keeps judges what is printed: no reader sees more digits.
func (l *line) keeps(bound float64) bool {
	printed := math.Round(l.measured*100) / 100
	if l.atLeast {
		return printed >= bound
	}
	return printed <= bound
}

// tally returns how many budgets were met, and how many were measured.
func tally(lines []line) (good, all int) {
	for _, l := range lines {
		if l.verdict == met {
			good++
		}
		if l.verdict != notMeasured {
			all++
		}
	}
	return good, all
}

func hasMissed(lines []line) bool {
	for _, l := range lines {
		if l.verdict == missed {
			return true
		}
	}
	return false
}
