package frameworks_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
)

func gorillaRouter(a *app) http.Handler {
	auth, hello := a.auth, httpHello(a)
	// docs: gorilla/mux
	r := mux.NewRouter()
	r.HandleFunc("/me", hello).Methods("GET")
	r.Use(auth.Require)

	orders := r.PathPrefix("/orders").Subrouter()
	orders.HandleFunc("", hello).Methods("POST")
	orders.Use(auth.RequireScopes("orders:write"))
	// docs: end
	return r
}

// A service with gorilla/mux must serve valid keys and refuse all other requests.
func TestGorillaAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, gorillaRouter)
}

// The docs say that CORS middleware in r.Use never sees a preflight request, because mux responds
// before its middleware runs. This must stay true.
func TestGorillaPreflightSkipsMiddleware(t *testing.T) {
	t.Parallel()
	ran := false
	r := mux.NewRouter()
	r.HandleFunc("/me", crash).Methods("GET")
	r.Use(func(next http.Handler) http.Handler {
		ran = true
		return next
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "OPTIONS", "/me", nil))
	require.Equal(t, 405, w.Code)
	require.False(t, ran, "the middleware now runs: change the docs")
}
