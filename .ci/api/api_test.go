package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const source = `// Package p does things.
package p

// T is a type.
type T struct {
	Name string
	size int
}

// F returns n.
func F(n int) int { return n }

func (t *T) Len() int { return t.size }
`

// The text must change with the exported API, and must not change with anything else. Otherwise CI
// would leave out tests that a change can break, or would run them after each change.
func TestTextIsOfExportedAPI(t *testing.T) {
	t.Parallel()
	text := func(source string) string {
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, "p.go"), []byte(source), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "p_test.go"), []byte("package p\nfunc Tested() {}\n"), 0o600))
		var b strings.Builder
		require.NoError(t, write(&b, folder))
		return b.String()
	}
	want := text(source)
	require.Contains(t, want, "func F(n int) int")
	for _, change := range [][2]string{
		{"T is a type", "T is a struct"}, {"size", "length"}, {"return n }", "return n + 1 }"},
		{"func F", "func helper() {}\n\n\nfunc F"},
	} {
		require.Equal(t, want, text(strings.ReplaceAll(source, change[0], change[1])), change[1])
	}
	for _, change := range [][2]string{
		{"Name string", "Name []byte"}, {"Name", "Title"}, {"n int", "n int64"}, {"func F", "func Helper() {}\nfunc F"},
		{"t *T", "t T"}, {"package p\n", "package q\n"},
	} {
		require.NotEqual(t, want, text(strings.ReplaceAll(source, change[0], change[1])), change[1])
	}
}
