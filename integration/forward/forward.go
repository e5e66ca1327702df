// Package forward has the code and the configurations of docs/reverse-proxies.md. A reverse proxy
// sends each request first to an endpoint in Go. The endpoint decides whether the reverse proxy may
// pass the request to a service that is written in another language.
package forward

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// User is the type that the service uses for its users.
type User struct{ Name string }

// NewServer returns the HTTP server of the endpoint.
func NewServer(tokens *tokenauth.Manager, findUser func(context.Context, string) (*User, error)) (*http.Server, error) {
	// docs: server
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, &tokenauth.AuthenticatorOptions{ErrorHandler: refuse})
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Addr:              "127.0.0.1:9000", // other machines cannot reach it
		Handler:           newEndpoint(auth),
		ReadHeaderTimeout: 5 * time.Second,
	}
	// docs: end
	return server, nil
}

// docs: endpoint

// newEndpoint returns the handler that decides about requests. The response to an accepted request
// has the status 204, and names the user and the token.
func newEndpoint(auth *tokenauth.Authenticator[*User]) http.Handler {
	accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := auth.Token(r.Context()) // the zero Token if the request has no key
		// Set both headers even if they are empty. Otherwise Caddy 2.6 sends the name of a placeholder.
		w.Header().Set("Verified-User", url.PathEscape(token.UserID)) // a user ID may contain any letters
		w.Header().Set("Verified-Token", token.ID)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	})
	private, public := auth.RequireFunc(needOf)(accept), auth.Optional(accept)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isPublic(r) {
			public.ServeHTTP(w, r)
			return
		}
		private.ServeHTTP(w, r)
	})
}

// refuse is the ErrorHandler. It joins the challenges, because nginx 1.22 passes on only the first
// WWW-Authenticate header.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	status := tokenauth.StatusCode(err)
	if challenges := w.Header().Values("WWW-Authenticate"); len(challenges) > 0 {
		w.Header().Set("WWW-Authenticate", strings.Join(challenges, ", "))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"title":%q,"status":%d}`, http.StatusText(status), status)
}

// docs: end

// docs: needs

// plainPath matches the paths that all servers read alike. For example, it matches no path with %2f
// or with the segment "..".
var plainPath = regexp.MustCompile(`^(/[\w~-][\w.~-]*)*/?$`)

// pathOf returns the path of the client's request. If the path is not plain, the result is empty.
func pathOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Uri"), "?")
	if !plainPath.MatchString(path) {
		return ""
	}
	return path
}

// isPublic reports whether the client needs no key.
func isPublic(r *http.Request) bool { return strings.HasPrefix(pathOf(r), "/news/") }

// needOf returns what the client's request requires, or ErrNotFound if the path is not listed here.
func needOf(r *http.Request) (need tokenauth.Need, err error) {
	switch path, method := pathOf(r), r.Header.Get("X-Forwarded-Method"); {
	case path == "/me":
	case !strings.HasPrefix(path+"/", "/orders/"):
		err = tokenauth.ErrNotFound
	case method == http.MethodGet || method == http.MethodHead:
		need.Scopes = []string{"orders:read"}
	default:
		need.Scopes = []string{"orders:write"}
	}
	return need, err
}

// docs: end
