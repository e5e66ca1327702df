package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// No script, no other host and, over TLS, no request without encryption may get the cookie of the
// session. Over TLS, no other host may set the cookie.
func TestCookieIsSafe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   string
		secure bool
	}{
		"plain":            {func(*http.Request) {}, "session", false},
		"TLS":              {func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, "__Host-session", true},
		"behind TLS proxy": {func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }, "__Host-session", true},
	} {
		for _, key := range []string{"x", ""} {
			r, w := httptest.NewRequest("POST", signInPath, nil), httptest.NewRecorder()
			r.TLS = nil
			tt.change(r)
			setCookie(w, r, key)
			cookie := w.Result().Cookies()[0]
			require.Equal(t, tt.want, cookie.Name, name)
			require.Equal(t, tt.secure, cookie.Secure, name)
			require.Equal(t, key == "", cookie.MaxAge < 0, name)
			require.True(t, cookie.HttpOnly, name)
			require.Equal(t, http.SameSiteLaxMode, cookie.SameSite, name)
			require.Equal(t, "/", cookie.Path, name)
			require.Empty(t, cookie.Domain, name)
		}
	}
}

// Another host of the domain can set a second cookie of the same name. The user must not act in the
// session of that host's owner, so nobody is signed in.
func TestAmbiguousCookiesSignNobodyIn(t *testing.T) {
	t.Parallel()
	path := databaseFile(t)
	p := start(t, path)
	addUser(t, path, "eve", false)
	ada, eve := p.signedIn(t, demoName, testPassword).cookie(), p.signedIn(t, "eve", testPassword).cookie()
	for cookies, want := range map[string]int{
		ada:                          http.StatusOK,
		ada + "; other=1":            http.StatusOK,
		eve + "; " + ada:             http.StatusSeeOther,
		ada + "; " + eve:             http.StatusSeeOther,
		ada + "; " + ada:             http.StatusSeeOther,
		"session=; " + ada:           http.StatusSeeOther,
		"__Host-" + ada:              http.StatusSeeOther, // the request came without TLS
		"__Host-" + eve + "; " + ada: http.StatusOK,
	} {
		got := p.browser(t).send("GET", "/", nil, http.Header{"Cookie": {cookies}}, false)
		require.Equal(t, want, got.StatusCode)
	}
	overTLS := http.Header{"X-Forwarded-Proto": {"https"}, "Cookie": {ada + "; __Host-" + eve}}
	require.Contains(t, p.browser(t).send("GET", "/", nil, overTLS, false).Text, "<bdi>eve</bdi>", "a plain cookie does not count over TLS")
}
