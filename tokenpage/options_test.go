package tokenpage_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// A nil argument is a mistake in the program, so constructors panic.
func TestNewPanicsOnNil(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	userID := func(*http.Request) (string, error) { return "", nil }
	isStaff := func(*http.Request) (bool, error) { return false, nil }
	for name, call := range map[string]func() (http.Handler, error){
		"New, Manager":      func() (http.Handler, error) { return tokenpage.New(nil, userID, nil) },
		"New, userID":       func() (http.Handler, error) { return tokenpage.New(m, nil, nil) },
		"NewStaff, Manager": func() (http.Handler, error) { return tokenpage.NewStaff(nil, isStaff, nil) },
		"NewStaff, isStaff": func() (http.Handler, error) { return tokenpage.NewStaff(m, nil, nil) },
	} {
		require.Panics(t, func() { _, _ = call() }, name)
	}
}

// The page must not offer scopes that the Manager refuses, so constructors return an error.
func TestNewReturnsErrorForBadScopes(t *testing.T) {
	t.Parallel()
	someScopes := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a"}}))
	anyScope := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	for described, m := range map[string]*tokenauth.Manager{"b": someScopes, "two words": anyScope, "": anyScope} {
		opts := &tokenpage.Options{Scopes: map[string]string{described: "x"}}
		_, err := tokenpage.New(m, func(*http.Request) (string, error) { return "", nil }, opts)
		require.ErrorContains(t, err, "tokenpage: New: Options.Scopes", described)
		_, err = tokenpage.NewStaff(m, func(*http.Request) (bool, error) { return false, nil }, opts)
		require.ErrorContains(t, err, "tokenpage: NewStaff: Options.Scopes", described)
	}
}
