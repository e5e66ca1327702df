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
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// forbidden returns a handler that fails the test if it runs.
func forbidden(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the protected handler must not run") })
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

// The response to a rejected request must follow RFC 6750 and RFC 9457. It must not reveal the text
// of the underlying error.
func TestRefusals(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := tokenauth.NewMemoryStore()
	m := newManager(store, &tokenauth.Options{Now: clock.Now})
	good, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "good"})
	expired, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: start.Add(time.Second)})
	clock.Set(start.Add(time.Second))
	down := newManager(newFailingStore(errors.New("host db7 refused")), nil)
	noUsers := func(context.Context, string) (*user, error) { return nil, errors.New("host db7 refused") }

	for name, c := range map[string]struct {
		manager   *tokenauth.Manager
		find      func(context.Context, string) (*user, error)
		scopes    []string
		header    string
		status    int
		challenge string // text after realm="my api" in each challenge
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
			auth := must.Get(tokenauth.NewAuthenticator(c.manager, c.find, &tokenauth.AuthenticatorOptions{Realm: "my api"}))
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
			require.NotContains(t, w.Body.String(), "db7") // the error text stays hidden. Case X5.
		})
	}
}

// If an ErrorHandler writes the response body, the response must still have a challenge. The
// ErrorHandler must receive the exact error, such as ErrRevoked. The challenge must not reveal that
// error to the client.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	var reason error
	auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			reason = err
			http.Error(w, "no", tokenauth.StatusCode(err))
		},
	}))
	w := get(auth.Require(forbidden(t)), "Bearer "+key)
	require.Equal(t, 401, w.Code)
	require.Equal(t, "no\n", w.Body.String())
	require.Equal(t, `Bearer realm="api", error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
	require.ErrorIs(t, noted(reason), tokenauth.ErrRevoked)
}

// The Authenticator must compare scopes as whole words and as sets. RequireScopes must decide like
// Authenticate, even if other middleware runs before it. Cases P1 to P5, P7.
func TestP1ToP7Scopes(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"}))
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
				require.Equal(t, want, get(h, "Bearer "+key).Code) // the same status with every middleware. Case P7.
				require.Equal(t, want, get(h, "Token "+key).Code)
				require.Equal(t, want, serve(h, byHeader).Code)
			}
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{Scopes: c.need})
			require.Equal(t, want, tokenauth.StatusCode(noted(err)))
			if !c.ok {
				var scopeErr *tokenauth.ScopeError
				require.ErrorAs(t, err, &scopeErr)
				require.Equal(t, c.need, scopeErr.Need)
			}
			require.Equal(t, 200, get(auth.Require(whoami), "Bearer "+key).Code) // Require does not check scopes
		})
	}
}

// If a token loses a required scope, or its user may no longer sign in, the next request must be
// rejected. Cases P8, P9.
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
	h := must.Get(tokenauth.NewAuthenticator(m, find, nil)).RequireScopes("write")(whoami)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write"}})
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	allowed = false // the user may no longer sign in. Case P9.
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
	allowed = true
	_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"read"}})
	require.NoError(t, err)
	require.Equal(t, 403, get(h, "Bearer "+key).Code)
}

// A scope may contain characters with a special meaning in HTML or templates. These characters must
// not break the WWW-Authenticate header or the JSON body. Case P10.
func TestP10ScopesEscaped(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).RequireScopes("a,b=<c>;'&", "{{.}}%0d%0a")(forbidden(t))
	w := get(h, "Bearer "+key)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="a,b=<c>;'& {{.}}%0d%0a"`, w.Header().Get("WWW-Authenticate"))
	require.Contains(t, problemOf(t, w).Detail, "a,b=<c>;'& {{.}}%0d%0a")
}

// Optional must accept a request without credentials, and must reject an invalid key.
func TestOptional(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Optional(whoami)
	require.Equal(t, "nobody", get(h).Body.String())
	require.Equal(t, "nobody", get(h, "Basic abc").Body.String())
	w := get(h, "Bearer "+key)
	require.Equal(t, "u", w.Body.String())
	require.Equal(t, "Authorization", w.Header().Get("Vary")) // HTTP caches must not send a user's response to another user
	require.Equal(t, "Authorization", get(h).Header().Get("Vary"))
	require.NoError(t, m.Revoke(ctx, "u", token.ID))
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
}

// StatusCode must return the right status for each error of the package, even if the error is
// wrapped. Errors with status 400, 404 or 409 must not wrap ErrInvalidKey.
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
}
