package tokenauth_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var depLine = regexp.MustCompile(`(?m)^\tdep\t`)

// A program that imports package tokenauth must not link any third-party module. Otherwise users of
// this package would have to review and update more dependencies.
func TestImportersLinkNoOtherModule(t *testing.T) {
	t.Parallel()
	root, err := os.Getwd()
	require.NoError(t, err)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module throwaway\n\ngo 1.26\n\n" +
			"require github.com/go-tokenauth/tokenauth v0.0.0\n\n" +
			"replace github.com/go-tokenauth/tokenauth => " + root + "\n",
		"main.go": `package main

import (
	"fmt"

	"github.com/go-tokenauth/tokenauth"
)

func main() {
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	fmt.Print(len(tokens.Scopes()), err)
}
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(name string, args ...string) string {
		command := exec.Command(name, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off")
		output, err := command.CombinedOutput()
		require.NoError(t, err, string(output))
		return string(output)
	}
	run("go", "build", "-o", "program", ".")
	require.Equal(t, "0 <nil>", run("./program"))
	built := run("go", "version", "-m", "program")
	require.Contains(t, built, "\tdep\tgithub.com/go-tokenauth/tokenauth")
	require.Len(t, depLine.FindAllString(built, -1), 1, built)
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	require.NotContains(t, string(mod), "testify")
	require.NotContains(t, string(mod), "sqlite")
}
