package frameworks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// An answer is what a client sees, in the words of HTTP.
type answer struct {
	status int
	header http.Header // nil: the transport has no place for challenges
	text   string      // the handler's, or the reason for the refusal
}

// An ask calls a service, which answers with a greeting. What needs the scope orders:write is
// called if write is true.
type ask func(t *testing.T, write bool, authorization ...string) answer

// check runs a service through all that a client can meet; start serves a.
func check(t *testing.T, start func(t *testing.T, a *app) ask) {
	for _, c := range []struct {
		name          string
		authorization func(t *testing.T, a *app) []string
		write         bool
		broken        bool // the store
		status        int
		challenge     string // after the realm
		text          string
	}{
		{name: "a good key is served, and the handler knows whose it is",
			authorization: readOnly, status: 200, text: "Ada by laptop"},
		{name: "a key with the scope is served, by one look-up of the user",
			authorization: mayWrite, write: true, status: 200, text: "Ada by ci"},
		{name: "no credentials are 401 without an error code", status: 401},
		{name: "another scheme is no credentials", authorization: values("Basic QWRhOng="), status: 401},
		{name: "an empty header is no credentials", authorization: values(""), status: 401},
		{name: "a key after another scheme is malformed", authorization: values("Basic QWRhOng=, Bearer test_wrong"),
			status: 400, challenge: `, error="invalid_request"`},
		{name: "a wrong key is 401", authorization: values("Bearer test_wrong"),
			status: 401, challenge: `, error="invalid_token"`},
		{name: "a wrong key is 401 where a scope is needed too", authorization: values("Bearer test_wrong"), write: true,
			status: 401, challenge: `, error="invalid_token"`},
		{name: "a token that lacks the scope is 403, and the client learns which",
			authorization: readOnly, write: true,
			status: 403, challenge: `, error="insufficient_scope", scope="orders:write"`},
		{name: "of two credentials none is taken",
			authorization: func(t *testing.T, a *app) []string { return append(readOnly(t, a), "Bearer test_wrong") },
			status:        400, challenge: `, error="invalid_request"`},
		{name: "a store that fails is 503, not a wrong key", authorization: readOnly, broken: true, status: 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			call := start(t, a)
			var authorization []string
			if c.authorization != nil {
				authorization = c.authorization(t, a)
			}
			if c.broken {
				a.kit.Store.Fail(errors.New("dial tcp db.internal: connection refused"))
			}
			got := call(t, c.write, authorization...)
			_, _ = fmt.Fprint(&leak.Default, got)
			require.Equal(t, c.status, got.status, got.text)
			if c.status == http.StatusOK {
				require.Equal(t, c.text, got.text)
				require.EqualValues(t, 1, a.lookups.Load(), "look-ups of the user")
				return
			}
			require.Zero(t, a.calls.Load(), "the handler of a refused request ran")
			require.NotContains(t, fmt.Sprint(got), "db.internal", "an internal error reached the client")
			checkChallenge(t, got, c.challenge)
		})
	}
}

func readOnly(t *testing.T, a *app) []string { return []string{a.bearer(t, "laptop")} }
func mayWrite(t *testing.T, a *app) []string { return []string{a.bearer(t, "ci", "orders:write")} }

func values(v ...string) func(*testing.T, *app) []string {
	return func(*testing.T, *app) []string { return v }
}

func checkChallenge(t *testing.T, got answer, attributes string) {
	t.Helper()
	if got.status == http.StatusForbidden {
		require.Contains(t, fmt.Sprint(got), "orders:write", "the client must learn what to ask for")
	}
	if got.header == nil {
		return
	}
	if got.status == http.StatusServiceUnavailable {
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.Empty(t, got.header.Values("WWW-Authenticate"), "a new key would not help")
		return
	}
	want := []string{`Bearer realm="api"` + attributes, `Token realm="api"` + attributes}
	require.Equal(t, want, got.header.Values("WWW-Authenticate"))
}

// checkHTTP runs a router through check, with its refusals as of RFC 9457.
func checkHTTP(t *testing.T, router func(*app) http.Handler) {
	check(t, func(t *testing.T, a *app) ask {
		server := httptest.NewServer(router(a))
		t.Cleanup(server.Close)
		return func(t *testing.T, write bool, authorization ...string) answer {
			if write {
				return send(t, server, "POST", "/orders", authorization...)
			}
			return send(t, server, "GET", "/me", authorization...)
		}
	})
}

func send(t *testing.T, server *httptest.Server, method, path string, authorization ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	require.NoError(t, err)
	for _, v := range authorization {
		r.Header.Add("Authorization", v)
	}
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	got := answer{response.StatusCode, response.Header, string(body)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		// All of the body: a handler that ran all the same would have added to it.
		var problem struct{ Status int }
		require.NoError(t, json.Unmarshal(body, &problem), got.text)
		require.Equal(t, got.status, problem.Status)
		return got
	}
	require.Contains(t, []int{200, 404, 500}, got.status, "refused without a problem+json body: %+v", got)
	return got
}

// checkRecovery says that a bug in a handler is answered by the framework, as if there were no
// authentication, and only to those who have a key.
func checkRecovery(t *testing.T, router func(*app) http.Handler) {
	t.Run("a panic in the handler reaches the recovery", func(t *testing.T) {
		t.Parallel()
		a := newApp(t)
		server := httptest.NewServer(router(a))
		t.Cleanup(server.Close)
		require.Equal(t, 500, send(t, server, "GET", "/crash", a.bearer(t, "laptop")).status)
		require.Equal(t, 401, send(t, server, "GET", "/crash").status)
	})
}

// A service that requires a scope that does not exist must serve nobody, and must report a fault of
// its own.
func TestRPCWithUnknownScopeReturnsInternalError(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *app) ask{
		"Connect by middleware": func(t *testing.T, a *app) ask {
			return connectClient(t, must.Get(connectMux(a)), false, connect.WithGRPC())
		},
		"Connect by interceptor": func(t *testing.T, a *app) ask {
			return connectClient(t, connectIntercepted(a), false, connect.WithGRPC())
		},
		"gRPC": grpcClient,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAppWith(t, "orders:read")
			call := start(t, a)
			authorization := a.bearer(t, "laptop")
			require.Equal(t, http.StatusInternalServerError, call(t, true, authorization).status)
			require.Zero(t, a.calls.Load(), "the handler ran")
			require.Equal(t, http.StatusOK, call(t, false, authorization).status)
		})
	}
}

// A router whose middleware runs before routing must not reveal which paths exist to a client
// without a key. The test shows which routers do so.
func TestUnknownPathStatusDependsOnRouter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		router func(*app) http.Handler
		status int
	}{
		"net/http":    {netHTTP, 404},
		"chi":         {chiRouter, 401},
		"gorilla/mux": {gorillaRouter, 404},
		"echo":        {echoRouter, 401},
		"gin":         {ginRouter, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.router(newApp(t)))
			t.Cleanup(server.Close)
			require.Equal(t, c.status, send(t, server, "GET", "/unknown").status)
		})
	}
}
