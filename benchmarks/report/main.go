// Command report runs the benchmarks of the parent folder, compares the results with the budgets in
// budgets.txt, and prints tables:
//
//	go run ./report              # runs all benchmarks
//	go run ./report -quick       # leaves out large tables and long runs
//	go run ./report -in FILE     # reads the output of go test -bench from a file, and runs nothing
//	go run ./report -write       # also updates docs/performance.md and docs/performance.svg
//
// The last line of the output is the number of budgets that are met. The exit status is 1 if a
// budget is missed without an explanation in budgets.txt, or if a budget is not measured. In a
// quick run, missed ratios and budgets that are not measured do not change the exit status.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

//go:embed budgets.txt
var budgetsText string

func main() {
	quick := flag.Bool("quick", false, "leave out large tables and long runs")
	in := flag.String("in", "", "read the output of go test -bench from this `file`, and run nothing")
	write := flag.Bool("write", false, "update the documents")
	docs := flag.String("docs", "../docs", "the `folder` of the documents")
	flag.Parse()
	ok, err := report(os.Stdout, *quick, *in, *write, *docs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// report prints the tables to out. It returns false if the exit status must be 1.
func report(out io.Writer, quick bool, in string, write bool, docs string) (bool, error) {
	budgets, err := parseBudgets(budgetsText)
	if err != nil {
		return false, err
	}
	if quick && write {
		return false, errors.New("-write needs all benchmarks, and -quick leaves some out")
	}
	at := time.Now()
	var output []byte
	if in == "" {
		output, err = runBenchmarks(quick)
	} else if output, err = os.ReadFile(in); err == nil {
		at = must.Get(os.Stat(in)).ModTime()
	}
	if err != nil {
		return false, err
	}
	r, err := parse(bytes.NewReader(output))
	if err != nil {
		return false, err
	}
	if err := judge(budgets, r); err != nil {
		return false, err
	}
	tables := render(budgets, r)
	if write {
		err = errors.Join(writePage(docs, howMeasured(r, at)+"\n"+tables), writePicture(docs, r))
	}
	met, all, ok := tally(budgets, quick)
	fmt.Fprintf(out, "%s\n%d budgets not measured\n%d of %d budgets met\n", tables, len(budgets)-all, met, all)
	return ok, err
}

// runBenchmarks returns the output of go test, and copies it to standard error. Benchmarks that
// take long run only once. They run first, in a process without the garbage of other benchmarks.
func runBenchmarks(quick bool) ([]byte, error) {
	runs := [][]string{
		{"-bench", "Memory|Prune|Grid|IssueAtLimit|RevokeAll", "-benchtime", "1x"},
		{"-bench", "Server|Parallel", "-benchtime", "2s", "-count", "6"},
		{"-bench", ".", "-skip", "Memory|Prune|Grid|IssueAtLimit|RevokeAll|Server|Parallel", "-benchtime", "500ms", "-count", "6"},
	}
	if quick {
		runs = [][]string{{"-bench", ".", "-short", "-benchtime", "150ms"}}
	}
	var output bytes.Buffer
	for _, args := range runs {
		cmd := exec.Command("go", append([]string{"test", "-run", "^$", "-timeout", "2h"}, args...)...)
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&output, os.Stderr), os.Stderr
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", strings.Join(cmd.Args, " "), time.Since(begin).Seconds())
	}
	return output.Bytes(), nil
}
