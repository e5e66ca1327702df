package tokenauth_test

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
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
// identity in the context belongs to the credentials of the first request.
func TestSubRequestUsesItsOwnKey(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "2", Name: "n"})
	revoked, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "1", Name: "revoked"})
	require.NoError(t, m.Revoke(ctx, "1", token.ID))
	auth := fixture.NewAuthenticator(m, nil)
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
			got = fixture.Serve(auth.Require(fixture.Whoami), sub)
		}))
		require.Equal(t, 200, fixture.Get(h, "Bearer "+key).Code)
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

// Confirm must see changes that were made after the request arrived, so it must read from the store
// and not from a cache. Otherwise a handler could change data for a token that was revoked
// meanwhile.
func TestConfirmSeesLaterChanges(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	inner := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	cache := must.Get(storecache.New(inner, nil))
	m := fixture.NewManager(cache, &tokenauth.Options{Now: clock.Now, IdleTimeout: 24 * time.Hour})
	// The Manager elsewhere stands for another process. Its changes do not reach the cache.
	elsewhere := fixture.NewManager(inner, &tokenauth.Options{Now: clock.Now})
	active := true
	auth := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*fixture.User, error) {
		if !active {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
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
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: name, Scopes: []string{"a", "b"}, ExpiresAt: clock.Now().Add(time.Hour)})
			served := false
			w := fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				served = true
				c.meanwhile(t, token)
				u, got, err := auth.Confirm(r.Context(), need)
				if c.want != nil {
					require.ErrorIs(t, fixture.Noted(err), c.want)
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
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "down", Scopes: []string{"a"}})
	active = true
	fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner.Fail(errors.New("down"))
		_, _, err := auth.Confirm(r.Context(), need)
		require.Equal(t, 503, tokenauth.StatusCode(err))
		inner.Fail(nil)
		_, _, err = fixture.NewAuthenticator(m, nil).Confirm(r.Context(), need)
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
func TestHandlerSettingsReachCallersRequest(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := fixture.NewAuthenticator(m, nil)
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
	require.Equal(t, 200, fixture.Serve(h, r).Code)
	require.Equal(t, "POST /files/{id}", r.Pattern)
	require.Equal(t, "7", r.PathValue("id"))
	require.FileExists(t, path)
	require.NoError(t, r.MultipartForm.RemoveAll())
	require.NoFileExists(t, path)

	fails = true
	r = upload(key)
	require.PanicsWithValue(t, "boom", func() { fixture.Serve(h, r) })
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
