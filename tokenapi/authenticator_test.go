package tokenapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The challenges of the API have the realm and the schemes of the Authenticator.
func TestChallengesHaveRealmAndSchemesOfAuthenticator(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	auth := newAuth(kit.Manager, &tokenauth.AuthenticatorOptions{Realm: "acme", Schemes: []string{"Token", "Key"}})
	h := http.StripPrefix("/api", must.Get(tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: manageScope})))
	key := "Token " + kit.Issue("ada").Reveal()
	for _, c := range []struct {
		name, method, path, authorization string
		status                            int
		attributes                        string // attributes after the realm; "-" if the response has no challenge
	}{
		{"no session", "GET", "/tokens", "", 401, ""},
		{"no key to log out", "POST", "/logout", "", 401, ""},
		{"wrong key", "GET", "/tokens", "Token wrong", 401, `, error="invalid_token"`},
		{"malformed key", "GET", "/tokens", "Token a b", 400, `, error="invalid_request"`},
		{"missing scope", "GET", "/tokens", key, 403, `, error="insufficient_scope", scope="tokens:manage"`},
		{"another path", "GET", "/", "", 404, "-"},
		{"another method", "PUT", "/tokens", "", 405, "-"},
	} {
		r := apitest.NewRequest(c.method, "/api"+c.path, "", header{"Authorization", c.authorization})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, c.name)
		want := []string{`Token realm="acme"` + c.attributes, `Key realm="acme"` + c.attributes}
		if c.attributes == "-" {
			want = nil
		}
		require.Equal(t, want, w.Header()["Www-Authenticate"], c.name)
	}
}

// AuthenticatorOptions.ErrorHandler writes the status and the body of every error response of the
// API. The headers are the same as without an ErrorHandler.
func TestErrorHandlerWritesAllErrors(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	auth := newAuth(kit.Manager, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(tokenauth.StatusCode(err))
			_, _ = fmt.Fprint(w, "handled")
		},
	})
	var logged int
	opts := &tokenapi.Options{OnError: func(*http.Request, error) { logged++ }}
	api := must.Get(tokenapi.New(auth, signedIn, opts))
	staff := must.Get(tokenapi.NewStaff(auth, func(*http.Request) (bool, error) { return false, nil }, opts))
	for _, c := range []struct {
		h            http.Handler
		method, path string
		body         string
		by           header
		status       int
	}{
		{api, "GET", "/tokens", "", as(""), 401},
		{api, "GET", "/tokens", "", with("wrong"), 401},
		{api, "GET", "/tokens", "", as("broken"), 503},
		{api, "GET", "/tokens?limit=0", "", as("ada"), 400},
		{api, "POST", "/tokens", `{"name":""}`, as("ada"), 400},
		{api, "POST", "/tokens", strings.Repeat(" ", 64<<10+1), as("ada"), 413},
		{api, "POST", "/tokens", "{}", header{"Content-Type", "text/plain"}, 401},
		{api, "GET", "/tokens/NOSUCHTOKEN", "", as("ada"), 404},
		{api, "GET", "/tokens/", "", as("ada"), 404},
		{api, "PUT", "/tokens", "", as("ada"), 405},
		{staff, "GET", "/tokens", "", as("ada"), 403},
	} {
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, apitest.NewRequest(c.method, c.path, c.body, c.by))
		require.Equal(t, c.status, w.Code, "%s %s", c.method, c.path)
		require.Equal(t, "handled", w.Body.String(), "%s %s", c.method, c.path)
		require.Equal(t, []string{"no-store"}, w.Header()["Cache-Control"], "%s %s", c.method, c.path)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Equal(t, c.status == 405, w.Header().Get("Allow") != "")
		require.Equal(t, c.status == 503, w.Header().Get("Retry-After") != "")
		require.Equal(t, c.status == 401, w.Header().Get("Www-Authenticate") != "")
	}
	require.Equal(t, 1, logged, "OnError receives only the failure of the store")
	w := httptest.NewRecorder()
	api.ServeHTTP(w, apitest.NewRequest("POST", "/tokens", `{"name":"x"}`, as("ada")))
	require.Equal(t, http.StatusCreated, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
}

// If the Manager returns a SpecError, the body has a JSON Pointer to the invalid member.
func TestSpecErrorNamesMember(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Scopes: []string{"a"}}, tokenapi.Options{})
	for body, want := range map[string]string{
		`{"name":" "}`:                      `{"detail":"must not be empty","pointer":"#/name"}`,
		`{"name":"x","scopes":["b"]}`:       `{"detail":"must not contain an unknown scope","pointer":"#/scopes"}`,
		`{"name":"x","scopes":["a","a b"]}`: `{"detail":"must not contain a character that RFC 6749 section 3.3 forbids","pointer":"#/scopes"}`,
	} {
		w := send(t, s.mux, "POST", "/api/tokens", body, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, body)
		require.Contains(t, w.Body.String(), `"errors":[`+want+`]`, body)
		require.Empty(t, w.Header()["Www-Authenticate"], "the key is valid, so the response has no challenge")
	}
}

// The API ignores the identity of another Authenticator, even if the users of both have the same
// IDs. Otherwise a partner's token could manage the tokens of a customer.
func TestIdentityOfAnotherAuthenticatorIsIgnored(t *testing.T) {
	t.Parallel()
	customers, partners := newService(t, nil, tokenapi.Options{}), tokenauthtest.New(t, nil)
	_, made := customers.issue(t, tokenauth.Spec{UserID: "42", Name: "laptop", Scopes: []string{manageScope}})
	partnerAuth := newAuth(partners.Manager, &tokenauth.AuthenticatorOptions{KeyHeader: "X-Partner-Key", KeyHeaderOnly: true})
	partnerKey := partners.Issue("42", manageScope).Reveal()
	byHeader := header{"X-Partner-Key", partnerKey}

	opts := &tokenapi.Options{ManageScope: manageScope}
	api := http.StripPrefix("/api", must.Get(tokenapi.New(customers.auth, signedIn, opts)))
	for name, h := range map[string]http.Handler{
		"behind Require":                       partnerAuth.Require(api),
		"behind Optional":                      partnerAuth.Optional(api),
		"behind Optional of the customers too": partnerAuth.Require(customers.auth.Optional(api)),
	} {
		require.Equal(t, http.StatusUnauthorized, send(t, h, "GET", "/api/tokens", "", byHeader).Code, name)
		require.Equal(t, http.StatusUnauthorized, send(t, h, "DELETE", "/api/tokens/"+made.ID, "", byHeader).Code, name)
		require.Equal(t, http.StatusUnauthorized, send(t, h, "POST", "/api/logout-all", "", byHeader).Code, name)
		require.Equal(t, http.StatusOK, send(t, h, "GET", "/api/tokens", "", byHeader, as("42")).Code, "%s: the session identifies the user", name)
	}
	// The Manager of the customers does not know the key of the partner.
	require.Equal(t, http.StatusUnauthorized, send(t, api, "GET", "/api/tokens", "", with(partnerKey), as("42")).Code)

	// The API also ignores the identity of a second Authenticator of the same Manager.
	second := newAuth(customers.Manager, &tokenauth.AuthenticatorOptions{KeyHeader: "X-Key", KeyHeaderOnly: true})
	key, _ := customers.issue(t, tokenauth.Spec{UserID: "42", Name: "phone", Scopes: []string{manageScope}})
	require.Equal(t, http.StatusUnauthorized, send(t, second.Require(api), "GET", "/api/tokens", "", header{"X-Key", key}).Code)

	now, err := customers.Manager.Get(t.Context(), "42", made.ID)
	require.NoError(t, err)
	require.True(t, now.RevokedAt.IsZero())
}

// The API refuses a request whose identity comes from NewContext, because the request presented no
// key.
func TestIdentityOfNewContextIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{manageScope}})
	api := http.StripPrefix("/api", must.Get(tokenapi.New(s.auth, signedIn, &tokenapi.Options{ManageScope: manageScope})))
	for _, target := range []string{"/api/tokens", "/api/logout"} {
		method := map[bool]string{true: "POST", false: "GET"}[target == "/api/logout"]
		r := apitest.NewRequest(method, target, "")
		w := apitest.Do(t, api, r.WithContext(s.auth.NewContext(r.Context(), "ada", made)))
		require.Equal(t, http.StatusUnauthorized, w.Code, target)
	}
}

// A service may wrap the API in middleware of the same Authenticator. The store then still gets
// only one Find call per request.
func TestAPIBehindItsAuthenticatorFindsKeyOnce(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := must.Get(tokenauth.New(store, "acme", nil))
	auth := newAuth(m, nil)
	key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{manageScope}})
	require.NoError(t, err)
	api := http.StripPrefix("/api", must.Get(tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: manageScope})))
	for name, h := range map[string]http.Handler{
		"alone": api, "Optional": auth.Optional(api), "Require": auth.Require(api), "RequireScopes": auth.RequireScopes(manageScope)(api),
	} {
		store.ResetCalls()
		w := send(t, h, "GET", "/api/tokens", "", with(key.Reveal()))
		require.Equal(t, http.StatusOK, w.Code, name)
		require.Equal(t, []string{"Find", "List", "List"}, store.Calls(), name)
		require.Equal(t, []string{"Authorization", "Cookie"}, slices.Sorted(slices.Values(w.Header()["Vary"])), name)
	}
	require.Equal(t, http.StatusOK, send(t, auth.Optional(api), "GET", "/api/tokens", "", as("ada")).Code)
}
