package frameworks_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func echoV4Router(a *app) http.Handler {
	auth, greet := a.auth, a.greet
	hello := func(c echo.Context) error {
		user, _ := auth.User(c.Request().Context())
		token, _ := auth.Token(c.Request().Context())
		return c.String(http.StatusOK, greet(user, token))
	}
	e := echo.New()
	e.Use(middleware.Recover(), echo.WrapMiddleware(auth.Require))
	e.GET("/me", hello)
	e.POST("/orders", hello, echo.WrapMiddleware(auth.RequireScopes("orders:write")))
	e.GET("/crash", echo.WrapHandler(http.HandlerFunc(crash)))
	e.Logger.SetOutput(&leak.Default)
	return e
}

// A service with echo v4 must serve valid keys, refuse all other requests, and recover from a
// panic.
func TestEchoV4Authenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, echoV4Router)
	checkRecovery(t, echoV4Router)
}

// Logging middleware that runs before authentication must see the status of a refused request.
// Middleware after authentication must not run for such a request. The error of a handler must
// still reach echo.
func TestEchoV4LoggerSeesRefusal(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var logged, after atomic.Int64
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			c.Error(err) // sets the status, as the loggers of echo do
			logged.Store(int64(c.Response().Status))
			return err
		}
	})
	e.Use(echo.WrapMiddleware(a.auth.Require))
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			after.Add(1)
			return next(c)
		}
	})
	e.GET("/missing", func(echo.Context) error { return echo.ErrNotFound })
	s := serve(t, e)

	require.Equal(t, 401, send(t, s, "GET", "/missing").status)
	require.EqualValues(t, 401, logged.Load())
	require.Zero(t, after.Load(), "middleware must not run after a refusal")

	require.Equal(t, 404, send(t, s, "GET", "/missing", a.bearer(t, "laptop")).status)
	require.EqualValues(t, 404, logged.Load())
	require.EqualValues(t, 1, after.Load())
}
