package frameworks_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// docs: openapi

// secure returns the middleware for the security requirements of an operation in an OpenAPI
// document. In the document, the name of the security scheme is "token".
func secure(auth *tokenauth.Authenticator[*User], security []map[string][]string) func(http.Handler) http.Handler {
	if security == nil {
		panic("neither the operation nor the document has security")
	}
	if len(security) == 0 {
		return func(next http.Handler) http.Handler { return next } // the operation is public
	}
	scopes, ok := security[0]["token"]
	switch {
	case !ok || len(security) > 1 || len(security[0]) > 1:
		panic("the security of an operation must be [] or one requirement of the scheme token")
	case len(scopes) == 0:
		return auth.Require
	}
	return auth.RequireScopes(scopes...)
}

// docs: end

// checkDocument calls each operation of an OpenAPI document without a key and with tokens that have
// different scopes. It requires that each operation demands exactly what the document says.
func checkDocument(t *testing.T, a *app, s site, document []byte) {
	var doc struct {
		Security []map[string][]string
		Paths    map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(document, &doc))
	require.GreaterOrEqual(t, len(doc.Paths), 3)
	for path, item := range doc.Paths {
		delete(item, "parameters")
		for method, raw := range item {
			var op struct{ Security *[]map[string][]string }
			require.NoError(t, json.Unmarshal(raw, &op))
			security := doc.Security
			if op.Security != nil {
				security = *op.Security
			}
			checkOperation(t, a, s, strings.ToUpper(method), strings.ReplaceAll(path, "{order-id}", "1"), security)
		}
	}
}

func checkOperation(t *testing.T, a *app, s site, method, path string, security []map[string][]string) {
	t.Helper()
	if len(security) == 0 {
		require.Equal(t, 200, send(t, s, method, path).status, "%s is public", path)
		return
	}
	require.Equal(t, 401, send(t, s, method, path).status, path)
	scopes := slices.Sorted(slices.Values(security[0]["token"]))
	require.Equal(t, 200, send(t, s, method, path, a.bearer(t, method+path, scopes...)).status, path)
	for i, scope := range scopes {
		others := slices.Delete(slices.Clone(scopes), i, i+1)
		got := send(t, s, method, path, a.bearer(t, method+path+" without "+scope, others...))
		require.Equal(t, 403, got.status, path)
		require.Contains(t, got.header.Get("WWW-Authenticate"), `scope="`+strings.Join(scopes, " ")+`"`)
	}
}

// A requirement that secure cannot express must stop the service at its start, and must not make an
// operation public.
func TestUnsupportedSecurityPanics(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, security := range [][]map[string][]string{
		nil,                              // neither the operation nor the document has security
		{{}},                             // anonymous
		{{"token": {}}, {}},              // optional
		{{"token": {}}, {"basic": {}}},   // alternatives
		{{"token": {}, "basic": {}}},     // both
		{{"basic": {}}},                  // another scheme
		{{"token": {"orders:write "}}},   // malformed scope
		{{"token": {"orders:misspelt"}}}, // unknown scope
	} {
		require.Panics(t, func() { secure(a.auth, security) }, "%v", security)
	}
}
