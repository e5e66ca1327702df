package tokenapi_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

type object = map[string]any

var document = func() (doc object) {
	if err := json.Unmarshal(tokenapi.Document, &doc); err != nil {
		panic(err)
	}
	return doc
}()

// resolved follows references in the document.
func resolved(t testing.TB, v any) object {
	t.Helper()
	o := v.(object)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	var at any = document
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		require.Contains(t, at, name, ref)
		at = at.(object)[name]
	}
	return resolved(t, at)
}

// pathOf returns the path in the document that a request's path is an instance of.
func pathOf(target string) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/") // without where it is mounted
	parts := strings.Split("/"+path, "/")
	for documented := range document["paths"].(object) {
		if slices.EqualFunc(strings.Split(documented, "/"), parts, func(want, got string) bool {
			return want == got || want == "{id}" && got != "" && !strings.ContainsAny(got, "%.")
		}) {
			return documented
		}
	}
	return ""
}

// requireDocumented checks a response against the document, and what the request asked
// for if it got that. What is not there at all must be 404, and what is there with
// other methods 405.
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
	operation, ok := document["paths"].(object)[path].(object)[method].(object)
	if !ok || !slices.Contains(methods, r.Method) {
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, path)
		return
	}
	if w.Code < 300 {
		require.Subset(t, parameters(t, operation), slices.Collect(maps.Keys(r.URL.Query())), "%s %s", method, path)
		require.Subset(t, properties(t, operation, r.Header.Get("Content-Type")), membersOf(t, r, sent), "%s %s", method, path)
	}
	responses := operation["responses"].(object)
	require.Contains(t, responses, strconv.Itoa(w.Code), "%s %s", method, path)
	response := resolved(t, responses[strconv.Itoa(w.Code)])
	if headers, ok := response["headers"].(object); ok {
		for name := range headers {
			require.NotEmpty(t, w.Header().Get(name), "%s of %s %s", name, method, path)
		}
	}
	content, ok := response["content"].(object)
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
	requireSchema(t, path, content[w.Header().Get("Content-Type")].(object)["schema"], body)
}

// parameters returns the names that the query of an operation may have.
func parameters(t testing.TB, operation object) (names []string) {
	t.Helper()
	all, _ := operation["parameters"].([]any)
	for _, one := range all {
		if parameter := resolved(t, one); parameter["in"] == "query" {
			names = append(names, parameter["name"].(string))
		}
	}
	return names
}

// properties returns the members that a body of an operation may have.
func properties(t testing.TB, operation object, contentType string) []string {
	t.Helper()
	body, ok := operation["requestBody"].(object)
	if !ok {
		return nil
	}
	mediaType, _, _ := mime.ParseMediaType(contentType) // "": none was sent
	content, ok := body["content"].(object)[mediaType].(object)
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(resolved(t, content["schema"])["properties"].(object)))
}

// membersOf returns the members of a body that was accepted.
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
	var members object
	require.NoError(t, json.Unmarshal(body, &members))
	return slices.Collect(maps.Keys(members))
}

// requireSchema checks a value against as much of JSON Schema as the document uses.
func requireSchema(t testing.TB, at string, schema, value any) {
	t.Helper()
	s := resolved(t, schema)
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
			require.True(t, strings.HasSuffix(v, "Z"), "%s is not in UTC", at)
		}
	case float64:
		kind = "integer"
		require.Equal(t, float64(int64(v)), v, at)
	case []any:
		kind = "array"
		for _, item := range v {
			requireSchema(t, at+"[]", s["items"], item)
		}
	case object:
		kind = "object"
		properties, ok := s["properties"].(object)
		if !ok {
			break // any
		}
		for name, member := range v {
			require.Contains(t, properties, name, "%s is not documented", at)
			requireSchema(t, at+"."+name, properties[name], member)
		}
		for _, name := range s["required"].([]any) {
			require.Contains(t, v, name, "%s lacks what is documented", at)
		}
	}
	require.Contains(t, types, kind, at)
}

// A client made from the document finds all that is served, and nothing else.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	m := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	users := tokenapi.Routes(tokenapi.New(m, signedIn, nil))
	staff := tokenapi.Routes(tokenapi.NewStaff(m, func(*http.Request) (bool, error) { return true, nil }, nil))

	documented := map[string][]string{}
	for path, operations := range document["paths"].(object) {
		for method := range operations.(object) {
			if method != "parameters" {
				documented[path] = append(documented[path], strings.ToUpper(method))
			}
		}
		slices.Sort(documented[path])
	}
	require.Equal(t, []string{http.MethodPost}, documented["/login"]) // which NewLogin serves
	delete(documented, "/login")
	require.Equal(t, documented, users)

	require.Equal(t, map[string][]string{ // as it says
		"/tokens": {"DELETE", "GET"}, "/tokens/{id}": {"DELETE", "GET"}, "/openapi.json": {"GET"},
	}, staff)
}

// A client made from the document may send what is read, and nothing else.
func TestDocumentHasEveryMember(t *testing.T) {
	t.Parallel()
	const jsonType, form = "application/json", "application/x-www-form-urlencoded"
	read := membersRead(t)
	for _, c := range []struct{ method, path, contentType, function string }{
		{"post", "/tokens", jsonType, "create"},
		{"patch", "/tokens/{id}", jsonType, "update"},
		{"post", "/tokens/{id}/rotate", jsonType, "rotate"},
		{"post", "/login", jsonType, "serve"},
		{"post", "/login", form, "serve"},
	} {
		operation := document["paths"].(object)[c.path].(object)[c.method].(object)
		require.NotEmpty(t, read[c.function])
		require.Equal(t, read[c.function], properties(t, operation, c.contentType), c)
	}
	require.Len(t, read, 4, "another function reads a body")

	s := newService(t, nil, tokenapi.Options{})
	list := document["paths"].(object)["/tokens"].(object)["get"].(object)
	for _, name := range parameters(t, list) {
		w := send(t, s.mux, "GET", "/staff/tokens?"+name+"=%00", "", as("root"))
		require.Equal(t, name, field(t, w), "it is wrong, but not unknown")
	}
}

// membersRead returns the members that each function reads of a body, as its source says.
func membersRead(t *testing.T) map[string][]string {
	t.Helper()
	read := map[string][]string{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		function := ""
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				function = n.Name.Name
			case *ast.CompositeLit:
				if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "members" {
					for _, member := range n.Elts {
						text, err := strconv.Unquote(member.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
						require.NoError(t, err)
						read[function] = append(read[function], text)
					}
					slices.Sort(read[function])
				}
			}
			return true
		})
	}
	return read
}

// Each reference leads somewhere, and each component is used.
func TestDocumentReferences(t *testing.T) {
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
				resolved(t, v)
				parts := strings.Split(ref, "/")
				used[parts[2]+"/"+parts[3]] = true
			}
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(document)
	components := document["components"].(object)
	for _, kind := range slices.Sorted(maps.Keys(components)) {
		if kind == "securitySchemes" {
			continue
		}
		for name := range components[kind].(object) {
			require.True(t, used[kind+"/"+name], "%s/%s is not used", kind, name)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	w := send(t, s.mux, "GET", "/api/openapi.json", "") // by anybody
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "3.1.0", decode[object](t, w)["openapi"])
}
