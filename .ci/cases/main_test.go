package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const header = "# Cases\n\n| Case | What must hold | Test |\n|---|---|---|\n"

// files is a repository in which the page and the comments agree. Its lines are indented by spaces,
// so that no other program takes them for code of this repository.
var files = map[string]string{
	pageName: header +
		"| A1 | One. | `TestA`, `api.TestB`, `deep/er.FuzzC`, storetest `do one thing`, storetest `do what others need` |\n" +
		"| A2 | Two. | `api.TestB` |\n" +
		"| A3 | Three. | `BenchmarkD` |\n" +
		"| A4 | Four. | nobody can test this |\n",
	claimsName: "# Page\n\n`TestNo`\n\n" + claimsHeading + "\n\nText about `TestA` and `deep/er.FuzzC`.\n\n## Next\n\n`TestNo`\n",
	"a_test.go": `package a
 // TestA tests.
 //
 // Case A1.
 func TestA(t *testing.T) {}
 // Case A3. More text.
 func BenchmarkD(b *testing.B) {}
 // No text here names one: "Case A9." Neither does case A9.
 func helper() {}
 `,
	"api/b_test.go": `package api_test
 // TestB tests the first case, which is Cases
 // A1 and A2. More.
 func TestB(t *testing.T) {
  x() // for the first. Case A1.
 }`,
	"deep/er/c_test.go":  "package er\n // Cases A1, and A1.\n func FuzzC(f *testing.F) {}",
	"storetest/cases.go": "package storetest\nvar cases = []testCase{\n\t// Case A1.\n\t{\"do one thing\", one},\n\t// A reason. Case A1.\n\tothers(\"do what others need\", 2),\n\t{\"do more\", more},\n}\n",
	"testdata/x_test.go": "package x\n // Case A9.\n",
	".ci/x_test.go":      "package x\n // Case A9.\n",
}

// repository writes files into a new folder, after the replacements in one of them.
func repository(t *testing.T, file string, oldnew ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		if name == file {
			before := text
			text = strings.NewReplacer(oldnew...).Replace(text)
			require.NotEqual(t, before, text)
		}
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return root
}

func TestCheckAcceptsPageThatAgrees(t *testing.T) {
	t.Parallel()
	problems, err := check(repository(t, ""), false)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// A page that disagrees with the tests must be reported. Otherwise a promise could lose its test.
func TestCheckFindsProblem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file   string
		oldnew []string
		want   string
	}{
		"a test is gone":           {"a_test.go", []string{"Case A1.", ""}, "security-cases.md:5: A1 must name exactly these tests: `api.TestB`, "},
		"a test is new":            {"a_test.go", []string{"Case A3.", "Cases A2, A3."}, "A2 must name exactly these tests: `BenchmarkD`, `api.TestB`"},
		"a test is renamed":        {"api/b_test.go", []string{"TestB(", "TestNew("}, "A1 must name exactly"},
		"the last test is gone":    {"a_test.go", []string{"Case A3.", ""}, "no comment of a test names A3"},
		"a subtest is renamed":     {"storetest/cases.go", []string{"do one", "do two"}, "storetest `do two thing`"},
		"an unknown case":          {"a_test.go", []string{"Case A3.", "Cases A3, B1."}, "no row for B1, the case of `BenchmarkD`"},
		"a reason beside tests":    {pageName, []string{"`BenchmarkD`", "`BenchmarkD`, as others do"}, "A3 must name exactly these tests: `BenchmarkD`"},
		"a reason instead":         {pageName, []string{"`BenchmarkD`", "nobody can test this"}, "A3 must name exactly"},
		"a test that is none":      {pageName, []string{"nobody can test this", "`TestA` is for this"}, "no comment of a test names A4"},
		"a short reason":           {pageName, []string{"nobody can test this", "TODO"}, "no comment of a test names A4"},
		"no reason":                {pageName, []string{"| nobody can test this |", "| |"}, "no comment of a test names A4"},
		"a row twice":              {pageName, []string{"A4", "A3"}, "A3 has two rows"},
		"a malformed row":          {pageName, []string{"| Two. ", ""}, "is not a row"},
		"a case ID in a name":      {"a_test.go", []string{"TestA(", "TestA1Works("}, "the name TestA1Works begins with a case ID"},
		"a range":                  {"a_test.go", []string{"Case A1.", "Cases A1 to A3."}, "write cases as in"},
		"no period":                {"a_test.go", []string{"Case A3. More", "Case A3 more"}, "write cases as in"},
		"a helper":                 {"a_test.go", []string{`"Case A9."`, "Case A3."}, "belongs to no test"},
		"a claim without a test":   {claimsName, []string{"FuzzC", "FuzzD"}, "CONTRIBUTING.md: there is no test `deep/er.FuzzD`"},
		"a comment below an entry": {"storetest/cases.go", []string{"one},", "one}, // Case A2."}, "belongs to no test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems, err := check(repository(t, c.file, c.oldnew...), false)
			require.NoError(t, err)
			require.Contains(t, strings.Join(problems, "\n"), c.want)
		})
	}
}

// With -write, the page gets the names of the tests, and keeps reasons of cases without tests.
func TestCheckWritesPage(t *testing.T) {
	t.Parallel()
	root := repository(t, pageName, "`TestA`, `api.TestB`, ", "", "`BenchmarkD`", "nobody can test this", "| `api.TestB` |", "| |")
	problems, err := check(root, true)
	require.NoError(t, err)
	require.Empty(t, problems)
	text, err := os.ReadFile(filepath.Join(root, pageName))
	require.NoError(t, err)
	require.Equal(t, files[pageName], string(text))

	root = repository(t, pageName, "nobody can test this", "`TestOld`")
	problems, err = check(root, true)
	require.NoError(t, err)
	require.Len(t, problems, 1, "the page still lacks a reason")
	text, err = os.ReadFile(filepath.Join(root, pageName))
	require.NoError(t, err)
	require.Contains(t, string(text), "| A4 | Four. | TODO |\n")
}
