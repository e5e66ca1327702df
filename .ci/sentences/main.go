// Command sentences draws sentences at random from comments, error texts and Markdown, so that a
// reader can say what each means. It prints each sentence with the lines around it.
//
//	go run ./.ci/sentences SEED [FILE | FOLDER]…
//
// The seed is the hash of the parent of the change's first commit. The same seed draws the same
// sentences from the same files. Without files, the command draws from the Go files of the root
// folder and of the folders below that exist.
package main

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var folders = []string{"internal", "storetest", "tokenauthtest", "tokenlogin", "tokenapi"}

// A sentence is one that may be drawn.
type sentence struct {
	file string
	line int // of its first word
	text string
}

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 20, "`number` of sentences")
	around := flag.Int("around", 5, "number of `lines` to print before and after each sentence")
	tests := flag.Bool("tests", true, "draw from files named _test.go, too")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: sentences [-n NUMBER] [-around LINES] [-tests=false] SEED [FILE | FOLDER]…")
	}
	seed, names := flag.Arg(0), flag.Args()[1:]
	files, err := filesOf(names)
	if err != nil {
		log.Fatal(err)
	}
	lines := map[string][]string{} // by file
	var all []sentence
	for _, file := range files {
		if !*tests && strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		lines[file] = strings.Split(string(source), "\n")
		found, err := sentencesOf(file, source)
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, found...)
	}
	drawn := draw(all, seed, *n)
	fmt.Printf("%d of %d sentences in %d files, seed %s\n", len(drawn), len(all), len(lines), seed)
	for i, s := range drawn {
		fmt.Printf("\n%d. %s:%d: %s\n\n", i+1, s.file, s.line, s.text)
		first, last := max(1, s.line-*around), min(len(lines[s.file]), s.line+*around)
		for number := first; number <= last; number++ {
			fmt.Printf("%6d\t%s\n", number, lines[s.file][number-1])
		}
	}
}

// filesOf returns the Go and Markdown files among the names, and in the folders among them.
func filesOf(names []string) (files []string, err error) {
	if len(names) == 0 {
		if files, err = filepath.Glob("*.go"); err != nil {
			return nil, err
		}
		for _, folder := range folders {
			if _, err := os.Stat(folder); err == nil {
				names = append(names, folder)
			}
		}
	}
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if extension := filepath.Ext(path); err == nil && !d.IsDir() && (extension == ".go" || extension == ".md") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// draw returns n sentences, in the order of the files. It takes those with the lowest hash of the
// seed and the place, which depends on no generator of random numbers.
func draw(all []sentence, seed string, n int) []sentence {
	type ticket struct {
		hash  [sha256.Size]byte
		index int
	}
	tickets := make([]ticket, len(all))
	for i, s := range all {
		tickets[i] = ticket{sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s", seed, s.file, s.line, s.text)), i}
	}
	slices.SortFunc(tickets, func(a, b ticket) int {
		return cmp.Or(slices.Compare(a.hash[:], b.hash[:]), a.index-b.index)
	})
	tickets = tickets[:min(n, len(tickets))]
	slices.SortFunc(tickets, func(a, b ticket) int { return a.index - b.index })
	var drawn []sentence
	for _, t := range tickets {
		drawn = append(drawn, all[t.index])
	}
	return drawn
}
