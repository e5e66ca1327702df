package frameworks_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// docs: huma

// newAPI returns an API whose operations require what the document says.
func newAPI(mux *http.ServeMux, config huma.Config, auth *tokenauth.Authenticator[*User]) huma.API {
	api := humago.New(mux, config)
	doc := api.OpenAPI()
	middlewareOf := func(op *huma.Operation) func(http.Handler) http.Handler {
		if op.Security == nil {
			return secure(auth, doc.Security)
		}
		return secure(auth, op.Security)
	}
	checkAtStart := func(_ *huma.OpenAPI, op *huma.Operation) { middlewareOf(op) }
	doc.OnAddOperation = append(doc.OnAddOperation, checkAtStart)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		handler := func(_ http.ResponseWriter, r *http.Request) {
			next(huma.WithContext(ctx, r.Context())) // the context contains the user
		}
		middlewareOf(ctx.Operation())(http.HandlerFunc(handler)).ServeHTTP(w, r)
	})
	return api
}

// docs: end

type textOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func humaAPI(a *app) (huma.API, http.Handler) {
	auth, greet := a.auth, a.greet
	// docs: huma's configuration
	config := huma.DefaultConfig("Orders", "1.0.0")
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}} // for operations without Security
	mux := http.NewServeMux()
	api := newAPI(mux, config, auth)
	// docs: end
	public := func(context.Context, *struct{}) (*textOutput, error) { return &textOutput{}, nil }
	// docs: huma's operations
	hello := func(ctx context.Context, _ *struct{}) (*textOutput, error) {
		user, _ := auth.User(ctx)
		token, _ := auth.Token(ctx)
		return &textOutput{"text/plain", []byte(greet(user, token))}, nil
	}
	huma.Get(api, "/me", hello)
	huma.Register(api, huma.Operation{
		Method: "POST", Path: "/orders", OperationID: "create-order",
		Security: []map[string][]string{{"token": {"orders:write"}}},
	}, hello)
	huma.Register(api, huma.Operation{
		Method: "GET", Path: "/health", OperationID: "get-health",
		Security: []map[string][]string{}, // public
	}, public)
	// docs: end
	return api, mux
}

func humaRouter(a *app) http.Handler {
	_, mux := humaAPI(a)
	return mux
}

// A service with huma must serve valid keys and refuse all other requests.
func TestHumaAuthenticates(t *testing.T) {
	t.Parallel()
	checkHTTP(t, humaRouter)
}

// Each operation of a service with huma must require what its document says. The docs say that huma
// serves the document without a key.
func TestHumaRequiresWhatDocumentSays(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := serve(t, humaRouter(a))
	document := send(t, s, "GET", "/openapi.json")
	require.Equal(t, 200, document.status, "huma now protects its document: change the docs")
	require.Contains(t, document.text, `"security":[{"token":["orders:write"]}]`)
	require.Contains(t, document.text, `"securitySchemes":{"token":{"scheme":"bearer","type":"http"}}`)
	checkDocument(t, a, s, []byte(document.text))
}

// The docs say that huma serves its pages about the API without a key, and how a service turns them
// off.
func TestHumaPagesArePublicUnlessTurnedOff(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, status := range []int{200, 404} {
		config := huma.DefaultConfig("Orders", "1.0.0")
		config.Security = []map[string][]string{{"token": {}}}
		if status == 404 {
			config.DocsPath, config.OpenAPIPath, config.SchemasPath = "", "", ""
		}
		mux := http.NewServeMux()
		api := newAPI(mux, config, a.auth)
		huma.Get(api, "/me", func(context.Context, *struct{}) (*textOutput, error) { return &textOutput{}, nil })
		s := serve(t, mux)
		for _, page := range []string{"/docs", "/openapi.json", "/openapi.yaml", "/schemas/ErrorModel.json"} {
			require.Equal(t, status, send(t, s, "GET", page).status, page)
		}
	}
}

// A hidden operation is not in the document. It must require a key nevertheless. A client without a
// key must not make huma parse a request.
func TestHumaProtectsHiddenOperationsAndParsers(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	api, mux := humaAPI(a)
	type input struct {
		Limit int `query:"limit" minimum:"1"`
	}
	handler := func(context.Context, *input) (*textOutput, error) { return &textOutput{}, nil }
	huma.Register(api, huma.Operation{Method: "GET", Path: "/hidden", Hidden: true}, handler)
	s := serve(t, mux)
	require.Equal(t, 401, send(t, s, "GET", "/hidden").status)
	require.Equal(t, 401, send(t, s, "GET", "/hidden?limit=x").status)
	require.Equal(t, 200, send(t, s, "GET", "/hidden?limit=1", a.bearer(t, "laptop")).status)
	require.Equal(t, 422, send(t, s, "GET", "/hidden?limit=0", a.bearer(t, "ci")).status)
}

// A misspelled scope must stop the service at its start, and so must an operation without security.
// The docs say that a mistake of a hidden operation stops only its requests.
func TestHumaMistakesPanicAtStart(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	api, mux := humaAPI(a)
	handler := func(context.Context, *struct{}) (*textOutput, error) { return &textOutput{}, nil }
	misspelled := huma.Operation{Method: "GET", Path: "/x", Security: []map[string][]string{{"token": {"orders:writ"}}}}
	require.Panics(t, func() { huma.Register(api, misspelled, handler) })
	require.True(t, strings.HasPrefix(api.OpenAPI().OpenAPI, "3.1"), "scopes of the type http are valid since OpenAPI 3.1")

	bare := newAPI(http.NewServeMux(), huma.DefaultConfig("Orders", "1.0.0"), a.auth)
	require.Panics(t, func() { huma.Get(bare, "/me", handler) })

	misspelled.Path, misspelled.Hidden = "/hidden", true
	huma.Register(api, misspelled, handler)
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/hidden", nil)
	require.Panics(t, func() { mux.ServeHTTP(w, r) }, "the mistake now stops the service: change the docs")
}

// The operations of groups must require what the group or the operation says, and must be reached
// neither by other middleware nor by another spelling of the path without a key. The docs say that
// routes beside the API are public.
func TestHumaProtectsGroups(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	api, mux := humaAPI(a)
	var ran atomic.Int64
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		ran.Add(1)
		next(ctx)
	})
	handler := func(context.Context, *struct{}) (*textOutput, error) { return &textOutput{}, nil }
	group := huma.NewGroup(api, "/v1", "/v2")
	group.UseSimpleModifier(func(op *huma.Operation) {
		op.Security = []map[string][]string{{"token": {"orders:write"}}}
	})
	huma.Get(group, "/a", handler)
	huma.Get(huma.NewGroup(group, "/deep"), "/b", handler)
	api.Adapter().Handle(&huma.Operation{Method: "GET", Path: "/beside"}, func(huma.Context) {})
	s := serve(t, mux)
	for _, path := range []string{"/v1/a", "/v2/a", "/v1/deep/b"} {
		require.Equal(t, 401, send(t, s, "GET", path).status, path)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "HEAD", path, nil))
		require.Equal(t, 401, w.Code, path)
		require.Equal(t, 403, send(t, s, "GET", path, a.bearer(t, "without "+path)).status, path)
	}
	require.Zero(t, ran.Load(), "other middleware must not run for a refused request")
	require.Equal(t, 200, send(t, s, "GET", "/v1/deep/b", a.bearer(t, "ci", "orders:write")).status)
	require.EqualValues(t, 1, ran.Load())
	require.Equal(t, 200, send(t, s, "GET", "/beside").status, "the route is now protected: change the docs")
}
