package tokenapi_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
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

// The OpenAPI document must list exactly the routes that the API serves, so that a generated client
// can use each of them.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	served := apitest.ReadSource(t).Routes
	requireServed := func(mount, constructor string, documented map[string][]string) {
		paths := append(slices.Clone(served["newHandler"]), served[constructor]...)
		require.ElementsMatch(t, slices.Collect(maps.Keys(documented)), paths, constructor)
		for _, path := range paths {
			w := httptest.NewRecorder()
			s.mux.ServeHTTP(w, httptest.NewRequest("UNKNOWN", mount+strings.Replace(path, "{id}", "ID", 1), nil))
			require.Equal(t, strings.Join(withHead(documented[path]), ", "), w.Header().Get("Allow"), path)
		}
	}
	requireServed("/api", "New", documentedMethods())
	requireServed("/staff", "NewStaff", map[string][]string{ // the routes of staff in the description of the document
		"/tokens": {"DELETE", "GET"}, "/tokens/{id}": {"DELETE", "GET"}, "/openapi.json": {"GET"},
	})
	require.Len(t, served, 3, "this test must check each function that registers routes")
}

// The OpenAPI document must list exactly the members and parameters that the API reads, so that a
// generated client can send each of them. A test of package tokenlogin checks this for /login.
func TestDocumentHasEveryMember(t *testing.T) {
	t.Parallel()
	read := apitest.ReadSource(t).Members
	for _, c := range []struct{ method, path, function string }{
		{"post", "/tokens", "create"},
		{"patch", "/tokens/{id}", "update"},
		{"post", "/tokens/{id}/rotate", "rotate"},
	} {
		operation := apitest.Paths()[c.path].(object)[c.method].(object)
		require.NotEmpty(t, read[c.function])
		require.Equal(t, read[c.function], apitest.Properties(t, operation, "application/json"), c)
	}
	require.Len(t, read, 3, "this test must check each function that reads a body")

	s := newService(t, nil, tokenapi.Options{})
	list := apitest.Paths()["/tokens"].(object)["get"].(object)
	for _, name := range apitest.Parameters(t, list) {
		w := send(t, s.mux, "GET", "/staff/tokens?"+name+"=%00", "", as("root"))
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

// A program that generates a client must be able to read the document without an account.
func TestDocumentNeedsNoSignIn(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	w := send(t, s.mux, "GET", "/api/openapi.json", "") // the request has neither a session nor a key
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "3.1.0", decode[object](t, w)["openapi"])
}
