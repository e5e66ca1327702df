package frameworks_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func chiRouter(a *app) http.Handler {
	auth, hello := a.auth, httpHello(a)
	// docs: chi
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Use(auth.Require)
	r.Get("/me", hello)
	r.With(auth.RequireScopes("orders:write")).Post("/orders", hello)
	// docs: end
	r.Get("/crash", crash)
	return r
}

// A service with chi must serve valid keys, refuse all other requests, and recover from a panic.
func TestChiAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, chiRouter)
	checkRecovery(t, chiRouter)
}
