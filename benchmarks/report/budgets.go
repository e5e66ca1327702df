package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/perf/benchmath"
)

// A budget is a bound for one metric of a benchmark.
type budget struct {
	name, unit string
	bound      bound
	explained  bound  // wider bound, which applies because of reason
	reason     string // empty if there is no wider bound
	measured   benchmath.Summary
	outcome    string
}

// A bound is the lowest or the highest value that a budget allows.
type bound struct {
	value   float64
	atLeast bool
}

const (
	met         = "met"
	missed      = "missed"
	explained   = "explained"
	notMeasured = "not measured"
)

// parseBudgets reads budgets.txt. The file explains its format.
func parseBudgets(text string) ([]*budget, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.Comment, r.FieldsPerRecord, r.LazyQuotes = '|', '#', -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	all, seen := []*budget{}, map[string]bool{}
	for _, row := range rows {
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if len(row) != 3 && len(row) != 5 {
			return nil, fmt.Errorf("budgets.txt: want 3 or 5 fields: %q", row)
		}
		b := &budget{name: row[0], unit: row[1]}
		if b.bound, err = parseBound(row[2]); err != nil {
			return nil, err
		}
		if len(row) == 5 {
			if b.explained, err = parseBound(row[3]); err != nil {
				return nil, err
			}
			if b.reason = row[4]; b.reason == "" {
				return nil, fmt.Errorf("budgets.txt: no reason: %q", row)
			}
		}
		if seen[b.name+b.unit] {
			return nil, fmt.Errorf("budgets.txt: duplicate of %s and %s", b.name, b.unit)
		}
		seen[b.name+b.unit] = true
		all = append(all, b)
	}
	return all, nil
}

func parseBound(text string) (bound, error) {
	operator, number, _ := strings.Cut(text, " ")
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || operator != "≤" && operator != "≥" {
		return bound{}, fmt.Errorf("budgets.txt: %q is not a bound such as ≤ 1.5", text)
	}
	return bound{value, operator == "≥"}, nil
}

// allows reports whether the bound allows the value, rounded as the tables show it.
func (b bound) allows(value float64) bool {
	scale := math.Pow10(decimals(value))
	shown := math.Round(value*scale) / scale
	return shown == b.value || b.atLeast == (shown > b.value)
}

func (b bound) String() string {
	return map[bool]string{true: "≥ ", false: "≤ "}[b.atLeast] + number(b.value)
}

// judge sets the outcome of each budget. It returns an error if a benchmark does not report the
// metric of its budget.
func judge(budgets []*budget, r *results) error {
	for _, b := range budgets {
		var measured bool
		b.measured, measured = r.summary(b.name, b.unit)
		switch {
		case !measured && r.values[b.name] != nil:
			return fmt.Errorf("budgets.txt: %s reports no metric %s", b.name, b.unit)
		case !measured:
			b.outcome = notMeasured
		case b.bound.allows(b.measured.Center):
			b.outcome = met
		case b.reason != "" && b.explained.allows(b.measured.Center):
			b.outcome = explained
		default:
			b.outcome = missed
		}
	}
	return nil
}

// tally returns the numbers of budgets that are met and that are measured. It returns false if a
// budget is missed or not measured. A quick run measures fewer budgets, and its ratios are too
// noisy to judge, so tally ignores these cases in a quick run.
func tally(budgets []*budget, quick bool) (good, all int, ok bool) {
	ok = true
	for _, b := range budgets {
		switch b.outcome {
		case met:
			good++
		case missed:
			ok = ok && quick && b.unit == "x-limit"
		case notMeasured:
			ok = ok && quick
			continue
		}
		all++
	}
	return good, all, ok
}
