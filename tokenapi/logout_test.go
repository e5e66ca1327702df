package tokenapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// /logout must end the presented token only, and /logout-all all tokens of its user. Otherwise a
// user who signs out on a lost device would still be signed in, or would sign out other users.
func TestLogoutRevokesPresentedToken(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{}) // without a ManageScope, tokens cannot manage tokens
	var keys []string
	for _, name := range []string{"laptop", "phone", "tablet"} {
		key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name})
		keys = append(keys, key)
	}
	evesKey, _ := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "laptop"})

	for _, target := range []string{"/api/logout", "/api/logout-all"} {
		require.Equal(t, http.StatusUnauthorized, send(t, s.mux, "POST", target, "", as("ada")).Code, "a session without a key has no token to revoke")
	}
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout", "", with(keys[0]), as("eve")).Code)
	require.Equal(t, []bool{false, true, true, true}, []bool{s.works(keys[0]), s.works(keys[1]), s.works(keys[2]), s.works(evesKey)})
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout-all", "", with(keys[1])).Code)
	require.Equal(t, []bool{false, false, true}, []bool{s.works(keys[1]), s.works(keys[2]), s.works(evesKey)})
}
