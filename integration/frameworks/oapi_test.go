package frameworks_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/frameworks/ordersapi"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// docs: oapi-codegen

// operations returns middleware that makes each operation require what the document says.
func operations(auth *tokenauth.Authenticator[*User], document []byte) (ordersapi.MiddlewareFunc, error) {
	var doc struct {
		Security []map[string][]string
		Paths    map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, err
	}
	middleware := map[string]func(http.Handler) http.Handler{} // by the pattern of the route
	for path, item := range doc.Paths {
		for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"} {
			if item[method] == nil {
				continue
			}
			var op struct{ Security *[]map[string][]string }
			if err := json.Unmarshal(item[method], &op); err != nil {
				return nil, err
			}
			if op.Security == nil {
				op.Security = &doc.Security
			}
			middleware[strings.ToUpper(method)+" "+withoutNames(path)] = secure(auth, *op.Security)
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require, ok := middleware[withoutNames(r.Pattern)]
			if !ok {
				http.Error(w, "the document has no operation "+r.Pattern, http.StatusInternalServerError)
				return
			}
			require(next).ServeHTTP(w, r)
		})
	}, nil
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// withoutNames removes the names of parameters from a path of the document or from a pattern. The
// generated code has other names, such as {order_id} for {order-id}, and appends {$} to a slash.
func withoutNames(path string) string {
	return parameter.ReplaceAllString(strings.TrimSuffix(path, "{$}"), "{}")
}

// docs: end

// An oapiServer implements the generated interface.
type oapiServer struct{ hello http.HandlerFunc }

func (s oapiServer) GetMe(w http.ResponseWriter, r *http.Request)               { s.hello(w, r) }
func (s oapiServer) CreateOrder(w http.ResponseWriter, r *http.Request)         { s.hello(w, r) }
func (s oapiServer) DeleteOrder(w http.ResponseWriter, r *http.Request, id int) { s.hello(w, r) }
func (oapiServer) GetHealth(w http.ResponseWriter, _ *http.Request)             { w.WriteHeader(http.StatusOK) }

func oapiHandler(a *app) (http.Handler, error) {
	auth, server := a.auth, oapiServer{httpHello(a)}
	// docs: oapi-codegen's server
	middleware, err := operations(auth, ordersapi.Document) // the file from which the server is generated
	if err != nil {
		return nil, err
	}
	handler := ordersapi.HandlerWithOptions(server, ordersapi.StdHTTPServerOptions{
		Middlewares: []ordersapi.MiddlewareFunc{middleware},
	})
	// docs: end
	return handler, nil
}

func oapiRouter(a *app) http.Handler { return must.Get(oapiHandler(a)) }

// A service with a server of oapi-codegen must serve valid keys and refuse all other requests.
func TestOAPICodegenAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, oapiRouter)
}

// Each operation of a generated server must require what its document says.
func TestOAPICodegenRequiresWhatDocumentSays(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	checkDocument(t, a, serve(t, oapiRouter(a)), ordersapi.Document)
}

// The docs say that the generated code parses the parameters of a path before it calls the
// middleware. A client without a key then gets 400 for a malformed parameter.
func TestOAPICodegenParsesParametersFirst(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	w := httptest.NewRecorder()
	oapiRouter(a).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "DELETE", "/orders/x", nil))
	require.Equal(t, 400, w.Code, "the middleware now runs first: change the docs")
	require.Zero(t, a.calls.Load())
}

// The last middleware must run first, as the docs say.
func TestOAPICodegenRunsLastMiddlewareFirst(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	var ran atomic.Int64
	count := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ran.Add(1)
			next.ServeHTTP(w, r)
		})
	}
	require.Equal(t, 401, send(t, serve(t, generated(a, count, a.auth.Require)), "GET", "/me").status)
	require.Zero(t, ran.Load(), "the first middleware now runs first: change the docs")
	require.Equal(t, 401, send(t, serve(t, generated(a, a.auth.Require, count)), "GET", "/me").status)
	require.EqualValues(t, 1, ran.Load())
}

func generated(a *app, middleware ...ordersapi.MiddlewareFunc) http.Handler {
	options := ordersapi.StdHTTPServerOptions{Middlewares: middleware}
	return ordersapi.HandlerWithOptions(oapiServer{httpHello(a)}, options)
}

// A route that the document lacks must not be public. A document that cannot be read must stop the
// service at its start.
func TestOAPICodegenRefusesUnknownOperations(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, err := operations(a.auth, []byte("openapi: 3.1.0"))
	require.Error(t, err)
	_, err = operations(a.auth, []byte(`{"paths": {"/me": {"get": {"security": "none"}}}}`))
	require.Error(t, err)

	older := must.Get(operations(a.auth, []byte(`{"paths": {"/health": {"get": {"security": []}}}}`)))
	s := serve(t, generated(a, older))
	require.Equal(t, 200, send(t, s, "GET", "/health").status)
	require.Equal(t, 500, send(t, s, "GET", "/me", a.bearer(t, "laptop")).status)
	require.Zero(t, a.calls.Load())

	slash := must.Get(operations(a.auth, []byte(`{"paths": {"/a/": {"get": {"security": []}}}}`)))
	mux := http.NewServeMux()
	mux.Handle("GET /a/{$}", slash(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	require.Equal(t, 200, send(t, serve(t, mux), "GET", "/a/").status, "the generator appends {$} to a slash")

	current := must.Get(operations(a.auth, ordersapi.Document))
	s = serve(t, ordersapi.HandlerWithOptions(oapiServer{httpHello(a)}, ordersapi.StdHTTPServerOptions{
		BaseURL: "/v1", Middlewares: []ordersapi.MiddlewareFunc{current},
	}))
	require.Equal(t, 500, send(t, s, "GET", "/v1/health").status, "the docs say that BaseURL needs a change")
}
