package browser

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A site is a running examples/server.
type site struct {
	url      string
	password string // password of all users; empty without -seed-demo
	db       *sql.DB
	store    *tokenauth.SQLStore
	process  *os.Process
	ended    <-chan error
	log      bytes.Buffer // complete when the server has ended
}

var announced = regexp.MustCompile(`^Open (http://\S+)/(?: and sign in as ada with the password (\S+))?\n$`)

// startSite starts the server with the given database file. The server creates a missing file.
func startSite(file string, flags ...string) (*site, error) {
	s := &site{}
	cmd := exec.Command(shared.program, append(flags, "-addr", "127.0.0.1:0", "-db", file)...)
	cmd.Stderr = &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// Linux sends Pdeathsig when the thread that started the server ends. This thread must not end
		// before the server.
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		if found := announced.FindStringSubmatch(line); found != nil {
			s.url, s.password = found[1], found[2]
		}
		close(started)
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.process, s.ended = cmd.Process, ended
	if s.password != "" {
		leak.Default.Secret(s.password)
	}
	if s.url == "" {
		return nil, errors.Join(errors.New("the server printed no address"), s.stop())
	}
	s.db, err = sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(60000)&_txlock=immediate")
	if err == nil {
		options := &tokenauth.SQLOptions{Table: "tokenauth_tokens", Timeout: patience}
		s.store, err = tokenauth.NewSQLStore(s.db, tokenauth.SQLite, options)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// stop stops the server with SIGTERM, as an operator does.
func (s *site) stop() error {
	var err error
	if s.db != nil {
		err = errors.Join(s.store.Close(), s.db.Close())
	}
	err = errors.Join(err, s.process.Signal(syscall.SIGTERM))
	select {
	case end := <-s.ended:
		_, _ = leak.Default.Write(s.log.Bytes())
		if end != nil {
			err = errors.Join(err, fmt.Errorf("the server: %w\n%s", end, s.log.Bytes()))
		}
		return err
	case <-time.After(patience):
		return errors.Join(err, errors.New("the server does not stop"), s.process.Kill())
	}
}

// A user is a user of a site. All users of a site have the same password.
type user struct {
	*site
	name, id string
}

var users sync.Map // the names that tests have taken

// newUser adds a user without tokens.
func (s *site) newUser(t *testing.T, name string, staff bool) user {
	t.Helper()
	_, taken := users.LoadOrStore(name, true)
	require.False(t, taken, name)
	var id int64
	require.NoError(t, s.db.QueryRowContext(t.Context(),
		"INSERT INTO users (name, password, staff) SELECT ?, password, ? FROM users WHERE name = 'ada' RETURNING id", name, staff).Scan(&id))
	return user{s, name, strconv.FormatInt(id, 10)}
}

// issue issues a token of the user. The duration ago is the time since the creation of the token.
func (u user) issue(t *testing.T, ago time.Duration, spec tokenauth.Spec) tokenauth.Token {
	t.Helper()
	manager := u.manager(ago)
	spec.UserID = u.id
	if spec.ExpiresAt.IsZero() {
		spec.NoExpiry = true
	}
	key, token, err := manager.Issue(t.Context(), spec)
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return token
}

// manager returns a Manager of the server's tokens. Its clock is slow by the given time.
func (s *site) manager(behind time.Duration) *tokenauth.Manager {
	return must.Get(tokenauth.New(s.store, "notes", &tokenauth.Options{
		TouchEvery: -1,
		Now:        func() time.Time { return time.Now().Add(-behind) },
	}))
}

// session signs the user in without a browser, and returns the value of the cookie.
func (u user) session(t *testing.T) string {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.PostForm(u.url+"/sign-in", url.Values{"username": {u.name}, "password": {u.password}})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	require.Len(t, response.Cookies(), 1)
	leak.Default.Secret(response.Cookies()[0].Value)
	return response.Cookies()[0].Value
}

// call sends a request with a key, as a program does.
func (s *site) call(t *testing.T, method, path, key, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_, _ = leak.Default.Write(content)
	return response.StatusCode, string(content)
}
