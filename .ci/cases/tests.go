package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	skipped  = regexp.MustCompile(`^(\.|testdata$|node_modules$)`) // folders
	testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark)`)
	badName  = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\d`)
	anyCase  = regexp.MustCompile(`(^|\s)Cases? [A-Z]\d`)
	caseList = regexp.MustCompile(`(?:^|\s)Cases? ([A-Z]\d+(?:(?:,| and|, and) [A-Z]\d+)*)\.`)
	caseID   = regexp.MustCompile(`[A-Z]\d+`)
)

// A reading collects the cases that comments name.
type reading struct {
	files    *token.FileSet
	tests    map[string][]string // by case ID, the sorted tests as the page names them
	names    map[string]bool     // all tests as the page names them
	problems []string
}

// readTests reads the Go files of a repository that have tests or case tables.
func readTests(repository fs.FS) (*reading, error) {
	r := &reading{files: token.NewFileSet(), tests: map[string][]string{}, names: map[string]bool{}}
	err := fs.WalkDir(repository, ".", func(file string, d fs.DirEntry, err error) error {
		isTest := strings.HasSuffix(file, "_test.go")
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && skipped.MatchString(d.Name()):
			return fs.SkipDir
		case d.IsDir() || !isTest && (path.Dir(file) != suite || path.Ext(file) != ".go"):
			return nil
		}
		text, err := fs.ReadFile(repository, file)
		if err != nil {
			return err
		}
		return r.read(file, text, isTest)
	})
	for id, names := range r.tests {
		slices.Sort(names) // puts the root package first, and the suite last
		r.tests[id] = slices.Compact(names)
	}
	return r, err
}

// read adds the cases of a file.
func (r *reading) read(name string, text []byte, isTest bool) error {
	file, err := parser.ParseFile(r.files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	nameOf := r.entryOf(file)
	if isTest {
		nameOf = testOf(file, path.Dir(name))
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !testName.MatchString(f.Name.Name) {
				continue
			}
			r.names[nameIn(path.Dir(name), f)] = true
			if badName.MatchString(f.Name.Name) {
				r.problem(f, "the name %s begins with a case ID", f.Name.Name)
			}
		}
	}
	for _, comment := range file.Comments {
		text := strings.Join(strings.Fields(comment.Text()), " ")
		lists := caseList.FindAllStringSubmatch(text, -1)
		if len(lists) != len(anyCase.FindAllString(text, -1)) {
			r.problem(comment, "write cases as in: Case E12. Cases C1, C3, and C9.")
		}
		test := nameOf(comment)
		if len(lists) != 0 && test == "" {
			r.problem(comment, "the comment names a case, but belongs to no test")
			continue
		}
		for _, list := range lists {
			for _, id := range caseID.FindAllString(list[1], -1) {
				r.tests[id] = append(r.tests[id], test)
			}
		}
	}
	return nil
}

// nameIn returns the name of a test in a folder, as the page names it.
func nameIn(folder string, f *ast.FuncDecl) string {
	return "`" + strings.TrimPrefix(folder+".", "..") + f.Name.Name + "`"
}

// testOf returns a function that returns the test above which, or in which, a comment stands.
func testOf(file *ast.File, folder string) func(*ast.CommentGroup) string {
	return func(comment *ast.CommentGroup) string {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !testName.MatchString(f.Name.Name) {
				continue
			}
			if f.Doc == comment || f.Pos() <= comment.Pos() && comment.Pos() < f.End() {
				return nameIn(folder, f)
			}
		}
		return ""
	}
}

// entryOf returns a function that returns the subtest of the table entry below a comment. The name
// of the subtest is the first string literal of the entry.
func (r *reading) entryOf(file *ast.File) func(*ast.CommentGroup) string {
	type place struct{ line, column int }
	names := map[place]string{} // by the place where the entry begins
	for n := range ast.Preorder(file) {
		table, _ := n.(*ast.CompositeLit)
		for i := 0; table != nil && i < len(table.Elts); i++ {
			for n := range ast.Preorder(table.Elts[i]) {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
					name, _ := strconv.Unquote(text.Value) // the parser has accepted the literal
					at := r.files.Position(table.Elts[i].Pos())
					names[place{at.Line, at.Column}] = suite + " `" + name + "`"
					break
				}
			}
		}
	}
	return func(comment *ast.CommentGroup) string {
		return names[place{r.files.Position(comment.End()).Line + 1, r.files.Position(comment.Pos()).Column}]
	}
}

func (r *reading) problem(at ast.Node, format string, args ...any) {
	position := r.files.Position(at.Pos())
	r.problems = append(r.problems, fmt.Sprintf("%s:%d: ", position.Filename, position.Line)+fmt.Sprintf(format, args...))
}
