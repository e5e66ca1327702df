package forward

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A response is what a client must receive.
type response struct {
	status    int
	challenge string // the header WWW-Authenticate
	body      body
}

// A body is the form of a body.
type body int

const (
	problem body = iota // problem+json
	html                // the error page of nginx
	empty
	own // the body of the service
)

// A caseRow is a row of the table in docs/reverse-proxies.md.
type caseRow struct {
	name    string
	lines   func(a *app) []string // as for app.send
	prepare func(a *app)          // may be nil
	dead    string                // address on which no program listens; may be empty
	scopes  []string              // scopes that exist; if nil, both of the page exist
	reached bool                  // whether the service receives the request
	retry   bool                  // whether the response has the header Retry-After, except without error_page

	// responses with nginx without error_page, and with the configurations of the page
	without, nginx, caddy response
}

// challenges returns the challenges of both schemes in one line.
func challenges(attributes string) string {
	return fmt.Sprintf(`Bearer realm="api"%[1]s, Token realm="api"%[1]s`, attributes)
}

var (
	noKey     = challenges("")
	malformed = challenges(`, error="invalid_request"`)
	wrong     = challenges(`, error="invalid_token"`)
	noScope   = challenges(`, error="insufficient_scope", scope="orders:write"`)
)

// plain is nginx without error_page.
var plain = func() setup {
	s := nginx.with("error_page 401 403 500 = @refused;", "")
	s.name = "nginx without error_page"
	return s
}()

// withKey returns the lines of a request with a valid key, whose token has no scope.
func withKey(line string) func(*app) []string {
	return func(a *app) []string { return []string{line, a.bearer()} }
}

func lines(l ...string) func(*app) []string {
	return func(*app) []string { return l }
}

var caseRows = []caseRow{
	{name: "a valid key", lines: withKey("GET /me"), reached: true,
		without: response{200, "", own}, nginx: response{200, "", own}, caddy: response{200, "", own}},
	{name: "no key", lines: lines("GET /me"),
		without: response{401, noKey, html}, nginx: response{401, noKey, problem}, caddy: response{401, noKey, problem}},
	{name: "a wrong key", lines: lines("GET /me", "Authorization: Bearer test_wrong"),
		without: response{401, wrong, html}, nginx: response{401, wrong, problem}, caddy: response{401, wrong, problem}},
	{name: "a wrong key on a public route", lines: lines("GET /news/1", "Authorization: Bearer test_wrong"),
		without: response{401, wrong, html}, nginx: response{401, wrong, problem}, caddy: response{401, wrong, problem}},
	{name: "a key after another scheme", lines: lines("GET /me", "Authorization: Basic QQ==, Bearer test_wrong"),
		without: response{500, "", html}, nginx: response{400, malformed, problem}, caddy: response{400, malformed, problem}},
	{name: "two headers `Authorization`", lines: func(a *app) []string { return []string{"GET /me", a.bearer(), a.bearer()} },
		without: response{400, "", html}, nginx: response{400, "", html}, caddy: response{400, malformed, problem}},
	{name: "a missing scope", lines: withKey("POST /orders"),
		without: response{403, "", html}, nginx: response{403, noScope, problem}, caddy: response{403, noScope, problem}},
	{name: "an unknown path", lines: withKey("GET /unknown"),
		without: response{500, "", html}, nginx: response{404, "", problem}, caddy: response{404, "", problem}},
	{name: "the store fails", lines: withKey("GET /me"), retry: true,
		prepare: func(a *app) { a.kit.Store.Fail(errors.New("connection refused")) },
		without: response{500, "", html}, nginx: response{503, "", problem}, caddy: response{503, "", problem}},
	{name: "`needOf` returns a scope that does not exist", lines: withKey("POST /orders"), scopes: []string{"orders:read"},
		without: response{500, "", html}, nginx: response{500, "", html}, caddy: response{500, "", problem}},
	{name: "the endpoint panics", lines: withKey("GET /me"), prepare: func(a *app) { a.crash = true },
		without: response{500, "", html}, nginx: response{503, "", problem}, caddy: response{502, "", empty}},
	{name: "the endpoint is down", lines: withKey("GET /me"), dead: endpointAddress,
		without: response{500, "", html}, nginx: response{503, "", problem}, caddy: response{502, "", empty}},
	{name: "the service is down", lines: withKey("GET /me"), dead: serviceAddress,
		without: response{502, "", html}, nginx: response{502, "", html}, caddy: response{502, "", empty}},
	{name: "the service responds 401", lines: withKey("GET /me?401"), reached: true,
		without: response{401, "Own", own}, nginx: response{401, "Own", own}, caddy: response{401, "Own", own}},
	{name: "the service responds 500", lines: withKey("GET /me?500"), reached: true,
		without: response{500, "", own}, nginx: response{500, "", own}, caddy: response{500, "", own}},
}

// Clients must see why a request was refused. The service must receive only requests that the
// endpoint has accepted. The responses of the service itself must not be changed.
func TestClientsReceiveRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range caseRows {
		for s, want := range map[*setup]response{&plain: c.without, &nginx: c.nginx, &caddy: c.caddy} {
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				c.check(t, *s, want)
			})
		}
	}
}

func (c caseRow) check(t *testing.T, s setup, want response) {
	a := newApp(t, "orders:read", "orders:write")
	if c.scopes != nil {
		a = newApp(t, c.scopes...)
	}
	lines := c.lines(a)
	if c.prepare != nil {
		c.prepare(a)
	}
	if c.dead != "" {
		s = s.with(c.dead, nobodyAddress)
	}
	a.run(t, s)
	got := a.send(t, lines...)
	require.Equal(t, want.status, got.status, got)
	require.Equal(t, want.challenge, got.header.Get("WWW-Authenticate"))
	require.LessOrEqual(t, len(got.header.Values("WWW-Authenticate")), 1)
	require.Equal(t, c.reached, a.reached(), "whether the service has received the request")
	want.body.check(t, got)
	require.Equal(t, c.retry && s.name != plain.name, got.header.Get("Retry-After") == "2")
}

func (b body) check(t *testing.T, got result) {
	t.Helper()
	switch b {
	case problem:
		require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
		require.Equal(t, "no-store", got.header.Get("Cache-Control"))
		require.JSONEq(t, fmt.Sprintf(`{"title":%q,"status":%d}`, http.StatusText(got.status), got.status), got.body)
	case html:
		require.Equal(t, "text/html", got.header.Get("Content-Type"))
	case empty:
		require.Empty(t, got.body)
	case own:
		require.Equal(t, "the service", got.body)
	}
}

// The table of the page must say what clients receive.
func TestPageShowsRefusals(t *testing.T) {
	t.Parallel()
	page := readFile(t, pageFile)
	for _, c := range caseRows {
		require.Contains(t, page, fmt.Sprintf("\n| %s | %d | %d | %d |\n", c.name, c.without.status, c.nginx.status, c.caddy.status))
	}
}
