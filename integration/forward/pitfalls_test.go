package forward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// location returns the edit that adds a location, which asks the endpoint, to nginx.conf.
func location(path, directives string) []string {
	const next = "    location = /_auth {"
	return []string{next, "location " + path + " {\nauth_request /_auth;\n" + directives + "\n}\n" + next}
}

// docs/reverse-proxies.md says that nginx executes return and redirects before auth_request.
func TestNginxReturnsBeforeItAuthenticates(t *testing.T) {
	t.Parallel()
	for directive, status := range map[string]int{"return 200 open;": 200, "rewrite ^ /elsewhere redirect;": 302} {
		a := started(t, nginx.with(location("/private", directive)...))
		require.Equal(t, status, a.send(t, "GET /private").status)
		asked, _ := a.take()
		require.Empty(t, asked)
	}
}

// docs/reverse-proxies.md says that proxy_intercept_errors changes the responses of the service.
func TestNginxInterceptsErrorsOfService(t *testing.T) {
	t.Parallel()
	a := started(t, nginx.with("proxy_set_header Authorization", "proxy_intercept_errors on; proxy_set_header Authorization"))
	require.Equal(t, 500, a.send(t, "GET /me?401", a.bearer()).status)
}

// docs/reverse-proxies.md says that a location of nginx with a proxy_set_header of its own inherits
// none. A client could then choose the user.
func TestNginxLocationInheritsNoHeader(t *testing.T) {
	t.Parallel()
	for header, users := range map[string]string{"": "", "proxy_set_header X-Request-Id $request_id;": "1"} {
		edits := location("/news/", "proxy_pass http://"+serviceAddress+"; "+header)
		edits[1] = "proxy_set_header Verified-User $auth_user;\n" + edits[1]
		a := started(t, nginx.with(edits...))
		require.Equal(t, 200, a.send(t, "GET /news/1", "Verified-User: 1").status)
		_, got := a.take()
		require.Equal(t, users, strings.Join(got[0].users(), ""), header)
	}
}

// docs/reverse-proxies.md says which settings of nginx drop headers that a service may read as
// Verified-User.
func TestNginxNeedsStrictHeaderNames(t *testing.T) {
	t.Parallel()
	for setting, forged := range map[string]string{
		"underscores_in_headers on;":  "Verified_User: 1",
		"ignore_invalid_headers off;": "Verified.User: 1",
	} {
		a := started(t, nginx.with("listen 80;", "listen 80; "+setting))
		require.Equal(t, 200, a.send(t, "GET /news/1", forged).status)
		_, got := a.take()
		require.Equal(t, []string{"1"}, got[0].users())
	}
}

// docs/reverse-proxies.md says that the cache of nginx gives the response for one user to another
// user, and how proxy_cache_key prevents this.
func TestNginxCacheMixesUsers(t *testing.T) {
	t.Parallel()
	for key, reached := range map[string]bool{"": false, `proxy_cache_key "$auth_user $scheme$proxy_host$request_uri";`: true} {
		a := started(t, nginx.with("upstream endpoint {", "proxy_cache_path cache keys_zone=c:1m;\nupstream endpoint {",
			"proxy_set_header Authorization", "proxy_cache c; proxy_cache_valid 1m; "+key+" proxy_set_header Authorization"))
		require.Equal(t, 200, a.send(t, "GET /me", a.bearerOf("1")).status)
		require.True(t, a.reached())
		require.Equal(t, 200, a.send(t, "GET /me", a.bearerOf("2")).status)
		require.Equal(t, reached, a.reached())
		require.Equal(t, 401, a.send(t, "GET /me").status)
	}
}

// If nginx itself fails after the endpoint has accepted a request, the status must be 500. Clients
// repeat a request with 503.
func TestNginxReportsOwnError(t *testing.T) {
	t.Parallel()
	a := started(t, nginx.with("proxy_pass http://"+serviceAddress+";", `set $service ""; proxy_pass http://$service;`))
	require.Equal(t, 500, a.send(t, "GET /me", a.bearer()).status)
	require.Equal(t, 401, a.send(t, "GET /me").status)
}

// A client must not be able to send a request to the location of the endpoint.
func TestNginxHidesEndpoint(t *testing.T) {
	t.Parallel()
	a := started(t, nginx)
	require.Equal(t, 404, a.send(t, "GET /_auth", a.bearer()).status)
	asked, got := a.take()
	require.Empty(t, asked)
	require.Empty(t, got)
}

// Outside of route, Caddy executes request_header after forward_auth, whatever the order of the
// lines is. The service would never see a user.
func TestCaddyNeedsRoute(t *testing.T) {
	t.Parallel()
	a := started(t, caddy.with("route {", "handle {"))
	require.Equal(t, 200, a.send(t, "GET /me", a.bearer()).status)
	_, got := a.take()
	require.Empty(t, strings.Join(got[0].users(), ""))
}

// docs/reverse-proxies.md says what a client can do if a line is missing in the Caddyfile.
func TestCaddyNeedsEachLine(t *testing.T) {
	t.Parallel()
	a := started(t, caddy.with("request_header -Verified*\n", ""))
	a.send(t, "GET /news/1", "Verified_User: 1")
	_, got := a.take()
	require.Equal(t, "1", strings.Join(got[0].users(), ""))

	a = started(t, caddy.with("header_up Verified-User {header.Verified-User}\n", ""))
	a.send(t, "GET /me", a.bearer(), "Connection: close, Verified-User")
	_, got = a.take()
	require.Empty(t, got[0].users())

	a = started(t, caddy.with("request_header @upgrade Upgrade websocket\n", ""))
	response := a.send(t, "GET /me", a.bearer(), "Connection: Upgrade", "Upgrade: h2c")
	require.Equal(t, 101, response.status)
	require.Equal(t, "h2c", response.header.Get("Upgrade"))

	a = started(t, caddy.with("header_up -Authorization\n", ""))
	a.send(t, "GET /me", a.bearer())
	_, got = a.take()
	require.NotEmpty(t, got[0].Header.Get("Authorization"))
}

// A comment of the endpoint says what Caddy 2.6 does if the endpoint omits a header.
func TestCaddyNeedsHeadersOfEndpoint(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.mute = true
	a.run(t, caddy)
	require.Equal(t, 200, a.send(t, "GET /me", "Verified-User: 1").status)
	_, got := a.take()
	require.Equal(t, []string{"{http.reverse_proxy.header.Verified-User}"}, got[0].users())
}
