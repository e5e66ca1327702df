// Command report measures this library beside the limit and its peers, judges the
// budgets, and writes docs/performance.md and docs/performance.svg:
//
//	go run ./report            # some minutes
//	go run ./report -quick     # under 45 seconds, and leaves something out
//	go run ./report -docs ""   # writes nothing
//
// It ends with how many budgets were met, and with a status other than 0 if one was
// missed that explained.txt does not explain.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
)

//go:embed explained.txt
var explanations string

func main() {
	quick := flag.Bool("quick", false, "leave out what takes long")
	docs := flag.String("docs", filepath.Join("..", "docs"), "the folder of performance.md and performance.svg; empty: write nothing")
	flag.Parse()
	p := fullPlan
	if *quick {
		p = quickPlan
	}
	ok, err := run(p, *docs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run measures, prints and writes; ok if no budget was missed.
func run(p plan, docs string) (ok bool, err error) {
	explained, err := parseExplanations(explanations)
	if err != nil {
		return false, err
	}
	r := &report{plan: p, lines: newLines()}
	if err := judge(r.lines, explained); err != nil {
		return false, err // before it takes minutes
	}
	if r.dir, err = os.MkdirTemp("", "tokenauth-benchmarks-"); err != nil {
		return false, err
	}
	cleanUp := sync.OnceValue(func() error { return errors.Join(databases.Stop(), os.RemoveAll(r.dir)) })
	defer func() { err = errors.Join(err, cleanUp()) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		_ = cleanUp() // the status says that something went wrong
		os.Exit(1)
	}()
	runtime.GOMAXPROCS(1)
	if err := r.measure(context.Background()); err != nil {
		return false, err
	}
	if err := judge(r.lines, explained); err != nil {
		return false, err
	}
	fmt.Println(r.tables())
	if docs != "" {
		if err := r.write(docs); err != nil {
			return false, err
		}
	}
	good, all := tally(r.lines)
	fmt.Printf("%d of %d budgets met\n", good, all)
	return !hasMissed(r.lines), nil
}
