package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// peers says what is not in the figures.
//
//go:embed peers.md
var peers string

// Between these the page is written by the report.
const (
	beginMarker = "<!-- What follows is written by benchmarks/report. -->"
	endMarker   = "<!-- What was written by benchmarks/report ends here. -->"
)

// write puts the results into the page, and draws the picture.
func (r *report) write(docs string) error {
	path := filepath.Join(docs, "performance.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replaceBetween(string(page), howMeasured()+"\n"+r.tables()+"\n"+peers)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(r.picture()), 0o644)
}

// replaceBetween puts text between the markers of a page, and leaves the rest alone.
func replaceBetween(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, beginMarker)
	_, after, ended := strings.Cut(rest, endMarker)
	if !ok || !ended {
		return "", errors.New("the markers are missing")
	}
	return before + beginMarker + "\n\n" + strings.TrimSpace(text) + "\n\n" + endMarker + after, nil
}

func howMeasured() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // elsewhere the model is not told
	return fmt.Sprintf("Measured on %s by `go run ./report` in `benchmarks/`: %d × %s, %s, %s/%s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuModel(string(info)), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func cpuModel(info string) string {
	for l := range strings.Lines(info) {
		if name, value, _ := strings.Cut(l, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// tables returns all results in Markdown.
func (r *report) tables() string {
	good, all := tally(r.lines)
	parts := []string{"### Budgets\n", fmt.Sprintf("%d of %d budgets are met.\n", good, all), budgetTable(r.lines)}
	if len(r.chains) > 0 {
		parts = append(parts, "### What a request costs\n", chainTable(r.chains))
	}
	if len(r.finds) > 0 {
		parts = append(parts, "### Lookups in a database\n", findTable(r.finds))
	}
	if len(r.prunes) > 0 {
		parts = append(parts, "### Lookups while `Prune` runs\n", pruneTable(r.prunes))
	}
	if len(r.grid) > 0 {
		parts = append(parts, "### Many tokens and goroutines\n\nNanoseconds a request with 1, 16 and 256 goroutines on all processors, keys in random order.\n", gridTable(r.grid))
	}
	return strings.Join(parts, "\n")
}

func budgetTable(lines []line) string {
	t := newTable("l", "path", "r", "budget", "r", "measured", "l", "")
	for _, l := range lines {
		bound := "≤ "
		if l.atLeast {
			bound = "≥ "
		}
		measured, remark := digits(l.measured), string(l.verdict)
		switch l.verdict {
		case notMeasured:
			measured = "–"
		case explained:
			remark += ": " + l.reason
		case missed:
			remark = "**missed**"
		}
		t.row(l.name, bound+digits(l.budget)+" "+l.unit, measured, remark)
	}
	return t.String()
}

func chainTable(chains []chainResult) string {
	t := newTable("l", "chain", "r", "ns/op", "r", "the limit's, beside it", "r", "× limit", "r", "B/op", "r", "allocs/op", "r", "statements a request")
	for _, c := range chains {
		statements := "–"
		if c.statements >= 0 {
			statements = strconv.FormatFloat(c.statements, 'g', 2, 64)
		}
		t.row(c.name, count(int(c.ns+0.5)), count(int(c.limit+0.5)), digits(c.times), count(int(c.cost.bytes)), count(int(c.cost.allocs)), statements)
	}
	return t.String()
}

func findTable(finds []findResult) string {
	t := newTable("l", "database", "r", "rows", "r", "bare SELECT, µs", "r", "`Find`, µs",
		"r", "a SELECT by both digests, × bare", "r", "… with a deadline, × bare", "r", "`Find`, × bare")
	for _, f := range finds {
		t.row(f.database, count(f.rows), micros(f.bare.ns), micros(f.own.ns), digits(f.both.times), digits(f.deadline.times), digits(f.own.times))
	}
	return t.String()
}

func pruneTable(prunes []pruneResult) string {
	t := newTable("l", "store", "r", "rows pruned", "r", "p50 alone", "r", "p50 beside", "r", "p99 alone", "r", "p99 beside")
	for _, p := range prunes {
		cells := []string{p.store, count(p.pruned)}
		for i := range 2 {
			cells = append(cells, micros(float64(p.alone[i]))+" µs", micros(float64(p.beside[i]))+" µs")
		}
		t.row(cells...)
	}
	return t.String()
}

func gridTable(grid []gridResult) string {
	head := []string{"r", "tokens", "l", "chain"}
	for _, n := range gridGoroutines {
		head = append(head, "r", fmt.Sprintf("ns at %d", n))
	}
	t := newTable(head...)
	for _, g := range grid {
		cells := []string{count(g.tokens), g.chain}
		for _, ns := range g.ns {
			cells = append(cells, count(int(ns+0.5)))
		}
		t.row(cells...)
	}
	return t.String()
}

// A markdown is a table that is being written.
type markdown struct{ strings.Builder }

// newTable takes an alignment, l or r, and a heading for each column.
func newTable(head ...string) *markdown {
	t := &markdown{}
	var names, rules []string
	for i := 0; i < len(head); i += 2 {
		names = append(names, head[i+1])
		rules = append(rules, map[string]string{"l": "---", "r": "--:"}[head[i]])
	}
	t.row(names...)
	t.row(rules...)
	return t
}

func (t *markdown) row(cells ...string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }

// digits returns what a judgement sees of a number: two decimals, without zeros at
// the end of a whole one.
func digits(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 2, 64), ".00")
}

func micros(ns float64) string { return strconv.FormatFloat(ns/1000, 'f', 1, 64) }

// count writes a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
