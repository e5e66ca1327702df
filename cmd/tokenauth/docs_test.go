package main

import (
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

// The commands in docs/command-line.md must print the output that the page shows.
func TestDocsShowRealOutput(t *testing.T) {
	needProgram(t)
	t.Parallel()
	need(t, "bash")
	need(t, "jq")
	page, err := os.ReadFile("../../docs/command-line.md")
	require.NoError(t, err)
	var session, script strings.Builder
	for _, block := range consoleBlock.FindAllStringSubmatch(string(page), -1) {
		session.WriteString(block[1])
	}
	require.NotZero(t, session.Len())
	for line := range strings.Lines(session.String()) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			script.WriteString("echo '" + strings.ReplaceAll("$ "+strings.TrimSpace(command), "'", `'\''`) + "'\n" + command)
		}
	}
	dir := t.TempDir()
	require.NoError(t, makeDatabase(filepath.Join(dir, "django.db"), "drf/stock_authtoken"))
	require.NoError(t, createLeaked("sqlite:"+filepath.Join(dir, "acme.db")))
	bash := exec.CommandContext(t.Context(), "bash", "-c", "exec 2>&1\n"+script.String())
	bash.Dir = dir
	bash.Env = append(os.Environ(), "PATH="+programDir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	output, err := bash.Output()
	require.NoError(t, err, string(output))
	require.Equal(t, alike(session.String()), alike(string(output)))
}

// need skips a test whose tool is missing, but not in CI.
func need(t *testing.T, tool string) {
	t.Helper()
	_, err := exec.LookPath(tool)
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
}

// makeDatabase creates a database of another system from the test data of package tokenimport.
func makeDatabase(file, name string) error {
	statements, err := os.ReadFile(filepath.Join(fixtures, name+".sql"))
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	_, err = db.Exec(string(statements))
	return errors.Join(err, db.Close())
}

// alike replaces the parts of a session that differ between runs by fixed texts. These parts are
// times, IDs, keys, and the spaces between columns.
func alike(session string) string {
	for _, r := range []struct{ form, becomes string }{
		{`\b[A-Z2-7]{26}\b`, "ID"},
		{`\bacme_[0-9A-Za-z]{38}\b`, "acme_…"},
		{`…[0-9A-Za-z]{4}\b`, "…HINT"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`, "TIME"},
		{`\b(now|never|in \d+ \w+|\d+ \w+ ago)\b`, "WHEN"},
		{`user_id=\d+`, "user_id=N"},
		{` {2,}`, "  "},
	} {
		session = regexp.MustCompile(r.form).ReplaceAllString(session, r.becomes)
	}
	return session
}
