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
)

// This file tests the lookup of the service's users, which runs for every request.

// Cases U1, U3, U4, U5. If the user may not sign in, the response must be the same as for
// an invalid key. If the lookup fails, the status must be 503.
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

// Cases U2, U6. The Authenticator must not cache users. A disabled user is rejected on the
// next request. A new user with another ID does not inherit the tokens of the old user.
func TestU2U6UsersAreAskedEachTime(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	users := map[string]*user{"1": {ID: "1"}}
	h := tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (*user, error) { return users[id], nil }, nil).Require(whoami)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "1", Name: "n"})
	require.Equal(t, 200, get(h, "Bearer "+key).Code)
	delete(users, "1")
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
	users["2"] = &user{ID: "2"} // the same person with a new ID
	require.Equal(t, 401, get(h, "Bearer "+key).Code)
}

// Case U4. The Authenticator must reject a user that is nil, of any nilable type.
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

// Cases U6, U9. The lookup receives the user ID of the token. It must not run for an
// invalid key.
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

// Case U7. A panic in the lookup must reach the recovery of net/http, and the handler must
// not run.
func TestU7LookupPanics(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	h := tokenauth.NewAuthenticator(m, func(context.Context, string) (*user, error) { panic("boom") }, nil).Require(forbidden(t))
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) })
	require.PanicsWithValue(t, "boom", func() { get(h, "Bearer "+key) }) // the first panic must leave no lock held
}

// Case U8. A slow lookup must end when its request is canceled, and must not delay other
// requests.
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

// Case U10. Without the middleware, a context holds no user. With two Authenticators, it
// holds the user of the inner one. NewContext must not authenticate a request.
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
		token.Scopes[0] = "changed" // Case S20. The token is a copy.
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
