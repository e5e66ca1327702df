package recipes

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// newAdmin returns a service with the routes of admins, and the routes that list and revoke a token
// of user 42 with this ID.
func newAdmin(t *testing.T, tokens *tokenauth.Manager, findUser func(context.Context, string) (*user, error), id string) (handler http.Handler, routes []string) {
	t.Helper()
	auth, err := tokenauth.NewAuthenticator(tokens, findUser, nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	adminRoutes(mux, auth)
	return mux, []string{"GET /admin/users/42/tokens", "DELETE /admin/users/42/tokens/" + id}
}

// findAdmin finds users. Only the user with the ID 1 is an admin.
func findAdmin(_ context.Context, id string) (*user, error) { return &user{id, id == "1"}, nil }

// Only admins may see and revoke the tokens of other users, and only with a key that has the scope.
func TestAdminRoutesServeOnlyAdmins(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	victim, id := issue(t, kit) // of user 42
	handler, routes := newAdmin(t, kit.Manager, findAdmin, id)
	status := func(route string, key tokenauth.Key) int { return send(handler, route+" "+key.Reveal()).Code }
	admin := kit.Issue("1", "admin")
	for _, route := range routes {
		require.Equal(t, http.StatusUnauthorized, send(handler, route).Code)
		require.Equal(t, http.StatusForbidden, status(route, kit.Issue("1")), "a key without the scope")
		require.Equal(t, http.StatusForbidden, status(route, kit.Issue("2", "admin")), "a user who is no admin")
	}
	response := send(handler, routes[0]+" "+admin.Reveal())
	require.Equal(t, http.StatusOK, response.Code)
	require.Contains(t, response.Body.String(), `"id":"`+id+`"`)
	require.NotContains(t, response.Body.String(), victim)
	require.Equal(t, http.StatusNotFound, status("DELETE /admin/users/43/tokens/"+id, admin))
	_, err := kit.Manager.Authenticate(t.Context(), victim)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, status(routes[1], admin))
	_, err = kit.Manager.Authenticate(t.Context(), victim)
	require.ErrorIs(t, err, tokenauth.ErrRevoked)
}

// An admin who loses the rights while a request is authenticated must not revoke tokens any more.
func TestAdminRoutesLookUpAdminAgain(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	victim, id := issue(t, kit)
	var lookups atomic.Int64
	handler, routes := newAdmin(t, kit.Manager, func(_ context.Context, id string) (*user, error) {
		return &user{id, lookups.Add(1) == 1}, nil
	}, id)
	for _, route := range routes {
		lookups.Store(0)
		require.Equal(t, http.StatusForbidden, send(handler, route+" "+kit.Issue("1", "admin").Reveal()).Code)
	}
	_, err := kit.Manager.Authenticate(t.Context(), victim)
	require.NoError(t, err)
}

// If another process revokes the token of an admin or takes the scope from it, the cache of this
// process must not let the admin in.
func TestAdminRoutesDoNotTrustCache(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil) // the other process
	cache, err := storecache.New(kit.Store, nil)
	require.NoError(t, err)
	tokens, err := tokenauth.New(cache, "test", &tokenauth.Options{Now: kit.Clock.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, tokens.Close(context.Background())) }()
	victim, id := issue(t, kit)
	handler, routes := newAdmin(t, tokens, findAdmin, id)
	for status, end := range map[int]func(id string) error{
		http.StatusUnauthorized: func(id string) error { return kit.Manager.Revoke(t.Context(), "1", id) },
		http.StatusForbidden: func(id string) error {
			_, err := kit.Manager.Update(t.Context(), "1", id, tokenauth.Patch{Scopes: &[]string{}})
			return err
		},
	} {
		admin := kit.Issue("1", "admin")
		require.Equal(t, http.StatusOK, send(handler, routes[0]+" "+admin.Reveal()).Code)
		token, err := tokens.Authenticate(t.Context(), admin.Reveal())
		require.NoError(t, err)
		require.NoError(t, end(token.ID))
		for _, route := range routes {
			require.Equal(t, status, send(handler, route+" "+admin.Reveal()).Code, route)
		}
	}
	_, err = kit.Manager.Authenticate(t.Context(), victim)
	require.NoError(t, err)
}

// A thief of an admin's previous key must not use it during the grace of a rotation.
func TestAdminRoutesRefusePreviousKey(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	victim, id := issue(t, kit)
	handler, routes := newAdmin(t, kit.Manager, findAdmin, id)
	previous := kit.Issue("1", "admin")
	token, err := kit.Manager.Authenticate(t.Context(), previous.Reveal())
	require.NoError(t, err)
	current, _, err := kit.Manager.Rotate(t.Context(), "1", token.ID, time.Hour)
	require.NoError(t, err)
	leak.Default.Secret(current.Reveal())
	for _, route := range routes {
		require.Equal(t, http.StatusForbidden, send(handler, route+" "+previous.Reveal()).Code)
	}
	_, err = kit.Manager.Authenticate(t.Context(), victim)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, send(handler, routes[1]+" "+current.Reveal()).Code)
}

// After an abuse of the routes, the log and the table must say which admin revoked which token.
func TestAdminRoutesNameAdmin(t *testing.T) {
	t.Parallel()
	var by []string
	kit := tokenauthtest.New(t, &tokenauth.Options{OnEvent: func(_ context.Context, e tokenauth.Event) { by = append(by, e.By) }})
	_, id := issue(t, kit)
	handler, routes := newAdmin(t, kit.Manager, findAdmin, id)
	require.Equal(t, http.StatusNoContent, send(handler, routes[1]+" "+kit.Issue("1", "admin").Reveal()).Code)
	revoked, err := kit.Manager.Get(t.Context(), "42", id)
	require.NoError(t, err)
	require.Equal(t, "staff:1", revoked.RevokedBy)
	require.Equal(t, []string{"", "", "staff:1"}, by)
}
