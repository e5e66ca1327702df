// Package examples_test runs the example programs as README.md shows them.
package examples_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

var (
	codeBlock   = regexp.MustCompile("(?s)```(go)?\n(.*?)```")
	demoLine    = regexp.MustCompile(`^Open http://(127\.0\.0\.1:\d+)/ and sign in as ada with the password ([a-z2-7]{16})\n$`)
	keyLine     = regexp.MustCompile(`^KEY=(acme_[0-9A-Za-z]{38})\n$`)
	addressLine = regexp.MustCompile(`^curl -H "Authorization: Bearer \$KEY" http://(127\.0\.0\.1:\d+)/me\n$`)
)

// section returns the code blocks of a section of README.md.
func section(t *testing.T, heading string) [][]string {
	t.Helper()
	page, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "\n## "+heading+"\n")
	require.True(t, found, heading)
	text, _, _ = strings.Cut(text, "\n## ")
	return codeBlock.FindAllStringSubmatch(text, -1)
}

// A programs is the path of the folder with the built programs.
type programs string

// A reader of README.md starts both programs and copies the commands. The commands must work, and
// must print what README.md shows.
func TestReadmeMatchesPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts two programs")
	}
	folder := t.TempDir()
	output, err := exec.Command("go", "build", "-o", folder, "./server", "./quickstart").CombinedOutput()
	require.NoError(t, err, string(output))
	t.Run("has the default addresses", programs(folder).testAddresses)
	t.Run("has commands that work", programs(folder).testCommands)
}

// The programs must have different default addresses, because a reader of README.md runs both.
func (p programs) testAddresses(t *testing.T) {
	for heading, want := range map[string]struct{ name, address string }{
		"Try it":      {"server", "127.0.0.1:8080"},
		"Quick start": {"quickstart", "127.0.0.1:8081"},
	} {
		help, err := exec.Command(filepath.Join(string(p), want.name), "-h").CombinedOutput()
		require.NoError(t, err, string(help))
		require.Contains(t, string(help), `(default "`+want.address+`")`)
		var text strings.Builder
		for _, block := range section(t, heading) {
			text.WriteString(block[2])
		}
		require.Contains(t, text.String(), "go run ./examples/"+want.name)
		for _, address := range regexp.MustCompile(`http://([^/]+)/`).FindAllStringSubmatch(text.String(), -1) {
			if address[1] != "%s" { // the address is a format in the program
				require.Equal(t, want.address, address[1], heading)
			}
		}
	}
}

// The commands of README.md must work while both programs run.
func (p programs) testCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	demo := p.start(t, "server", "-seed-demo", "-db", filepath.Join(t.TempDir(), "tokens.db"))
	found := match(t, demo, demoLine)
	address, password := found[1], found[2]
	leak.Default.Secret(password)
	go func() { _, _ = io.Copy(&leak.Default, demo) }()
	commands := curls(section(t, "Try it"))
	require.Len(t, commands, 3)
	login := run(t, strings.ReplaceAll(commands[2].line, "password=…", "password="+password), address, "")
	var token struct{ Key string }
	require.NoError(t, json.Unmarshal([]byte(login), &token))
	leak.Default.Secret(token.Key)
	require.Contains(t, run(t, commands[0].line, address, token.Key), `"name":"ada"`)
	require.Contains(t, run(t, commands[1].line, address, token.Key), `"text":"milk"`)

	quickstart := p.start(t, "quickstart")
	key := match(t, quickstart, keyLine)[1]
	leak.Default.Secret(key)
	address = match(t, quickstart, addressLine)[1]
	commands = curls(section(t, "Quick start"))
	require.Len(t, commands, 4)
	for _, c := range commands {
		response := run(t, c.line, address, key)
		_, _ = leak.Default.Write([]byte(response))
		for _, line := range c.response {
			require.Contains(t, response, line, c.line)
		}
	}
}

// A command is a curl command of README.md, with the lines of its response that README.md shows.
type command struct {
	line     string
	response []string
}

func curls(blocks [][]string) (all []command) {
	for _, block := range blocks {
		for line := range strings.Lines(block[2]) {
			line = strings.TrimSpace(line)
			bare := strings.TrimPrefix(line, "$ ")
			switch {
			case block[1] == "go":
			case strings.HasPrefix(bare, "curl "):
				all = append(all, command{line: bare})
			case len(all) > 0 && line != "" && line != "…":
				last := &all[len(all)-1]
				last.response = append(last.response, line)
			}
		}
	}
	return all
}

// run runs a command of README.md at another address.
func run(t *testing.T, line, address, key string) string {
	t.Helper()
	line = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(line, address)
	shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl ", "curl --silent --show-error ", 1))
	shell.Env = append(os.Environ(), "KEY="+key)
	output, err := shell.CombinedOutput()
	require.NoError(t, err, string(output))
	return string(output)
}

// start runs an example on a free port until the test ends, and returns its output.
func (p programs) start(t *testing.T, name string, args ...string) *bufio.Reader {
	t.Helper()
	program := exec.Command(filepath.Join(string(p), name), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	program.Stderr = &leak.Default
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait() // returns an error, because the process was killed
	})
	return bufio.NewReader(stdout)
}

// match reads a line, which must match form. It does not print the line, because the line may
// contain a secret.
func match(t *testing.T, output *bufio.Reader, form *regexp.Regexp) []string {
	t.Helper()
	line, err := output.ReadString('\n')
	require.NoError(t, err)
	found := form.FindStringSubmatch(line)
	require.NotNil(t, found, "the line does not match %s", form)
	return found
}
