package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A package whose tests do not run through leak.Main must be reported.
func TestSearch(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for file, text := range map[string]string{
		"main_test.go":         "package a\n\nfunc TestMain(m *testing.M) { leak.Main(m) }\n",
		"other_test.go":        "package a_test\n\nfunc TestX(t *testing.T) {}\n",
		"wrapped/main_test.go": "package b\n\nfunc TestMain(m *testing.M) {\n\tif child() {\n\t\treturn\n\t}\n\tleak.Main(wrapper{m})\n}\n",
		"leak/leak_test.go":    "package leak\n\nfunc TestMain(m *testing.M) { Main(m) }\n",
		"none/none_test.go":    "package c\n\nfunc TestX(t *testing.T) { leak.Main(nil) }\n",
		"plain/main_test.go":   "package d\n\nfunc TestMain(m *testing.M) { os.Exit(m.Run()) } // not leak.Main(m)\n",
		"own/main_test.go":     "package e\n\nfunc TestMain(m *testing.M) { Main(m) }\n",
		"notests/a.go":         "package f\n",
		"benchmarks/b_test.go": "package g\n",
		".cache/c_test.go":     "package h\n",
	} {
		path := filepath.Join(root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	unchecked, err := search(root)
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(root, "none"), filepath.Join(root, "own"), filepath.Join(root, "plain")}, unchecked)
}
