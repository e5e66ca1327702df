package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

const grace = time.Hour // what the tests give to the script

// programs are the programs that the script calls.
var programs = []string{"sed", "curl", "jq", "mktemp", "rm", "sync", "mv"}

// A job has the script of docs/rotate-own-key.md and a file with its key.
type job struct {
	*tokenauthtest.Kit
	t      *testing.T
	script string // file with the script
	folder string // folder with the file of the key
	bin    string // folder with programs that the script finds first
	token  tokenauth.Token
	server *httptest.Server

	rotation atomic.Value // the rotation that serves the requests to rotate
	requests atomic.Int64
}

// A rotation serves a request to rotate. It may pass the request to the API.
type rotation func(w http.ResponseWriter, r *http.Request, api http.Handler)

// pass lets the API serve a request to rotate.
func pass(w http.ResponseWriter, r *http.Request, api http.Handler) { api.ServeHTTP(w, r) }

func newJob(t *testing.T) *job {
	t.Helper()
	page, err := os.ReadFile("../../docs/rotate-own-key.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 1)
	j := &job{Kit: tokenauthtest.New(t, nil), t: t, script: filepath.Join(t.TempDir(), "rotate-key"), folder: t.TempDir(), bin: t.TempDir()}
	require.NoError(t, os.WriteFile(j.script, []byte(blocks[0][1]), 0o600))
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
	}
	key, made, err := j.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "42", Name: "ci", Scopes: []string{"tokens:self"}})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	j.token = made
	j.rotation.Store(rotation(pass))
	require.NoError(t, os.WriteFile(j.file(), []byte(key.Reveal()+"\n"), 0o600))

	api := must.Get(tokenapi.New(apitest.NewAuth(j.Manager, nil), apitest.SignedIn, &tokenapi.Options{SelfScope: "tokens:self"}))
	api = http.StripPrefix("/api", api)
	j.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.requests.Add(1)
		if strings.HasSuffix(r.URL.Path, "/rotate") {
			j.rotation.Load().(rotation)(w, r, api)
			return
		}
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(j.server.Close)
	return j
}

// replace lets the script find commands of the shell in place of a program. The function restore
// ends this.
func (j *job) replace(program, commands string) (restore func()) {
	file := filepath.Join(j.bin, program)
	require.NoError(j.t, os.WriteFile(file, []byte("#!/bin/sh\n"+commands+"\n"), 0o700))
	return func() { require.NoError(j.t, os.Remove(file)) }
}

func (j *job) file() string { return filepath.Join(j.folder, "key") }

// key returns the key in the file.
func (j *job) key() string {
	j.t.Helper()
	text, err := os.ReadFile(j.file())
	require.NoError(j.t, err)
	key, found := strings.CutSuffix(string(text), "\n")
	require.True(j.t, found)
	leak.Default.Secret(key)
	return key
}

// works reports whether the Manager accepts a key.
func (j *job) works(key string) bool {
	_, err := j.Manager.Authenticate(j.t.Context(), key)
	return err == nil
}

// run runs the script by a shell, and returns what it prints and whether its exit status is 0. It
// requires that a run that fails leaves the file of the key unchanged, and that no other file stays
// in the folder.
func (j *job) run() (output string, ok bool) {
	j.t.Helper()
	before, err := os.ReadFile(j.file())
	require.NoError(j.t, err)
	output, ok = j.start()
	files, err := os.ReadDir(j.folder)
	require.NoError(j.t, err)
	require.Len(j.t, files, 1, "a temporary file stays: %v", files)
	after, err := os.ReadFile(j.file())
	require.NoError(j.t, err)
	require.Equal(j.t, ok, string(before) != string(after))
	return output, ok
}

func (j *job) start() (output string, ok bool) {
	shell := exec.CommandContext(j.t.Context(), "sh", j.script, j.server.URL+"/api", j.file(), fmt.Sprint(grace.Seconds()))
	shell.Env = append(os.Environ(), "PATH="+j.bin+":"+os.Getenv("PATH"))
	text, err := shell.CombinedOutput()
	_, _ = leak.Default.Write(text)
	return string(text), err == nil
}

// lose serves a request to rotate, and closes the connection instead of sending the response.
func lose(_ http.ResponseWriter, r *http.Request, api http.Handler) {
	api.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// The script must replace the key in the file, and the old key must work until the grace ends. The
// new key must be on the disk before it has the name of the old one. No key may be on a command
// line, in the environment of a program or in the output, where others could read it.
func TestScriptRotatesKey(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	for _, program := range programs { // first writes its arguments, the mode of the new file and its environment to a log
		j.replace(program, fmt.Sprintf(`{ echo '%s' "$@"; stat -c %%a '%s'.* 2>/dev/null; env; } >>'%s/log'; exec '%s' "$@"`,
			program, j.file(), j.bin, must.Get(exec.LookPath(program))))
	}
	old := j.key()
	output, ok := j.run()
	require.True(t, ok, output)
	require.Empty(t, output)
	key := j.key()
	require.NotEqual(t, old, key)
	require.Equal(t, []bool{true, true}, []bool{j.works(old), j.works(key)})
	j.Clock.Advance(grace)
	require.Equal(t, []bool{false, true}, []bool{j.works(old), j.works(key)})
	require.EqualValues(t, 2, j.requests.Load())
	info, err := os.Stat(j.file())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	log, err := os.ReadFile(filepath.Join(j.bin, "log"))
	require.NoError(t, err)
	for _, secret := range []string{old, key} {
		require.NotContains(t, string(log), secret)
	}
	require.Regexp(t, `(?s)\ncurl -q [^\n]*/tokens/self\n.*\ncurl -q [^\n]*/tokens/self/rotate\n.*\nsync (\S+)\n600\n.*\nmv -f \S+ \S+\n600\n`, string(log))

	output, ok = j.run()
	require.True(t, ok, output)
	require.True(t, j.works(j.key()))
	require.Equal(t, 3, j.generation())
}

// If the response to a rotation is lost, the next run must recover with the old key. After a second
// lost response, the old key gets 401, as the page says.
func TestScriptRecoversFromLostResponse(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.key()
	j.rotation.Store(rotation(lose))
	output, ok := j.run()
	require.False(t, ok, output)
	require.True(t, j.works(old))
	j.Clock.Advance(grace - 1)
	j.rotation.Store(rotation(pass))
	output, ok = j.run()
	require.True(t, ok, output)
	require.True(t, j.works(j.key()))
	require.Equal(t, 3, j.generation())

	old = j.key()
	j.rotation.Store(rotation(lose))
	for range 2 {
		output, ok = j.run()
		require.False(t, ok, output)
	}
	require.False(t, j.works(old))
	j.rotation.Store(rotation(pass))
	output, ok = j.run()
	require.False(t, ok)
	require.Contains(t, output, "401")
	require.Equal(t, 5, j.generation())
}

// generation returns the generation of the token.
func (j *job) generation() int {
	j.t.Helper()
	token, err := j.Manager.Get(j.t.Context(), "42", j.token.ID)
	require.NoError(j.t, err)
	return token.Generation
}

// If the grace has ended before the next run, the old key gets 401.
func TestScriptFailsAfterGrace(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.rotation.Store(rotation(lose))
	_, ok := j.run()
	require.False(t, ok)
	j.rotation.Store(rotation(pass))
	j.Clock.Advance(grace)
	output, ok := j.run()
	require.False(t, ok)
	require.Contains(t, output, "401")
}

// Of two runs that read the same generation, one must get 409 and leave the file to the other. The
// key in the file must work.
func TestScriptRunsConcurrently(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	var both sync.WaitGroup
	both.Add(2)
	j.rotation.Store(rotation(func(w http.ResponseWriter, r *http.Request, api http.Handler) {
		both.Done()
		both.Wait() // until both runs have read the generation
		api.ServeHTTP(w, r)
	}))
	var outputs [2]string
	var ok [2]bool
	var runs sync.WaitGroup
	for i := range 2 {
		runs.Go(func() { outputs[i], ok[i] = j.start() })
	}
	runs.Wait()
	require.NotEqual(t, ok[0], ok[1], outputs)
	require.Contains(t, strings.Join(outputs[:], ""), "409")
	require.True(t, j.works(j.key()))
	require.Equal(t, 2, j.generation())
}

// If the new key cannot be stored, the old key must work within the grace, and the next run must
// recover. If the folder cannot be written, the script must notice this before the rotation.
func TestScriptCannotStoreKey(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	for program, commands := range map[string]string{
		"jq":   "ulimit -f 0; exec " + must.Get(exec.LookPath("jq")) + ` "$@"`, // no byte fits into a file, as on a full disk
		"sync": "exit 1",
		"mv":   "exit 1",
	} {
		old, generation := j.key(), j.generation()
		restore := j.replace(program, commands)
		output, ok := j.run()
		restore()
		require.False(t, ok, program)
		require.Equal(t, generation+1, j.generation(), "%s: the rotation was made: %s", program, output)
		require.True(t, j.works(old), program)
		output, ok = j.run()
		require.True(t, ok, output)
		require.True(t, j.works(j.key()), program)
	}
	generation := j.generation()
	j.replace("mktemp", "exit 1") // root may write to each folder, so the test cannot take the permission
	output, ok := j.run()
	require.False(t, ok, output)
	require.Equal(t, generation, j.generation())
}

// A refusal, a response without a key and a response that is cut short must leave the file
// unchanged.
func TestScriptStoresNothingButKeys(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]http.HandlerFunc{
		"refusal":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"empty":         func(http.ResponseWriter, *http.Request) {},
		"HTML":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<p>Welcome</p>")) },
		"no key":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id":"x"}`)) },
		"null as a key": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"key":null}`)) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"id":"x","key":"acme_x"`))
			panic(http.ErrAbortHandler)
		},
	} {
		j := newJob(t)
		j.rotation.Store(rotation(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { serve(w, r) }))
		output, ok := j.run()
		require.False(t, ok, "%s: %s", name, output)
		require.EqualValues(t, 2, j.requests.Load(), name)
		require.True(t, j.works(j.key()), name)
	}
	j := newJob(t)
	require.NoError(t, j.Manager.Revoke(t.Context(), "42", j.token.ID))
	output, ok := j.run()
	require.False(t, ok)
	require.Contains(t, output, "401")
	require.EqualValues(t, 1, j.requests.Load())
}
