// Package examples_test runs the commands of pages as a reader would.
package examples_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

var (
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
	address      = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	key          = regexp.MustCompile(`\b([a-z]+_)[0-9A-Za-z]{38}\b`)
	password     = regexp.MustCompile(`with the password ([a-z2-7]{16})`)
)

// A reader copies the commands of these pages, from the first to the last. The commands must work,
// and must print what the page shows.
func TestPagesRunAsPrinted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts programs")
	}
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
	}
	env, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE", "GOPROXY").Output()
	require.NoError(t, err)
	cache, proxies, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	for _, page := range []string{"README.md", "docs/logins.md"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			root, err := filepath.Abs("..")
			require.NoError(t, err)
			text, err := os.ReadFile(filepath.Join(root, page))
			require.NoError(t, err)
			folder := t.TempDir()
			require.NoError(t, os.Symlink(root, filepath.Join(folder, "tokenauth"))) // instead of the clone
			r := &reader{T: t, clone: root, dir: folder, addresses: map[string]string{}, keys: map[string]string{}}
			r.proxies = "file://" + cache + "/cache/download," + proxies
			for _, block := range consoleBlock.FindAllStringSubmatch(string(text), -1) {
				for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
					line, output, _ := strings.Cut(part, "\n")
					r.do(line, output)
				}
			}
		})
	}
}

// A reader is a person who runs the commands of a page in a shell.
type reader struct {
	*testing.T
	clone, dir string            // dir is the current folder of the shell
	addresses  map[string]string // the address of a program, by the address on the page
	keys       map[string]string // the newest key, by its prefix
	key        string            // the variable KEY of the shell
	password   string
	proxies    string // GOPROXY of the shell; prefers the versions that this module uses to newer ones
}

// do runs a command, and compares its output with that of the page.
func (r *reader) do(line, output string) {
	r.Helper()
	switch {
	case strings.HasPrefix(line, "git clone "): // the folder has a link to this repository instead
	case line == "go test ./...": // this command runs this test
	case strings.HasPrefix(line, "go run "):
		r.start(line, output)
	case strings.HasPrefix(line, "KEY="):
		r.key = r.keys[strings.TrimSuffix(strings.TrimPrefix(line, "KEY="), "…")]
		require.NotEmpty(r, r.key, line)
	default:
		line = strings.ReplaceAll(r.replaceAddresses(line), "password=…", "password="+r.password)
		line = strings.Replace(line, "curl ", "curl --silent --show-error ", 1)
		folder := filepath.Join(r.TempDir(), "pwd")
		shell := exec.CommandContext(r.Context(), "bash", "-c", "set -e; trap 'pwd >"+folder+"' EXIT; "+line)
		shell.Dir, shell.Env = r.dir, append(os.Environ(), "KEY="+r.key, "GOPROXY="+r.proxies)
		printed, err := shell.CombinedOutput()
		require.NoError(r, err, "%s\n%s", line, printed)
		r.compare(line, output, string(printed))
		dir, err := os.ReadFile(folder)
		require.NoError(r, err)
		r.dir = strings.TrimSpace(string(dir))
	}
}

// start starts a service on a free port. The service ends with the test.
func (r *reader) start(line, output string) {
	r.Helper()
	dir := r.dir
	if strings.Contains(line, "./examples/") {
		dir = r.clone
	}
	shown := address.FindString(output)
	words := strings.Fields(line)
	help := exec.CommandContext(r.Context(), words[0], append(words[1:len(words):len(words)], "-h")...)
	help.Dir = dir
	text, _ := help.CombinedOutput() // with status 2
	require.Contains(r, string(text), `(default "`+shown+`")`, line)

	words = append(words, "-addr", "127.0.0.1:0")
	if strings.Contains(string(text), "-db file") {
		words = append(words, "-db", filepath.Join(r.TempDir(), "tokens.db"))
	}
	service := exec.CommandContext(r.Context(), words[0], words[1:]...)
	service.Dir, service.Stderr = dir, &leak.Default
	service.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run starts the service as a child
	service.Cancel = func() error { return syscall.Kill(-service.Process.Pid, syscall.SIGKILL) }
	stdout, err := service.StdoutPipe()
	require.NoError(r, err)
	require.NoError(r, service.Start())
	r.Cleanup(func() { _ = service.Wait() }) // returns an error, because the context kills the service
	lines, printed := bufio.NewReader(stdout), ""
	for range strings.Count(output, "\n") {
		line, err := lines.ReadString('\n')
		require.NoError(r, err)
		printed += line
	}
	r.addresses[shown] = address.FindString(printed)
	require.NotEmpty(r, r.addresses[shown], line)
	require.NotEqual(r, shown, r.addresses[shown], "the service must listen on the address of -addr")
	if found := password.FindStringSubmatch(printed); found != nil {
		r.password = found[1]
		leak.Default.Secret(r.password)
	}
	r.compare(line, output, printed)
	go func() { _, _ = io.Copy(&leak.Default, lines) }()
}

// compare compares the output of a command with that of the page, in which … stands for any text.
func (r *reader) compare(line, want, printed string) {
	r.Helper()
	for _, found := range key.FindAllStringSubmatch(printed, -1) {
		r.keys[found[1]] = found[0]
		leak.Default.Secret(found[0])
	}
	if strings.TrimSpace(want) == "" {
		return
	}
	pattern := regexp.QuoteMeta(strings.TrimSpace(r.replaceAddresses(want)))
	pattern = "(?s)^" + strings.ReplaceAll(strings.ReplaceAll(pattern, "\n…\n", "\n(.*\n)?"), "…", ".*?") + "$"
	printed = strings.TrimSpace(strings.ReplaceAll(printed, "\r", ""))
	if !regexp.MustCompile(pattern).MatchString(printed) {
		require.Fail(r, "other output than on the page", "%s\n%s", line, key.ReplaceAllString(printed, "$1…"))
	}
}

// replaceAddresses replaces the addresses of the page.
func (r *reader) replaceAddresses(text string) string {
	return address.ReplaceAllStringFunc(text, func(shown string) string {
		require.Contains(r, r.addresses, shown, "no service has been started at this address")
		return r.addresses[shown]
	})
}
