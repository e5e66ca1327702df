package frameworks_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/cors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The docs say why a service must not use fiber's own adaptor: the handler does not find the user,
// and a request with two keys is accepted, although the Authenticator refuses such a request. If
// this test fails, fiber has mended its adaptor, and the docs must change.
func TestFiberAdaptorLosesUserAndFoldsHeaders(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var found atomic.Bool
	r := fiber.New()
	r.Get("/me", adaptor.HTTPMiddleware(a.auth.Require), func(c fiber.Ctx) error {
		_, inContext := a.auth.User(c.Context())
		_, inCtx := a.auth.User(c)
		_, inRequest := a.auth.User(c.RequestCtx())
		found.Store(inContext || inCtx || inRequest)
		return nil
	})
	r.Get("/http", a.auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	s := serveFiber(t, r)
	bearer := a.bearer(t, "laptop")
	require.Equal(t, 200, send(t, s, "GET", "/me", bearer).status)
	require.False(t, found.Load(), "the adaptor now keeps the user: change the docs")
	for _, path := range []string{"/me", "/http"} {
		require.Equal(t, 200, send(t, s, "GET", path, "Bearer test_wrong", bearer).status,
			"the adaptor now keeps repeated headers: change the docs")
	}
	require.Equal(t, 400, send(t, fiberSite(t, a), "GET", "/me", "Bearer test_wrong", bearer).status)
}

// fiber reuses the memory of a request for the next request of the connection. The middleware must
// copy the key, because a service may keep it, as this legacy format does. The docs say that a
// handler must copy what it keeps, too, unless Immutable is set.
func TestFiberMiddlewareCopiesKey(t *testing.T) {
	t.Parallel()
	for _, immutable := range []bool{false, true} {
		keys, names := keptFromTwoRequests(t, fiber.Config{Immutable: immutable})
		require.Equal(t, []string{"first-key", "other-key"}, keys)
		require.Equal(t, "first-name", names[1], "a copy must stay as it was")
		kept := map[bool]string{false: "other-name", true: "first-name"}[immutable]
		require.Equal(t, kept, names[0], "fiber reuses memory in another way: change the docs")
	}
}

// keptFromTwoRequests sends two requests over one connection. It returns the keys that the
// Authenticator received, and the names from a header, each without and with a copy.
func keptFromTwoRequests(t *testing.T, config fiber.Config) (keys, names []string) {
	kit := tokenauthtest.New(t, &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{{
		Origin: "old",
		Canonical: func(presented string) (string, bool) {
			keys = append(keys, presented)
			return "", false
		},
	}}})
	auth := must.Get(tokenauth.NewAuthenticator(kit.Manager, newApp(t).findUser, nil))
	r := fiber.New(config)
	r.Get("/", func(c fiber.Ctx) error {
		names = append(names, c.Get("X-Name"), strings.Clone(c.Get("X-Name")))
		return c.Next()
	}, adapt(auth.Require))
	s := serveFiber(t, r)
	for _, which := range []string{"first", "other"} {
		header := http.Header{"Authorization": {"Bearer " + which + "-key"}, "X-Name": {which + "-name"}}
		require.Equal(t, 401, sendWith(t, s, "GET", "/", header).status)
	}
	return keys, names
}

// Concurrent requests must not get the users of each other, even if a handler still uses its
// context after it has returned.
func TestFiberKeepsConcurrentUsersApart(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	kept := make(chan func(), 100)
	r := fiber.New()
	r.Get("/", adapt(a.auth.Require), func(c fiber.Ctx) error {
		ctx, name := c.Context(), strings.Clone(c.Query("name"))
		kept <- func() {
			token, _ := a.auth.Token(ctx)
			require.Equal(t, name, token.Name)
		}
		token, _ := a.auth.Token(ctx)
		return c.SendString(token.Name)
	})
	s := serveFiber(t, r)
	var clients sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprint("client ", i)
		bearer := a.bearer(t, name)
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 25 {
				got := send(t, site{s.url, client}, "GET", "/?name="+url.QueryEscape(name), bearer)
				assert.Equal(t, name, got.text)
			}
		})
	}
	clients.Wait()
	close(kept)
	for check := range kept {
		check()
	}
}

// The user of a request must not be found in the next request of the connection.
func TestFiberForgetsUserAfterRequest(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var users atomic.Int64
	count := func(c fiber.Ctx) error {
		if _, ok := a.auth.User(c.Context()); ok {
			users.Add(1)
		}
		return nil
	}
	r := fiber.New()
	r.Get("/public", count)
	r.Get("/optional", adapt(a.auth.Optional), count)
	r.Get("/me", adapt(a.auth.Require), count)
	s := serveFiber(t, r)
	require.Equal(t, 200, send(t, s, "GET", "/me", a.bearer(t, "laptop")).status)
	require.EqualValues(t, 1, users.Load())
	require.Equal(t, 200, send(t, s, "GET", "/public").status)
	require.Equal(t, "Authorization", send(t, s, "GET", "/optional").header.Get("Vary"))
	require.Equal(t, 401, send(t, s, "GET", "/me").status)
	require.EqualValues(t, 1, users.Load(), "a request without a key must have no user")
}

// Logging middleware that runs before authentication must see the status of a refused request, and
// the token of a request that is not refused. Middleware after authentication must not run for a
// refused request. fiber's ErrorHandler must receive the errors of handlers, and no refusals. A
// refusal must keep the headers of CORS middleware, and must not stop a preflight request.
func TestFiberMiddlewareKeepsOrder(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var status, after, failures atomic.Int64
	var name atomic.Value
	r := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, err error) error {
		failures.Add(1)
		return fiber.DefaultErrorHandler(c, err)
	}})
	r.Use(func(c fiber.Ctx) error {
		err := c.Next()
		token, _ := a.auth.Token(c.Context())
		status.Store(int64(c.Response().StatusCode()))
		name.Store(token.Name)
		return err
	})
	r.Use(cors.New(cors.Config{AllowOrigins: []string{ownOrigin}, AllowHeaders: []string{"Authorization"}}))
	r.Use(adapt(a.auth.Require), func(c fiber.Ctx) error {
		after.Add(1)
		return c.Next()
	})
	r.Get("/me", func(c fiber.Ctx) error { return c.SendStatus(http.StatusAccepted) })
	r.Get("/missing", func(fiber.Ctx) error { return fiber.ErrNotFound })
	s := serveFiber(t, r)

	refused := sendWith(t, s, "GET", "/me", http.Header{"Origin": {ownOrigin}})
	require.Equal(t, 401, refused.status)
	require.EqualValues(t, 401, status.Load())
	require.Equal(t, "", name.Load())
	require.Equal(t, ownOrigin, refused.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, []string{"Origin", "Authorization"}, refused.header.Values("Vary"))
	require.Equal(t, []string{"no-store"}, refused.header.Values("Cache-Control"))
	require.Zero(t, after.Load(), "middleware must not run after a refusal")
	require.Zero(t, failures.Load())

	require.Equal(t, 404, send(t, s, "GET", "/missing", a.bearer(t, "laptop")).status)
	require.Equal(t, "laptop", name.Load())
	require.EqualValues(t, 1, after.Load())
	require.EqualValues(t, 1, failures.Load())

	preflight := sendWith(t, s, "OPTIONS", "/me", http.Header{"Origin": {ownOrigin},
		"Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"}})
	require.Equal(t, 204, preflight.status)
	require.Equal(t, ownOrigin, preflight.header.Get("Access-Control-Allow-Origin"))
}

// fiber responds to HEAD requests with the handlers of GET. A refused HEAD request must get the
// status and the challenges. A request whose target does not begin with a slash must not reach a
// wildcard route without a key. The docs say that Use without "*" does not protect such a route.
func TestFiberRefusesHeadAndOddTargets(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	r := fiberApp(a)
	hello := func(c fiber.Ctx) error {
		a.calls.Add(1)
		return nil
	}
	r.All("/*", hello)
	s := serveFiber(t, r)
	open := fiber.New()
	open.Use(adapt(a.auth.Require))
	open.All("/*", hello)
	unsafe := serveFiber(t, open)
	for _, c := range []struct {
		request string
		skips   bool // whether Use without "*" does not run for the request
	}{
		{"HEAD /me", false}, {"GET /%zz", false}, {"GET //me", false}, {"TRACE /me", false}, {"GET http://h", false},
		{"GET me", true}, {"GET ?me", true}, {"GET http://h?me", true}, {"GET *", true}, {"OPTIONS *", true},
		{"CONNECT h:443", true}, {"HEAD %2fme", true},
	} {
		response := rawFiber(t, s, c.request+" HTTP/1.1", "")
		require.Equal(t, 401, response.StatusCode, c.request)
		checkChallenge(t, result{401, response.Header, ""}, "")
		require.Zero(t, a.calls.Load(), c.request)
		want := map[bool]int{false: 401, true: 200}[c.skips]
		require.Equal(t, want, rawFiber(t, unsafe, c.request+" HTTP/1.1", "").StatusCode, "%s: change the docs", c.request)
		a.calls.Store(0)
	}
}

// rawFiber sends a request that net/http would not send.
func rawFiber(t *testing.T, s site, lines, body string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s\r\nHost: api.example.com\r\n\r\n", lines)
	require.NoError(t, err)
	method, _, _ := strings.Cut(lines, " ")
	_, err = fmt.Fprint(conn, body)
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err, lines)
	require.NoError(t, response.Body.Close())
	return response
}

// With StreamRequestBody, fasthttp takes the unread part of a body for the next request of the
// connection. A reverse proxy that reuses the connection would mix up the responses of its clients.
// Therefore a refusal must close the connection. Without StreamRequestBody, it must not.
func TestFiberRefusalClosesConnectionOfUnreadBody(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		a := newApp(t)
		r := fiber.New(fiber.Config{StreamRequestBody: stream})
		r.Post("/", adapt(a.auth.Require))
		response := rawFiber(t, serveFiber(t, r), "POST / HTTP/1.1\r\nContent-Length: 3", "abc")
		require.Equal(t, 401, response.StatusCode)
		require.Equal(t, stream, response.Close)
	}
}

// The docs say that Use ignores middleware that it receives together with an app.
func TestFiberUseIgnoresMiddlewareBesideApp(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	mounted := fiber.New()
	mounted.Get("/me", func(fiber.Ctx) error { return nil })
	r := fiber.New()
	r.Use("/wrong", adapt(a.auth.Require), mounted)
	r.Use("/right", adapt(a.auth.Require))
	r.Use("/right", mounted)
	s := serveFiber(t, r)
	require.Equal(t, 200, send(t, s, "GET", "/wrong/me").status, "Use now runs the middleware: change the docs")
	require.Equal(t, 401, send(t, s, "GET", "/right/me").status)
	require.Equal(t, 401, send(t, s, "GET", "/RIGHT/me/").status)
}

// fiber's router ignores letter case and a slash at the end of the path. A scope that the route
// requires must be required for each of these paths.
func TestFiberRequiresScopeForEachSpelling(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := fiberSite(t, a)
	for _, path := range []string{"/orders", "/orders/", "/ORDERS", "/Orders/"} {
		require.Equal(t, 403, send(t, s, "POST", path, a.bearer(t, path)).status, path)
		require.Equal(t, 200, send(t, s, "POST", path, a.bearer(t, path+" writer", "orders:write")).status, path)
	}
}

// The docs say that auth.User(c) finds no user, and that c.Context() never ends. auth.Confirm must
// work with c.Context(). An ErrorHandler of the Authenticator must be able to write its own
// response.
func TestFiberContextHasUser(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	auth := must.Get(tokenauth.NewAuthenticator(a.kit.Manager, a.findUser, &tokenauth.AuthenticatorOptions{
		KeyHeader: "X-API-Key",
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, r.Method+" "+r.URL.String(), tokenauth.StatusCode(err))
		},
	}))
	var found, ends atomic.Bool
	r := fiber.New()
	r.Get("/me", adapt(auth.Require), func(c fiber.Ctx) error {
		_, ok := auth.User(c)
		found.Store(ok)
		ends.Store(c.Context().Done() != nil)
		user, _, err := auth.Confirm(c.Context(), tokenauth.Need{})
		if err != nil {
			return err
		}
		return c.SendString(user.Name)
	})
	s := serveFiber(t, r)
	key := strings.TrimPrefix(a.bearer(t, "laptop"), "Bearer ")
	got := sendWith(t, s, "GET", "/me", http.Header{"X-Api-Key": {key}})
	require.Equal(t, "Ada", got.text)
	require.False(t, found.Load(), "auth.User(c) now finds the user: change the docs")
	require.False(t, ends.Load(), "the context can now end: change the docs")
	require.Equal(t, []string{"Authorization", "X-Api-Key"}, got.header.Values("Vary"))

	response, err := s.client.Get(s.url + "/me?x=1")
	require.NoError(t, err)
	defer response.Body.Close()
	body := make([]byte, 100)
	n, _ := response.Body.Read(body)
	require.Equal(t, 401, response.StatusCode)
	require.Equal(t, "GET /me?x=1\n", string(body[:n]))
	require.Equal(t, "text/plain; charset=utf-8", response.Header.Get("Content-Type"))
	_, _ = leak.Default.Write(body)
}
