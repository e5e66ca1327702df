package tokenapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// badResources are values of the member resources that the API must refuse.
var badResources = []string{
	`[]`, `"p1"`, `{"p1":true}`, `1`, `false`, `["p1",2]`, `["p1",null]`, `[null]`, `[""]`, `["p1 p2"]`, `["é"]`, `["p9"]`, `["P1"]`,
	`["` + strings.Repeat("x", 256) + `"]`, `["p1","p1 "]`,
}

// A request without resources, or with null, must create a token for all resources. An empty list
// must not do so: a program that computes the list would create a token that can do too much.
func TestCreateRestrictsToken(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects}, tokenapi.Options{})
	for body, want := range map[string][]string{
		`{"name":"absent"}`:                                  nil,
		`{"name":"null","resources":null}`:                   nil,
		`{"name":"one","resources":["p2"]}`:                  {"p2"},
		`{"name":"several","resources":["p3","p1","p3"]}`:    {"p1", "p3"},
		`{"resources":["p1"],"name":"first","scopes":["a"]}`: {"p1"},
	} {
		w := send(t, s.mux, "POST", "/api/tokens", body, as("ada"))
		require.Equal(t, http.StatusCreated, w.Code, "%s: %s", body, w.Body)
		require.Contains(t, w.Body.String(), `"resources":`, "the response tells even if the token is not restricted")
		made := decode[token](t, w)
		require.Equal(t, want, made.Resources, body)
		stored, err := s.Manager.Authenticate(t.Context(), made.Key)
		require.NoError(t, err)
		require.Equal(t, want, stored.Resources, body)
	}
	before := len(s.all(t))
	for _, bad := range badResources {
		w := send(t, s.mux, "POST", "/api/tokens", `{"name":"bad","resources":`+bad+`}`, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, bad)
		require.Equal(t, "#/resources", field(t, w), bad)
	}
	require.Len(t, s.all(t), before)
}

// In a PATCH request, an absent member must leave the restriction unchanged, and only null may
// remove it. Otherwise a request to rename a token could make it valid for all resources.
func TestUpdateChangesResources(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects}, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ci", Resources: []string{"p1", "p2"}})
	target := "/api/tokens/" + made.ID
	for _, c := range []struct {
		body string
		want []string
	}{
		{`{"name":"x"}`, []string{"p1", "p2"}},
		{`{"scopes":[]}`, []string{"p1", "p2"}},
		{`{"resources":["p3","p2"]}`, []string{"p2", "p3"}},
		{`{"resources":null}`, nil},
		{`{"name":"y"}`, nil},
		{`{"resources":["p1"],"name":"z"}`, []string{"p1"}},
	} {
		w := send(t, s.mux, "PATCH", target, c.body, as("ada"))
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", c.body, w.Body)
		require.Equal(t, c.want, decode[token](t, w).Resources, c.body)
	}
	for _, bad := range badResources {
		w := send(t, s.mux, "PATCH", target, `{"name":"bad","resources":`+bad+`}`, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, bad)
		require.Equal(t, "#/resources", field(t, w), bad)
	}
	now := decode[token](t, send(t, s.mux, "GET", target, "", as("ada")))
	require.Equal(t, []string{"p1"}, now.Resources)
	require.Equal(t, "z", now.Name)
}

// A token that can manage tokens may remove resources from a token, but may never add one.
// Otherwise somebody who finds the key could widen every other token.
// Case A5.
func TestTokenAddsNoResources(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects}, tokenapi.Options{ManageScope: manageScope})
	key, own := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}})
	for _, c := range []struct {
		before []string
		body   string
		status int
		after  []string
	}{
		{[]string{"p1", "p2"}, `{"resources":null}`, 403, nil},
		{[]string{"p1", "p2"}, `{"resources":["p1","p3"]}`, 403, nil},
		{[]string{"p1", "p2"}, `{"resources":["p3"]}`, 403, nil},
		{[]string{"p1", "p2"}, `{"resources":["p1","p2","p3"],"name":"x"}`, 403, nil},
		{[]string{"p1", "p2"}, `{"resources":[]}`, 400, nil},
		{[]string{"p1", "p2"}, `{"resources":["p2"]}`, 200, []string{"p2"}},
		{[]string{"p1", "p2"}, `{"resources":["p2","p1"]}`, 200, []string{"p1", "p2"}},
		{[]string{"p1", "p2"}, `{"name":"renamed"}`, 200, []string{"p1", "p2"}},
		{nil, `{"resources":null}`, 200, nil},
		{nil, `{"resources":["p3"]}`, 200, []string{"p3"}},
		{nil, `{"resources":[]}`, 400, nil},
	} {
		_, target := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "target", Resources: c.before})
		w := send(t, s.mux, "PATCH", "/api/tokens/"+target.ID, c.body, with(key))
		require.Equal(t, c.status, w.Code, "%v %s: %s", c.before, c.body, w.Body)
		now, err := s.Manager.Get(t.Context(), "ada", target.ID)
		require.NoError(t, err)
		if c.status == http.StatusOK {
			require.Equal(t, c.after, now.Resources, "%v %s", c.before, c.body)
		} else {
			require.Equal(t, "#/resources", field(t, w), "%v %s", c.before, c.body)
			require.Equal(t, target, now, "%v %s", c.before, c.body)
		}
		require.NoError(t, s.Manager.Revoke(t.Context(), "ada", target.ID))
	}
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"made","resources":["p1"]}`, with(key))
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	require.Equal(t, []string{"p1"}, decode[token](t, w).Resources)

	// A token that restricts itself cannot manage tokens any more.
	require.Equal(t, http.StatusOK, send(t, s.mux, "PATCH", "/api/tokens/"+own.ID, `{"resources":["p1"]}`, with(key)).Code)
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "PATCH", "/api/tokens/"+own.ID, `{"resources":null}`, with(key)).Code)
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "POST", "/api/tokens", `{"name":"x"}`, with(key)).Code)
}

// A token that is restricted to resources must not manage tokens, even with the ManageScope,
// because a new token could be valid for all resources. It must not revoke the other tokens of its
// user. It may revoke itself.
// Case A5.
func TestRestrictedTokenManagesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{Resources: projects}, tokenapi.Options{ManageScope: manageScope})
	key, own := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "p1", Scopes: []string{manageScope}, Resources: []string{"p1"}})
	_, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "other", Resources: []string{"p1"}})
	before := s.all(t)
	for _, id := range []string{own.ID, other.ID} {
		for _, request := range [][3]string{
			{"GET", "/tokens", ""},
			{"HEAD", "/tokens", ""},
			{"POST", "/tokens", `{"name":"x","resources":["p1"]}`},
			{"DELETE", "/tokens", ""},
			{"GET", "/tokens/" + id, ""},
			{"HEAD", "/tokens/" + id, ""},
			{"PATCH", "/tokens/" + id, `{"name":"x"}`},
			{"PATCH", "/tokens/" + id, `{"resources":["p1"]}`},
			{"DELETE", "/tokens/" + id, ""},
			{"POST", "/tokens/" + id + "/rotate", `{"generation":1}`},
			{"POST", "/logout-all", ""},
		} {
			w := send(t, s.mux, request[0], "/api"+request[1], request[2], with(key))
			require.Equal(t, http.StatusForbidden, w.Code, "%v: %s", request, w.Body)
			require.Equal(t, `Bearer realm="api", error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"), request)
		}
	}
	require.Equal(t, before, s.all(t))
	require.Equal(t, http.StatusOK, send(t, s.mux, "GET", "/api/openapi.json", "", with(key)).Code)
	require.Equal(t, http.StatusNotFound, send(t, s.mux, "GET", "/api/x", "", with(key)).Code)
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "GET", "/staff/tokens", "", with(key), as("root")).Code)
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout", "", with(key)).Code)
	require.False(t, s.works(key))
	require.Zero(t, s.get(t, other).RevokedAt)
}

// If the service offers no resources, a request with resources gets 400. If it cannot tell them at
// the moment, the response is 503, and the cause is only for the log. Stored restrictions stay.
func TestResourcesOfServiceAreUsed(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"x","resources":["p1"]}`, as("ada"))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, "#/resources", field(t, w))
	require.Equal(t, http.StatusCreated, send(t, s.mux, "POST", "/api/tokens", `{"name":"x","resources":null}`, as("ada")).Code)

	broken := func(_ context.Context, userID string) ([]tokenauth.Resource, error) {
		require.Equal(t, "ada", userID)
		return nil, errInternal
	}
	s = newService(t, &tokenauth.Options{Resources: broken}, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, request := range [][2]string{{"POST", "/api/tokens"}, {"PATCH", "/api/tokens/" + made.ID}} {
		w := send(t, s.mux, request[0], request[1], `{"name":"y","resources":["p1"]}`, as("ada"))
		require.Equal(t, http.StatusServiceUnavailable, w.Code, request)
		require.NotEmpty(t, w.Header().Get("Retry-After"), "nothing can have been created")
	}
	require.Equal(t, http.StatusOK, send(t, s.mux, "PATCH", "/api/tokens/"+made.ID, `{"name":"y"}`, as("ada")).Code)
	require.Len(t, s.logged, 2)
	require.ErrorIs(t, s.logged[0], errInternal)
	require.Len(t, s.all(t), 1)
}
