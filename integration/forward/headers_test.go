package forward

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// users returns the values of all headers that a service may read as the header Verified-User. WSGI
// makes HTTP_VERIFIED_USER of a header with an underscore, and lighttpd of a header with any
// character that is neither a letter nor a digit.
func (r received) users() []string { return r.alike("verified-user") }

var separator = regexp.MustCompile(`[^a-z0-9]`)

func (r received) alike(name string) (values []string) {
	for header, all := range r.Header {
		if separator.ReplaceAllString(strings.ToLower(header), "-") == name {
			values = append(values, all...)
		}
	}
	return values
}

// forgeries are headers with which a client may try to be another user.
var forgeries = [][]string{
	{},
	{"Verified-User: 1"},
	{"Verified-User: 1", "Verified-User: 2"},
	{"verified-user: 1", "VERIFIED-USER: 2"},
	{"Verified_User: 1", "verified_user: 2", "VERIFIED_user: 3"},
	{"Verified.User: 1", "verified~user: 2", "VERIFIED+USER: 3", "Verified.Token: 1"},
	{"Connection: close, Verified-User, Verified-Token"},
	{"Connection: close, Verified-User", "Verified-User: 1", "Verified_User: 1"},
	{"Verified-Token: 1", "Verified_Token: 2"},
}

// A client must not be able to choose the user that the service sees, neither with a key nor
// without a key on a route that is public.
func TestClientsCannotChooseUser(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		key := a.bearer()
		token, err := a.kit.Manager.Authenticate(t.Context(), strings.Fields(key)[2])
		require.NoError(t, err)
		for _, forged := range forgeries {
			for _, target := range []string{"GET /me", "GET /news/1"} {
				require.Equal(t, 200, a.send(t, slices.Concat([]string{target, key}, forged)...).status, forged)
				_, got := a.take()
				require.Len(t, got, 1)
				require.Equal(t, []string{"42"}, got[0].users(), forged)
				require.Equal(t, []string{token.ID}, got[0].alike("verified-token"), forged)
			}
			require.Equal(t, 200, a.send(t, slices.Concat([]string{"GET /news/1"}, forged)...).status, forged)
			_, got := a.take()
			require.Len(t, got, 1)
			require.Empty(t, strings.Join(got[0].users(), ""), forged)
			require.Empty(t, strings.Join(got[0].alike("verified-token"), ""), forged)
		}
	})
}

// A client must not be able to choose the method and the path that the endpoint sees.
func TestClientsCannotChooseRoute(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		for _, forged := range [][]string{
			{"X-Forwarded-Uri: /news/1", "X-Forwarded-Method: GET"},
			{"x-forwarded-uri: /news/1", "X-FORWARDED-METHOD: GET", "X_Forwarded_Uri: /news/1"},
			{"Connection: close, X-Forwarded-Uri, X-Forwarded-Method", "X-Forwarded-Uri: /news/1"},
		} {
			require.Equal(t, 401, a.send(t, slices.Concat([]string{"GET /me"}, forged)...).status, forged)
			require.Equal(t, 403, a.send(t, slices.Concat([]string{"POST /orders", a.bearer("orders:read")}, forged)...).status, forged)
			asked, got := a.take()
			require.Empty(t, got)
			require.Equal(t, []string{"/me"}, asked[0].Header.Values("X-Forwarded-Uri"))
			require.Equal(t, []string{"POST"}, asked[1].Header.Values("X-Forwarded-Method"))
		}
	})
}

// A client must not reach a private path by a path that the endpoint takes for a public one. Many
// services decode the path, remove dot segments or merge slashes.
func TestAmbiguousPathsAreNotPublic(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		for _, target := range []string{
			"/news/..%2fme", "/news/..%2Fme", "/news/%2e%2e/me", "/news/.%2e/me", "/news/../me", "/news/./../me",
			"//news/../me", "//news/1", "/news//1", "/news/..;/me", "/news/1;x", `/news/..\me`, "/news/..%5cme", "/news/1%00",
			"/news/%252e%252e/me", "/NEWS/1", "/news#/1", "/news/#/../../me",
		} {
			require.Contains(t, []int{400, 401}, a.send(t, "GET "+target).status, target)
			require.Contains(t, []int{400, 404}, a.send(t, "GET "+target, a.bearer()).status, target)
			require.False(t, a.reached(), target)
		}
		absolute := "http://" + a.proxy.Addr()
		for _, target := range []string{"/me", "/me?/../news/1", absolute + "/me"} {
			require.Equal(t, 401, a.send(t, "GET "+target).status, target)
			require.False(t, a.reached(), target)
		}
		for _, target := range []string{"/news/1", "/news/a-b_c.d~e/", "/news/1?x=../me", absolute + "/news/1"} {
			require.Equal(t, 200, a.send(t, "GET "+target).status, target)
			require.True(t, a.reached(), target)
		}
	})
}

// A user ID may contain letters that a header cannot hold. The service must get the ID back, and
// two users must never have the same header.
func TestUserIDIsEscaped(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		for _, id := range []string{"42", " 42", "42 ", "org:7", "a,b", "ü/%2f", "{http.request.uri}", "$request_uri"} {
			require.Equal(t, 200, a.send(t, "GET /me", a.bearerOf(id)).status, id)
			_, got := a.take()
			require.Len(t, got[0].users(), 1)
			sent, err := url.PathUnescape(got[0].users()[0])
			require.NoError(t, err)
			require.Equal(t, id, sent)
		}
	})
}

// The body of a request must reach the service, and only the service. The key must reach only the
// endpoint. The response to a refused request must not wait for its body.
func TestBodyAndKeyReachOneServer(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		key, body := a.bearer("orders:write"), strings.Repeat("large ", 100_000)
		require.Equal(t, 200, a.sendBody(t, body, "POST /orders/7", key, "Content-Length: 600000").status)
		chunked := "927c0\r\n" + body + "\r\n0\r\n\r\n"
		require.Equal(t, 200, a.sendBody(t, chunked, "POST /orders/7", key, "Transfer-Encoding: chunked").status)
		asked, got := a.take()
		for i := range 2 {
			require.Empty(t, asked[i].body)
			require.Equal(t, "POST", asked[i].Header.Get("X-Forwarded-Method"))
			require.Equal(t, http.MethodGet, asked[i].Method)
			require.Equal(t, body, got[i].body)
			require.Empty(t, got[i].Header.Values("Authorization"))
		}
		require.Equal(t, 401, a.send(t, "POST /orders/7", "Content-Length: 600000").status) // sends no body
		require.False(t, a.reached())
	})
}

// The scope of a HEAD request must be that of GET. The response to a refused HEAD request must have
// the challenge and no body.
func TestHeadNeedsScopeOfGet(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		require.Equal(t, 200, a.send(t, "HEAD /orders/7", a.bearer("orders:read")).status)
		require.True(t, a.reached())
		got := a.send(t, "HEAD /orders/7")
		require.Equal(t, 401, got.status)
		require.Equal(t, noKey, got.header.Get("WWW-Authenticate"))
		require.Empty(t, got.body)
		require.False(t, a.reached())
	})
}

// A revoked key must be refused from the next request on. Therefore neither proxy may cache the
// response of the endpoint.
func TestRevokedKeyIsRefused(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		key := a.bearer()
		for range 3 {
			require.Equal(t, 200, a.send(t, "GET /me", key).status)
		}
		_, err := a.kit.Manager.RevokeAll(t.Context(), "42")
		require.NoError(t, err)
		require.Equal(t, 401, a.send(t, "GET /me", key).status)
	})
}

// A client with a key must be able to open a WebSocket. It must not be able to upgrade a connection
// to another protocol, such as h2c, because later requests on it would not reach the endpoint.
func TestOnlyWebSocketsUpgrade(t *testing.T) {
	t.Parallel()
	eachSetup(t, func(t *testing.T, s setup) {
		a := started(t, s)
		got := a.send(t, "GET /me", a.bearer(), "Connection: Upgrade", "Upgrade: websocket")
		require.Equal(t, 101, got.status)
		require.Equal(t, "websocket", got.header.Get("Upgrade"))
		require.True(t, a.reached())
		require.Equal(t, 401, a.send(t, "GET /me", "Connection: Upgrade", "Upgrade: websocket").status)
		require.False(t, a.reached())
		for _, protocols := range [][]string{{"h2c"}, {"H2C"}, {"h2c", "websocket"}, {"websocket", "h2c"}, {"websocket, h2c"}, {"tls/1.0"}} {
			lines := []string{"GET /me", a.bearer(), "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"}
			for _, p := range protocols {
				lines = append(lines, "Upgrade: "+p)
			}
			a.send(t, lines...)
			_, got := a.take()
			require.Len(t, got, 1)
			require.Subset(t, []string{"websocket"}, got[0].Header.Values("Upgrade"), protocols)
		}
	})
}

// If the upstream of nginx has two endpoints and the first is down, clients must get the response
// of the second one.
func TestNginxTriesNextEndpoint(t *testing.T) {
	t.Parallel()
	a := started(t, nginx.with("server "+endpointAddress+";", "server "+nobodyAddress+" max_fails=0; server "+endpointAddress+" max_fails=0;"))
	for range 4 {
		require.Equal(t, 200, a.send(t, "GET /me", a.bearer()).status)
		got := a.send(t, "POST /orders", a.bearer())
		require.Equal(t, 403, got.status)
		require.Equal(t, noScope, got.header.Get("WWW-Authenticate"))
		require.Equal(t, 401, a.send(t, "GET /me").status)
	}
	require.Contains(t, a.logs(t), nobodyAddress)
}
