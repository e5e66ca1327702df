package frameworks_test

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func echoRouter(a *app) http.Handler {
	auth, greet := a.auth, a.greet
	// docs: echo
	hello := func(c *echo.Context) error {
		user, _ := auth.User(c.Request().Context())
		token, _ := auth.Token(c.Request().Context())
		return c.String(http.StatusOK, greet(user, token))
	}
	e := echo.New()
	e.Use(middleware.Recover(), echo.WrapMiddleware(auth.Require))
	e.GET("/me", hello)
	e.POST("/orders", hello, echo.WrapMiddleware(auth.RequireScopes("orders:write")))
	// docs: end
	e.GET("/crash", echo.WrapHandler(http.HandlerFunc(crash)))
	e.Logger = slog.New(slog.NewTextHandler(&leak.Default, nil))
	return e
}

// A service with echo v5 must serve valid keys, refuse all other requests, and recover from a
// panic.
func TestEchoAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, echoRouter)
	checkRecovery(t, echoRouter)
}

// Logging middleware that runs before authentication must see the status of a refused request, and
// the token of a request that is not refused. Middleware after authentication must not run for a
// refused request. The error of a handler must still reach echo.
func TestEchoLoggerSeesRefusal(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var status, after atomic.Int64
	var name atomic.Value
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			_, s := echo.ResolveResponseStatus(c.Response(), err)
			token, _ := tokenauth.TokenFrom(c.Request().Context())
			status.Store(int64(s))
			name.Store(token.Name)
			return err
		}
	})
	e.Use(echo.WrapMiddleware(a.auth.Require))
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			after.Add(1)
			return next(c)
		}
	})
	e.GET("/missing", func(*echo.Context) error { return echo.ErrNotFound })
	s := serve(t, e)

	require.Equal(t, 401, send(t, s, "GET", "/missing").status)
	require.EqualValues(t, 401, status.Load())
	require.Equal(t, "", name.Load())
	require.Zero(t, after.Load(), "middleware must not run after a refusal")

	require.Equal(t, 404, send(t, s, "GET", "/missing", a.bearer(t, "laptop")).status)
	require.EqualValues(t, 404, status.Load())
	require.Equal(t, "laptop", name.Load())
	require.EqualValues(t, 1, after.Load())
}
