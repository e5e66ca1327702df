package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
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

// With -proxy, a failed login must count for the address of the client, which the proxy appends to
// X-Forwarded-For. Otherwise the failures of one client would make all clients wait.
func TestProxyFlagThrottlesClientsOfProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the responses to refused logins")
	}
	t.Parallel()
	p := start(t, sqlite.File(t), "-proxy")
	post := func(username, password, client string) int {
		form := url.Values{"username": {username}, "password": {password}}
		r := must.Get(http.NewRequest("POST", p.URL+"/api/login", strings.NewReader(form.Encode())))
		r.Header.Set("Content-Type", asForm)
		r.Header.Add("X-Forwarded-For", "198.51.100.7, "+client)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, http.StatusOK, post(demoName, testPassword, "192.0.2.2"))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			assert.Equal(t, http.StatusBadRequest, post(fmt.Sprint("nobody", i), "guess", "192.0.2.1"), "log: %s", p.Log)
		})
	}
	all.Wait()
	// On a busy machine, the wait may end before the next guess. This guess fails and doubles the wait.
	var status int
	for i := range 10 {
		status = post(fmt.Sprint("bob", i), "guess", "192.0.2.1")
		if status == http.StatusTooManyRequests {
			break
		}
		require.Equal(t, http.StatusBadRequest, status)
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, http.StatusOK, post(demoName, testPassword, "192.0.2.2"))
	require.Equal(t, http.StatusBadRequest, post("bob", "guess", "192.0.2.3"))
}

// A client can forge each address in X-Forwarded-For except the last one. The program must use the
// last one, because otherwise an attacker could evade the throttle.
func TestClientAddressIsLastForwardedAddress(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][]string{
		"192.0.2.1":   {"198.51.100.7", "198.51.100.8, 192.0.2.1"},
		"192.0.2.2":   {"192.0.2.2"},
		"2001:db8::1": {"x,2001:db8::1"},
		"":            nil,
	} {
		r := httptest.NewRequest("POST", "/api/login", nil)
		r.Header["X-Forwarded-For"] = lines
		require.Equal(t, want, clientAddress(r))
	}
}
