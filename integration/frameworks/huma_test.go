package frameworks_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// docs: huma

// protect makes each operation of api require what the document says.
func protect(api huma.API, auth *tokenauth.Authenticator[*User]) {
	doc := api.OpenAPI()
	// huma adds middleware only to operations that are registered later.
	if len(doc.Paths) > 0 {
		panic("call protect before you register operations")
	}
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
	api := humago.New(mux, config)
	protect(api, auth)
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
		api := humago.New(mux, config)
		protect(api, a.auth)
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

// A misspelled scope must stop the service at its start, and so must an operation that was
// registered before the middleware.
func TestHumaMistakesPanicAtStart(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	api, _ := humaAPI(a)
	handler := func(context.Context, *struct{}) (*textOutput, error) { return &textOutput{}, nil }
	misspelled := huma.Operation{Method: "GET", Path: "/x", Security: []map[string][]string{{"token": {"orders:writ"}}}}
	require.Panics(t, func() { huma.Register(api, misspelled, handler) })

	late := humago.New(http.NewServeMux(), huma.DefaultConfig("Orders", "1.0.0"))
	huma.Get(late, "/me", handler)
	require.Panics(t, func() { protect(late, a.auth) })
	require.True(t, strings.HasPrefix(late.OpenAPI().OpenAPI, "3.1"), "scopes of the type http are valid since OpenAPI 3.1")
}
