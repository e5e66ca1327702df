package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	textnumber "golang.org/x/text/number"
)

// The report writes the part of docs/performance.md between these lines.
const (
	beginMarker = "<!-- benchmarks/report writes the text from here on. -->"
	endMarker   = "<!-- The text of benchmarks/report ends here. -->"
)

// writePage replaces the part of docs/performance.md that the report writes.
func writePage(docs, text string) error {
	path := filepath.Join(docs, "performance.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), beginMarker)
	_, after, ended := strings.Cut(rest, endMarker)
	if !ok || !ended {
		return errors.New(path + ": the markers are missing")
	}
	text = before + beginMarker + "\n\n" + strings.TrimSpace(text) + "\n\n" + endMarker + after
	return os.WriteFile(path, []byte(text), 0o644)
}

func howMeasured(r *results, at time.Time) string {
	return fmt.Sprintf("Measured on %s with `go run ./report -write` in `benchmarks/`:\n%d × %s, %s, %s/%s.\n",
		at.UTC().Format(time.DateOnly), runtime.NumCPU(), r.config["cpu"], runtime.Version(), r.config["goos"], r.config["goarch"])
}

// A section is a table of the results of one benchmark.
type section struct {
	heading, benchmark string
	first              string // heading of the first column, which contains the names of the rows
	columns            []column
}

// A column shows one metric. If sub is not empty, the column shows only benchmarks whose last part
// of the name is sub. The rest of the name is then the name of the row.
type column struct{ heading, sub, unit string }

var sections = []section{
	{"Requests in one process", "Request", "chain", []column{
		{"ns/op", "", "ns"}, {"limit, ns/op", "", "limit-ns"}, {"× limit", "", "x-limit"},
		{"B/op", "", "B/op"}, {"allocs/op", "", "allocs/op"}, {"statements/op", "", "statements/op"},
	}},
	{"Whole servers", "Server", "server", []column{
		{"CPU time per request, ns", "", "ns"}, {"without authentication, ns", "", "limit-ns"},
		{"ratio", "", "x-limit"},
	}},
	{"Lookups in a database", "Find", "table", []column{
		{"bare SELECT, ns", "Find", "limit-ns"}, {"`Find`, ns", "Find", "ns"},
		{"SELECT by both digests, × bare", "both digests", "x-limit"},
		{"with a deadline, × bare", "both digests, deadline", "x-limit"}, {"`Find`, × bare", "Find", "x-limit"},
	}},
	{"Lookups during `Prune`", "Prune", "store", []column{
		{"median alone, ns", "", "p50-alone-ns"}, {"median during `Prune`, ns", "", "p50-beside-ns"},
		{"99th percentile alone, ns", "", "p99-alone-ns"}, {"99th percentile during `Prune`, ns", "", "p99-beside-ns"},
	}},
	{"`Issue` and `Revoke` by the number of the user's tokens", "Issue", "database and tokens of the user", []column{
		{"ns", "", "ns"}, {"user with 50 live tokens, ns", "", "limit-ns"}, {"ratio", "", "x-limit"},
	}},
	{"A page of 50 live tokens by the number of the user's tokens", "Page", "database and tokens of the user", []column{
		{"ns", "", "ns"}, {"user with 50 live tokens, ns", "", "limit-ns"}, {"ratio", "", "x-limit"},
	}},
	{"`RevokeAll`", "RevokeAll", "database and number of tokens", []column{
		{"seconds", "", "s"}, {"slowest statement, seconds", "", "slowest-s"},
	}},
	{"Many tokens and goroutines", "Grid", "tokens and chain", []column{
		{"ns/op, 1 goroutine", "1 goroutines", "ns"}, {"16 goroutines", "16 goroutines", "ns"}, {"256 goroutines", "256 goroutines", "ns"},
	}},
}

// render returns all tables in Markdown.
func render(budgets []*budget, r *results) string {
	good, all, _ := tally(budgets, false)
	t := row("benchmark", "metric", "budget", "measured", "±", "outcome") + "| --- | --- | --: | --: | --: | --- |\n"
	for _, b := range budgets {
		measured, spread, remark := "–", "–", b.outcome
		if b.outcome != notMeasured {
			measured = number(b.measured.Center)
			spread = b.measured.PctRangeString() // ∞ if there are fewer than six results
		}
		switch b.outcome {
		case missed:
			remark = "**missed**"
		case explained:
			remark += " up to " + number(b.explained.value) + ": " + b.reason
		}
		t += row(b.name, b.unit, b.bound.String(), measured, spread, remark)
	}
	text := fmt.Sprintf("## Budgets\n\n%d of %d budgets are met.\n\n%s", good, all, t)
	for _, s := range sections {
		text += s.render(r)
	}
	return text
}

// render returns the table in Markdown, or an empty string if the benchmark was not run.
func (s section) render(r *results) string {
	var rows []string
	cells := map[[2]string]string{} // by row and heading of the column
	for _, name := range r.names {
		first, ok := strings.CutPrefix(name, s.benchmark+"/")
		if !ok {
			continue
		}
		last := first[strings.LastIndex(first, "/")+1:]
		if s.columns[0].sub != "" {
			first = strings.ReplaceAll(strings.TrimSuffix(first, "/"+last), "/", ", ")
		}
		if !slices.Contains(rows, first) {
			rows = append(rows, first)
		}
		for _, c := range s.columns {
			if summary, ok := r.summary(name, c.unit); ok && (c.sub == "" || c.sub == last) {
				cells[[2]string{first, c.heading}] = number(summary.Center)
			}
		}
	}
	if len(rows) == 0 {
		return ""
	}
	head := []string{s.first}
	for _, c := range s.columns {
		head = append(head, c.heading)
	}
	t := "\n## " + s.heading + "\n\n" + row(head...) + "| --- |" + strings.Repeat(" --: |", len(s.columns)) + "\n"
	for _, name := range rows {
		line := []string{name}
		for _, c := range s.columns {
			line = append(line, cmp.Or(cells[[2]string{name, c.heading}], "–"))
		}
		t += row(line...)
	}
	return t
}

// row returns a row of a table in Markdown.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// decimals returns the number of decimals with which the tables show f.
func decimals(f float64) int {
	if f >= 100 {
		return 0
	}
	return 2
}

func number(f float64) string {
	return message.NewPrinter(language.English).Sprint(textnumber.Decimal(f, textnumber.MaxFractionDigits(decimals(f))))
}
