package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ctrl-C at a prompt must restore the terminal and change nothing. A key that is typed must not be
// shown.
func TestInterruptedPromptRestoresTerminal(t *testing.T) {
	needProgram(t)
	t.Parallel()
	need(t, "script") // program of util-linux that runs a command on a terminal
	env := append(os.Environ(), "PATH="+programDir+string(filepath.ListSeparator)+os.Getenv("PATH"), "TERM=xterm",
		"TOKENAUTH_PREFIX=acme", "TOKENAUTH_DSN=sqlite:"+filepath.Join(t.TempDir(), "app.db"))
	prepare := exec.CommandContext(t.Context(), "sh", "-c", "tokenauth schema --create && tokenauth create --user 42 laptop >/dev/null")
	prepare.Env = env
	require.NoError(t, prepare.Run())

	for _, c := range []struct {
		command, prompt, typed string
		code                   int
		want                   string
	}{
		{"tokenauth revoke --user 42 laptop", "[y/N] ", "\x03", 130, "interrupted"},
		{"tokenauth check-key", "Key: ", "hidden_\x03", 130, "interrupted"},
		{"tokenauth check-key", "Key: ", "hidden_\r", 1, "not well-formed"},
		{"tokenauth revoke --user 42 laptop", "[y/N] ", "yes\r", 0, "Revoked token laptop"},
		{"tokenauth revoke --user 42 --all", "[y/N] ", "\x04", 1, "nothing was changed"}, // Ctrl-D
	} {
		before, after, code := onTerminal(t, env, c.command, c.prompt, func() string { return c.typed })
		require.Equal(t, c.code, code, before+after)
		require.Contains(t, after, c.want)
		require.NotContains(t, after, "hidden_")
		require.Contains(t, after, " echo ", "the terminal no longer displays typed characters")
	}
}

// Other people may change tokens while a prompt waits. The command must change the token whose ID
// the prompt shows, and not another token that has its name by then.
func TestConfirmedChangeAffectsTokenOfPrompt(t *testing.T) {
	needProgram(t)
	t.Parallel()
	need(t, "script")
	need(t, "jq")
	env := append(os.Environ(), "PATH="+programDir+string(filepath.ListSeparator)+os.Getenv("PATH"), "TERM=xterm",
		"TOKENAUTH_PREFIX=acme", "TOKENAUTH_DSN=sqlite:"+filepath.Join(t.TempDir(), "app.db"))
	sh := func(command string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Env = env
		output, err := cmd.Output()
		require.NoError(t, err)
		return string(output)
	}
	sh("tokenauth schema --create")
	for _, c := range []struct {
		command, meanwhile string
		code               int
		want               string // part of the command's output
		names              string // names of the live tokens afterwards
	}{
		{"revoke", "tokenauth rename --user 42 laptop old; tokenauth create --user 42 laptop", 0, "Revoked token", "laptop"},
		{"rotate", "tokenauth rename --user 42 laptop old; tokenauth create --user 42 laptop", 0, "New generation: 2", "laptop old"},
		{"rotate", "tokenauth rotate --user 42 laptop --yes", 4, "changed meanwhile", "laptop"},
		{"revoke", "tokenauth revoke --user 42 laptop --yes; tokenauth create --user 42 laptop", 0, "Revoked token", "laptop"},
		{"rotate", "tokenauth revoke --user 42 laptop --yes; tokenauth create --user 42 laptop", 3, "no such token", "laptop"},
	} {
		sh("tokenauth revoke --user 42 --all --yes && tokenauth create --user 42 laptop >/dev/null")
		prompt, after, code := onTerminal(t, env, "tokenauth "+c.command+" --user 42 laptop >/dev/null", "[y/N] ", func() string {
			sh("(" + c.meanwhile + ") >/dev/null")
			return "y\r"
		})
		require.Equal(t, c.code, code, prompt+after)
		require.Contains(t, after, c.want, c)
		shown := regexp.MustCompile(`\(([A-Z2-7]{26})\)`).FindStringSubmatch(prompt)
		require.NotNil(t, shown, prompt)
		require.Equal(t, c.names, strings.TrimSpace(sh("tokenauth list --user 42 --json | jq -r '[.tokens[].name] | sort | join(\" \")'")), c)
		if c.code == 0 && c.command == "rotate" {
			require.Equal(t, "2", strings.TrimSpace(sh("tokenauth show --json "+shown[1]+" | jq .generation")))
		}
	}
}

// onTerminal runs a command on a new terminal, waits for its prompt, and types the result of typed.
// It returns the exit code, and the output before and after the typing. The output ends with the
// state of the terminal.
func onTerminal(t *testing.T, env []string, command, prompt string, typed func() string) (before, after string, code int) {
	t.Helper()
	// Ctrl-C also interrupts the shell. The trap keeps the shell running, so that it prints the
	// state of the terminal.
	cmd := exec.CommandContext(t.Context(), "script", "-qec", "trap : INT; "+command+"; code=$?; stty -a; exit $code", "/dev/null")
	cmd.Env = append(env, "SHELL=/bin/sh") // the program script starts this shell
	keyboard, err := cmd.StdinPipe()
	require.NoError(t, err)
	screen, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var shown bytes.Buffer
	for b := make([]byte, 1); !strings.HasSuffix(shown.String(), prompt); {
		_, err := screen.Read(b)
		require.NoError(t, err, shown.String())
		shown.Write(b)
	}
	_, err = io.WriteString(keyboard, typed())
	require.NoError(t, err)
	rest, err := io.ReadAll(screen)
	require.NoError(t, err)
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return shown.String(), string(rest), exit.ExitCode()
	}
	require.NoError(t, err)
	return shown.String(), string(rest), 0
}
