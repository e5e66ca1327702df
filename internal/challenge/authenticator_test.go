package challenge_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// NewAuthenticator must accept only a realm of printable ASCII characters without double quotes and
// backslashes. Any other realm could add response headers or make the WWW-Authenticate header
// unreadable. Case H20.
func TestRealmIsPrintable(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	build := func(realm string) (*tokenauth.Authenticator[*fixture.User], error) {
		return tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{Realm: realm})
	}
	for _, realm := range []string{
		`a"b`, `a\b`, `"`, `\`, "a\r\nSet-Cookie: x=y", "a\n", "a\r", "a\x00b", "a\tb", "a\x7f", "café", "\xff", "\u2028",
	} {
		_, err := build(realm)
		require.Error(t, err, "%q", realm)
	}
	for _, realm := range []string{"api", "my api", "a, Basic realm=b", "a=b; c", "it's <b>", "!#$%&()*+-./:;?@[]^_`{|}~"} {
		for _, credentials := range []string{"", "Bearer", "Bearer x"} {
			w := fixture.Get(must.Get(build(realm)).Require(fixture.Forbidden(t)), credentials)
			lines := w.Header().Values("WWW-Authenticate")
			require.Len(t, lines, 2)
			for _, line := range lines {
				require.Equal(t, realm, fixture.Challenge(t, line)["realm"])
			}
		}
	}
	require.Equal(t, "api", fixture.Challenge(t, fixture.Get(must.Get(build("")).Require(fixture.Forbidden(t)), "").Header().Get("WWW-Authenticate"))["realm"])
}

// The Authenticator must keep the response headers that other middleware and the service have set.
// Case H21.
func TestOtherResponseHeadersAreKept(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"})
	outer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Vary", "Accept-Encoding")
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Set("X-Frame-Options", "DENY")
			next.ServeHTTP(w, r)
		})
	}
	for credentials, challenges := range map[string]int{"": 3, "Bearer x": 3, "Bearer": 3, "Bearer " + key: 1} {
		h := fixture.Get(outer(auth.Require(fixture.Whoami)), credentials).Header()
		require.Equal(t, []string{"Accept-Encoding", "Authorization", "X-Api-Key"}, h.Values("Vary"))
		require.Len(t, h.Values("WWW-Authenticate"), challenges)
		require.Equal(t, "Negotiate", h.Get("WWW-Authenticate"))
		require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	}

	// Two nested middlewares of one Authenticator must add each value of Vary only once. They must
	// keep the values that the handler adds to Vary.
	adds := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Vary", "Accept") })
	for range 2 {
		h := fixture.Get(auth.Optional(auth.Require(adds)), "Bearer "+key).Header()
		require.Equal(t, []string{"Authorization", "X-Api-Key", "Accept"}, h.Values("Vary"))
	}
}

// All invalid keys must get the same response. Otherwise an attacker could learn whether a key was
// once valid, or which user it belonged to. Case X8.
func TestInvalidKeysGetOneResponse(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now, Legacy: []tokenauth.LegacyFormat{fixture.DRF}})
	key := func(user, name string) (string, string) {
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: user, Name: name, ExpiresAt: fixture.Start.Add(time.Minute)})
		return key, token.ID
	}
	expired, _ := key("42", "expired")
	clock.Set(fixture.Start.Add(time.Minute))
	longer := tokenauth.Spec{UserID: "42", Name: "revoked"}
	revoked, token := fixture.Issue(t, m, longer)
	require.NoError(t, m.Revoke(t.Context(), "42", token.ID))
	retired, token := fixture.Issue(t, m, longer)
	_, _, err := m.Rotate(t.Context(), "42", token.ID, 0)
	require.NoError(t, err)
	disabled, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "disabled", Name: "n"})
	find := func(_ context.Context, id string) (*fixture.User, error) {
		if id == "disabled" {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}

	for _, opts := range []*tokenauth.AuthenticatorOptions{nil, {Realm: "x", KeyHeader: "X-API-Key"}} {
		auth := must.Get(tokenauth.NewAuthenticator(m, find, opts))
		for _, h := range []http.Handler{auth.Require(fixture.Forbidden(t)), auth.Optional(fixture.Forbidden(t)), auth.RequireScopes("a")(fixture.Forbidden(t))} {
			want := fixture.Get(h, "Bearer "+keyform.Generate("acme"))
			require.Equal(t, 401, want.Code)
			for name, presented := range map[string]string{
				"expired": expired, "revoked": revoked, "retired": retired, "disabled user": disabled,
				"wrong checksum": fixture.Swapped(revoked)[20], "another prefix": keyform.Generate("other"),
				"unknown legacy key": fixture.HexKey("never imported"), "one character": "x",
			} {
				same(t, want, fixture.Get(h, "Bearer "+presented), name)
				same(t, want, fixture.Get(h, "token "+presented), name)
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
