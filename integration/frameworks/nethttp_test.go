package frameworks_test

import (
	"fmt"
	"net/http"
	"testing"
)

// httpHello returns the handler for all routers that accept an http.HandlerFunc.
func httpHello(a *app) http.HandlerFunc {
	auth, greet := a.auth, a.greet
	// docs: net/http's handler
	hello := func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		token, _ := auth.Token(r.Context())
		fmt.Fprint(w, greet(user, token))
	}
	// docs: end
	return hello
}

func netHTTP(a *app) http.Handler {
	auth, hello := a.auth, httpHello(a)
	// docs: net/http
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(hello)))
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(http.HandlerFunc(hello)))
	// docs: end
	return mux
}

// A service with net/http alone must serve valid keys and refuse all other requests.
func TestNetHTTPAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, netHTTP)
}

// A mux behind Require, with some routes behind RequireScopes, must make the same decisions.
func TestNetHTTPNestedAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, func(a *app) http.Handler { return a.auth.Require(netHTTP(a)) })
}
