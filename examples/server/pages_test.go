package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Each route must refuse a request that lacks its credentials. Pages require a session. Staff pages
// require the session of a staff member. Routes for programs require a key.
func TestPagesRequireSignIn(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	addUser(t, path, "bob", false)
	nobody, bob, ada := p.browser(t), p.signedIn(t, "bob", testPassword), p.signedIn(t, demoName, testPassword)
	tests := []struct {
		method, path     string
		nobody, bob, ada int
	}{
		{"GET", "/", 303, 200, 200},
		{"GET", signInPath, 200, 303, 303},
		{"GET", "/account/tokens", 307, 307, 307},
		{"GET", accountPath, 303, 200, 200},
		{"GET", accountPath + "new", 303, 200, 200},
		{"POST", accountPath + "new", 401, 409, 409}, // the form must name its user
		{"GET", passwordPath, 303, 200, 200},
		{"POST", passwordPath, 303, 400, 400},
		{"GET", staffPath, 403, 403, 200},
		{"GET", "/api/tokens", 401, 200, 200},
		{"GET", "/api/staff/tokens", 403, 403, 200},
		{"GET", "/site.css", 200, 200, 200},
		{"GET", accountPath + "tokens.css", 200, 200, 200},
		{"GET", "/notes", 401, 401, 401}, // a route for programs ignores sessions
	}
	for _, tt := range tests {
		for who, b := range map[string]*browser{"nobody": nobody, "bob": bob, "ada": ada} {
			want := map[string]int{"nobody": tt.nobody, "bob": tt.bob, "ada": tt.ada}[who]
			require.Equal(t, want, b.send(tt.method, tt.path, nil, nil, false).StatusCode, "%s %s by %s", tt.method, tt.path, who)
		}
	}
	require.Contains(t, ada.get("/").Text, `href="/staff/tokens/"`)
	require.NotContains(t, bob.get("/").Text, `href="/staff/tokens/"`)
}

// A page of another site must not sign a user in or out, or create a token.
func TestCrossSiteFormsAreRefused(t *testing.T) {
	t.Parallel()
	b := start(t, sqlite.File(t)).browser(t)
	other := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	form := url.Values{"username": {demoName}, "password": {testPassword}}
	require.Equal(t, http.StatusForbidden, b.send("POST", signInPath, form, other, false).StatusCode)
	require.Equal(t, http.StatusSeeOther, b.post(signInPath, form).StatusCode)
	for _, path := range []string{"/sign-out", passwordPath, accountPath + "new"} {
		require.Equal(t, http.StatusForbidden, b.send("POST", path, nil, other, false).StatusCode, path)
	}
	require.Equal(t, http.StatusOK, b.get("/").StatusCode)
}

// The pages must have a strict Content-Security-Policy, and must work with it.
func TestPagesHaveSafeHeaders(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	b := p.signedIn(t, demoName, testPassword)
	for _, got := range []readResponse{p.browser(t).get(signInPath), b.get("/"), b.get(accountPath), b.get(staffPath)} {
		policy := got.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.Contains(t, policy, "frame-ancestors 'none'")
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", got.Header.Get("X-Frame-Options"))
		require.Contains(t, got.Text, `<link rel="stylesheet" href="/site.css">`, "the layout of the service must be used")
		require.NotRegexp(t, `style=|<style|<script>`, got.Text, "the policy forbids inline code")
	}
}

// A key from the account page must work until the user revokes the token on the same page.
func TestTokenOfPageWorksUntilRevoked(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	b := p.signedIn(t, demoName, testPassword)
	key := b.create("laptop", scopeRead, scopeWrite)
	require.Equal(t, http.StatusCreated, p.do(t, "POST", "/notes", key, `{"text":"<b>milk</b>"}`).StatusCode)
	require.Contains(t, b.get("/").Text, "&lt;b&gt;milk&lt;/b&gt;")
	require.Contains(t, b.get(accountPath).Text, "<bdi>laptop</bdi>")

	ids := b.tokenIDs(accountPath)
	require.Len(t, ids, 2)
	require.Equal(t, http.StatusSeeOther, b.post(accountPath+ids[1]+"/revoke", nil).StatusCode)
	require.Equal(t, http.StatusUnauthorized, p.do(t, "GET", "/notes", key, "").StatusCode)
	require.Equal(t, http.StatusOK, p.do(t, "GET", "/notes", p.Key, "").StatusCode, "the other token must be unchanged")
	require.Equal(t, ids[:1], b.tokenIDs(staffPath))
}

// login sends a login request to the API and returns the key of the response.
func (p *program) login(t *testing.T, body string) (key string) {
	t.Helper()
	response, err := http.Post(p.URL+"/api/login", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var got struct{ Key string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&got))
	leak.Default.Secret(got.Key)
	return got.Key
}

// A key from the login endpoint must allow only the scopes of the request. After a logout, the key
// must be refused.
func TestLoginKeyIsLimitedToItsScopes(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	wrong := p.do(t, "POST", "/api/login", "", `{"username":"ada","password":"not the password"}`)
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.Text, "non_field_errors")

	reader := p.login(t, `{"username":"ada","password":"`+testPassword+`","scopes":["notes:read"]}`)
	manager := p.login(t, `{"username":"ada","password":"`+testPassword+`","scopes":["tokens:manage"]}`)
	steps := []struct {
		name, method, path, key, body string
		want                          int
	}{
		{"the key works", "GET", "/notes", reader, "", 200},
		{"the key allows only its scopes", "POST", "/notes", reader, `{"text":"milk"}`, 403},
		{"the key cannot manage tokens", "GET", "/api/tokens", reader, "", 403},
		{"a key with the scope can manage tokens", "GET", "/api/tokens", manager, "", 200},
		{"that key cannot create a token with more scopes", "POST", "/api/tokens", manager, `{"name":"x","scopes":["notes:read"]}`, 403},
		{"that key is not staff", "GET", "/api/staff/tokens", manager, "", 403},
		{"logout revokes the key", "POST", "/api/logout", reader, "", 204},
		{"a revoked key is refused", "GET", "/notes", reader, "", 401},
		{"the other key still works", "GET", "/api/tokens", manager, "", 200},
		{"the API refuses the key of a session", "GET", "/api/tokens", "session_" + manager[len("notes_"):], "", 401},
	}
	for _, s := range steps {
		require.Equal(t, s.want, p.do(t, s.method, s.path, s.key, s.body).StatusCode, s.name)
	}
}

// A second start must keep the data of the first one. With -seed-demo, it must also change the
// password of the demo user and end her sessions and tokens.
func TestRestartKeepsDataAndSeedChangesPassword(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p, password := startEmpty(t, path, "-seed-demo")
	b := p.signedIn(t, demoName, password)
	key := b.create("laptop", scopeRead)
	jar := b.client.Jar
	p.Stop()
	require.NoError(t, p.wait(t))
	secret := []string{password, "pbkdf2", "session_"}
	for _, one := range secret {
		require.NotContains(t, p.Log.String(), one)
	}

	p, none := startEmpty(t, path)
	require.Empty(t, none)
	require.Equal(t, http.StatusOK, p.do(t, "GET", "/notes", key, "").StatusCode)
	require.Equal(t, http.StatusOK, restore(t, p, jar).get(accountPath).StatusCode, "the session must continue")
	p.Stop()
	require.NoError(t, p.wait(t))

	p, password = startEmpty(t, path, "-seed-demo")
	require.Equal(t, http.StatusUnauthorized, p.do(t, "GET", "/notes", key, "").StatusCode)
	require.Equal(t, signInPath, restore(t, p, jar).get(accountPath).Header.Get("Location"))
	p.signedIn(t, demoName, password)
}

// restore returns a browser with the cookies of an earlier browser. Cookies do not depend on the
// port, so the new program receives them.
func restore(t *testing.T, p *program, jar http.CookieJar) *browser {
	b := p.browser(t)
	b.client.Jar = jar
	return b
}
