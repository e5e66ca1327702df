package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// The code for another style and another language in docs/manage-tokens.md must work.
func TestDocsExampleChangesAppearanceAndLanguage(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	tokens := must.Get(tokenauth.New(store, "notes", nil))
	signedIn := func(*http.Request) (string, error) { return "1", nil }

	page, err := tokenpage.New(tokens, signedIn, &tokenpage.Options{
		CSS: ":root { --tp-brand: #7a1f5c; --tp-radius: 0.25rem; --tp-font: Georgia, serif; }",
	})
	require.NoError(t, err)
	german, err := tokenpage.New(tokens, signedIn, &tokenpage.Options{
		Texts: tokenpage.Texts{Lang: "de", Title: "API-Tokens", New: "Neues Token"}, // and all other fields
	})
	require.NoError(t, err)
	byLanguage := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Language")
		if strings.HasPrefix(r.Header.Get("Accept-Language"), "de") {
			german.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})

	get := func(path, language string) string {
		r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		r.Header.Set("Accept-Language", language)
		byLanguage.ServeHTTP(w, r)
		return w.Body.String()
	}
	require.Contains(t, get("/", "de-AT"), `<html lang="de">`)
	require.Contains(t, get("/", "de-AT"), "Neues Token")
	require.Contains(t, get("/", "fr"), `<html lang="en">`)
	require.Contains(t, get("/tokens.css", "fr"), "Georgia")
}

// Behind a reverse proxy, a failure must count for the address of the client, which the proxy
// appends to X-Forwarded-For.
func TestDocsExampleThrottlesClientsOfProxy(t *testing.T) {
	t.Parallel()
	path := databaseFile(t)
	addUser(t, path, demoName, false)
	beside(t, path, func(s service) {
		login, err := tokenlogin.New(s.auth, s.users.checkPassword, &tokenlogin.Options{Address: clientAddress})
		require.NoError(t, err)
		post := func(username, password, client string) *httptest.ResponseRecorder {
			r, w := httptest.NewRequest("POST", "/api/login", strings.NewReader("username="+username+"&password="+password)), httptest.NewRecorder()
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Add("X-Forwarded-For", "198.51.100.7, "+client)
			login.ServeHTTP(w, r)
			_, _ = leak.Default.Write([]byte(w.Header().Get("Retry-After")))
			return w
		}
		require.Equal(t, http.StatusBadRequest, post(demoName, "guess", "192.0.2.1").Code)
		require.Equal(t, http.StatusOK, post(demoName, strings.ReplaceAll(testPassword, " ", "+"), "192.0.2.2").Code)
	})
	r := httptest.NewRequest("POST", "/api/login", nil)
	r.Header.Add("X-Forwarded-For", "198.51.100.7")
	r.Header.Add("X-Forwarded-For", "198.51.100.8, 192.0.2.1")
	require.Equal(t, "192.0.2.1", clientAddress(r), "a client can forge the other addresses")
}

// clientAddress is for a service that only its own reverse proxy can reach. The proxy appends the
// address of its client to X-Forwarded-For. A client can forge all addresses before that one.
func clientAddress(r *http.Request) string {
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 0 {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return host
	}
	last := forwarded[len(forwarded)-1]
	return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
}
