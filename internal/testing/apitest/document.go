package apitest

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// An Object is a JSON object.
type Object = map[string]any

// Document returns the OpenAPI document that package tokenapi serves.
var Document = sync.OnceValue(func() (doc Object) {
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	w := httptest.NewRecorder()
	must.Get(tokenapi.New(NewAuth(m, nil), SignedIn, nil)).ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		panic(err)
	}
	return doc
})

// Paths returns the object "paths" of the OpenAPI document, which maps each path to its operations.
func Paths() Object { return Document()["paths"].(Object) }

// Resolved returns v. If v has the member "$ref", Resolved returns the part of the OpenAPI document
// to which "$ref" points.
func Resolved(t testing.TB, v any) Object {
	t.Helper()
	o := v.(Object)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	var at any = Document()
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		require.Contains(t, at, name, ref)
		at = at.(Object)[name]
	}
	return Resolved(t, at)
}

// Parameters returns the names of the query parameters that the OpenAPI document defines for an
// operation.
func Parameters(t testing.TB, operation Object) (names []string) {
	t.Helper()
	all, _ := operation["parameters"].([]any)
	for _, one := range all {
		if parameter := Resolved(t, one); parameter["in"] == "query" {
			names = append(names, parameter["name"].(string))
		}
	}
	return names
}

// Properties returns the sorted names of the JSON members that the OpenAPI document allows in a
// request body. It returns nil if the operation accepts no body of the given content type.
func Properties(t testing.TB, operation Object, contentType string) []string {
	t.Helper()
	body, ok := operation["requestBody"].(Object)
	if !ok {
		return nil
	}
	mediaType, _, _ := mime.ParseMediaType(contentType) // "" if the request has no Content-Type
	content, ok := body["content"].(Object)[mediaType].(Object)
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(Resolved(t, content["schema"])["properties"].(Object)))
}

// pathOf returns the path template of the OpenAPI document that matches the path of a request, or
// "" if no template matches. Tests mount the API for users at /api or at the root, and the API for
// staff at /staff.
func pathOf(path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/api"), "/staff")
	if Paths()[path] != nil { // also if a template matches, as for /tokens/self
		return path
	}
	parts := strings.Split(path, "/")
	for documented := range Paths() {
		if slices.EqualFunc(strings.Split(documented, "/"), parts, func(want, got string) bool {
			return want == got || want == "{id}" && idPattern().MatchString(got)
		}) {
			return documented
		}
	}
	return ""
}

// idPattern returns the regular expression that the OpenAPI document defines for the IDs of tokens.
var idPattern = sync.OnceValue(func() *regexp.Regexp {
	id := Document()["components"].(Object)["parameters"].(Object)["id"].(Object)
	return regexp.MustCompile(id["schema"].(Object)["pattern"].(string))
})

// requireDocumented checks the response w against the OpenAPI document. If w reports success, it
// also checks the request r. A path that is not documented must get status 404, and a method that
// is not documented must get status 405.
func requireDocumented(t testing.TB, r *http.Request, sent []byte, w *httptest.ResponseRecorder) {
	t.Helper()
	path := pathOf(r.URL.EscapedPath())
	methods := []string{"GET", "HEAD", "PATCH", "POST", "DELETE"}
	if strings.HasPrefix(r.URL.Path, "/staff/") {
		methods = []string{"GET", "HEAD", "DELETE"}
		if path != "/tokens" && path != "/tokens/{id}" {
			path = ""
		}
	}
	if path == "" {
		require.Equal(t, http.StatusNotFound, w.Code, r.URL)
		return
	}
	method := strings.ToLower(r.Method)
	if method == "head" {
		method = "get"
	}
	operation, ok := Paths()[path].(Object)[method].(Object)
	if !ok || !slices.Contains(methods, r.Method) {
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, path)
		return
	}
	if w.Code < 300 {
		require.Subset(t, Parameters(t, operation), slices.Collect(maps.Keys(r.URL.Query())), "%s %s", method, path)
		require.Subset(t, Properties(t, operation, r.Header.Get("Content-Type")), membersOf(t, r, sent), "%s %s", method, path)
	}
	responses := operation["responses"].(Object)
	require.Contains(t, responses, strconv.Itoa(w.Code), "%s %s", method, path)
	response := Resolved(t, responses[strconv.Itoa(w.Code)])
	if headers, ok := response["headers"].(Object); ok {
		for name := range headers {
			require.NotEmpty(t, w.Header().Get(name), "the response must have the header %s, which the document requires for %s %s", name, method, path)
		}
	}
	content, ok := response["content"].(Object)
	if !ok {
		require.Empty(t, w.Body.String())
		return
	}
	require.Contains(t, content, w.Header().Get("Content-Type"), "%s %s", method, path)
	if r.Method == http.MethodHead {
		return
	}
	var body any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	requireSchema(t, path, content[w.Header().Get("Content-Type")].(Object)["schema"], body)
}

// membersOf returns the names of the JSON members or form fields in the body of an accepted
// request.
func membersOf(t testing.TB, r *http.Request, body []byte) []string {
	t.Helper()
	if len(body) == 0 {
		return nil
	}
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		require.NoError(t, err)
		return slices.Collect(maps.Keys(form))
	}
	var members Object
	require.NoError(t, json.Unmarshal(body, &members))
	return slices.Collect(maps.Keys(members))
}

// requireSchema requires that value matches schema. It supports only the part of JSON Schema that
// the OpenAPI document uses.
func requireSchema(t testing.TB, at string, schema, value any) {
	t.Helper()
	s := Resolved(t, schema)
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	kind := "null"
	switch v := value.(type) {
	case string:
		kind = "string"
		if s["format"] == "date-time" {
			_, err := time.Parse(time.RFC3339, v)
			require.NoError(t, err, at)
			require.True(t, strings.HasSuffix(v, "Z"), "the time at %s must be in UTC", at)
		}
	case float64:
		kind = "integer"
		require.Equal(t, float64(int64(v)), v, at)
	case []any:
		kind = "array"
		least, _ := s["minItems"].(float64)
		require.GreaterOrEqual(t, len(v), int(least), at)
		for _, item := range v {
			requireSchema(t, at+"[]", s["items"], item)
		}
	case Object:
		kind = "object"
		properties, ok := s["properties"].(Object)
		if !ok {
			break // the schema allows any members
		}
		for name, member := range v {
			require.Contains(t, properties, name, "the value at %s must not have an undocumented member", at)
			requireSchema(t, at+"."+name, properties[name], member)
		}
		for _, name := range s["required"].([]any) {
			require.Contains(t, v, name, "the value at %s must have every required member", at)
		}
	}
	require.Contains(t, types, kind, at)
}
