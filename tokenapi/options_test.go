package tokenapi_test

import (
	"net/http"
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
	}
	_, err := tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: "a"})
	require.NoError(t, err)
	h, err := tokenapi.NewStaff(auth, func(*http.Request) (bool, error) { return true, nil }, &tokenapi.Options{ManageScope: "a"})
	require.ErrorContains(t, err, "Options.ManageScope")
	require.Nil(t, h)
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
