package tokenapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A request causes only the store calls of the Manager's method. The only additional calls
// authenticate a key, confirm it before and after the change, and compare the presented token with
// the token to change.
func TestRequestsCauseFewStoreCalls(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := must.Get(tokenauth.New(store, "acme", nil))
	issue := func(name string, scopes ...string) (key, target string) {
		k, made, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: name, Scopes: scopes})
		require.NoError(t, err)
		return k.Reveal(), "/api/tokens/" + made.ID
	}
	own, ownTarget := issue("own", manageScope, selfScope)
	_, one := issue("laptop")
	api := must.Get(tokenapi.New(newAuth(m, nil), signedIn, &tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope}))
	h := http.StripPrefix("/api", api)
	session, byKey := as("ada"), with(own)
	for _, c := range []struct {
		by                   header
		method, target, body string
		status               int
		calls                []string
	}{
		{session, "GET", "/api/tokens", "", 200, []string{"List"}},
		{session, "POST", "/api/tokens", `{"name":"x"}`, 201, []string{"List", "Create"}},
		{session, "GET", one, "", 200, []string{"List"}},
		{session, "PATCH", one, `{"name":"y"}`, 200, []string{"Update", "List"}},
		{session, "POST", one + "/rotate", `{}`, 200, []string{"List", "Rotate", "List"}},
		{session, "DELETE", "/api/tokens/", "", 404, nil},
		{session, "POST", "/api/tokens", `{"name":""}`, 400, nil},
		{byKey, "GET", "/api/tokens", "", 200, []string{"Find", "List", "List"}},
		{byKey, "POST", "/api/tokens", `{"name":"k"}`, 201, []string{"Find", "List", "List", "Create", "List"}},
		{byKey, "POST", "/api/tokens", `{"name":""}`, 400, []string{"Find", "List"}},
		{byKey, "GET", one, "", 200, []string{"Find", "List", "List"}},
		{byKey, "PATCH", one, `{"name":"l"}`, 200, []string{"Find", "List", "List", "Update", "List"}},
		{byKey, "POST", one + "/rotate", `{"generation":2}`, 403, []string{"Find", "List"}},
		{byKey, "PATCH", ownTarget, `{"name":"m"}`, 200, []string{"Find", "List", "Update", "List"}},
		{byKey, "DELETE", one, "", 204, []string{"Find", "List", "Revoke"}},
		{byKey, "POST", ownTarget + "/rotate", `{"generation":1,"grace_seconds":60}`, 200, []string{"Find", "List", "List", "Rotate", "List"}},
		{byKey, "GET", "/api/tokens/self", "", 200, []string{"Find", "List"}},
		{byKey, "POST", "/api/tokens/self/rotate", `{"generation":1}`, 409, []string{"Find", "List"}},
		{session, "GET", "/api/tokens/self", "", 401, nil},
		{byKey, "POST", "/api/logout", "", 204, []string{"Find", "List", "Revoke"}},
		{session, "DELETE", one, "", 204, []string{"Revoke"}},
		{session, "DELETE", "/api/tokens", "", 200, []string{"RevokeAll", "RevokeAll"}},
	} {
		store.ResetCalls()
		w := send(t, h, c.method, c.target, c.body, c.by)
		require.Equal(t, c.status, w.Code, "%s %s: %s", c.method, c.target, w.Body)
		require.Equal(t, c.calls, store.Calls(), "%s %s by %s", c.method, c.target, c.by[0])
	}
	key, _ := issue("phone", selfScope)
	store.ResetCalls()
	w := send(t, h, "POST", "/api/tokens/self/rotate", `{"generation":1}`, with(key))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, []string{"Find", "List", "List", "Rotate", "List"}, store.Calls())
	key = keyIn(w)
	store.ResetCalls()
	require.Equal(t, http.StatusNoContent, send(t, h, "POST", "/api/logout-all", "", with(key)).Code)
	require.Equal(t, []string{"Find", "List", "RevokeAll", "RevokeAll"}, store.Calls())
}
