package tokenauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// NewAuthenticator must accept only a realm of printable ASCII characters without double quotes and
// backslashes. Any other realm could add response headers or make the WWW-Authenticate header
// unreadable. Case H20.
func TestH20Realm(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	build := func(realm string) (*tokenauth.Authenticator[*user], error) {
		return tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{Realm: realm})
	}
	for _, realm := range []string{
		`a"b`, `a\b`, `"`, `\`, "a\r\nSet-Cookie: x=y", "a\n", "a\r", "a\x00b", "a\tb", "a\x7f", "café", "\xff", "\u2028",
	} {
		_, err := build(realm)
		require.Error(t, err, "%q", realm)
	}
	for _, realm := range []string{"api", "my api", "a, Basic realm=b", "a=b; c", "it's <b>", "!#$%&()*+-./:;?@[]^_`{|}~"} {
		for _, credentials := range []string{"", "Bearer", "Bearer x"} {
			w := get(must.Get(build(realm)).Require(forbidden(t)), credentials)
			lines := w.Header().Values("WWW-Authenticate")
			require.Len(t, lines, 2)
			for _, line := range lines {
				require.Equal(t, realm, parseChallenge(t, line)["realm"])
			}
		}
	}
	require.Equal(t, "api", parseChallenge(t, get(must.Get(build("")).Require(forbidden(t)), "").Header().Get("WWW-Authenticate"))["realm"])
}

var (
	challengeForm = regexp.MustCompile(`^(?:Bearer|Token) \w+="[^"\\]*"(?:, \w+="[^"\\]*")*$`)
	authParam     = regexp.MustCompile(`(\w+)="([^"\\]*)"`)
)

// parseChallenge parses one value of the WWW-Authenticate header and returns the parameters of the
// challenge. RFC 9110 section 11.6.1 defines the syntax.
func parseChallenge(t testing.TB, line string) map[string]string {
	t.Helper()
	require.Regexp(t, challengeForm, line)
	params := map[string]string{}
	for _, p := range authParam.FindAllStringSubmatch(line, -1) {
		require.NotContains(t, params, p[1], "the challenge contains a parameter twice")
		params[p[1]] = p[2]
	}
	return params
}

// The Authenticator must keep the response headers that other middleware and the service have set.
// Case H21.
func TestH21HeadersAreAdded(t *testing.T) {
	t.Parallel()
	g := newGate(t, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"})
	outer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Vary", "Accept-Encoding")
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Set("X-Frame-Options", "DENY")
			next.ServeHTTP(w, r)
		})
	}
	for credentials, challenges := range map[string]int{"": 3, "Bearer x": 3, "Bearer": 3, "Bearer " + g.key: 1} {
		h := get(outer(g.auth.Require(whoami)), credentials).Header()
		require.Equal(t, []string{"Accept-Encoding", "Authorization", "X-Api-Key"}, h.Values("Vary"))
		require.Len(t, h.Values("WWW-Authenticate"), challenges)
		require.Equal(t, "Negotiate", h.Get("WWW-Authenticate"))
		require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	}

	// Two nested middlewares of one Authenticator must add each value of Vary only once. They must
	// keep the values that the handler adds to Vary.
	adds := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Vary", "Accept") })
	for range 2 {
		h := get(g.auth.Optional(g.auth.Require(adds)), "Bearer "+g.key).Header()
		require.Equal(t, []string{"Authorization", "X-Api-Key", "Accept"}, h.Values("Vary"))
	}
}

// All invalid keys must get the same response. Otherwise an attacker could learn whether a key was
// once valid, or which user it belonged to. Case X8.
func TestX8OneAnswer(t *testing.T) {
	t.Parallel()
	clock := newClock()
	m := newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now, Legacy: []tokenauth.LegacyFormat{drf}})
	key := func(user, name string) (string, string) {
		key, token := issue(t, m, tokenauth.Spec{UserID: user, Name: name, ExpiresAt: start.Add(time.Minute)})
		return key, token.ID
	}
	expired, _ := key("42", "expired")
	clock.Set(start.Add(time.Minute))
	longer := tokenauth.Spec{UserID: "42", Name: "revoked"}
	revoked, token := issue(t, m, longer)
	require.NoError(t, m.Revoke(t.Context(), "42", token.ID))
	retired, token := issue(t, m, longer)
	_, _, err := m.Rotate(t.Context(), "42", token.ID, 0)
	require.NoError(t, err)
	disabled, _ := issue(t, m, tokenauth.Spec{UserID: "disabled", Name: "n"})
	find := func(_ context.Context, id string) (*user, error) {
		if id == "disabled" {
			return nil, tokenauth.ErrNoUser
		}
		return &user{id}, nil
	}

	for _, opts := range []*tokenauth.AuthenticatorOptions{nil, {Realm: "x", KeyHeader: "X-API-Key"}} {
		auth := must.Get(tokenauth.NewAuthenticator(m, find, opts))
		for _, h := range []http.Handler{auth.Require(forbidden(t)), auth.Optional(forbidden(t)), auth.RequireScopes("a")(forbidden(t))} {
			want := get(h, "Bearer "+tokenauth.GenerateKey("acme"))
			require.Equal(t, 401, want.Code)
			for name, presented := range map[string]string{
				"expired": expired, "revoked": revoked, "retired": retired, "disabled user": disabled,
				"wrong checksum": swapped(revoked)[20], "another prefix": tokenauth.GenerateKey("other"),
				"unknown legacy key": hexKey("never imported"), "one character": "x",
			} {
				same(t, want, get(h, "Bearer "+presented), name)
				same(t, want, get(h, "token "+presented), name)
			}
		}
	}
}

func same(t *testing.T, want, got *httptest.ResponseRecorder, name string) {
	t.Helper()
	require.Equal(t, want.Code, got.Code, name)
	require.Equal(t, want.Header(), got.Header(), name)
	require.Equal(t, want.Body.String(), got.Body.String(), name)
}
