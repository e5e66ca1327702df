package forward

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leak.Main(servers.Main{Tests: m}) }

// A setup is a reverse proxy and its configuration.
type setup struct {
	name    string
	start   func(site func(addr string) string) (*servers.ProxyServer, error)
	file    string   // the configuration, which the page shows
	address []string // text of the configuration, and the text that replaces it, with %s for the address
	edits   []string // texts of the configuration, and for each the text that replaces it
}

var (
	nginx = setup{
		name:    "nginx",
		start:   func(site func(string) string) (*servers.ProxyServer, error) { return servers.Nginx(site) },
		file:    "nginx.conf",
		address: []string{"listen 80;", "listen %s;"},
	}
	caddy = setup{
		name:    "Caddy",
		start:   servers.Caddy,
		file:    "Caddyfile",
		address: []string{"api.example.com", "http://%s"},
	}
)

// eachSetup runs f with each reverse proxy.
func eachSetup(t *testing.T, f func(t *testing.T, s setup)) {
	for _, s := range []setup{nginx, caddy} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f(t, s)
		})
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// with returns the setup with more edits.
func (s setup) with(edits ...string) setup {
	s.edits = append(s.edits[:len(s.edits):len(s.edits)], edits...)
	return s
}

const (
	endpointAddress = "127.0.0.1:9000" // in the configurations
	serviceAddress  = "127.0.0.1:9001"
	nobodyAddress   = "127.0.0.77:9" // no program listens on this address
)

// An app is a service behind a reverse proxy, with the endpoint of the page.
type app struct {
	kit   *tokenauthtest.Kit
	proxy *servers.ProxyServer
	crash bool // whether the endpoint panics
	mute  bool // whether the endpoint accepts all requests and names no user

	mu    sync.Mutex
	asked []received // requests to the endpoint
	got   []received // requests to the service
}

// A received is a request that a server has received.
type received struct {
	*http.Request
	body string
}

// newApp returns an app that does not run yet. Its tokens may have the given scopes.
func newApp(t *testing.T, scopes ...string) *app {
	return &app{kit: tokenauthtest.New(t, &tokenauth.Options{Scopes: scopes})}
}

// started returns a running app.
func started(t *testing.T, s setup) *app {
	t.Helper()
	a := newApp(t, "orders:read", "orders:write")
	a.run(t, s)
	return a
}

// run starts the endpoint, the service and the reverse proxy.
func (a *app) run(t *testing.T, s setup) {
	t.Helper()
	endpoint := must.Get(NewServer(a.kit.Manager, findUser)).Handler
	addresses := []string{
		endpointAddress, fixture.NewServer(t, a.record(&a.asked, a.failing(endpoint))),
		serviceAddress, fixture.NewServer(t, a.record(&a.got, http.HandlerFunc(serve))),
		s.address[0],
	}
	config := s.config(t)
	a.proxy = servers.Started(t, func() (*servers.ProxyServer, error) {
		return s.start(func(addr string) string {
			return strings.NewReplacer(append(addresses, fmt.Sprintf(s.address[1], addr))...).Replace(config)
		})
	})
	t.Cleanup(func() {
		_, _ = io.WriteString(&leak.Default, a.logs(t))
		require.NoError(t, a.proxy.Close())
	})
}

// config returns the configuration with the edits.
func (s setup) config(t *testing.T) string {
	config := readFile(t, s.file)
	for i := 0; i < len(s.edits); i += 2 {
		require.Contains(t, config, s.edits[i])
		config = strings.ReplaceAll(config, s.edits[i], s.edits[i+1])
	}
	return config
}

func findUser(_ context.Context, id string) (*User, error) { return &User{"user " + id}, nil }

// record returns a handler that adds each request to list and then calls next.
func (a *app) record(list *[]received, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the reverse proxy has disconnected
		}
		a.mu.Lock()
		*list = append(*list, received{r, string(body)})
		a.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// failing wraps endpoint. The returned handler fails if a field of a, such as a.crash, is set.
func (a *app) failing(endpoint http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case a.crash:
			panic(http.ErrAbortHandler) // the server closes the connection and logs nothing
		case !a.mute:
			endpoint.ServeHTTP(w, r)
		}
	})
}

// serve is the service. A query says which status its response has.
func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") != "":
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
		return
	case r.URL.RawQuery == "401":
		w.Header().Set("WWW-Authenticate", "Own")
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.RawQuery == "500":
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = io.WriteString(w, "the service")
}

// take returns the requests to the endpoint and to the service since the previous call of take.
func (a *app) take() (asked, got []received) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked, got = a.asked, a.got
	a.asked, a.got = nil, nil
	return asked, got
}

// reached reports whether the service has received exactly one request.
func (a *app) reached() bool {
	_, got := a.take()
	return len(got) == 1
}

// bearer issues a token of the user 42, and returns the header with its key.
func (a *app) bearer(scopes ...string) string { return a.bearerOf("42", scopes...) }

func (a *app) bearerOf(userID string, scopes ...string) string {
	key := a.kit.Issue(userID, scopes...)
	leak.Default.Secret(key.Reveal())
	return "Authorization: Bearer " + key.Reveal()
}

// A result is what a client receives.
type result struct {
	status int
	header http.Header
	body   string
}

// send sends a request to the reverse proxy. The lines are a method with a target, and headers.
func (a *app) send(t *testing.T, lines ...string) result {
	t.Helper()
	return a.sendBody(t, "", lines...)
}

func (a *app) sendBody(t *testing.T, body string, lines ...string) result {
	t.Helper()
	headers := strings.Join(append([]string{"Host: " + a.proxy.Addr()}, lines[1:]...), "\r\n")
	if !strings.Contains(headers, "\nConnection: ") {
		headers += "\r\nConnection: close"
	}
	request := lines[0] + " HTTP/1.1\r\n" + headers + "\r\n\r\n" + body
	response, text := fixture.Raw(t, a.proxy.Addr(), request)
	return result{response.StatusCode, response.Header, text}
}

// logs stops the reverse proxy and returns its logs.
func (a *app) logs(t *testing.T) string {
	t.Helper()
	require.NoError(t, a.proxy.Stop())
	logs, err := a.proxy.Logs()
	require.NoError(t, err)
	return logs
}
