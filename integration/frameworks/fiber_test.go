package frameworks_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/stretchr/testify/require"
)

// docs: fiber

// adapt adapts auth.Require, auth.RequireScopes(…) or auth.Optional to fiber middleware.
func adapt(middleware func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		// The copies are necessary, because fiber reuses its buffers.
		target := &url.URL{Path: strings.Clone(c.Path()), RawQuery: string(c.Request().URI().QueryString())}
		r := &http.Request{Method: c.Method(), URL: target, Header: http.Header{}, Body: http.NoBody}
		for name, value := range c.Request().Header.All() { // all values, because two keys are refused
			r.Header.Add(string(name), string(value))
		}
		w := fiberWriter{c, http.Header{}}
		for _, value := range c.Response().Header.PeekAll("Vary") { // set by CORS middleware
			w.header.Add("Vary", string(value))
		}
		accepted := false
		next := func(_ http.ResponseWriter, r *http.Request) {
			accepted = true
			c.SetContext(r.Context()) // the context contains the user
		}
		middleware(http.HandlerFunc(next)).ServeHTTP(w, r.WithContext(c.Context()))
		w.setHeaders()
		if !accepted {
			if c.Request().IsBodyStream() {
				// Otherwise fasthttp would take the unread body for the next request.
				c.RequestCtx().SetConnectionClose()
			}
			return nil // fiber does not call the handler
		}
		return c.Next()
	}
}

// fiberWriter writes the response of net/http middleware to a response of fiber.
type fiberWriter struct {
	c      fiber.Ctx
	header http.Header
}

func (w fiberWriter) Header() http.Header         { return w.header }
func (w fiberWriter) WriteHeader(status int)      { w.c.Status(status) }
func (w fiberWriter) Write(b []byte) (int, error) { return w.c.Write(b) }

func (w fiberWriter) setHeaders() {
	h := &w.c.Response().Header
	for name, values := range w.header {
		h.Del(name)
		for _, value := range values {
			h.Add(name, value)
		}
	}
}

// docs: end

func fiberApp(a *app) *fiber.App {
	auth, greet := a.auth, a.greet
	// docs: fiber's routes
	hello := func(c fiber.Ctx) error {
		user, _ := auth.User(c.Context())
		token, _ := auth.Token(c.Context())
		return c.SendString(greet(user, token))
	}
	r := fiber.New()
	r.Use("*", recover.New(), adapt(auth.Require)) // keep "*": see below
	r.Get("/me", hello)
	r.Post("/orders", adapt(auth.RequireScopes("orders:write")), hello)
	// docs: end
	r.Get("/crash", func(fiber.Ctx) error { panic("crash") })
	return r
}

func fiberSite(t *testing.T, a *app) site { return serveFiber(t, fiberApp(a)) }

// serveFiber serves r until the test ends. The client keeps its connection, so that fiber reuses
// the buffers of the connection.
func serveFiber(t *testing.T, r *fiber.App) site {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	// A goroutine of fasthttp notices the shutdown only after this duration, which is 10 s by default.
	r.Server().MaxIdleWorkerDuration = 10 * time.Millisecond
	done := make(chan error, 1)
	go func() { done <- r.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
	transport := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(t, r.Shutdown())
		require.NoError(t, <-done)
	})
	return site{"http://" + listener.Addr().String(), &http.Client{Transport: transport}}
}

// A service with fiber must serve valid keys, refuse all other requests, and recover from a panic.
func TestFiberAuthenticates(t *testing.T) {
	t.Parallel()
	checkSite(t, fiberSite)
	checkSiteRecovery(t, fiberSite)
}
