package frameworks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// A result is a response as an HTTP client would see it.
type result struct {
	status int
	header http.Header // nil if the protocol cannot send challenges
	text   string      // text of the handler, or the reason for the refusal
}

// A caller sends a request to a service. If write is true, the request needs the scope
// orders:write.
type caller func(t *testing.T, write bool, authorization ...string) result

// check tests a service with valid and invalid credentials, and with a store that fails. The
// function start starts the service.
func check(t *testing.T, start func(t *testing.T, a *app) caller) {
	for _, c := range []struct {
		name          string
		authorization func(t *testing.T, a *app) []string
		write         bool
		broken        bool // whether the store fails
		status        int
		challenge     string // parameters after the realm
		text          string
	}{
		{name: "the handler of a request with a valid key gets the user and the token",
			authorization: readOnly, status: 200, text: "Ada by laptop"},
		{name: "a request with the required scope causes one lookup of the user",
			authorization: mayWrite, write: true, status: 200, text: "Ada by ci"},
		{name: "a request without credentials gets 401 without an error code", status: 401},
		{name: "another scheme does not count as credentials", authorization: values("Basic QWRhOng="), status: 401},
		{name: "an empty header does not count as credentials", authorization: values(""), status: 401},
		{name: "a key after another scheme is malformed", authorization: values("Basic QWRhOng=, Bearer test_wrong"),
			status: 400, challenge: `, error="invalid_request"`},
		{name: "a wrong key gets 401", authorization: values("Bearer test_wrong"),
			status: 401, challenge: `, error="invalid_token"`},
		{name: "a wrong key gets 401 even if the route requires a scope", authorization: values("Bearer test_wrong"),
			write: true, status: 401, challenge: `, error="invalid_token"`},
		{name: "a token without the required scope gets 403 with the name of the scope",
			authorization: readOnly, write: true,
			status: 403, challenge: `, error="insufficient_scope", scope="orders:write"`},
		{name: "two credentials are refused even if one is valid",
			authorization: func(t *testing.T, a *app) []string { return append(readOnly(t, a), "Bearer test_wrong") },
			status:        400, challenge: `, error="invalid_request"`},
		{name: "if the store fails, a valid key gets 503", authorization: readOnly, broken: true, status: 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			call := start(t, a)
			var authorization []string
			if c.authorization != nil {
				authorization = c.authorization(t, a)
			}
			if c.broken {
				a.kit.Store.Fail(errors.New("dial tcp db.internal: connection refused"))
			}
			got := call(t, c.write, authorization...)
			_, _ = fmt.Fprint(&leak.Default, got)
			require.Equal(t, c.status, got.status, got.text)
			if c.status == http.StatusOK {
				require.Equal(t, c.text, got.text)
				require.EqualValues(t, 1, a.lookups.Load(), "number of user lookups")
				return
			}
			require.Zero(t, a.calls.Load(), "the handler must not run for a refused request")
			require.NotContains(t, fmt.Sprint(got), "db.internal", "the client must not see an internal error")
			checkChallenge(t, got, c.challenge)
		})
	}
}

func readOnly(t *testing.T, a *app) []string { return []string{a.bearer(t, "laptop")} }
func mayWrite(t *testing.T, a *app) []string { return []string{a.bearer(t, "ci", "orders:write")} }

func values(v ...string) func(*testing.T, *app) []string {
	return func(*testing.T, *app) []string { return v }
}

func checkChallenge(t *testing.T, got result, attributes string) {
	t.Helper()
	if got.status == http.StatusForbidden {
		require.Contains(t, fmt.Sprint(got), "orders:write", "the client must learn which scope it needs")
	}
	if got.header == nil {
		return
	}
	if got.status == http.StatusServiceUnavailable {
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.Empty(t, got.header.Values("WWW-Authenticate"), "the client must not discard its key")
		return
	}
	want := []string{`Bearer realm="api"` + attributes, `Token realm="api"` + attributes}
	require.Equal(t, want, got.header.Values("WWW-Authenticate"))
}

// checkHTTP tests a router with check. Refusals must have a body of RFC 9457.
func checkHTTP(t *testing.T, router func(*app) http.Handler) {
	checkSite(t, func(t *testing.T, a *app) site { return serve(t, router(a)) })
}

// checkSite is like checkHTTP, for a service that start starts.
func checkSite(t *testing.T, start func(*testing.T, *app) site) {
	check(t, func(t *testing.T, a *app) caller {
		s := start(t, a)
		return func(t *testing.T, write bool, authorization ...string) result {
			if write {
				return send(t, s, "POST", "/orders", authorization...)
			}
			return send(t, s, "GET", "/me", authorization...)
		}
	})
}

// A site is a service that runs, with a client for it.
type site struct {
	url    string
	client *http.Client
}

// serve serves h until the test ends.
func serve(t *testing.T, h http.Handler) site {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return site{server.URL, server.Client()}
}

func send(t *testing.T, s site, method, path string, authorization ...string) result {
	t.Helper()
	return sendWith(t, s, method, path, http.Header{"Authorization": authorization})
}

func sendWith(t *testing.T, s site, method, path string, header http.Header) result {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	require.NoError(t, err)
	r.Header = header
	response, err := s.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	got := result{response.StatusCode, response.Header, string(body)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		// Unmarshal fails if the body contains more, such as the response of a handler that ran.
		var problem struct{ Status int }
		require.NoError(t, json.Unmarshal(body, &problem), got.text)
		require.Equal(t, got.status, problem.Status)
		return got
	}
	require.Contains(t, []int{200, 204, 404, 500}, got.status, "a refusal must have a problem+json body: %+v", got)
	return got
}

// checkRecovery requires that the recovery middleware of a framework catches the panic of a
// handler. A request without a key must not reach the handler.
func checkRecovery(t *testing.T, router func(*app) http.Handler) {
	checkSiteRecovery(t, func(t *testing.T, a *app) site { return serve(t, router(a)) })
}

// checkSiteRecovery is like checkRecovery, for a service that start starts.
func checkSiteRecovery(t *testing.T, start func(*testing.T, *app) site) {
	t.Run("a panic in the handler reaches the recovery", func(t *testing.T) {
		t.Parallel()
		a := newApp(t)
		s := start(t, a)
		require.Equal(t, 500, send(t, s, "GET", "/crash", a.bearer(t, "laptop")).status)
		require.Equal(t, 401, send(t, s, "GET", "/crash").status)
	})
}

// Some routers run the middleware before they match the route. With these routers, a client without
// a key gets 401 for every path, and cannot find out which paths exist. docs/frameworks.md states
// the status of an unknown path for each router.
func TestUnknownPathStatusDependsOnRouter(t *testing.T) {
	t.Parallel()
	of := func(router func(*app) http.Handler) func(*testing.T, *app) site {
		return func(t *testing.T, a *app) site { return serve(t, router(a)) }
	}
	for name, c := range map[string]struct {
		start  func(*testing.T, *app) site
		status int
	}{
		"net/http":    {of(netHTTP), 404},
		"chi":         {of(chiRouter), 401},
		"gorilla/mux": {of(gorillaRouter), 404},
		"echo v5":     {of(echoRouter), 401},
		"echo v4":     {of(echoV4Router), 401},
		"gin":         {of(ginRouter), 401},
		"fiber":       {fiberSite, 401},
		"huma":        {of(humaRouter), 404},
		"generated":   {of(oapiRouter), 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.status, send(t, c.start(t, newApp(t)), "GET", "/unknown").status)
		})
	}
}

// The docs say that Use of these frameworks protects only routes that are registered afterwards.
func TestUseProtectsOnlyLaterRoutes(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	wrapped := echo.New()
	group := wrapped.Group("")
	group.GET("/before", func(*echo.Context) error { return nil })
	group.Use(echo.WrapMiddleware(a.auth.Require))
	group.GET("/after", func(*echo.Context) error { return nil })

	engine := gin.New()
	engine.GET("/before", func(*gin.Context) {})
	engine.Use(use(a.auth.Require))
	engine.GET("/after", func(*gin.Context) {})

	fibers := fiber.New()
	fibers.Get("/before", func(fiber.Ctx) error { return nil })
	fibers.Use("*", adapt(a.auth.Require))
	fibers.Get("/after", func(fiber.Ctx) error { return nil })

	for name, s := range map[string]site{
		"echo": serve(t, wrapped), "gin": serve(t, engine), "fiber": serveFiber(t, fibers),
	} {
		require.Equal(t, 200, send(t, s, "GET", "/before").status, "%s now protects the route: change the docs", name)
		require.Equal(t, 401, send(t, s, "GET", "/after").status, name)
	}
}
