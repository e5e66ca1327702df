package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/leaktest"
)

// The program prints its key, and only once: to the standard output that a test
// gives it. All else that it puts out is searched for keys.
func TestMain(m *testing.M) { leaktest.Main(m) }

// A program is a running one.
type program struct {
	URL  string
	Key  string
	Log  *buffer // what it writes to standard error
	Stop context.CancelFunc
	Done <-chan error // what run returned
}

// A buffer is safe for concurrent use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

var curlLine = regexp.MustCompile(`^curl -H 'Authorization: Bearer (notes_[0-9A-Za-z]{38})' (http://127\.0\.0\.1:\d+)/me\n$`)

// start runs the program on a free port until the test ends, or Stop is called.
func start(t *testing.T, db string, flags ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stdoutEnd := io.Pipe()
	p := &program{Log: &buffer{}, Stop: cancel}
	done := make(chan error, 1)
	ended := make(chan struct{})
	p.Done = done
	go func() {
		defer close(ended)
		args := append([]string{"-addr", "127.0.0.1:0", "-db", db}, flags...)
		done <- run(ctx, args, stdoutEnd, io.MultiWriter(p.Log, &leaktest.Default))
		_ = stdoutEnd.Close()
	}()
	t.Cleanup(func() { cancel(); <-ended })

	printed := bufio.NewReader(stdout)
	line, err := printed.ReadString('\n')
	require.NoError(t, err, "the program ended: %s", p.Log)
	found := curlLine.FindStringSubmatch(line)
	require.Len(t, found, 3, "the first line is not the curl command") // which is not to be printed
	p.Key, p.URL = found[1], found[2]
	leaktest.Default.Secret(p.Key)
	go func() { _, _ = io.Copy(&leaktest.Default, printed) }() // it prints no more keys
	return p
}

// An answer is a response with its body read.
type answer struct {
	*http.Response
	Text string
}

// do sends a request, with a key if that is not empty, and a JSON body if that is not.
func (p *program) do(t *testing.T, method, path, key, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return send(t, r)
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_, _ = fmt.Fprintf(&leaktest.Default, "%v\n%s", response.Header, body)
	return answer{response, string(body)}
}

const patience = 20 * time.Second

// wait returns what run returned.
func (p *program) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.Done:
		return err
	case <-time.After(patience):
		t.Fatal("the program does not end")
		return nil
	}
}

func databaseFile(t *testing.T) string { return filepath.Join(t.TempDir(), "tokens.db") }
