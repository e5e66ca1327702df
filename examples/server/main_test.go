package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// TestMain lowers the number of iterations of password hashes. It also searches all output of the
// program for secrets, except the responses that show a new key.
func TestMain(m *testing.M) {
	iterations = 1000
	leak.Main(m)
}

var fullIterations = iterations // the value before TestMain changes it

// A program is a running example server.
type program struct {
	URL  string
	Key  string  // key of the user ada for /notes
	Log  *buffer // output on standard error
	Stop context.CancelFunc
	Done <-chan error // receives the result of run
}

// A buffer is a bytes.Buffer that is safe for concurrent use.
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

var firstLine = regexp.MustCompile(`^Open (http://127\.0\.0\.1:\d+)/( and sign in as ada with the password ([a-z2-7]{16}))?\n$`)

// start runs the program with a database that has a user and a key.
func start(t *testing.T, db string, flags ...string) *program {
	t.Helper()
	user := addUser(t, db, demoName, true)
	key, _ := issue(t, db, tokenauth.Spec{UserID: user.tokenID(), Name: "curl " + rand.Text(), Scopes: []string{scopeRead, scopeWrite}})
	p, _ := startEmpty(t, db, flags...)
	p.Key = key
	return p
}

// startEmpty runs the program on a free port until the test ends or calls Stop. It returns the
// password that the program prints.
func startEmpty(t *testing.T, db string, flags ...string) (p *program, password string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stdoutEnd := io.Pipe()
	p = &program{Log: &buffer{}, Stop: cancel}
	done := make(chan error, 1)
	ended := make(chan struct{})
	p.Done = done
	go func() {
		defer close(ended)
		args := append([]string{"-addr", "127.0.0.1:0", "-db", db}, flags...)
		done <- run(ctx, args, stdoutEnd, io.MultiWriter(p.Log, &leak.Default))
		_ = stdoutEnd.Close()
	}()
	t.Cleanup(func() { cancel(); <-ended })

	printed := bufio.NewReader(stdout)
	line, err := printed.ReadString('\n')
	require.NoError(t, err, "the program must not end: %s", p.Log)
	found := firstLine.FindStringSubmatch(line)
	require.Len(t, found, 4, "the first line must name the page to open") // the line may hold a password, so the message omits it
	p.URL, password = found[1], found[3]
	if password != "" {
		leak.Default.Secret(password)
	}
	go func() { _, _ = io.Copy(&leak.Default, printed) }() // the rest of the output must contain no secrets
	return p, password
}

// beside opens the database while the program runs, like another process.
func beside(t *testing.T, path string, do func(service)) {
	t.Helper()
	db, err := openDatabase(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	tokenStore, sessionStore, err := openStores(t.Context(), db)
	require.NoError(t, err)
	logger := slog.New(slog.DiscardHandler)
	s, _, err := build(db, tokenStore, sessionStore, config{}, logger)
	require.NoError(t, err)
	do(s)
	require.NoError(t, errors.Join(tokenStore.Close(), sessionStore.Close()))
}

const testPassword = "correct horse battery staple"

// addUser adds a user whose password is testPassword.
func addUser(t *testing.T, path, name string, staff bool) (added *user) {
	t.Helper()
	leak.Default.Secret(testPassword)
	hash, err := hashPassword(testPassword)
	require.NoError(t, err)
	beside(t, path, func(s service) {
		added, err = s.users.save(t.Context(), name, hash, staff)
		require.NoError(t, err)
	})
	return added
}

// issue issues a token. It returns the key, and a function that revokes the token.
func issue(t *testing.T, path string, spec tokenauth.Spec) (key string, revoke func()) {
	t.Helper()
	var token tokenauth.Token
	beside(t, path, func(s service) {
		issued, issuedToken, err := s.tokens.Issue(t.Context(), spec)
		require.NoError(t, err)
		key, token = issued.Reveal(), issuedToken
	})
	leak.Default.Secret(key)
	return key, func() {
		beside(t, path, func(s service) { require.NoError(t, s.tokens.Revoke(t.Context(), token.UserID, token.ID)) })
	}
}

// A readResponse is a response whose body has been read.
type readResponse struct {
	*http.Response
	Text string
}

// do sends a request. An empty key or an empty body means that the request has none. The body is
// JSON.
func (p *program) do(t *testing.T, method, path, key, body string) readResponse {
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

func send(t *testing.T, r *http.Request) readResponse {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_, _ = fmt.Fprintf(&leak.Default, "%v\n%s", response.Header, body)
	return readResponse{response, string(body)}
}

const patience = 20 * time.Second

// wait returns the result of run.
func (p *program) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.Done:
		return err
	case <-time.After(patience):
		t.Fatal("the program must end")
		return nil
	}
}
