package recipes

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// Only admins may see and revoke the tokens of other users, and only with a key that has the scope.
func TestAdminRoutesServeOnlyAdmins(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	findUser := func(_ context.Context, id string) (*user, error) { return &user{id, id == "1"}, nil }
	auth, err := tokenauth.NewAuthenticator(kit.Manager, findUser, nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	adminRoutes(mux, auth)

	victim, id := issue(t, kit) // of user 42
	status := func(route string, key tokenauth.Key) int { return send(mux, route+" "+key.Reveal()).Code }
	admin := kit.Issue("1", "admin")
	list, revoke := "GET /admin/users/42/tokens", "DELETE /admin/users/42/tokens/"+id
	for _, route := range []string{list, revoke} {
		require.Equal(t, http.StatusUnauthorized, send(mux, route).Code)
		require.Equal(t, http.StatusForbidden, status(route, kit.Issue("1")), "a key without the scope")
		require.Equal(t, http.StatusForbidden, status(route, kit.Issue("2", "admin")), "a user who is no admin")
	}
	response := send(mux, list+" "+admin.Reveal())
	require.Equal(t, http.StatusOK, response.Code)
	require.Contains(t, response.Body.String(), `"id":"`+id+`"`)
	require.NotContains(t, response.Body.String(), victim)
	require.Equal(t, http.StatusNotFound, status("DELETE /admin/users/43/tokens/"+id, admin))
	require.Equal(t, http.StatusNoContent, status(revoke, admin))
	_, err = kit.Manager.Authenticate(t.Context(), victim)
	require.ErrorIs(t, err, tokenauth.ErrRevoked)
}
