// Command cases compares the table of security cases in docs/security-cases.md with the comments of
// the tests. It must run in the root folder.
//
//	go run ./.ci/cases [-write]
//
// A comment of a test, fuzz target or benchmark names cases as in "Case E12." or "Cases C1, C3.".
// So does a comment above an entry of a case table in package storetest. The command fails unless
// each row of the page names exactly the tests of its case. The row of a case without tests must
// have a reason instead, which is at least three words without backticks. The command also fails
// if the name of a test begins with a case ID, or if the claims in CONTRIBUTING.md name a test that
// does not exist.
//
// With -write, the command first writes the names of the tests into the page. It leaves reasons
// unchanged, and writes TODO if a case has neither a test nor a reason.
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	pageName      = "docs/security-cases.md"
	claimsName    = "CONTRIBUTING.md"
	claimsHeading = "## Claims and their tests"
	suite         = "storetest" // folder of the package whose case tables run as subtests
	fewestWords   = 3           // of a reason
)

func main() {
	log.SetFlags(0)
	write := flag.Bool("write", false, "write the names of the tests into "+pageName)
	flag.Parse()
	problems, err := check(".", *write)
	if err != nil {
		log.Fatal(err)
	}
	if len(problems) != 0 {
		log.Fatal(strings.Join(problems, "\n"))
	}
}

// check returns the problems of the repository in the folder root. If write is set, check first
// updates the page.
func check(root string, write bool) (problems []string, err error) {
	found, err := readTests(os.DirFS(root))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(root, pageName)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	updated, inPage := page(string(text), found.tests, write)
	if write {
		if err := os.WriteFile(file, []byte(updated), 0o644); err != nil {
			return nil, err
		}
	}
	claims, err := os.ReadFile(filepath.Join(root, claimsName))
	if err != nil {
		return nil, err
	}
	_, table, _ := strings.Cut(string(claims), "\n"+claimsHeading+"\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, name := range testInText.FindAllString(table, -1) {
		if !found.names[name] {
			inPage = append(inPage, claimsName+": there is no test "+name)
		}
	}
	return append(found.problems, inPage...), nil
}

var testInText = regexp.MustCompile("`([a-z/]+\\.)?(Test|Fuzz)\\w+`")

var (
	row       = regexp.MustCompile(`^\| ([A-Z]\d+) \| ([^|]+) \| ([^|]*?) ?\|$`)
	otherLine = regexp.MustCompile(`^\|(---\|---\|---\|| Case \| What must hold \| Test \|)$`)
)

// page checks the rows of the page against the tests of each case. It returns the problems, and
// the text of the page. If write is set, that text has the names of the tests.
func page(text string, tests map[string][]string, write bool) (updated string, problems []string) {
	lines := strings.Split(text, "\n")
	rows := map[string]bool{}
	for i, line := range lines {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("%s:%d: ", pageName, i+1)+fmt.Sprintf(format, args...))
		}
		cells := row.FindStringSubmatch(line)
		if cells == nil {
			if strings.HasPrefix(line, "|") && !otherLine.MatchString(line) {
				problem("the line is not a row of the form | E12 | Sentence. | Tests or reason |")
			}
			continue
		}
		id, sentence, cell := cells[1], cells[2], cells[3]
		want := strings.Join(tests[id], ", ")
		isReason := len(strings.Fields(cell)) >= fewestWords && !strings.Contains(cell, "`")
		if write && (want != "" || !isReason) {
			cell = want
			if want == "" {
				cell = "TODO"
			}
			lines[i] = "| " + id + " | " + sentence + " | " + cell + " |"
		}
		switch {
		case rows[id]:
			problem("%s has two rows", id)
		case want != "" && cell != want:
			problem("%s must name exactly these tests: %s", id, want)
		case want == "" && !isReason:
			problem("no comment of a test names %s, so the row needs a reason of at least %d words without backticks", id, fewestWords)
		}
		rows[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(tests)) {
		if !rows[id] {
			problems = append(problems, fmt.Sprintf("%s: no row for %s, the case of %s", pageName, id, strings.Join(tests[id], ", ")))
		}
	}
	return strings.Join(lines, "\n"), problems
}
