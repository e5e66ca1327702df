package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const source = `package p

func f() {
	// docs: call
	if err := g(); err != nil {
		return
	}
	// docs: end
	h()
}
`

// A page that shows other code than the tested code must be reported, because readers copy it.
func TestCheck(t *testing.T) {
	t.Parallel()
	const shown = "# Page\n\n## Use\n\n```go\nif err := g(); err != nil {\n\treturn\n}\n```\n"
	for name, c := range map[string]struct {
		text string
		want []string // part of each problem
	}{
		"the marked code":         {shown, nil},
		"more code of the source": {shown + "\n```go\nh()\n```\n", nil},
		"other code":              {shown + "\n```go\nh(1)\n```\n", []string{"shows code that is not in"}},
		"other indentation":       {strings.ReplaceAll(shown, "\treturn", "return"), []string{"does not show", "shows code"}},
		"another language":        {"```sh\nh(1)\n```\n" + shown, nil},
		"no code":                 {"text", []string{"does not show", "no Go code"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := page{filepath.Join(dir, "page.md"), filepath.Join(dir, "*.go")}
			require.NoError(t, os.WriteFile(p.file, []byte(c.text), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "source.go"), []byte(source), 0o600))
			problems, err := p.check()
			require.NoError(t, err)
			require.Len(t, problems, len(c.want))
			for i, want := range c.want {
				require.Contains(t, problems[i], want)
			}
		})
	}
}

// A new page with Go code must be reported, because nobody compiles its code.
func TestUnlisted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new.md"), []byte("# New\n\n## A\n\n```go\nf()\n```\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text.md"), []byte("no code\n"), 0o600))
	problems, err := unlisted(filepath.Join(dir, "*.md"))
	require.NoError(t, err)
	require.Len(t, problems, 1)
	require.Contains(t, problems[0], "new.md has Go code")
}

// A marker without an end would let a page show other code than the tests compile.
func TestMarkedRefusesOpenMarkers(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"// docs: a\nf()\n", "f()\n// docs: end\n", "// docs: a\n// docs: b\n// docs: end\n"} {
		_, err := marked(wrong)
		require.Error(t, err, wrong)
	}
}
