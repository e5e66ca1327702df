package tokenapi_test

import (
	"encoding/json"
	"maps"
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
)

type object = apitest.Object

// documentedMethods returns the sorted methods that the OpenAPI document lists for each path. It
// omits /login, which package tokenlogin serves.
func documentedMethods() map[string][]string {
	documented := map[string][]string{}
	for path, operations := range apitest.Paths() {
		for method := range operations.(object) {
			if method != "parameters" && path != "/login" {
				documented[path] = append(documented[path], strings.ToUpper(method))
			}
		}
		slices.Sort(documented[path])
	}
	delete(documented, "/login")
	return documented
}

// withHead returns the sorted methods that the Allow header must list: methods, and HEAD if methods
// contains GET.
func withHead(methods []string) []string {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(slices.Clone(methods), http.MethodHead)
		slices.Sort(methods)
	}
	return methods
}

// The API must serve each route of the OpenAPI document with exactly the documented methods, so
// that a generated client can use each of them. apitest.Do refuses a response on any other route.
func TestDocumentedRoutesAreServed(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	for mount, documented := range map[string]map[string][]string{
		"/api": documentedMethods(),
		"/staff": { // the routes of staff in the description of the document
			"/tokens": {"DELETE", "GET"}, "/tokens/{id}": {"DELETE", "GET"}, "/openapi.json": {"GET"},
		},
	} {
		require.NotEmpty(t, documented)
		for path, methods := range documented {
			w := httptest.NewRecorder()
			s.mux.ServeHTTP(w, httptest.NewRequest("UNKNOWN", mount+strings.Replace(path, "{id}", "ID", 1), nil))
			require.Equal(t, strings.Join(withHead(methods), ", "), w.Header().Get("Allow"), mount+path)
		}
	}
}

// The API must read each member and each parameter that the OpenAPI document lists, so that a
// generated client can send them. apitest.Do refuses a request with any other member.
func TestDocumentedMembersAreRead(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{SelfScope: selfScope})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{selfScope}})
	for _, c := range []struct {
		by           header
		method, path string
	}{
		{as("ada"), "post", "/tokens"},
		{as("ada"), "patch", "/tokens/{id}"},
		{as("ada"), "post", "/tokens/{id}/rotate"},
		{with(key), "post", "/tokens/self/rotate"},
	} {
		operation := apitest.Paths()[c.path].(object)[c.method].(object)
		members := apitest.Properties(t, operation, "application/json")
		require.NotEmpty(t, members)
		for _, member := range members {
			target := "/api" + strings.Replace(c.path, "{id}", made.ID, 1)
			w := send(t, s.mux, strings.ToUpper(c.method), target, `{"`+member+`":{}}`, c.by) // no member is an object
			require.Equal(t, http.StatusBadRequest, w.Code)
			require.Equal(t, "#/"+member, field(t, w))
			require.NotContains(t, w.Body.String(), "unknown", c)
		}
	}
	list := apitest.Paths()["/tokens"].(object)["get"].(object)
	for _, name := range apitest.Parameters(t, list) {
		w := send(t, s.mux, "GET", "/staff/tokens?"+name+"=", "", as("root"))
		require.Equal(t, name, field(t, w), "the API knows the parameter and refuses its value")
	}
}

// Each reference in the OpenAPI document must have a target, and each component must be used.
func TestDocumentReferencesExist(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case object:
			if ref, ok := v["$ref"].(string); ok {
				apitest.Resolved(t, v)
				parts := strings.Split(ref, "/")
				used[parts[2]+"/"+parts[3]] = true
			}
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(apitest.Document())
	components := apitest.Document()["components"].(object)
	for _, kind := range slices.Sorted(maps.Keys(components)) {
		if kind == "securitySchemes" {
			continue
		}
		for name := range components[kind].(object) {
			require.True(t, used[kind+"/"+name], "%s/%s is unused", kind, name)
		}
	}
}

// The schemas that repeat the members of a token must repeat all of them, unchanged. They do not
// refer to the schema of a token, because generators of clients such as oapi-codegen do not follow
// references into a schema.
func TestDocumentRepeatsMembersOfToken(t *testing.T) {
	t.Parallel()
	schemas := apitest.Document()["components"].(object)["schemas"].(object)
	members := func(name string) object { return schemas[name].(object)["properties"].(object) }
	for _, name := range []string{"TokenWithKey", "Rotated", "LoggedIn"} {
		for member, schema := range members("Token") {
			require.Equal(t, schema, members(name)[member], "%s.%s", name, member)
		}
		require.Equal(t, members("TokenWithKey")["key"], members(name)["key"], name)
	}
	require.Equal(t, members("Rotate")["grace_seconds"], members("RotateSelf")["grace_seconds"])
	require.NotContains(t, string(must.Get(json.Marshal(schemas))), `/properties/`)
}

// A program that generates a client must be able to read the document without an account.
func TestDocumentNeedsNoSignIn(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	w := send(t, s.mux, "GET", "/api/openapi.json", "") // the request has neither a session nor a key
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "3.1.0", decode[object](t, w)["openapi"])
}
