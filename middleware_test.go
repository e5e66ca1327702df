package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// The function need that the service passes to RequireFunc may return a different Need for each
// request. For example, the Need may depend on the path.
func TestRequireFuncDecidesPerRequest(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Scopes: []string{"read", "write"}, OnEvent: events.Record})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}})
	auth := fixture.NewAuthenticator(m, nil)
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
	mux.Handle("GET /{scope}", auth.RequireFunc(need)(fixture.Whoami))
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
		events.Take()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := fixture.Serve(mux, r)
		require.Equal(t, want.status, w.Code, path)
		require.Equal(t, want.challenge, w.Header().Get("WWW-Authenticate"), path)
		require.NotContains(t, w.Body.String()+fmt.Sprint(w.Header()), "a b")
		got := events.Take()
		if want.reason == "" {
			require.Empty(t, got, path)
			continue
		}
		require.Len(t, got, 1, path)
		require.Equal(t, want.reason, got[0].Reason, path)
		require.Equal(t, token.ID, got[0].Token.ID, path)
	}
	called := false
	h := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) { called = true; return tokenauth.Need{}, nil })(fixture.Whoami)
	require.Equal(t, 401, fixture.Get(h).Code)
	require.Equal(t, 401, fixture.Get(h, "Bearer x").Code)
	require.False(t, called, "RequireFunc must not call need if the key is missing or invalid")

	_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{Scopes: []string{"other"}})
	require.Equal(t, 500, tokenauth.StatusCode(err))
}

// OptionalFunc must judge each key that a request presents, and let requests without a key pass.
// With AnyResource, a token that is restricted to resources must pass too, which Optional refuses.
func TestOptionalFuncJudgesOnlyKeys(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{
		Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
			return []tokenauth.Resource{{ID: "p1"}}, nil
		},
	})
	auth := fixture.NewAuthenticator(m, nil)
	all, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "all", Scopes: []string{"a"}})
	restricted, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "p1", Resources: []string{"p1"}})
	for _, c := range []struct {
		need    tokenauth.Need
		all, p1 int
	}{
		{tokenauth.Need{}, 200, 403},
		{tokenauth.Need{AnyResource: true}, 200, 200},
		{tokenauth.Need{Scopes: []string{"a"}, AnyResource: true}, 200, 403},
		{tokenauth.Need{Resources: []string{"p2"}}, 200, 403},
	} {
		h := auth.OptionalFunc(func(*http.Request) (tokenauth.Need, error) { return c.need, nil })(fixture.Whoami)
		require.Equal(t, 200, fixture.Get(h).Code, "%+v", c.need)
		require.Equal(t, 401, fixture.Get(h, "Bearer x").Code, "%+v", c.need)
		require.Equal(t, c.all, fixture.Get(h, "Bearer "+all).Code, "%+v", c.need)
		require.Equal(t, c.p1, fixture.Get(h, "Bearer "+restricted).Code, "%+v", c.need)
	}
}

// The middleware must write to the caller's request only what the handler has changed. Otherwise
// two handlers that get one request concurrently race.
func TestMiddlewareWritesOnlyChanges(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	h := fixture.NewAuthenticator(m, nil).Require(fixture.Whoami)
	require.Equal(t, 8, fixture.Together(8, func(int) bool { return fixture.Serve(h, r).Code == 200 }))

	r.Pattern = "before"
	h = fixture.NewAuthenticator(m, nil).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { r.Pattern = "set on the original" }))
	require.Equal(t, 200, fixture.Serve(h, r).Code)
	require.Equal(t, "set on the original", r.Pattern)
}

// The error of a function given to RequireFunc must not change the kind of response or forge a
// header, whatever the error wraps.
func TestErrorOfRequireFuncForgesNoHeader(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := fixture.NewAuthenticator(m, nil)
	for _, c := range []struct {
		err       error
		status    int
		challenge string
	}{
		{errors.Join(tokenauth.ErrNotFound, tokenauth.ErrRevoked), 404, ""},
		{errors.Join(tokenauth.ErrInvalidSpec, tokenauth.ErrNotFound), 404, ""},
		{errors.Join(tokenauth.ErrInsufficientScope, tokenauth.ErrNoKey), 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{Scopes: []string{"a"}}, 403, `Bearer realm="api", error="insufficient_scope", scope="a"`},
		{&tokenauth.ScopeError{Scopes: []string{"x\", error=\"ok"}}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{Scopes: []string{"a\r\nSet-Cookie: x=y"}}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{&tokenauth.ScopeError{}, 403, `Bearer realm="api", error="insufficient_scope"`},
		{tokenauth.ErrConflict, 503, ""},
	} {
		h := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) { return tokenauth.Need{}, c.err })(fixture.Forbidden(t))
		w := fixture.Get(h, "Bearer "+key)
		require.Equal(t, c.status, w.Code, c.err)
		require.Equal(t, c.challenge, w.Header().Get("WWW-Authenticate"), c.err)
	}
}

// The response to a rejected request must follow RFC 6750 and RFC 9457. It must not reveal the text
// of the underlying error. Cases P2, P6, F1, and U5.
func TestRefusalsFollowRFCs(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	store := tokenauth.NewMemoryStore()
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
	good, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "good"})
	expired, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: fixture.Start.Add(time.Second)})
	clock.Set(fixture.Start.Add(time.Second))
	down := fixture.NewManager(fixture.NewFailingStore(errors.New("host db7 refused")), nil)
	noUsers := func(context.Context, string) (*fixture.User, error) { return nil, errors.New("host db7 refused") }

	for name, c := range map[string]struct {
		manager   *tokenauth.Manager
		find      func(context.Context, string) (*fixture.User, error)
		scopes    []string
		header    string
		status    int
		challenge string // text after realm="my api" in each challenge
	}{
		"no key":               {m, fixture.AnyUser, nil, "", 401, ""},
		"invalid":              {m, fixture.AnyUser, nil, "Bearer x", 401, `, error="invalid_token"`},
		"expired before scope": {m, fixture.AnyUser, []string{"a"}, "Bearer " + expired, 401, `, error="invalid_token"`},
		"malformed":            {m, fixture.AnyUser, nil, "Bearer a b", 400, `, error="invalid_request"`},
		"no scopes":            {m, fixture.AnyUser, []string{"b", "a"}, "Bearer " + good, 403, `, error="insufficient_scope", scope="a b"`},
		"store down":           {down, fixture.AnyUser, nil, "Bearer " + good, 503, "none"},
		"user lookup down":     {m, noUsers, nil, "Bearer " + good, 503, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth := must.Get(tokenauth.NewAuthenticator(c.manager, c.find, &tokenauth.AuthenticatorOptions{Realm: "my api"}))
			protect := auth.Require
			if c.scopes != nil {
				protect = auth.RequireScopes(c.scopes...)
			}
			r := httptest.NewRequest("GET", "/", nil)
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			w := fixture.Serve(protect(fixture.Forbidden(t)), r)
			require.Equal(t, c.status, w.Code)
			var want []string
			if c.challenge != "none" {
				want = []string{`Bearer realm="my api"` + c.challenge, `Token realm="my api"` + c.challenge}
			}
			require.Equal(t, want, w.Header().Values("WWW-Authenticate"))
			require.Equal(t, c.status == 503, w.Header().Get("Retry-After") != "")
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, []string{"Authorization"}, w.Header().Values("Vary"))
			require.NotEmpty(t, fixture.ProblemOf(t, w).Detail)
			require.NotContains(t, w.Body.String(), "db7") // the error text stays hidden. Case X5.
		})
	}
}

// If an ErrorHandler writes the response body, the response must still have a challenge. The
// ErrorHandler must receive the exact error, such as ErrRevoked. The challenge must not reveal that
// error to the client.
func TestErrorHandlerKeepsChallenge(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	var reason error
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			reason = err
			http.Error(w, "no", tokenauth.StatusCode(err))
		},
	}))
	w := fixture.Get(auth.Require(fixture.Forbidden(t)), "Bearer "+key)
	require.Equal(t, 401, w.Code)
	require.Equal(t, "no\n", w.Body.String())
	require.Equal(t, `Bearer realm="api", error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
	require.ErrorIs(t, fixture.Noted(reason), tokenauth.ErrRevoked)
}

// The Authenticator must compare scopes as whole words and as sets. RequireScopes must decide like
// Authenticate, even if other middleware runs before it. Cases P1, P2, P3, P5,
// and P7.
func TestScopesAreComparedAsSets(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"}))
	for i, c := range []struct {
		name      string
		has, need []string
		ok        bool
	}{
		{"longer", []string{"readwrite"}, []string{"read"}, false},
		{"with a suffix", []string{"read:all"}, []string{"read"}, false},
		{"other case", []string{"Read"}, []string{"read"}, false},
		{"shorter", []string{"rea"}, []string{"read"}, false},
		{"none", nil, []string{"read"}, false},
		{"a star is a word", []string{"*"}, []string{"read"}, false},
		{"a star inside", []string{"repo:*"}, []string{"repo:read"}, false},
		{"all of them", []string{"a", "b", "c"}, []string{"c", "a"}, true},
		{"not all", []string{"a", "b"}, []string{"a", "c"}, false},
		{"twice", []string{"a", "a"}, []string{"a", "a"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: fmt.Sprint("u", i), Name: "n", Scopes: c.has})
			require.Equal(t, c.ok, token.HasScopes(c.need...))
			want := 403
			if c.ok {
				want = 200
			}
			byHeader := httptest.NewRequest("GET", "/", nil)
			byHeader.Header.Set("X-API-Key", key)
			for _, h := range []http.Handler{
				auth.RequireScopes(c.need...)(fixture.Whoami),
				auth.Require(auth.RequireScopes(c.need...)(fixture.Whoami)),
				auth.Optional(auth.RequireScopes(c.need...)(fixture.Whoami)),
			} {
				require.Equal(t, want, fixture.Get(h, "Bearer "+key).Code) // the same status with every middleware. Case P7.
				require.Equal(t, want, fixture.Get(h, "Token "+key).Code)
				require.Equal(t, want, fixture.Serve(h, byHeader).Code)
			}
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{Scopes: c.need})
			require.Equal(t, want, tokenauth.StatusCode(fixture.Noted(err)))
			if !c.ok {
				var scopeErr *tokenauth.ScopeError
				require.ErrorAs(t, err, &scopeErr)
				require.Equal(t, c.need, scopeErr.Scopes)
			}
			require.Equal(t, 200, fixture.Get(auth.Require(fixture.Whoami), "Bearer "+key).Code) // Require does not check scopes
		})
	}
}

// If a token loses a required scope, or its user may no longer sign in, the next request must be
// rejected. Cases P8, P9.
func TestNarrowedScopesTakeEffect(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	allowed := true
	find := func(_ context.Context, id string) (*fixture.User, error) {
		if !allowed {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}
	h := must.Get(tokenauth.NewAuthenticator(m, find, nil)).RequireScopes("write")(fixture.Whoami)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write"}})
	require.Equal(t, 200, fixture.Get(h, "Bearer "+key).Code)
	allowed = false // the user may no longer sign in. Case P9.
	require.Equal(t, 401, fixture.Get(h, "Bearer "+key).Code)
	allowed = true
	_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"read"}})
	require.NoError(t, err)
	require.Equal(t, 403, fixture.Get(h, "Bearer "+key).Code)
}

// A scope may contain characters with a special meaning in HTML or templates. These characters must
// not break the WWW-Authenticate header or the JSON body. Case P10.
func TestScopesAreEscaped(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).RequireScopes("a,b=<c>;'&", "{{.}}%0d%0a")(fixture.Forbidden(t))
	w := fixture.Get(h, "Bearer "+key)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="a,b=<c>;'& {{.}}%0d%0a"`, w.Header().Get("WWW-Authenticate"))
	require.Contains(t, fixture.ProblemOf(t, w).Detail, "a,b=<c>;'& {{.}}%0d%0a")
}

// Optional must accept a request without credentials, and must reject an invalid key.
func TestOptionalAcceptsRequestWithoutKey(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Optional(fixture.Whoami)
	require.Equal(t, "nobody", fixture.Get(h).Body.String())
	require.Equal(t, "nobody", fixture.Get(h, "Basic abc").Body.String())
	w := fixture.Get(h, "Bearer "+key)
	require.Equal(t, "u", w.Body.String())
	require.Equal(t, "Authorization", w.Header().Get("Vary")) // HTTP caches must not send a user's response to another user
	require.Equal(t, "Authorization", fixture.Get(h).Header().Get("Vary"))
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	require.Equal(t, 401, fixture.Get(h, "Bearer "+key).Code)
}

// If an ErrorHandler modifies the ScopeError, RequireScopes must still check the original scopes in
// later requests.
func TestErrorHandlerCannotChangeScopes(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}})
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(tokenauth.StatusCode(err))
			err.(*tokenauth.ScopeError).Scopes[0] = "read"
		},
	})).RequireScopes("write")(fixture.Forbidden(t))
	require.Equal(t, 403, fixture.Get(h, "Bearer "+key).Code)
	require.Equal(t, 403, fixture.Get(h, "Bearer "+key).Code)
}

// A request with a valid key may cause at most two allocations: one for the context and one for the
// copy of the request.
func TestValidKeyCausesTwoAllocations(t *testing.T) {
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	u := &fixture.User{ID: "u"}
	auth := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*fixture.User, error) { return u, nil }, nil))
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = auth.User(r.Context()) })
	for name, h := range map[string]http.Handler{"Require": auth.Require(next), "RequireScopes": auth.RequireScopes("a")(next)} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), 2.0, name)
	}
}
