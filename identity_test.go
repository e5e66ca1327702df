package tokenauth_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// If an inner Optional finds no key, TokenFrom must not return the token of the outer
// Authenticator. Otherwise a handler that calls TokenFrom would act for the user of the wrong
// Authenticator.
func TestOptionalHidesOuterIdentity(t *testing.T) {
	t.Parallel()
	partners := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	partnerKey, _ := fixture.Issue(t, partners, tokenauth.Spec{UserID: "7", Name: "partner"})
	outer := fixture.NewAuthenticator(partners, nil)
	inner := fixture.NewAuthenticator(fixture.NewManager(tokenauth.NewMemoryStore(), nil), &tokenauth.AuthenticatorOptions{KeyHeader: "X-Customer-Key", KeyHeaderOnly: true})
	served := false
	h := outer.Require(inner.Optional(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		served = true
		_, ok := tokenauth.TokenFrom(r.Context())
		require.False(t, ok)
		_, ok = inner.User(r.Context())
		require.False(t, ok)
		u, ok := outer.User(r.Context())
		require.True(t, ok)
		require.Equal(t, "7", u.ID)
	})))
	require.Equal(t, 200, fixture.Get(h, "Bearer "+partnerKey).Code)
	require.True(t, served)
}

// A handler may call a protected handler with a new request that has the same context but other
// credentials. The middleware must authenticate the new request by its own credentials. The
// identity in the context belongs to the credentials of the first request, however they are
// written.
func TestSubRequestUsesItsOwnKey(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := fixture.NewLegacyManager(store, fixture.DRF)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	rotated, _, err := m.Rotate(ctx, "1", token.ID, time.Hour)
	require.NoError(t, err)
	current := rotated.Reveal()
	leak.Default.Secret(current)
	other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "2", Name: "n"})
	revoked, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "revoked"})
	require.NoError(t, m.Revoke(ctx, "1", token.ID))
	legacy := fixture.HexKey("imported")
	_, err = m.Import(ctx, tokenauth.ImportSpec{UserID: "3", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf(legacy)})
	require.NoError(t, err)
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"})
	for name, c := range map[string]struct {
		outer, header, value string
		status               int
		body                 string
		finds                int // calls of Store.Find for the new request
	}{
		"the same key":              {key, "Authorization", "Bearer " + key, 200, "1", 0},
		"another scheme":            {key, "Authorization", "Token " + key, 200, "1", 0},
		"another case of scheme":    {key, "Authorization", "bEARER  " + key, 200, "1", 0},
		"another header":            {key, "X-API-Key", key, 200, "1", 0},
		"the same legacy key":       {legacy, "Authorization", "Token " + legacy, 200, "3", 0},
		"legacy after another":      {key, "Authorization", "Token " + legacy, 200, "3", 1},
		"another after legacy":      {legacy, "Authorization", "Token " + key, 200, "1", 1},
		"current after retired":     {key, "Authorization", "Bearer " + current, 200, "1", 1},
		"retired after current":     {current, "Authorization", "Bearer " + key, 200, "1", 1},
		"another key":               {key, "Authorization", "Bearer " + other, 200, "2", 1},
		"a revoked key":             {key, "Authorization", "Bearer " + revoked, 401, "", 1},
		"a wrong key":               {key, "Authorization", "Bearer x", 401, "", 0},
		"no key":                    {key, "Authorization", "", 401, "", 0},
		"malformed":                 {key, "Authorization", "Bearer a b", 400, "", 0},
		"another scheme, other key": {key, "Authorization", "Basic " + key, 401, "", 0},
	} {
		var got *httptest.ResponseRecorder
		h := auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			store.ResetCalls()
			sub := httptest.NewRequestWithContext(r.Context(), "GET", "/", nil)
			sub.Header.Set(c.header, c.value)
			got = fixture.Serve(auth.Require(fixture.Whoami), sub)
		}))
		require.Equal(t, 200, fixture.Get(h, "Bearer "+c.outer).Code, name)
		require.Equal(t, c.status, got.Code, name)
		require.Len(t, store.Calls(), c.finds, name)
		if c.status == 200 {
			require.Equal(t, c.body, got.Body.String(), name)
		}
	}
}

// If middlewares of one Authenticator are nested, the inner middlewares must reuse the identity
// that the outermost one has found. One request must cause only one Find call and one user lookup.
func TestNestedMiddlewareReusesIdentity(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := fixture.NewManager(store, nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "n", Scopes: []string{"a"}})
	lookups := 0
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		lookups++
		return &fixture.User{ID: id}, nil
	}, nil))
	store.ResetCalls()
	h := auth.Optional(auth.Require(auth.RequireScopes("a")(auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) {
		return tokenauth.Need{Scopes: []string{"a"}}, nil
	})(fixture.Whoami))))
	require.Equal(t, "1", fixture.Get(h, "Bearer "+key).Body.String())
	require.Equal(t, []string{"Find"}, store.Calls())
	require.Equal(t, 1, lookups)
}

// upload returns a POST request with a multipart form. The file in the form is larger than the
// memory limit of the handler in the test, so net/http stores the file on disk.
func upload(key string) *http.Request {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file := must.Get(form.CreateFormFile("file", "large"))
	_, _ = io.Copy(file, strings.NewReader(strings.Repeat("x", 1<<20)))
	_ = form.Close()
	r := httptest.NewRequest("POST", "/files/7", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Authorization", "Bearer "+key)
	return r
}

// The handler gets a copy of the request. If it sets Pattern, path values or MultipartForm on the
// copy, the middleware must set them on the original, too. Outer middleware may log the pattern and
// the path values. net/http removes the temporary files of the original's form, but not if the
// handler panics or ends its goroutine. Then the middleware must remove these files.
func TestHandlerSettingsReachCallersRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := fixture.NewAuthenticator(m, nil)
	var path string
	end := func() {}
	inner := http.NewServeMux()
	inner.HandleFunc("POST /files/{id}", func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseMultipartForm(1))
		file := must.Get(r.MultipartForm.File["file"][0].Open())
		path = file.(*os.File).Name()
		require.NoError(t, file.Close())
		end()
	})
	h := auth.Require(auth.Optional(inner))

	r := upload(key)
	require.Equal(t, 200, fixture.Serve(h, r).Code)
	require.Equal(t, "POST /files/{id}", r.Pattern)
	require.Equal(t, "7", r.PathValue("id"))
	require.FileExists(t, path)
	require.NoError(t, r.MultipartForm.RemoveAll())
	require.NoFileExists(t, path)

	end = func() { panic("boom") }
	r = upload(key)
	require.PanicsWithValue(t, "boom", func() { fixture.Serve(h, r) })
	require.NoFileExists(t, path)
	require.Equal(t, "POST /files/{id}", r.Pattern)

	end, path = runtime.Goexit, ""
	r = upload(key)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fixture.Serve(h, r)
	}()
	<-ended
	require.NotEmpty(t, path)
	require.NoFileExists(t, path)
	require.Equal(t, "7", r.PathValue("id"))

	server := httptest.NewServer(h) // its net/http code removes the temporary files
	defer server.Close()
	end = func() {}
	r = upload(key)
	r.RequestURI, r.URL = "", must.Get(r.URL.Parse(server.URL+"/files/7"))
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
	require.Eventually(t, func() bool { _, err := os.Stat(path); return os.IsNotExist(err) }, time.Minute, time.Millisecond)
}

// Access logs read the path values of every router that sets Pattern, and nothing else may reach
// the original request. Otherwise a handler behind the middleware could change what outer code
// sees.
func TestPathValuesOfPatternReachCallersRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := fixture.NewAuthenticator(m, nil)
	for pattern, names := range map[string][]string{
		"GET /a/{id}":           {"id"},
		"/{a}/x/{b}":            {"a", "b"},
		"/files/{path...}":      {"path"},
		"/chi/{id:[0-9]+}":      {"id"},
		"/exact/{$}":            nil,
		"/none":                 nil,
		"/gorilla/{a:x|y}/{b}/": {"a", "b"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		before := *r
		require.Equal(t, 200, fixture.Serve(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
			inner.Pattern = pattern
			for _, name := range append(names, "other") {
				inner.SetPathValue(name, "value of "+name)
			}
			inner.Method, inner.Host, inner.Form, inner.Close = "PUT", "other", url.Values{"a": {"b"}}, true
		})), r).Code)
		require.Equal(t, pattern, r.Pattern)
		for _, name := range names {
			require.Equal(t, "value of "+name, r.PathValue(name), pattern)
		}
		require.Empty(t, r.PathValue("other"))
		require.Equal(t, []any{before.Method, before.Host, before.Form, before.Close}, []any{r.Method, r.Host, r.Form, r.Close})
	}
}

// A function given to RequireFunc may read the form to find what the request is about. Its files
// must not stay on the disk if the request is refused, or if the function panics or ends its
// goroutine.
func TestRequireFuncLeavesNoFiles(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	var path string
	needAfterForm := func(result func() error) func(*http.Request) (tokenauth.Need, error) {
		return func(r *http.Request) (tokenauth.Need, error) {
			require.NoError(t, r.ParseMultipartForm(1))
			file := must.Get(r.MultipartForm.File["file"][0].Open())
			path = file.(*os.File).Name()
			require.NoError(t, file.Close())
			return tokenauth.Need{}, result()
		}
	}
	auth := fixture.NewAuthenticator(m, nil)
	r := upload(key)
	w := fixture.Serve(auth.RequireFunc(needAfterForm(func() error { return tokenauth.ErrNotFound }))(fixture.Forbidden(t)), r)
	require.Equal(t, 404, w.Code)
	require.NotNil(t, r.MultipartForm, "net/http removes the files of this form")
	require.NoError(t, r.MultipartForm.RemoveAll())
	require.NoFileExists(t, path)

	r = upload(key)
	h := auth.RequireFunc(needAfterForm(func() error { panic("boom") }))(fixture.Forbidden(t))
	require.PanicsWithValue(t, "boom", func() { fixture.Serve(h, r) })
	require.NoFileExists(t, path)

	h = auth.RequireFunc(needAfterForm(func() error { runtime.Goexit(); return nil }))(fixture.Forbidden(t))
	path = ""
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fixture.Serve(h, upload(key))
	}()
	<-ended
	require.NotEmpty(t, path)
	require.NoFileExists(t, path)
}

// A context that no middleware has set must hold no user and no token. Each Authenticator must
// store its user separately in the context. A context from NewContext must not authenticate a
// request. Case U10.
func TestContextHoldsIdentityPerAuthenticator(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, issued := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	calls := 0
	outer := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) { calls++; return &fixture.User{ID: id}, nil }, nil))
	inner := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return "inner " + id, nil }, nil))
	_, ok := outer.User(ctx)
	require.False(t, ok)
	_, ok = outer.Token(ctx)
	require.False(t, ok)
	token, ok := tokenauth.TokenFrom(ctx)
	require.False(t, ok)
	require.Zero(t, token)

	check := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := inner.User(r.Context())
		require.True(t, ok)
		require.Equal(t, "inner u", name)
		u, ok := outer.User(r.Context())
		require.True(t, ok)
		require.Equal(t, "u", u.ID)
		for _, tokenFrom := range []func(context.Context) (tokenauth.Token, bool){tokenauth.TokenFrom, inner.Token, outer.Token} {
			token, ok := tokenFrom(r.Context())
			require.True(t, ok)
			require.Equal(t, issued, token)
			token.Scopes[0] = "changed" // the handler gets a copy of the token. Case S20.
			token, _ = tokenFrom(r.Context())
			require.Equal(t, issued, token)
		}
	})
	require.Equal(t, 200, fixture.Get(outer.Require(outer.Optional(outer.RequireScopes("a")(inner.Require(check)))), "Bearer "+key).Code)
	require.Equal(t, 1, calls, "each Authenticator must look up the user once per request")

	forged := outer.NewContext(ctx, &fixture.User{ID: "admin"}, tokenauth.Token{ID: "x", UserID: "admin", Scopes: []string{"a"}})
	r := httptest.NewRequestWithContext(forged, "GET", "/", nil)
	require.Equal(t, "admin", fixture.Serve(fixture.Whoami, r).Body.String())
	require.Equal(t, 401, fixture.Serve(outer.Require(fixture.Forbidden(t)), r).Code)
	require.Equal(t, 401, fixture.Serve(outer.RequireScopes("a")(fixture.Forbidden(t)), r).Code)
	_, _, err := outer.Confirm(forged, tokenauth.Need{})
	require.ErrorIs(t, err, tokenauth.ErrNoKey)
}

// NewContext must copy the scopes of the token, so that a later change of the caller's slice does
// not change the rights in the context. Case S20.
func TestNewContextCopiesScopes(t *testing.T) {
	t.Parallel()
	auth := fixture.NewAuthenticator(fixture.NewManager(tokenauth.NewMemoryStore(), nil), nil)
	scopes := []string{"read"}
	c := auth.NewContext(ctx, &fixture.User{ID: "u"}, tokenauth.Token{Scopes: scopes})
	scopes[0] = "admin"
	got, ok := auth.Token(c)
	require.True(t, ok)
	require.Equal(t, tokenauth.Scopes{"read"}, got.Scopes)
}

// A job may keep the context of a request for hours. The context must keep neither the key nor the
// request in memory.
func TestKeptContextKeepsNoRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := fixture.NewAuthenticator(m, nil)
	var kept []context.Context
	var released atomic.Int32
	keep := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		kept = append(kept, r.Context())
		runtime.AddCleanup(r, func(struct{}) { released.Add(1) }, struct{}{})
	})
	outer := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{KeyHeader: "X-App-Key", KeyHeaderOnly: true})
	absent := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{KeyHeader: "X-Absent-Key", KeyHeaderOnly: true})
	for _, h := range []http.Handler{auth.Require(auth.Optional(keep)), outer.Require(auth.Require(keep)), auth.Require(absent.Optional(keep))} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
		credentials := "Bearer " + key
		r.Header.Set("Authorization", credentials)
		r.Header.Set("X-App-Key", key)
		runtime.AddCleanup(r, func(struct{}) { released.Add(1) }, struct{}{})
		runtime.AddCleanup(unsafe.StringData(credentials), func(struct{}) { released.Add(1) }, struct{}{})
		require.Equal(t, 200, fixture.Serve(h, r).Code)
	}
	require.Eventually(t, func() bool { runtime.GC(); return released.Load() == 9 }, time.Minute, time.Millisecond,
		"the request, its copy for the handler, or the credentials are still in memory")
	for _, c := range kept {
		_, ok := auth.User(c)
		require.True(t, ok)
	}
}
