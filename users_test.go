package tokenauth_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// This file tests the user lookup, which is the function passed to NewAuthenticator. The
// Authenticator calls it for each request with a valid key.

// If the user lookup reports that the user may not sign in, the response must be the same as for an
// invalid key. If the user lookup fails, the status must be 503. Cases U1, U3, U4, U5.
func TestUserLookup(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	unknown := get(must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(forbidden(t)), "Bearer x")
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
			auth := must.Get(tokenauth.NewAuthenticator(m, find, nil))
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
			_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{})
			require.Equal(t, c.want, tokenauth.StatusCode(noted(err)))
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
		})
	}
}

// The Authenticator must not cache users. After the service deletes a user, the next request with
// that user's key must be rejected. If the same person gets a new user ID, the old key must stay
// invalid. Cases U2, U6.
func TestU2U6UsersAreAskedEachTime(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	users := map[string]*user{"1": {ID: "1"}}
	h := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) { return users[id], nil }, nil)).Require(whoami)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	delete(users, "1")
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
	users["2"] = &user{ID: "2"} // the same person with a new user ID
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
}

// statusFor returns the status for a request whose user lookup returns u.
func statusFor[U any](t *testing.T, u U) int {
	t.Helper()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	auth := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (U, error) { return u, nil }, nil))
	_, _, err := auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{})
	return tokenauth.StatusCode(noted(err))
}

// If the user lookup returns a nil user or a zero value and no error, the request must be rejected.
// Otherwise a lookup that forgets to return ErrNoUser would let unknown users in. Case U4.
func TestU4NilUsers(t *testing.T) {
	t.Parallel()
	type account struct{ ID, Name string }
	require.Equal(t, 401, statusFor[*account](t, nil), "status if the user lookup returns a nil pointer")
	require.Equal(t, 401, statusFor[fmt.Stringer](t, nil), "status if the user lookup returns a nil interface")
	require.Equal(t, 401, statusFor[fmt.Stringer](t, (*time.Location)(nil)), "status if the user lookup returns a nil pointer in an interface")
	require.Equal(t, 401, statusFor[any](t, account{}), "status if the user lookup returns a zero struct in an interface")
	require.Equal(t, 401, statusFor[map[string]any](t, nil), "status if the user lookup returns a nil map")
	require.Equal(t, 401, statusFor(t, account{}), "status if the user lookup returns a zero struct")
	require.Equal(t, 401, statusFor(t, ""), "status if the user lookup returns a zero string")
	require.Equal(t, 401, statusFor(t, 0), "status if the user lookup returns a zero number")
	require.Equal(t, 401, statusFor(t, [2]string{}), "status if the user lookup returns a zero array")

	require.Equal(t, 200, statusFor(t, &account{}), "status if the user lookup returns a pointer to a zero struct")
	require.Equal(t, 200, statusFor[any](t, &account{}))
	require.Equal(t, 200, statusFor(t, account{Name: "Ada"}))
	require.Equal(t, 200, statusFor(t, map[string]any{}))
	require.Equal(t, 200, statusFor(t, struct{}{}), "status if the user type has size zero, so that its only value is the zero value")
	require.Equal(t, 200, statusFor[any](t, struct{}{}))
}

// The user lookup must receive the user ID of the token. The Authenticator must not call it for an
// invalid key. Cases U6, U9.
func TestU6U9LookupGetsTheUserID(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "n"})
	gone, token := issue(t, m, tokenauth.Spec{UserID: "org:7/ü", Name: "gone"})
	require.NoError(t, m.Revoke(ctx, "org:7/ü", token.ID))
	var asked []string
	h := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) {
		asked = append(asked, id)
		return &user{ID: id}, nil
	}, nil)).Require(whoami)
	for _, header := range []string{"", "Bearer x", "Bearer " + gone, "Bearer " + key[:len(key)-1], "Bearer " + key} {
		get(h, header)
	}
	require.Equal(t, []string{"org:7/ü"}, asked)
}

// The Authenticator must not recover a panic of the user lookup, so that net/http can recover and
// log it. The handler must not run. Case U7.
func TestU7LookupPanics(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := must.Get(tokenauth.NewAuthenticator(m, func(context.Context, string) (*user, error) { panic("boom") }, nil)).Require(forbidden(t))
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) })
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) }) // the first panic must leave no lock held
}

// A canceled request must cancel the context of its user lookup. A slow user lookup must not delay
// other requests. Case U8.
func TestU8SlowLookup(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "slow", Name: "n"})
	other, _ := issue(t, m, tokenauth.Spec{UserID: "quick", Name: "n"})
	waiting := make(chan struct{})
	h := must.Get(tokenauth.NewAuthenticator(m, func(ctx context.Context, id string) (*user, error) {
		if id == "slow" {
			close(waiting)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &user{ID: id}, nil
	}, nil)).Require(whoami)
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

// A context that no middleware has set must hold no user and no token. Each Authenticator must
// store its user separately in the context. A context from NewContext must not authenticate a
// request. Case U10.
func TestU10Context(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, issued := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	calls := 0
	outer := must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) { calls++; return &user{ID: id}, nil }, nil))
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
	require.Equal(t, 200, get(outer.Require(outer.Optional(outer.RequireScopes("a")(inner.Require(check)))), "Bearer "+key).Code)
	require.Equal(t, 1, calls, "each Authenticator must look up the user once per request")

	forged := outer.NewContext(ctx, &user{ID: "admin"}, tokenauth.Token{ID: "x", UserID: "admin", Scopes: []string{"a"}})
	r := httptest.NewRequestWithContext(forged, "GET", "/", nil)
	require.Equal(t, "admin", serve(whoami, r).Body.String())
	require.Equal(t, 401, serve(outer.Require(forbidden(t)), r).Code)
	require.Equal(t, 401, serve(outer.RequireScopes("a")(forbidden(t)), r).Code)
	_, _, err := outer.Confirm(forged, tokenauth.Need{})
	require.ErrorIs(t, err, tokenauth.ErrNoKey)
}
