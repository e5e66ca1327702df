package tokenauth_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// forbidden is a handler that must not run.
func forbidden(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the wrapped handler ran") })
}

type problem struct {
	Title, Detail string
	Status        int
}

func problemOf(t *testing.T, w *httptest.ResponseRecorder) (p problem) {
	t.Helper()
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, w.Code, p.Status)
	require.Equal(t, http.StatusText(w.Code), p.Title)
	return p
}

// Each refusal tells a client what RFC 6750 and RFC 9457 say, and no more.
func TestRefusals(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := tokenauth.NewMemoryStore()
	m := newManager(store, &tokenauth.Options{Now: clock.Now})
	good, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "good"})
	expired, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: start.Add(time.Second)})
	clock.Set(start.Add(time.Second))
	down := newManager(failing{errors.New("host db7 refused")}, nil)
	noUsers := func(context.Context, string) (*user, error) { return nil, errors.New("host db7 refused") }

	for name, c := range map[string]struct {
		manager   *tokenauth.Manager
		find      func(context.Context, string) (*user, error)
		scopes    []string
		header    string
		status    int
		challenge string // behind the realm
	}{
		"no key":                  {m, anyUser, nil, "", 401, ""},
		"invalid":                 {m, anyUser, nil, "Bearer x", 401, `, error="invalid_token"`},
		"P6 expired before scope": {m, anyUser, []string{"a"}, "Bearer " + expired, 401, `, error="invalid_token"`},
		"malformed":               {m, anyUser, nil, "Bearer a b", 400, `, error="invalid_request"`},
		"P2 no scopes":            {m, anyUser, []string{"b", "a"}, "Bearer " + good, 403, `, error="insufficient_scope", scope="a b"`},
		"F1 store down":           {down, anyUser, nil, "Bearer " + good, 503, "none"},
		"U5 user lookup down":     {m, noUsers, nil, "Bearer " + good, 503, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth := tokenauth.NewAuthenticator(c.manager, c.find, &tokenauth.AuthenticatorOptions{Realm: "my api"})
			protect := auth.Require
			if c.scopes != nil {
				protect = auth.RequireScopes(c.scopes...)
			}
			r := httptest.NewRequest("GET", "/", nil)
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			w := serve(protect(forbidden(t)), r)
			require.Equal(t, c.status, w.Code)
			var want []string
			if c.challenge != "none" {
				want = []string{`Bearer realm="my api"` + c.challenge, `Token realm="my api"` + c.challenge}
			}
			require.Equal(t, want, w.Header().Values("WWW-Authenticate"))
			require.Equal(t, c.status == 503, w.Header().Get("Retry-After") != "")
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, []string{"Authorization"}, w.Header().Values("Vary"))
			require.NotEmpty(t, problemOf(t, w).Detail)
			require.NotContains(t, w.Body.String(), "db7") // X5
		})
	}
}

// A service that writes its own bodies can't lose the challenge, and learns the
// reason that the client must not.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	var reason error
	auth := tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			reason = err
			http.Error(w, "no", tokenauth.StatusCode(err))
		},
	})
	w := get(auth.Require(forbidden(t)), "Bearer "+key)
	require.Equal(t, 401, w.Code)
	require.Equal(t, "no\n", w.Body.String())
	require.Equal(t, `Bearer realm="api", error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
	require.ErrorIs(t, noted(reason), tokenauth.ErrRevoked)
}

// P1–P5, P7: a scope is the whole word, a set is a set, and every way in decides alike.
func TestP1ToP7Scopes(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	auth := tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"})
	for i, c := range []struct {
		name      string
		has, need []string
		ok        bool
	}{
		{"P1 longer", []string{"readwrite"}, []string{"read"}, false},
		{"P1 with a suffix", []string{"read:all"}, []string{"read"}, false},
		{"P1 other case", []string{"Read"}, []string{"read"}, false},
		{"P1 shorter", []string{"rea"}, []string{"read"}, false},
		{"P2 none", nil, []string{"read"}, false},
		{"P3 a star is a word", []string{"*"}, []string{"read"}, false},
		{"P3 a star inside", []string{"repo:*"}, []string{"repo:read"}, false},
		{"P5 all of them", []string{"a", "b", "c"}, []string{"c", "a"}, true},
		{"P5 not all", []string{"a", "b"}, []string{"a", "c"}, false},
		{"P5 twice", []string{"a", "a"}, []string{"a", "a"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key, token := issue(t, m, tokenauth.Spec{UserID: fmt.Sprint("u", i), Name: "n", Scopes: c.has})
			require.Equal(t, c.ok, token.HasScopes(c.need...))
			want := 403
			if c.ok {
				want = 200
			}
			byHeader := httptest.NewRequest("GET", "/", nil)
			byHeader.Header.Set("X-API-Key", key)
			for _, h := range []http.Handler{
				auth.RequireScopes(c.need...)(whoami),
				auth.Require(auth.RequireScopes(c.need...)(whoami)),
				auth.Optional(auth.RequireScopes(c.need...)(whoami)),
			} {
				require.Equal(t, want, get(h, "Bearer "+key).Code) // P7
				require.Equal(t, want, get(h, "Token "+key).Code)
				require.Equal(t, want, serve(h, byHeader).Code)
			}
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, c.need...)
			require.Equal(t, want, tokenauth.StatusCode(noted(err)))
			if !c.ok {
				var scopeErr *tokenauth.ScopeError
				require.ErrorAs(t, err, &scopeErr)
				require.Equal(t, c.need, scopeErr.Need)
			}
			require.Equal(t, 200, get(auth.Require(whoami), "Bearer "+key).Code) // needs none
		})
	}
}

// P8, P9: what is taken from a token, or from its user, counts for the next request.
func TestP8P9ScopesNarrowed(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	allowed := true
	find := func(_ context.Context, id string) (*user, error) {
		if !allowed {
			return nil, tokenauth.ErrNoUser
		}
		return &user{ID: id}, nil
	}
	h := tokenauth.NewAuthenticator(m, find, nil).RequireScopes("write")(whoami)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write"}})
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	allowed = false // P9
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
	allowed = true
	_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"read"}})
	require.NoError(t, err)
	require.Equal(t, 403, get(h, "Bearer "+key).Code)
}

// P10: scopes of odd but allowed characters stand in the header and the body
// without breaking out of them.
func TestP10ScopesEscaped(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := tokenauth.NewAuthenticator(m, anyUser, nil).RequireScopes("a,b=<c>;'&", "{{.}}%0d%0a")(forbidden(t))
	w := get(h, "Bearer "+key)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="a,b=<c>;'& {{.}}%0d%0a"`, w.Header().Get("WWW-Authenticate"))
	require.Contains(t, problemOf(t, w).Detail, "a,b=<c>;'& {{.}}%0d%0a")
}

// U1, U3–U5: who may not sign in is out, with the answer that a wrong key gets;
// who can't be asked about is neither in nor out.
func TestUserLookup(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	unknown := get(tokenauth.NewAuthenticator(m, anyUser, nil).Require(forbidden(t)), "Bearer x")
	for name, c := range map[string]struct {
		user *user
		err  error
		want int
	}{
		"U1 inactive":            {nil, tokenauth.ErrNoUser, 401},
		"U1 wrapped":             {nil, fmt.Errorf("locked: %w", tokenauth.ErrNoUser), 401},
		"U1 with a user as well": {&user{}, tokenauth.ErrNoUser, 401},
		"U3 enabled":             {&user{ID: "u"}, nil, 200},
		"U4 nil":                 {nil, nil, 401},
		"U5 error":               {nil, sql.ErrConnDone, 503},
		"U5 with a user as well": {&user{}, sql.ErrConnDone, 503},
		"U5 not found, unmapped": {nil, sql.ErrNoRows, 503},
		"U5 our own not found":   {nil, tokenauth.ErrNotFound, 503},
		"U5 our own no key":      {nil, tokenauth.ErrNoKey, 503},
		"U5 cancelled":           {nil, context.Canceled, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			find := func(context.Context, string) (*user, error) { return c.user, c.err }
			auth := tokenauth.NewAuthenticator(m, find, nil)
			for _, protect := range []func(http.Handler) http.Handler{auth.Require, auth.Optional} {
				next := http.Handler(whoami)
				if c.want != 200 {
					next = forbidden(t)
				}
				w := get(protect(next), "Bearer "+key)
				require.Equal(t, c.want, w.Code)
				if c.want == 401 {
					require.Equal(t, unknown.Header(), w.Header())
					require.Equal(t, unknown.Body.String(), w.Body.String())
				}
			}
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}})
			require.Equal(t, c.want, tokenauth.StatusCode(noted(err)))
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
		})
	}
}

// U4: nobody gets in as nil, of whatever kind.
func TestU4NilUsers(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	header := http.Header{"Authorization": {"Bearer " + key}}
	status := func(err error) int { return tokenauth.StatusCode(noted(err)) }

	_, _, err := tokenauth.NewAuthenticator(m, func(context.Context, string) (fmt.Stringer, error) { return nil, nil }, nil).Authenticate(ctx, header)
	require.Equal(t, 401, status(err), "nil interface")
	_, _, err = tokenauth.NewAuthenticator(m, func(context.Context, string) (fmt.Stringer, error) { return (*time.Location)(nil), nil }, nil).Authenticate(ctx, header)
	require.Equal(t, 401, status(err), "typed nil in an interface")
	_, _, err = tokenauth.NewAuthenticator(m, func(context.Context, string) (map[string]any, error) { return nil, nil }, nil).Authenticate(ctx, header)
	require.Equal(t, 401, status(err), "nil map")
	u, token, err := tokenauth.NewAuthenticator(m, func(context.Context, string) (string, error) { return "", nil }, nil).Authenticate(ctx, header)
	require.NoError(t, err, "a string is never nil")
	require.Equal(t, "", u)
	require.Equal(t, "n", token.Name)
}

// U6, U9: the lookup gets the token's user ID, and nothing of it runs for bad keys.
func TestU6U9LookupGetsTheUserID(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "n"})
	gone, token := issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "gone"})
	require.NoError(t, m.Revoke(ctx, "org:7/ü", token.ID))
	var asked []string
	h := tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) {
		asked = append(asked, id)
		return &user{ID: id}, nil
	}, nil).Require(whoami)
	for _, header := range []string{"", "Bearer x", "Bearer " + gone, "Bearer " + key[:len(key)-1], "Bearer " + key} {
		get(h, header)
	}
	require.Equal(t, []string{"org:7/ü"}, asked)
}

// U7: a panic in the lookup reaches net/http's recovery, and lets nobody in.
func TestU7LookupPanics(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := tokenauth.NewAuthenticator(m, func(context.Context, string) (*user, error) { panic("boom") }, nil).Require(forbidden(t))
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) })
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) }) // no lock is left held
}

// U8: a slow lookup ends with its request, and holds up no other.
func TestU8SlowLookup(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "slow", Name: "n"})
	other, _ := issue(t, m, tokenauth.Spec{UserID: "quick", Name: "n"})
	waiting := make(chan struct{})
	h := tokenauth.NewAuthenticator(m, func(ctx context.Context, id string) (*user, error) {
		if id == "slow" {
			close(waiting)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &user{ID: id}, nil
	}, nil).Require(whoami)
	request, cancel := context.WithCancel(ctx)
	code := make(chan int)
	go func() {
		r := httptest.NewRequestWithContext(request, "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		code <- serve(h, r).Code
	}()
	<-waiting
	require.Equal(t, 200, get(h, "Bearer "+other).Code)
	cancel()
	require.Equal(t, 503, <-code)
}

// U10: without the middleware there is nobody; of two the inner one counts; and
// what a test puts into a context lets nobody in.
func TestU10Context(t *testing.T) {
	t.Parallel()
	_, ok := tokenauth.UserFrom[*user](ctx)
	require.False(t, ok)
	token, ok := tokenauth.TokenFrom(ctx)
	require.False(t, ok)
	require.Zero(t, token)

	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, issued := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	calls := 0
	outer := tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) { calls++; return &user{ID: id}, nil }, nil)
	inner := tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return "inner " + id, nil }, nil)
	check := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := tokenauth.UserFrom[string](r.Context())
		require.True(t, ok)
		require.Equal(t, "inner u", name)
		_, ok = tokenauth.UserFrom[*user](r.Context())
		require.False(t, ok)
		token, ok := tokenauth.TokenFrom(r.Context())
		require.True(t, ok)
		require.Equal(t, issued, token)
		token.Scopes[0] = "changed" // S20
		token, _ = tokenauth.TokenFrom(r.Context())
		require.Equal(t, issued, token)
	})
	require.Equal(t, 200, get(outer.Require(outer.Optional(outer.RequireScopes("a")(inner.Require(check)))), "Bearer "+key).Code)
	require.Equal(t, 1, calls) // once for each Authenticator

	forged := tokenauth.NewContext(ctx, &user{ID: "admin"}, tokenauth.Token{ID: "x", Scopes: []string{"a"}})
	r := httptest.NewRequestWithContext(forged, "GET", "/", nil)
	require.Equal(t, "admin", serve(whoami, r).Body.String())
	require.Equal(t, 401, serve(outer.Require(forbidden(t)), r).Code)
	require.Equal(t, 401, serve(outer.RequireScopes("a")(forbidden(t)), r).Code)
}

// Optional serves whoever comes without a key, and lets no wrong key pass for that.
func TestOptional(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Optional(whoami)
	require.Equal(t, "nobody", get(h).Body.String())
	require.Equal(t, "nobody", get(h, "Basic abc").Body.String())
	w := get(h, "Bearer "+key)
	require.Equal(t, "u", w.Body.String())
	require.Equal(t, "Authorization", w.Header().Get("Vary")) // no cache may give one caller's answer to another
	require.Equal(t, "Authorization", get(h).Header().Get("Vary"))
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
}

// Each error has one status, and the two families stay apart.
func TestStatusCode(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		nil:                             200,
		tokenauth.ErrInvalidRequest:     400,
		tokenauth.ErrInvalidSpec:        400,
		tokenauth.ErrNoKey:              401,
		tokenauth.ErrInvalidKey:         401,
		tokenauth.ErrExpired:            401,
		tokenauth.ErrRevoked:            401,
		tokenauth.ErrNoUser:             401,
		&tokenauth.ScopeError{}:         403,
		tokenauth.ErrNotFound:           404,
		tokenauth.ErrNameTaken:          409,
		tokenauth.ErrKeyTaken:           409,
		tokenauth.ErrSlotTaken:          409,
		tokenauth.ErrTooManyTokens:      409,
		tokenauth.ErrConflict:           409,
		errors.New("anything else"):     503,
		context.Canceled:                503,
		fmt.Errorf("%w", sql.ErrNoRows): 503,
	} {
		require.Equal(t, want, tokenauth.StatusCode(err), err)
		if want == 400 || want == 404 || want == 409 {
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		if err != nil {
			require.Equal(t, want, tokenauth.StatusCode(fmt.Errorf("more: %w", err)))
			require.True(t, strings.HasPrefix(err.Error(), "tokenauth: ") || want == 503)
		}
	}
	// WriteError is for authentication: it answers no other error as such.
	auth := tokenauth.NewAuthenticator(newManager(tokenauth.NewMemoryStore(), nil), anyUser, nil)
	w := httptest.NewRecorder()
	auth.WriteError(w, httptest.NewRequest("GET", "/", nil), tokenauth.ErrNameTaken)
	require.Equal(t, 503, w.Code)
	w = httptest.NewRecorder()
	auth.WriteError(w, httptest.NewRequest("GET", "/", nil), tokenauth.ErrInsufficientScope)
	require.Equal(t, 403, w.Code)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"))
}
