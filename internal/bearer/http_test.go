package bearer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

const rawStart = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

// Requests with repeated or unusual Authorization lines must get the same status over the network
// as in tests that call the handler directly. Cases H4, H5, H8, H11, and H12.
func TestHTTP1DecidesLikeHandler(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	address := fixture.NewServer(t, g.auth.Require(fixture.Whoami))
	good := "Authorization: Bearer " + g.key + "\r\n"
	for name, c := range map[string]struct {
		lines  string
		status int
	}{
		"one":                     {good, 200},
		"equal":                   {good + good, 400},
		"good first":              {good + "Authorization: Bearer x\r\n", 400},
		"good last":               {"Authorization: Bearer x\r\n" + good, 400},
		"another header among":    {good + "X: y\r\nauthorization: Basic YTpi\r\n", 400},
		"empty one first":         {"Authorization:\r\n" + good, 400},
		"spaces around":           {"Authorization: \t Bearer  " + g.key + " \t \r\n", 200},
		"folded":                  {"Authorization: Bearer\r\n  " + g.key + "\r\n", 200},
		"tab":                     {"Authorization: Bearer\t" + g.key + "\r\n", 400},
		"0xFF":                    {"Authorization: Bearer \xff" + g.key + "\r\n", 400},
		"NUL":                     {"Authorization: Bearer " + g.key + "\x00\r\n", 400},
		"header name in capitals": {strings.ToUpper("Authorization") + good[len("Authorization"):], 200},
	} {
		resp, _ := fixture.Raw(t, address, rawStart+c.lines+"\r\n")
		require.Equal(t, c.status, resp.StatusCode, name)
	}
}

// HTTP/2 must not change which requests the Authenticator accepts. Case H8.
func TestHTTP2DecidesLikeHandler(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	s := httptest.NewUnstartedServer(g.auth.Require(fixture.Whoami))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	good := "Bearer " + g.key
	for name, c := range map[string]struct {
		values []string
		status int
	}{
		"none":       {nil, 401},
		"one":        {[]string{good}, 200},
		"equal":      {[]string{good, good}, 400},
		"good first": {[]string{good, "Bearer x"}, 400},
		"good last":  {[]string{"Basic YTpi", good}, 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		require.NoError(t, err)
		r.Header["Authorization"] = c.values
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 2, resp.ProtoMajor)
		require.Equal(t, c.status, resp.StatusCode, name)
	}
}

// If a credential is too long to be a key, the Authenticator must neither hash nor copy it.
// Otherwise a client could waste CPU time and memory of the server. The test is not parallel,
// because other tests would change the number of allocations. Case H13.
func TestLongCredentialsAreNotHashed(t *testing.T) {
	seen := 0
	format := tokenauth.LegacyFormat{Origin: "any", Canonical: func(presented string) (string, bool) {
		seen = max(seen, len(presented))
		return presented, false
	}}
	m := fixture.NewLegacyManager(tokenauth.NewMemoryStore(), format)
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	allocations := func(size int) float64 {
		h := http.Header{"Authorization": {"Bearer " + strings.Repeat("x", size)}}
		return testing.AllocsPerRun(100, func() {
			if _, _, err := auth.Authenticate(context.Background(), h, tokenauth.Need{}); tokenauth.StatusCode(err) != 401 {
				t.Errorf("a credential of %d bytes must get status 401, but the error is %v", size, err)
			}
		})
	}
	short := allocations(43)
	for _, size := range []int{255, 256, 1024, 1025, 4096, 900 << 10} {
		require.Equal(t, short, allocations(size), "number of allocations for a credential of %d bytes", size)
		w := fixture.Get(auth.Require(fixture.Forbidden(t)), "Bearer "+strings.Repeat("x", size))
		require.Equal(t, 401, w.Code)
		require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`)
	}
	require.Equal(t, 1024, seen, "length of the longest value that Canonical received")

	address := fixture.NewServer(t, auth.Require(fixture.Forbidden(t)))
	resp, _ := fixture.Raw(t, address, rawStart+"Authorization: Bearer "+strings.Repeat("x", 900<<10)+"\r\n\r\n")
	require.Equal(t, 401, resp.StatusCode)
}

// A request must get the same status with every HTTP method. The Authenticator must not read the
// request body. Case H22.
func TestEveryMethodIsAuthenticated(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	h := g.auth.Require(fixture.Whoami)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"} {
		for authorization, status := range map[string]int{"": 401, "Bearer x": 401, "Bearer": 400, "Bearer " + g.key: 200} {
			r := httptest.NewRequest(method, "http://x/", unread{t})
			r.Header.Set("Authorization", authorization)
			w := fixture.Serve(h, r)
			require.Equal(t, status, w.Code, method)
			require.True(t, status == 200 || (w.Body.Len() == 0) == (method == "HEAD"), "%s: a rejected request must get a response body, unless its method is HEAD", method)
		}
	}
}

// An unread is a request body that fails the test if any code reads from it.
type unread struct{ t *testing.T }

func (b unread) Read([]byte) (int, error) {
	b.t.Error("the Authenticator read the request body")
	return 0, io.EOF
}

// A client that sends Expect: 100-continue or Upgrade waits for a response before it sends more
// data. If such a request has no valid key, the server must send status 401 without waiting for
// more data. Case H22.
func TestRejectionDoesNotWaitForBody(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	address := fixture.NewServer(t, g.auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, string(body), err)
	})))
	expect := "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
	upgrade := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	preflight := "OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://y\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"Expect: 100-continue, no key":  {expect, 401},
		"Expect: 100-continue, bad key": {expect + "Authorization: Bearer x\r\n", 401},
		"Expect: 100-continue, good":    {expect + "Authorization: Bearer " + g.key + "\r\n", 100},
		"Upgrade, no key":               {upgrade, 401},
		"CORS preflight, no key":        {preflight, 401},
		"HEAD, no key":                  {"HEAD / HTTP/1.1\r\nHost: x\r\n", 401},
	} {
		resp, _ := fixture.Raw(t, address, c.request+"\r\n")
		require.Equal(t, c.status, resp.StatusCode, name)
		require.Equal(t, c.status == 401, len(resp.Header["Www-Authenticate"]) == 2, name)
	}
}
