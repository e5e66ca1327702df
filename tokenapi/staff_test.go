package tokenapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// Staff can list, read and revoke the tokens of all users. Every request of staff must name the
// user, except a request to list the tokens of all users.
func TestStaffReadsAndRevokesOnly(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, adas := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	s.Clock.Advance(time.Second)
	evesKey, eves := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "laptop"})
	root := as("root")

	for _, user := range []string{"", "ada"} {
		require.Equal(t, http.StatusForbidden, send(t, s.mux, "GET", "/staff/tokens", "", as(user)).Code)
	}
	require.Equal(t, http.StatusServiceUnavailable, send(t, s.mux, "GET", "/staff/tokens", "", as("broken")).Code)
	all, _ := collect(t, s, "/staff/tokens?limit=1", root)
	require.Equal(t, []string{"ada", "eve"}, []string{all[0].UserID, all[1].UserID})
	require.Len(t, decode[page](t, send(t, s.mux, "GET", "/staff/tokens?user_id=eve", "", root)).Tokens, 1)

	// A request without a valid user_id must change nothing. It must not revoke the tokens of all
	// users.
	for _, request := range [][3]string{
		{"GET", "/staff/tokens?user_id=", ""},
		{"GET", "/staff/tokens?user_id=a&user_id=b", ""},
		{"DELETE", "/staff/tokens", ""},
		{"DELETE", "/staff/tokens?user_id=", ""},
		{"GET", "/staff/tokens/" + adas.ID, ""},
		{"DELETE", "/staff/tokens/" + adas.ID, ""},
	} {
		w := send(t, s.mux, request[0], request[1], request[2], root)
		require.Equal(t, http.StatusBadRequest, w.Code, request)
		require.Equal(t, "user_id", field(t, w), request)
	}
	require.Equal(t, http.StatusNotFound, send(t, s.mux, "DELETE", "/staff/tokens/"+adas.ID+"?user_id=eve", "", root).Code)

	// Staff must not be able to get a key of another user, or to add rights to such a key.
	eve := "?user_id=eve"
	for _, request := range [][3]string{
		{"POST", "/staff/tokens" + eve, `{"name":"created by staff"}`},
		{"PATCH", "/staff/tokens/" + eves.ID + eve, `{"scopes":["admin"]}`},
		{"POST", "/staff/tokens/" + eves.ID + "/rotate" + eve, `{}`},
	} {
		w := send(t, s.mux, request[0], request[1], request[2], root)
		require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed}, w.Code, request)
		require.Empty(t, keyIn(w), request)
	}
	require.Equal(t, eves.Name, decode[token](t, send(t, s.mux, "GET", "/staff/tokens/"+eves.ID+eve, "", root)).Name)
	require.True(t, s.works(evesKey))
	require.JSONEq(t, `{"revoked":1}`, send(t, s.mux, "DELETE", "/staff/tokens"+eve, "", root).Body.String())
	require.False(t, s.works(evesKey))
	require.Equal(t, http.StatusNotFound, send(t, s.mux, "POST", "/staff/logout", "", root).Code)
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "DELETE", "/staff/tokens/"+adas.ID+"?user_id=ada", "", root).Code)
}
