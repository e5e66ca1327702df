package tokenauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// newAuth returns an Authenticator for m. Its user lookup returns a user for every ID. opts may be
// nil.
func newAuth(m *tokenauth.Manager, opts *tokenauth.AuthenticatorOptions) *tokenauth.Authenticator[*user] {
	return must.Get(tokenauth.NewAuthenticator(m, anyUser, opts))
}

// If an inner Optional finds no key, TokenFrom must not return the token of the outer
// Authenticator. Otherwise a handler that calls TokenFrom would act for the user of the wrong
// Authenticator.
func TestOptionalHidesOuterIdentity(t *testing.T) {
	t.Parallel()
	partners := newManager(tokenauth.NewMemoryStore(), nil)
	partnerKey, _ := issue(t, partners, tokenauth.Spec{UserID: "7", Name: "partner"})
	outer := newAuth(partners, nil)
	inner := newAuth(newManager(tokenauth.NewMemoryStore(), nil), &tokenauth.AuthenticatorOptions{KeyHeader: "X-Customer-Key", KeyHeaderOnly: true})
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
	require.Equal(t, 200, get(h, "Bearer "+partnerKey).Code)
	require.True(t, served)
}

// A handler may call a protected handler with a new request that has the same context but other
// credentials. The middleware must authenticate the new request by its own credentials. The
// identity in the context belongs to the credentials of the first request.
func TestSubRequestIsJudgedByItsOwnKey(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	other, _ := issue(t, m, tokenauth.Spec{UserID: "2", Name: "n"})
	revoked, token := issue(t, m, tokenauth.Spec{UserID: "1", Name: "revoked"})
	require.NoError(t, m.Revoke(ctx, "1", token.ID))
	auth := newAuth(m, nil)
	for name, c := range map[string]struct {
		authorization string
		status        int
		body          string
	}{
		"the same key":   {"Bearer " + key, 200, "1"},
		"another scheme": {"Token " + key, 200, "1"},
		"another key":    {"Bearer " + other, 200, "2"},
		"a revoked key":  {"Bearer " + revoked, 401, ""},
		"a wrong key":    {"Bearer x", 401, ""},
		"no key":         {"", 401, ""},
		"malformed":      {"Bearer a b", 400, ""},
	} {
		var got *httptest.ResponseRecorder
		h := auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			sub := httptest.NewRequestWithContext(r.Context(), "GET", "/", nil)
			sub.Header.Set("Authorization", c.authorization)
			got = serve(auth.Require(whoami), sub)
		}))
		require.Equal(t, 200, get(h, "Bearer "+key).Code)
		require.Equal(t, c.status, got.Code, name)
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
	m := newManager(store, nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "1", Name: "n", Scopes: []string{"a"}})
	lookups := 0
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) { lookups++; return &user{ID: id}, nil }, nil))
	store.ResetCalls()
	h := auth.Optional(auth.Require(auth.RequireScopes("a")(auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) {
		return tokenauth.Need{Scopes: []string{"a"}}, nil
	})(whoami))))
	require.Equal(t, "1", get(h, "Bearer "+key).Body.String())
	require.Equal(t, []string{"Find"}, store.Calls())
	require.Equal(t, 1, lookups)
}

// One request may contain the key of an app and the key of its user, in two headers. Each header
// has its own Authenticator. The handler must get both the app and the user.
func TestTwoPrincipals(t *testing.T) {
	t.Parallel()
	apps, users := newManager(tokenauth.NewMemoryStore(), nil), newManager(tokenauth.NewMemoryStore(), nil)
	appKey, _ := issue(t, apps, tokenauth.Spec{UserID: "app", Name: "n"})
	userKey, _ := issue(t, users, tokenauth.Spec{UserID: "ada", Name: "n"})
	byApp := newAuth(apps, &tokenauth.AuthenticatorOptions{KeyHeader: "x-app-key", KeyHeaderOnly: true, Realm: "apps"})
	byUser := newAuth(users, nil)
	h := byApp.Require(byUser.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app, _ := byApp.User(r.Context())
		u, _ := byUser.User(r.Context())
		_, _ = fmt.Fprint(w, app.ID, " for ", u.ID)
	})))
	send := func(app, authorization string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-App-Key", app)
		r.Header.Set("Authorization", authorization)
		return serve(h, r)
	}
	require.Equal(t, "app for ada", send(appKey, "Bearer "+userKey).Body.String())
	require.Equal(t, 401, send(appKey, "Bearer "+appKey).Code)
	require.Equal(t, 401, send("", "Bearer "+userKey).Code)
	w := send("x", "Bearer "+userKey)
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{`ApiKey realm="apps", error="invalid_token"`}, w.Header().Values("WWW-Authenticate"))
	require.Equal(t, []string{"X-App-Key"}, w.Header().Values("Vary"))
	require.Equal(t, []string{`ApiKey realm="apps"`}, send("", "").Header().Values("WWW-Authenticate"))
	require.Equal(t, 200, send(appKey, "Bearer "+userKey).Code)

	// With KeyHeaderOnly, the Authenticator must not parse Authorization, which may contain
	// credentials for an API gateway.
	jwt := httptest.NewRequest("GET", "/", nil)
	jwt.Header.Set("X-App-Key", appKey)
	jwt.Header.Set("Authorization", "Bearer a b, Bearer c")
	require.Equal(t, 200, serve(byApp.Require(whoami), jwt).Code)
}

// A service can set AuthenticatorOptions.Schemes to the authentication schemes that its clients
// already send. The Authenticator must accept only these schemes.
func TestSchemes(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	schemes := []string{"Api-Key", "Bearer"}
	auth := newAuth(m, &tokenauth.AuthenticatorOptions{Schemes: schemes})
	schemes[0] = "changed" // must have no effect, because NewAuthenticator copies the options
	h := auth.Require(whoami)
	require.Equal(t, 200, get(h, "Api-Key "+key).Code)
	require.Equal(t, 200, get(h, "api-key "+key).Code)
	require.Equal(t, 200, get(h, "bearer "+key).Code)
	w := get(h, "Token "+key)
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{`Api-Key realm="api"`, `Bearer realm="api"`}, w.Header().Values("WWW-Authenticate"))
	require.Equal(t, 400, get(h, "Token x, Api-Key "+key).Code)
	require.Equal(t, 401, get(h, "Basic x, Token "+key).Code, "this Authenticator does not accept the scheme Token, so the request contains no key")
}

// The function need that the service passes to RequireFunc may return a different Need for each
// request. For example, the Need may depend on the path.
func TestRequireFunc(t *testing.T) {
	t.Parallel()
	var events recorder
	m := newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Scopes: []string{"read", "write"}, OnEvent: events.tell})
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}})
	auth := newAuth(m, nil)
	need := func(r *http.Request) (tokenauth.Need, error) {
		u, ok := auth.User(r.Context())
		require.True(t, ok, "the context of the request must contain the user when need runs")
		require.Equal(t, "u", u.ID)
		switch scope := r.PathValue("scope"); scope {
		case "gone":
			return tokenauth.Need{}, fmt.Errorf("note: %w", tokenauth.ErrNotFound)
		case "denied":
			return tokenauth.Need{}, tokenauth.ErrInsufficientScope
		case "down":
			return tokenauth.Need{}, tokenauth.ErrInvalidKey // must cause status 503, not 401
		case "none":
			return tokenauth.Need{}, nil
		default:
			return tokenauth.Need{Scopes: []string{scope}}, nil
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{scope}", auth.RequireFunc(need)(whoami))
	for path, want := range map[string]struct {
		status    int
		challenge string
		reason    tokenauth.Reason
	}{
		"/read":   {200, "", ""},
		"/none":   {200, "", ""},
		"/write":  {403, `Bearer realm="api", error="insufficient_scope", scope="write"`, tokenauth.ReasonScopeMissing},
		"/denied": {403, `Bearer realm="api", error="insufficient_scope"`, tokenauth.ReasonScopeMissing},
		"/gone":   {404, "", tokenauth.ReasonNotFound},
		"/down":   {503, "", tokenauth.ReasonNeedFailed},
		"/other":  {500, "", tokenauth.ReasonNeedFailed}, // Options.Scopes lacks "other"
		"/a%20b":  {500, "", tokenauth.ReasonNeedFailed},
		"/a%22b":  {500, "", tokenauth.ReasonNeedFailed},
	} {
		events.take()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := serve(mux, r)
		require.Equal(t, want.status, w.Code, path)
		require.Equal(t, want.challenge, w.Header().Get("WWW-Authenticate"), path)
		require.NotContains(t, w.Body.String()+fmt.Sprint(w.Header()), "a b")
		got := events.take()
		if want.reason == "" {
			require.Empty(t, got, path)
			continue
		}
		require.Len(t, got, 1, path)
		require.Equal(t, want.reason, got[0].Reason, path)
		require.Equal(t, token.ID, got[0].Token.ID, path)
	}
	called := false
	h := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) { called = true; return tokenauth.Need{}, nil })(whoami)
	require.Equal(t, 401, get(h).Code)
	require.Equal(t, 401, get(h, "Bearer x").Code)
	require.False(t, called, "RequireFunc must not call need if the key is missing or invalid")

	_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{Scopes: []string{"other"}})
	require.Equal(t, 500, tokenauth.StatusCode(err))
}

// Confirm must see changes that were made after the request arrived, so it must read from the store
// and not from a cache. Otherwise a handler could change data for a token that was revoked
// meanwhile.
func TestConfirm(t *testing.T) {
	t.Parallel()
	clock := newClock()
	inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	cache := must.Get(storecache.New(inner, nil))
	m := newManager(cache, &tokenauth.Options{Now: clock.Now, IdleTimeout: 24 * time.Hour})
	// The Manager elsewhere stands for another process. Its changes do not reach the cache.
	elsewhere := newManager(inner, &tokenauth.Options{Now: clock.Now})
	active := true
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) {
		if !active {
			return nil, tokenauth.ErrNoUser
		}
		return &user{ID: id}, nil
	}, nil))
	need := tokenauth.Need{Scopes: []string{"a"}}
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, token tokenauth.Token)
		want      error
	}{
		"nothing": {func(*testing.T, tokenauth.Token) {}, nil},
		"narrowed": {func(t *testing.T, token tokenauth.Token) {
			_, err := elsewhere.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"b"}})
			require.NoError(t, err)
		}, tokenauth.ErrInsufficientScope},
		"revoked": {func(t *testing.T, token tokenauth.Token) {
			require.NoError(t, elsewhere.Revoke(ctx, "u", token.ID))
		}, tokenauth.ErrRevoked},
		"rotated without grace": {func(t *testing.T, token tokenauth.Token) {
			_, _, err := elsewhere.Rotate(ctx, "u", token.ID, 0)
			require.NoError(t, err)
		}, tokenauth.ErrInvalidKey},
		"rotated twice": {func(t *testing.T, token tokenauth.Token) {
			for range 2 {
				_, _, err := elsewhere.Rotate(ctx, "u", token.ID, time.Hour)
				require.NoError(t, err)
			}
		}, tokenauth.ErrInvalidKey},
		"rotated with grace": {func(t *testing.T, token tokenauth.Token) {
			_, _, err := elsewhere.Rotate(ctx, "u", token.ID, time.Hour)
			require.NoError(t, err)
		}, nil},
		"expired": {func(t *testing.T, _ tokenauth.Token) { clock.Advance(time.Hour) }, tokenauth.ErrExpired},
		"deleted": {func(t *testing.T, token tokenauth.Token) {
			require.NoError(t, elsewhere.Revoke(ctx, "u", token.ID))
			clock.Advance(time.Minute)
			_, err := elsewhere.Prune(ctx, clock.Now())
			require.NoError(t, err)
		}, tokenauth.ErrInvalidKey},
		"user switched off": {func(*testing.T, tokenauth.Token) { active = false }, tokenauth.ErrNoUser},
	} {
		t.Run(name, func(t *testing.T) {
			active = true
			key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: name, Scopes: []string{"a", "b"}, ExpiresAt: clock.Now().Add(time.Hour)})
			served := false
			w := get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				served = true
				c.meanwhile(t, token)
				u, got, err := auth.Confirm(r.Context(), need)
				if c.want != nil {
					require.ErrorIs(t, noted(err), c.want)
					require.Nil(t, u)
					require.Zero(t, got)
					return
				}
				require.NoError(t, err)
				require.Equal(t, "u", u.ID)
				require.Equal(t, token.ID, got.ID)
				got.Scopes[0] = "changed" // must have no effect, because Confirm returns a copy
				_, got, err = auth.Confirm(r.Context(), need)
				require.NoError(t, err)
				require.Equal(t, tokenauth.Scopes{"a", "b"}, got.Scopes)
			})), "Bearer "+key)
			require.Equal(t, 200, w.Code)
			require.True(t, served)
		})
	}
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "down", Scopes: []string{"a"}})
	active = true
	get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner.Fail(errors.New("down"))
		_, _, err := auth.Confirm(r.Context(), need)
		require.Equal(t, 503, tokenauth.StatusCode(err))
		inner.Fail(nil)
		_, _, err = newAuth(m, nil).Confirm(r.Context(), need)
		require.ErrorIs(t, err, tokenauth.ErrNoKey, "the context contains no identity from this other Authenticator")
	})), "Bearer "+key)
	_, _, err := auth.Confirm(ctx, need)
	require.ErrorIs(t, err, tokenauth.ErrNoKey)
	require.Same(t, m, auth.Manager())
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
// the path values. net/http removes the temporary files of the original's form, but not after a
// panic. After a panic, the middleware must remove these files.
func TestHandlerSetsOnCallersRequest(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := newAuth(m, nil)
	var path string
	fails := false
	inner := http.NewServeMux()
	inner.HandleFunc("POST /files/{id}", func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseMultipartForm(1))
		file := must.Get(r.MultipartForm.File["file"][0].Open())
		path = file.(*os.File).Name()
		require.NoError(t, file.Close())
		if fails {
			panic("boom")
		}
	})
	h := auth.Require(auth.Optional(inner))

	r := upload(key)
	require.Equal(t, 200, serve(h, r).Code)
	require.Equal(t, "POST /files/{id}", r.Pattern)
	require.Equal(t, "7", r.PathValue("id"))
	require.FileExists(t, path)
	require.NoError(t, r.MultipartForm.RemoveAll())
	require.NoFileExists(t, path)

	fails = true
	r = upload(key)
	require.PanicsWithValue(t, "boom", func() { serve(h, r) })
	require.NoFileExists(t, path)
	require.Equal(t, "POST /files/{id}", r.Pattern)

	server := httptest.NewServer(h) // its net/http code removes the temporary files
	defer server.Close()
	fails = false
	r = upload(key)
	r.RequestURI, r.URL = "", must.Get(r.URL.Parse(server.URL+"/files/7"))
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
	require.Eventually(t, func() bool { _, err := os.Stat(path); return os.IsNotExist(err) }, time.Minute, time.Millisecond)
}

// A function given to RequireFunc may read the form to find what the request is about. Its files
// must not stay on the disk if the request is refused, or if the function panics or ends its
// goroutine.
func TestRequireFuncLeavesNoFiles(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
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
	auth := newAuth(m, nil)
	r := upload(key)
	w := serve(auth.RequireFunc(needAfterForm(func() error { return tokenauth.ErrNotFound }))(forbidden(t)), r)
	require.Equal(t, 404, w.Code)
	require.NotNil(t, r.MultipartForm, "net/http removes the files of this form")
	require.NoError(t, r.MultipartForm.RemoveAll())
	require.NoFileExists(t, path)

	r = upload(key)
	h := auth.RequireFunc(needAfterForm(func() error { panic("boom") }))(forbidden(t))
	require.PanicsWithValue(t, "boom", func() { serve(h, r) })
	require.NoFileExists(t, path)

	h = auth.RequireFunc(needAfterForm(func() error { runtime.Goexit(); return nil }))(forbidden(t))
	path = ""
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(h, upload(key))
	}()
	<-ended
	require.NotEmpty(t, path)
	require.NoFileExists(t, path)
}

// The middleware must write to the caller's request only what the handler has changed. Otherwise
// two handlers that get one request concurrently race.
func TestMiddlewareWritesOnlyChanges(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	h := newAuth(m, nil).Require(whoami)
	require.Equal(t, 8, together(8, func(int) bool { return serve(h, r).Code == 200 }))

	r.Pattern = "before"
	h = newAuth(m, nil).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { r.Pattern = "set on the original" }))
	require.Equal(t, 200, serve(h, r).Code)
	require.Equal(t, "set on the original", r.Pattern)
}

// What a function given to RequireFunc returns must not change the kind of response or forge a
// header, whatever the error wraps.
func TestRequireFuncWithOddErrors(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := newAuth(m, nil)
	for _, c := range []struct {
		err       error
		status    int
		challenge string
	}{
		{errors.Join(tokenauth.ErrNotFound, tokenauth.ErrRevoked), 404, ""},
		{errors.Join(tokenauth.ErrInvalidSpec, tokenauth.ErrNotFound), 404, ""},
		{errors.Join(tokenauth.ErrInsufficientScope, tokenauth.ErrNoKey), 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{Need: []string{"a"}}, 403, `Bearer realm="api", error="insufficient_scope", scope="a"`},
		{&tokenauth.ScopeError{Need: []string{"x\", error=\"ok"}}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{Need: []string{"a\r\nSet-Cookie: x=y"}}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{tokenauth.ErrConflict, 503, ""},
	} {
		h := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) { return tokenauth.Need{}, c.err })(forbidden(t))
		w := get(h, "Bearer "+key)
		require.Equal(t, c.status, w.Code, c.err)
		require.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"), c.err)
	}
}

// A request with a valid key may cause at most two allocations: one for the context and one for the
// copy of the request.
func TestAllocationsOfAHit(t *testing.T) {
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	u := &user{ID: "u"}
	auth := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*user, error) { return u, nil }, nil))
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = auth.User(r.Context()) })
	for name, h := range map[string]http.Handler{"Require": auth.Require(next), "RequireScopes": auth.RequireScopes("a")(next)} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), 2.0, name)
	}
}
