package tokenapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A program must be able to read and rotate its own token with the SelfScope alone, also if the
// token is restricted to resources. The rotation keeps the restriction.
func TestTokenReadsAndRotatesItself(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects, TouchEvery: -1}, tokenapi.Options{SelfScope: selfScope})
	for name, resources := range map[string][]string{"all": nil, "p1": {"p1"}} {
		key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name, Scopes: []string{selfScope}, Resources: resources})
		w := send(t, s.mux, "GET", "/api/tokens/self", "", with(key), as("eve"))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		own := decode[token](t, w)
		require.Equal(t, made.ID, own.ID)
		require.Equal(t, resources, own.Resources)
		require.Empty(t, keyIn(w))
		require.Equal(t, w.Header(), send(t, s.mux, "HEAD", "/api/tokens/self", "", with(key)).Header())

		w = send(t, s.mux, "POST", "/api/tokens/self/rotate", `{"generation":1,"grace_seconds":60}`, with(key), as("eve"))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		rotated := decode[token](t, w)
		require.Equal(t, made.ID, rotated.ID)
		require.Equal(t, 2, rotated.Generation)
		require.Equal(t, resources, rotated.Resources)
		require.Equal(t, s.Clock.Now().Add(time.Minute).Format(time.RFC3339), *rotated.PreviousKeyUntil)
		require.True(t, s.works(rotated.Key))
		require.True(t, s.works(key))
	}
}

// A client that lost the new key still has the previous key. Within the grace, it must be able to
// read the generation and to rotate again. After a second lost response, it must be locked out:
// otherwise a thief of an old key could come back at any time.
func TestPreviousKeyRotatesItselfOnce(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{SelfScope: selfScope})
	first, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ci", Scopes: []string{selfScope}})
	rotate := func(key, generation string) *httptest.ResponseRecorder {
		return send(t, s.mux, "POST", "/api/tokens/self/rotate", `{"grace_seconds":60,"generation":`+generation+`}`, with(key))
	}
	require.Equal(t, http.StatusOK, rotate(first, "1").Code) // its response is lost
	w := send(t, s.mux, "GET", "/api/tokens/self", "", with(first))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, 2, decode[token](t, w).Generation)
	require.Equal(t, http.StatusConflict, rotate(first, "1").Code, "a repeated request must not rotate again")
	w = rotate(first, "2")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.True(t, s.works(keyIn(w)))
	require.False(t, s.works(first))
	require.Equal(t, http.StatusUnauthorized, send(t, s.mux, "GET", "/api/tokens/self", "", with(first)).Code)

	second := keyIn(w)
	require.Equal(t, http.StatusOK, rotate(second, "3").Code)
	s.Clock.Advance(time.Minute)
	require.Equal(t, http.StatusUnauthorized, rotate(second, "4").Code, "the grace has passed")
}

// The routes must serve only a presented key with the SelfScope. Without a generation, a repeated
// request would replace the key twice, and the client would keep a key that no longer works.
// Case A5.
func TestSelfRoutesRefuseOtherRequests(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects}, tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "self", Scopes: []string{selfScope}, Resources: []string{"p1"}})
	manager, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}})
	_, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "other"})
	ended, dead := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ended", Scopes: []string{selfScope}})
	require.NoError(t, s.Manager.Revoke(t.Context(), "ada", dead.ID))
	before := s.all(t)
	for _, c := range []struct {
		by                   header
		method, target, body string
		status               int
	}{
		{as("ada"), "GET", "/self", "", 401},
		{as("ada"), "POST", "/self/rotate", `{"generation":1}`, 401},
		{with(ended), "GET", "/self", "", 401},
		{with(ended), "POST", "/self/rotate", `{"generation":1}`, 401},
		{with(manager), "GET", "/self", "", 403},
		{with(manager), "POST", "/self/rotate", `{"generation":1}`, 403},
		{with(key), "POST", "/self/rotate", "", 400},
		{with(key), "POST", "/self/rotate", `{}`, 400},
		{with(key), "POST", "/self/rotate", `{"grace_seconds":60}`, 400},
		{with(key), "POST", "/self/rotate", `{"generation":null}`, 400},
		{with(key), "POST", "/self/rotate", `{"generation":1,"grace_seconds":2592001}`, 400},
		{with(key), "POST", "/self/rotate", `{"generation":0}`, 409},
		{with(key), "POST", "/self/rotate", `{"generation":2}`, 409},
		// The ID "self" must reach no other route.
		{with(key), "PATCH", "/self", `{"name":"x"}`, 405},
		{with(key), "DELETE", "/self", "", 405},
		{with(key), "POST", "/self", "", 405},
		{with(key), "GET", "/self/rotate", "", 405},
		{as("ada"), "PATCH", "/self", `{"name":"x"}`, 405},
		{as("ada"), "DELETE", "/self", "", 405},
		{with(manager), "DELETE", "/self", "", 405},
		// The SelfScope gives no right to any token by its ID.
		{with(key), "GET", "", "", 403},
		{with(key), "POST", "", `{"name":"x"}`, 403},
		{with(key), "GET", "/" + other.ID, "", 403},
		{with(key), "POST", "/" + other.ID + "/rotate", `{"generation":1}`, 403},
	} {
		w := send(t, s.mux, c.method, "/api/tokens"+c.target, c.body, c.by)
		require.Equal(t, c.status, w.Code, "%s %s %s by %s: %s", c.method, c.target, c.body, c.by[0], w.Body)
		require.Empty(t, keyIn(w))
	}
	require.Equal(t, before, s.all(t))
	w := send(t, s.mux, "PUT", "/api/tokens/self", "", with(key))
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
}

// Without a SelfScope, the routes must be off for every token.
func TestSelfRoutesAreOffByDefault(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "x", Scopes: []string{manageScope, selfScope}})
	before := s.all(t)
	for _, request := range [][2]string{{"GET", "/api/tokens/self"}, {"POST", "/api/tokens/self/rotate"}} {
		w := send(t, s.mux, request[0], request[1], `{"generation":1}`, with(key))
		require.Equal(t, http.StatusForbidden, w.Code, request)
		require.Contains(t, w.Body.String(), "Tokens cannot manage tokens here.")
		require.Equal(t, http.StatusUnauthorized, send(t, s.mux, request[0], request[1], "", as("ada")).Code, request)
	}
	require.Equal(t, before, s.all(t))
}

// A client with an old key gives the next generation, and the owner rotates the token in that
// moment. The client must not replace the owner's new key. The generation that the client gives
// must be the one that the token had when its key was confirmed.
// Case A5.
func TestSelfRotationTakesNothingOver(t *testing.T) {
	t.Parallel()
	for call := 1; call <= 2; call++ { // List confirms the key, then List reads the token to rotate
		x := newRace(t)
		var key tokenauth.Key
		x.after("List", call, func() {
			var err error
			key, _, err = x.owner.Rotate(context.Background(), "ada", x.token.ID, time.Hour)
			require.NoError(t, err)
		})
		for _, generation := range []string{"2", "3"} {
			w := send(t, x.api, "POST", "/api/tokens/self/rotate", `{"generation":`+generation+`}`, with(x.key))
			require.Equal(t, http.StatusConflict, w.Code, w.Body)
			if key.Reveal() != "" {
				_, err := x.owner.Authenticate(t.Context(), key.Reveal())
				require.NoError(t, err)
				break
			}
		}
	}
}

// A token that loses the SelfScope or is revoked while its request arrives must not be rotated.
func TestSelfRotationUsesCurrentRights(t *testing.T) {
	t.Parallel()
	for status, change := range map[int]func(x *race) error{
		403: func(x *race) error {
			_, err := x.owner.Update(context.Background(), "ada", x.token.ID, tokenauth.Patch{Scopes: &[]string{"orders"}})
			return err
		},
		401: func(x *race) error { return x.owner.Revoke(context.Background(), "ada", x.token.ID) },
	} {
		x := newRace(t)
		x.after("Find", 1, func() { require.NoError(t, change(x)) })
		r := apitest.NewRequest("POST", "/api/tokens/self/rotate", `{"generation":1}`, with(x.key))
		w := apitest.Do(t, x.api, r)
		require.Equal(t, status, w.Code, w.Body)
		require.Zero(t, x.store.Count("Rotate"))
	}
}
