package frameworks_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// docs: gin

// use adapts auth.Require, auth.RequireScopes(…) or auth.Optional to gin middleware.
func use(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		refused := true
		next := func(_ http.ResponseWriter, r *http.Request) {
			refused = false
			c.Request = r // its context contains the user
			c.Next()
		}
		middleware(http.HandlerFunc(next)).ServeHTTP(c.Writer, c.Request)
		if refused {
			c.Abort() // otherwise gin would call the handler
		}
	}
}

// docs: end

func ginRouter(a *app) http.Handler {
	auth, greet := a.auth, a.greet
	// docs: gin's routes
	hello := func(c *gin.Context) {
		user, _ := auth.User(c.Request.Context())
		token, _ := auth.Token(c.Request.Context())
		c.String(http.StatusOK, "%s", greet(user, token))
	}
	r := gin.New()
	r.Use(gin.Recovery(), use(auth.Require))
	r.GET("/me", hello)
	r.POST("/orders", use(auth.RequireScopes("orders:write")), hello)
	// docs: end
	r.GET("/crash", gin.WrapF(crash))
	return r
}

// A service with gin must serve valid keys, refuse all other requests, and recover from a panic.
func TestGinAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, ginRouter)
	checkRecovery(t, ginRouter)
}

// Logging middleware that runs before authentication must see the status of a refused request.
// Middleware after authentication must not run for such a request.
func TestGinLoggerSeesRefusal(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var logged, after atomic.Int64
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		logged.Store(int64(c.Writer.Status()))
	})
	r.Use(use(a.auth.Require), func(*gin.Context) { after.Add(1) })
	r.GET("/me", gin.WrapF(httpHello(a)))
	s := serve(t, r)

	require.Equal(t, 401, send(t, s, "GET", "/me").status)
	require.EqualValues(t, 401, logged.Load())
	require.Zero(t, after.Load(), "middleware must not run after a refusal")

	require.Equal(t, 200, send(t, s, "GET", "/me", a.bearer(t, "laptop")).status)
	require.EqualValues(t, 200, logged.Load())
	require.EqualValues(t, 1, after.Load(), "middleware after authentication must run once")
}

// By default, the context of gin does not include the context of the request. Therefore
// auth.User(c) finds no user. With the setting that the docs name, it must find the user.
func TestGinUserNeedsContextFallback(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		a := newApp(t)
		var found atomic.Bool
		r := gin.New()
		r.ContextWithFallback = fallback
		r.GET("/me", use(a.auth.Optional), func(c *gin.Context) {
			_, ok := a.auth.User(c)
			found.Store(ok)
		})
		s := serve(t, r)
		require.Equal(t, 200, send(t, s, "GET", "/me", a.bearer(t, "laptop")).status)
		require.Equal(t, fallback, found.Load())
	}
}
