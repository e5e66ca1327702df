package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Neither a script nor another host may read the cookie of the session. Over TLS, the browser must
// not send the cookie unencrypted, and no other host may set the cookie.
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

// Another host of the same domain can set a second cookie of the same name. The user must not act
// in the session of the owner of that host. Therefore nobody is signed in.
func TestAmbiguousCookiesSignNobodyIn(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
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

// A user who signs out must not stay signed in. This must hold even if another host has set a
// second session cookie, or if the browser does not wait for the response.
func TestSignOutEndsEverySessionOfRequest(t *testing.T) {
	t.Parallel()
	o := newSite(t)
	unknown := o.newSession(t, "unknown")
	must.Get(o.users.db.ExecContext(t.Context(), "DELETE FROM sessions WHERE name = 'unknown'"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, http.StatusSeeOther, o.post(t.Context(), "/sign-out", o.cookie, nil).Code)
	for name, tt := range map[string]struct {
		ctx     context.Context
		another string // another cookie of the same name
	}{
		"another session":     {t.Context(), o.newSession(t, "other")},
		"ended session":       {t.Context(), o.cookie},
		"unknown session":     {t.Context(), unknown},
		"no session":          {t.Context(), "session=x"},
		"client disconnected": {gone, "other=x"},
	} {
		w := o.post(tt.ctx, "/sign-out", tt.another+"; "+o.newSession(t, name), nil)
		require.Equal(t, http.StatusSeeOther, w.Code, name)
		require.Negative(t, w.Result().Cookies()[0].MaxAge, name)
	}
	o.requireLive(t, 1, 0)
}

// If the service could not revoke a session, the page must say so, and the user must be able to try
// again.
func TestFailedSignOutKeepsCookie(t *testing.T) {
	t.Parallel()
	o := newSite(t)
	o.sessionStore.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Revoke" {
			return errors.New("connection lost")
		}
		return next()
	})
	w := o.post(t.Context(), "/sign-out", o.cookie, nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), notNow)
	require.Empty(t, w.Result().Cookies())
}
