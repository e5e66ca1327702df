package tokenapi_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A nil argument is a mistake in the program, so constructors panic.
func TestConstructorsPanicOnNil(t *testing.T) {
	t.Parallel()
	auth := newAuth(must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)), nil)
	isStaff := func(*http.Request) (bool, error) { return true, nil }
	var none *tokenauth.Authenticator[string]
	for name, f := range map[string]func(){
		"New: no Authenticator":      func() { _, _ = tokenapi.New(none, signedIn, nil) },
		"New: no userID":             func() { _, _ = tokenapi.New(auth, nil, nil) },
		"NewStaff: no Authenticator": func() { _, _ = tokenapi.NewStaff(none, isStaff, nil) },
		"NewStaff: no isStaff":       func() { _, _ = tokenapi.NewStaff(auth, nil, nil) },
	} {
		require.Panics(t, f, name)
	}
}

// An invalid option may come from the configuration of a service, so constructors return an error.
func TestConstructorsReturnErrorsForBadOptions(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a"}}))
	auth := newAuth(m, nil)
	for _, scope := range []string{"a b", "b", `a"`, "é"} { // malformed, or not a scope of the Manager
		h, err := tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: scope})
		require.ErrorContains(t, err, "Options.ManageScope", scope)
		require.Nil(t, h)
		h, err = tokenapi.New(auth, signedIn, &tokenapi.Options{SelfScope: scope})
		require.ErrorContains(t, err, "Options.SelfScope", scope)
		require.Nil(t, h)
	}
	_, err := tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: "a", SelfScope: "a"})
	require.NoError(t, err)
	for _, opts := range []tokenapi.Options{{ManageScope: "a"}, {SelfScope: "a"}} {
		h, err := tokenapi.NewStaff(auth, func(*http.Request) (bool, error) { return true, nil }, &opts)
		require.ErrorContains(t, err, "Options.ManageScope and Options.SelfScope must be empty")
		require.Nil(t, h)
	}
}

// If a caller changes its Options after New, the handler must not change.
func TestConstructorsCopyOptions(t *testing.T) {
	t.Parallel()
	opts := &tokenapi.Options{}
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(m, nil), signedIn, opts)))
	key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: "x", Scopes: []string{manageScope}})
	require.NoError(t, err)
	opts.ManageScope = manageScope
	require.Equal(t, http.StatusForbidden, send(t, h, "GET", "/api/tokens", "", with(key.Reveal())).Code)
}

// Some services have pages on another origin, such as app.example.com, or run behind a proxy that
// hides the host. CrossOrigin lets these pages call the API by a session, and no other page. A
// request with a key needs no such check, because browsers do not add keys to requests.
func TestCrossOriginDecidesForSessions(t *testing.T) {
	t.Parallel()
	trusting := http.NewCrossOriginProtection()
	require.NoError(t, trusting.AddTrustedOrigin("https://app.example.com"))
	for _, c := range []struct {
		option *http.CrossOriginProtection
		origin string
		status int
	}{
		{nil, "https://app.example.com", 403},
		{trusting, "https://app.example.com", 201},
		{trusting, "https://evil.example", 403},
	} {
		s := newService(t, nil, tokenapi.Options{ManageScope: manageScope, CrossOrigin: c.option})
		key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "own", Scopes: []string{manageScope}})
		foreign := []header{{"Origin", c.origin}, {"Sec-Fetch-Site", "same-site"}}
		require.Equal(t, c.status, send(t, s.mux, "POST", "/api/tokens", `{"name":"a"}`, append(foreign, as("ada"))...).Code, c.origin)
		require.Equal(t, 201, send(t, s.mux, "POST", "/api/tokens", `{"name":"b"}`, append(foreign, with(key))...).Code, c.origin)
		staff := send(t, s.mux, "DELETE", "/staff/tokens?user_id=ada", "", append(foreign, as("root"))...)
		require.Equal(t, c.status == 403, staff.Code == 403, c.origin)
		logout := send(t, s.mux, "POST", "/api/logout", "", append(foreign, with(key))...).Code
		require.NotEqual(t, 403, logout, "logout needs no session")
	}
}

// A service may allow only some spellings of a user ID. An ID of the session with another spelling
// is a mistake of the service. An ID that staff gives is a mistake of the client.
func TestUserIDMustHaveSpellingOfService(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID}, tokenapi.Options{})
	for _, id := range []string{"01", "ada", "+1", " 1", "a\tb"} {
		require.Equal(t, http.StatusServiceUnavailable, send(t, s.mux, "POST", "/api/tokens", `{"name":"x"}`, as(id)).Code, id)
		w := send(t, s.mux, "DELETE", "/staff/tokens?user_id="+url.QueryEscape(id), "", as("root"))
		require.Equal(t, http.StatusBadRequest, w.Code, id)
		require.Equal(t, "user_id", field(t, w), id)
	}
	require.Equal(t, http.StatusCreated, send(t, s.mux, "POST", "/api/tokens", `{"name":"x"}`, as("1")).Code)
	require.Equal(t, http.StatusOK, send(t, s.mux, "GET", "/staff/tokens?user_id=1", "", as("root")).Code)
}
