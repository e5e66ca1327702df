package frameworks_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/cors"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

const (
	ownOrigin     = "https://app.example.com"
	foreignOrigin = "https://evil.example"
)

// crossOrigin returns a service whose browser app is on another origin. Its session is the cookie
// session=42.
func crossOrigin(t *testing.T) http.Handler {
	a := newAppWith(t, "orders:write", "tokens:manage")
	session := func(r *http.Request) (string, error) {
		if c, err := r.Cookie("session"); err == nil {
			return c.Value, nil
		}
		return "", nil
	}
	check := func(_ context.Context, username, password string) (userID, stamp string, err error) {
		if username == "ada" && password == "right" {
			return "42", "", nil
		}
		return "", "", nil
	}
	mux := http.NewServeMux()
	api := must.Get(tokenapi.New(a.auth, session, &tokenapi.Options{ManageScope: "tokens:manage"}))
	mux.Handle("/api/tokens", http.StripPrefix("/api", api))
	mux.Handle("/api/tokens/", http.StripPrefix("/api", api))
	mux.Handle("/api/login", must.Get(tokenlogin.New(a.auth, check, nil)))
	mux.Handle("/me", a.auth.Require(httpHello(a)))

	browserApp := cors.New(cors.Options{
		AllowedOrigins: []string{"https://app.example.com"},
		AllowedMethods: []string{"GET", "POST", "PATCH", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"WWW-Authenticate", "Retry-After", "Location"},
		MaxAge:         600, // seconds for which browsers cache the response to a preflight request
	})
	handler := browserApp.Handler(mux)
	return handler
}

// fromOrigin serves a request that a browser sends for a page of the given origin.
func fromOrigin(h http.Handler, origin, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://api.example.com"+path, strings.NewReader(body))
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Before a page of another origin may send a request, the browser sends a preflight request without
// a key. If the service refuses the preflight request, the browser app cannot log in.
func TestCORSAllowsPreflightOfOwnOriginOnly(t *testing.T) {
	t.Parallel()
	h := crossOrigin(t)
	for _, path := range []string{"/api/login", "/api/tokens", "/me"} {
		for origin, allowed := range map[string]string{ownOrigin: ownOrigin, foreignOrigin: "", "null": ""} {
			w := fromOrigin(h, origin, "OPTIONS", path, "",
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
			require.Equal(t, allowed, w.Header().Get("Access-Control-Allow-Origin"), path)
			require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), "a key needs no cookie")
			if allowed != "" {
				require.Equal(t, http.StatusNoContent, w.Code, path)
				require.Equal(t, "POST", w.Header().Get("Access-Control-Allow-Methods"))
				require.Equal(t, "authorization,content-type", w.Header().Get("Access-Control-Allow-Headers"))
			}
		}
	}
}

// A browser app on another origin logs in and manages tokens with its key. The service must not
// refuse its requests because of their origin. The app must be able to read the error headers.
func TestBrowserAppOfOtherOriginUsesKey(t *testing.T) {
	t.Parallel()
	h := crossOrigin(t)
	w := fromOrigin(h, ownOrigin, "POST", "/api/login", `{"username":"ada","password":"right","scopes":["tokens:manage"]}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, ownOrigin, w.Header().Get("Access-Control-Allow-Origin"))
	require.Contains(t, w.Header().Values("Vary"), "Origin")
	require.Empty(t, w.Header()["Set-Cookie"])
	var login struct{ Key string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &login))
	leak.Default.Secret(login.Key)
	bearer := []string{"Authorization", "Bearer " + login.Key}

	w = fromOrigin(h, ownOrigin, "GET", "/api/tokens", "", bearer...)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, ownOrigin, w.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, "Www-Authenticate, Retry-After, Location", w.Header().Get("Access-Control-Expose-Headers"))

	w = fromOrigin(h, ownOrigin, "POST", "/api/tokens", `{"name":"laptop"}`, bearer...)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	var made struct{ Key string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &made))
	leak.Default.Secret(made.Key)

	w = fromOrigin(h, ownOrigin, "GET", "/me", "", "Authorization", "Bearer wrong")
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, ownOrigin, w.Header().Get("Access-Control-Allow-Origin"),
		"without this header, the app cannot read the status")
	require.NotEmpty(t, w.Header().Get("WWW-Authenticate"))
}

// A page of a foreign origin must not read a response. It must not use the session of a user
// either, even if the browser sends the cookie.
func TestForeignOriginReadsNothing(t *testing.T) {
	t.Parallel()
	h := crossOrigin(t)
	w := fromOrigin(h, foreignOrigin, "POST", "/api/login", `{"username":"ada","password":"wrong"}`)
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
	for _, origin := range []string{foreignOrigin, ownOrigin} {
		w = fromOrigin(h, origin, "POST", "/api/tokens", `{"name":"stolen"}`, "Cookie", "session=42")
		require.Equal(t, http.StatusForbidden, w.Code, "%s: %s", origin, w.Body)
	}
}
