package benchmarks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// BenchmarkServer measures whole servers, which are separate processes that serve HTTP over TCP.
// The metric ns is the CPU time that the server process uses per request. The baseline is a server
// without authentication. A client with eight connections sends the requests, with 5,000 of 75,000
// keys in turn. The CPU time of a database server does not count.
func BenchmarkServer(b *testing.B) {
	for _, s := range setups {
		run(b, s.name, func(b *testing.B) {
			bare, subject := startServer(b, setups[0]), startServer(b, s)
			limit.Rounds(b, "ns", bare.cpuPerRequest, subject.cpuPerRequest)
		})
	}
}

// A setup is a kind of server.
type setup struct {
	name     string
	database string // empty if the server uses none
	users    bool   // read the user of each request from a table
	chain    func(p *chains.Population, s tokenauth.Store) *chains.Chain
}

const djangoRESTFramework = "Django REST Framework"

var setups = []setup{
	{name: "no authentication", chain: func(p *chains.Population, _ tokenauth.Store) *chains.Chain { return p.Bare() }},
	{name: "tokenauth, memory store", chain: func(p *chains.Population, _ tokenauth.Store) *chains.Chain { return onStore(p, p.Memory()) }},
	{"tokenauth, storecache over SQLite", databases.Modernc, false, onCache},
	{"tokenauth, storecache over SQLite, a query for the user", databases.Modernc, true, onCache},
	{"tokenauth, SQLite", databases.Modernc, false, onStore},
	{"tokenauth, SQLite, a query for the user", databases.Modernc, true, onStore},
	{"tokenauth, PostgreSQL", databases.PostgreSQL, false, onStore},
	{name: "echo KeyAuth, a map of digests", chain: func(p *chains.Population, _ tokenauth.Store) *chains.Chain { return p.EchoKeyAuth() }},
	{name: "golang-jwt, HS256", chain: func(*chains.Population, tokenauth.Store) *chains.Chain { return chains.HS256() }},
	{name: djangoRESTFramework},
}

func onStore(p *chains.Population, s tokenauth.Store) *chains.Chain { return p.Tokenauth("", s, nil) }

func onCache(p *chains.Population, s tokenauth.Store) *chains.Chain {
	return onStore(p, must.Get(storecache.New(s, nil)))
}

// The environment of a server process. The process is this test binary.
const (
	setupVariable    = "TOKENAUTH_BENCHMARK_SETUP"
	tokensVariable   = "TOKENAUTH_BENCHMARK_TOKENS"
	databaseVariable = "TOKENAUTH_BENCHMARK_DATABASE"
)

// A greeting is the first line that a server process prints.
type greeting struct {
	Address     string
	Header, Bad string   // as in chains.Chain
	Good        []string // as in chains.Chain
}

// serve runs a server in this process until standard input is closed.
func serve(name string) error {
	tokens := must.Get(strconv.Atoi(os.Getenv(tokensVariable)))
	p := chains.NewPopulation(tokens, 1)
	var chain *chains.Chain
	for _, s := range setups {
		if s.name == name {
			store, err := openStore(p, s.users)
			if err != nil {
				return err
			}
			chain = s.chain(p, store)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		tracked := &statusWriter{ResponseWriter: w}
		chain.Handler.ServeHTTP(tracked, r)
		if !tracked.written { // the handler has accepted the request
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"username":"somebody"}`) // as the Django service responds
		}
	})
	mux.HandleFunc("GET /cpu", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, cpuTime().Nanoseconds()) })
	go func() { _ = http.Serve(listener, mux) }()
	good := chain.Good[:min(5000, len(chain.Good))]
	if err := json.NewEncoder(os.Stdout).Encode(greeting{listener.Addr().String(), chain.Header, chain.Bad, good}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A statusWriter records whether a handler has written a response.
type statusWriter struct {
	http.ResponseWriter
	written bool
}

func (w *statusWriter) WriteHeader(status int) {
	w.written = true
	w.ResponseWriter.WriteHeader(status)
}

// openStore opens the store of the database and fills it with the tokens of p. If the server uses
// no database, openStore returns nil. If users is true, openStore also creates a table of users,
// and sets p.FindUser to a function that reads this table.
func openStore(p *chains.Population, users bool) (tokenauth.Store, error) {
	text := os.Getenv(databaseVariable)
	if text == "" {
		return nil, nil
	}
	var d databases.Database
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, err
	}
	db, err := d.Open()
	if err != nil {
		return nil, err
	}
	conns := map[tokenauth.Dialect]int{tokenauth.SQLite: 32, tokenauth.PostgreSQL: 20}[d.Dialect] // as docs/databases.md recommends
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	store, err := tokenauth.NewSQLStore(db, d.Dialect, nil)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := errors.Join(store.CreateSchema(ctx), p.Fill(ctx, store), d.Analyze(db, "tokenauth_tokens")); err != nil || !users {
		return store, err
	}
	if _, err := db.Exec("CREATE TABLE users AS SELECT user_id AS id, name FROM tokenauth_tokens; CREATE UNIQUE INDEX users_id ON users (id)"); err != nil {
		return nil, err
	}
	byID, err := db.Prepare("SELECT name FROM users WHERE id = ?")
	p.FindUser = func(ctx context.Context, id string) (*chains.User, error) {
		var name string
		return &chains.User{ID: id}, byID.QueryRowContext(ctx, id).Scan(&name)
	}
	return store, err
}

// A server is a running server process and a client with some connections to it.
type server struct {
	greeting
	cmd     *exec.Cmd
	clients []*client
	sent    []int // requests of each client
	round   time.Duration
}

var servers = map[string]*server{}

// startServer starts a server once per process, and checks that it accepts a good key and rejects a
// bad one.
func startServer(b *testing.B, s setup) *server {
	b.Helper()
	if servers[s.name] != nil {
		return servers[s.name]
	}
	tokens, round, warmUp := 75_000, 100*time.Millisecond, 2*time.Second
	if testing.Short() {
		tokens, round, warmUp = 1_000, 50*time.Millisecond, 300*time.Millisecond
	}
	started := &server{cmd: exec.Command(must.Get(os.Executable())), round: round}
	if s.name == djangoRESTFramework {
		started.cmd = django(b)
	}
	started.cmd.Env = append(os.Environ(), setupVariable+"="+s.name, tokensVariable+"="+strconv.Itoa(tokens))
	if s.database != "" {
		d := *startDatabase(b, s.database)
		if d.Dialect == tokenauth.SQLite { // each server has its own file
			d = *must.Get(databases.Start(s.database, must.Get(os.MkdirTemp(dir, ""))))
		}
		started.cmd.Env = append(started.cmd.Env, databaseVariable+"="+string(must.Get(json.Marshal(d))))
	}
	started.cmd.Stderr = os.Stderr
	_, err := started.cmd.StdinPipe() // open until this process ends
	require.NoError(b, err)
	stdout, err := started.cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, started.cmd.Start())
	servers[s.name] = started
	require.NoError(b, json.NewDecoder(stdout).Decode(&started.greeting))
	for range 8 {
		conn, err := net.Dial("tcp", started.Address)
		require.NoError(b, err)
		started.clients = append(started.clients, &client{conn, bufio.NewReader(conn)})
	}
	started.sent = make([]int, len(started.clients))
	for value, want := range map[string]int{started.Good[0]: http.StatusOK, started.Bad: http.StatusUnauthorized} {
		status, _, err := started.clients[0].get("/", started.Header, value)
		require.NoError(b, err)
		require.True(b, status == want || value == "", "%s: status %d, want %d", s.name, status, want)
	}
	for begin := time.Now(); time.Since(begin) < warmUp; { // until last-used times are written and caches are full
		started.cpuPerRequest()
	}
	return started
}

// django returns the command that runs the Django service. The file testdata/drf.py is the service.
func django(b *testing.B) *exec.Cmd {
	b.Helper()
	const python = "/usr/bin/python3" // finds the Debian package python3-djangorestframework
	if err := exec.Command(python, "-c", "import rest_framework").Run(); err != nil {
		skip(b, "Django REST Framework is not installed")
	}
	return exec.Command(python, filepath.Join("testdata", "drf.py"), dir)
}

// stopServers kills all servers.
func stopServers() (err error) {
	for _, s := range servers {
		err = errors.Join(err, s.cmd.Process.Kill())
		_ = s.cmd.Wait() // reports that the process was killed
	}
	return err
}

// cpuPerRequest returns the nanoseconds of CPU time per request in one round.
func (s *server) cpuPerRequest() float64 {
	before, sentBefore := s.cpu(), sum(s.sent)
	end := time.Now().Add(s.round)
	var wg sync.WaitGroup
	for i, c := range s.clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				value := s.Good[(i+s.sent[i]*len(s.clients))%len(s.Good)]
				if status, _, err := c.get("/", s.Header, value); err != nil || status != http.StatusOK {
					panic(fmt.Sprintf("status %d, %v", status, err))
				}
				s.sent[i]++
			}
		})
	}
	wg.Wait()
	return (s.cpu() - before) / float64(sum(s.sent)-sentBefore)
}

func sum(counts []int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// cpu returns the nanoseconds of CPU time that the server process has used.
func (s *server) cpu() float64 {
	_, body, err := s.clients[0].get("/cpu", "Accept", "*/*")
	if err != nil {
		panic(err)
	}
	return must.Get(strconv.ParseFloat(string(body), 64))
}

// A client sends requests over one connection, which stays open.
type client struct {
	io.Writer
	responses *bufio.Reader
}

func (c *client) get(path, header, value string) (status int, body []byte, err error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\n\r\n", path, header, value); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(c.responses, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
