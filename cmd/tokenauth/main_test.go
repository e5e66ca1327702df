package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(withProgram{m}) }

// programDir is the folder of the program under test.
var programDir string

type withProgram struct{ *testing.M }

func (m withProgram) Run() int {
	flag.Parse()
	if testing.Short() {
		return m.M.Run() // skips all tests that run the program
	}
	var err error
	if programDir, err = os.MkdirTemp("", "tokenauth"); err == nil {
		defer os.RemoveAll(programDir)
		// The name of the program makes the test depend on all commands. Otherwise go test would
		// take the result from its cache after a command has changed.
		program := filepath.Join(programDir, newCommand(&app{}).Use)
		build := exec.Command("go", "build", "-o", program, ".")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// needProgram skips a test that runs the program if -short is set.
func needProgram(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts the program")
	}
}

// The scripts are the manual, so each must run as written. Only create and rotate may print a key.
//
// The scripts run on SQLite, or on an empty database of your own, in which they leave their tables:
//
//	TOKENAUTH_TEST_DSN=postgres://me@host/scratch go test .
//
// Case X1.
func TestScriptsRunAsWritten(t *testing.T) {
	needProgram(t)
	dsn := os.Getenv("TOKENAUTH_TEST_DSN")
	shown := &output{}
	t.Run("all", func(t *testing.T) { // ends after all scripts, which run in parallel
		testscript.RunT(scriptT{t, shown}, testscript.Params{
			Dir:                 "testdata/script",
			RequireExplicitExec: true,
			RequireUniqueNames:  true,
			Setup: func(env *testscript.Env) error {
				table := "t_" + filepath.Base(env.WorkDir) // script-NAME
				table = strings.NewReplacer("-", "_", ".", "_").Replace(table)
				if dsn == "" {
					env.Setenv("TOKENAUTH_DSN", "sqlite:"+filepath.Join(env.WorkDir, "app.db"))
				} else {
					env.Setenv("TOKENAUTH_DSN", dsn)
				}
				env.Setenv("TOKENAUTH_PREFIX", "acme")
				env.Setenv("TOKENAUTH_TABLE", table)
				env.Setenv("TABLE", table)
				env.Setenv("TERM", "xterm")
				env.Setenv("PATH", programDir+string(filepath.ListSeparator)+env.Getenv("PATH"))
				return nil
			},
			Condition: func(name string) (bool, error) {
				if name == "sqlite" {
					return dsn == "", nil
				}
				return false, fmt.Errorf("unknown condition %q", name)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sqlite": sqlite, "issue": issue},
		})
	})
	noteSecrets(t)
	shown.check(t)
}

// exits implements the script command "exits CODE COMMAND…". It runs COMMAND, which must exit with
// CODE.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// sqlite implements the script command "sqlite FILE NAME". It creates a database of another system
// from the test data of package tokenimport.
func sqlite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sqlite FILE NAME")
	}
	ts.Check(makeDatabase(ts.MkAbs(args[0]), args[1]))
}

// issue implements the script command "issue ACTOR USER NAME ID". It creates a token with the given
// ID, as a service does on behalf of the actor.
func issue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: issue ACTOR USER NAME ID")
	}
	ts.Check(issueBy(ts.Getenv("TOKENAUTH_DSN"), ts.Getenv("TOKENAUTH_TABLE"), args[0], tokenauth.Spec{UserID: args[1], Name: args[2], ID: args[3]}))
}

const fixtures = "../../tokenimport/testdata"

// noteSecrets makes the test run fail if any output contains an imported key, or a digest that
// another system stores.
func noteSecrets(t *testing.T) {
	files, err := filepath.Glob(fixtures + "/*/*.*")
	require.NoError(t, err)
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, secret := range secretForm.FindAllString(string(text), -1) {
			leak.Default.Secret(secret)
			n++
		}
	}
	require.Greater(t, n, 1000)
}

var secretForm = regexp.MustCompile(`\b[0-9A-Za-z]{40,}\b`) // keys and digests

// An output collects the output of the commands in all scripts.
type output struct {
	sync.Mutex
	text strings.Builder
}

var keyForm = regexp.MustCompile(`[a-z][a-z0-9_]*_[0-9A-Za-z]{38}\b`)

// check requires that the output contains each key only once. It passes the rest of the output to
// package leak, which also searches for digests.
func (o *output) check(t *testing.T) {
	seen := map[string]bool{}
	rest := keyForm.ReplaceAllStringFunc(o.text.String(), func(key string) string {
		if _, err := tokenauth.CheckKey(key); err != nil || seen[key] {
			return key
		}
		seen[key] = true
		leak.Default.Secret(key)
		return ""
	})
	require.Greater(t, len(seen), 10)
	_, _ = leak.Default.Write([]byte(rest))
}

// A scriptT is a testing.T for scripts. It writes the log of a script to output, and replaces keys
// in the log of the test.
type scriptT struct {
	*testing.T
	output *output
}

func (t scriptT) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(inner *testing.T) { f(scriptT{inner, t.output}) })
}

func (scriptT) Verbose() bool { return true } // otherwise, testscript does not log successful commands

func (t scriptT) Log(args ...any) {
	text := fmt.Sprint(args...)
	t.output.Lock()
	defer t.output.Unlock()
	fmt.Fprintln(&t.output.text, text)
	t.T.Log(keyForm.ReplaceAllString(text, "KEY"))
}

// If the database closes the connection, the program must report it. Standard output that is a
// closed pipe causes the same error, which the program does not report.
func TestDatabaseDisconnectIsReported(t *testing.T) {
	needProgram(t)
	t.Parallel()
	dir, err := os.MkdirTemp("", "pg") // short, because the length of a socket's path is limited
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	server, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Skip(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	for range 5 { // the error depends on when the server closes the connection
		cmd := exec.CommandContext(t.Context(), filepath.Join(programDir, "tokenauth"), "list", "--all-users",
			"--prefix", "acme", "--dsn", "postgres://u@/db?sslmode=disable&port=5432&host="+dir)
		output, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 5, cmd.ProcessState.ExitCode())
		require.Regexp(t, "Error: list: (no response|failed to connect)", string(output))
	}
}

// An operator interrupts an import whose source hangs. The exit code must be 130, because a script
// would repeat an import that failed for another reason.
func TestInterruptedImportExits130(t *testing.T) {
	needProgram(t)
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	database := "sqlite:" + filepath.Join(t.TempDir(), "app.db")
	program := filepath.Join(programDir, "tokenauth")
	require.NoError(t, exec.CommandContext(t.Context(), program, "schema", "--create", "--dsn", database).Run())
	cmd := exec.CommandContext(t.Context(), program, "import", "drf", "--prefix", "acme", "--dsn", database,
		"--source", "postgres://u@"+server.Addr().String()+"/db?sslmode=disable")
	require.NoError(t, cmd.Start())
	conn, err := server.Accept() // and never respond
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
}
