package tokenapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A token must name the actors that created and revoked it, so that after a leak its owner finds
// the tokens that the leaked token created. A key always names its token, even if the service has
// set an actor. Otherwise a token could create tokens in the name of a person. For a session, the
// actor of the service counts, for example the member who acts for an organization.
func TestChangesNameTheirActor(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	s := newService(t, &tokenauth.Options{OnEvent: events.Record}, tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope})
	key, own := s.issue(t, tokenauth.Spec{UserID: "org:7", Name: "own", Scopes: []string{manageScope, selfScope}})
	for _, c := range []struct {
		by      header
		outer   string // actor that the service has put into the context
		created string
	}{
		{as("org:7"), "", "user:org:7"},
		{as("org:7"), "user:42", "user:42"},
		{with(key), "", "token:" + own.ID},
		{with(key), "user:42", "token:" + own.ID},
	} {
		name := c.by[0] + c.outer
		do := func(method, target, body string, by header) token {
			r := apitest.NewRequest(method, target, body, by)
			if c.outer != "" {
				r = r.WithContext(tokenauth.ContextWithActor(r.Context(), c.outer))
			}
			w := apitest.Do(t, s.mux, r)
			require.Less(t, w.Code, 300, "%s %s: %s", method, target, w.Body)
			if w.Code == http.StatusNoContent {
				return token{}
			}
			return decode[token](t, w)
		}
		events.Take()
		made := do("POST", "/api/tokens", `{"name":"new"}`, c.by)
		require.Equal(t, c.created, made.CreatedBy, name)
		do("PATCH", "/api/tokens/"+made.ID, `{"name":"newer"}`, c.by)
		do("DELETE", "/api/tokens/"+made.ID, "", c.by)
		read := do("GET", "/api/tokens/"+made.ID, "", c.by)
		require.Equal(t, c.created, read.CreatedBy, name)
		require.Equal(t, c.created, read.RevokedBy, name)
		for _, e := range events.Take() {
			require.Equal(t, c.created, e.By, "%s: %s", name, e.Kind)
		}
	}

	for actor, want := range map[string]string{"": "staff", "staff:7": "staff:7"} {
		made := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"new"}`, as("org:7")))
		r := apitest.NewRequest("DELETE", "/staff/tokens/"+made.ID+"?user_id=org:7", "", as("root"))
		r = r.WithContext(tokenauth.ContextWithActor(r.Context(), actor)) // "" counts as no actor
		require.Equal(t, http.StatusNoContent, apitest.Do(t, s.mux, r).Code)
		revoked, err := s.Manager.Get(t.Context(), "org:7", made.ID)
		require.NoError(t, err)
		require.Equal(t, want, revoked.RevokedBy)
	}

	events.Take()
	w := send(t, s.mux, "POST", "/api/tokens/self/rotate", `{"generation":1}`, with(key))
	require.Equal(t, "token:"+own.ID, events.Take()[0].By)
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout", "", with(keyIn(w)), as("eve")).Code)
	require.Equal(t, "token:"+own.ID, s.get(t, own).RevokedBy)
}

// If the user of the session changes while the body arrives, the actor must be the user for whom
// the request acts.
func TestActorIsUserOfLastLook(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	users := []string{"ada", "eve", "eve"}
	api, err := tokenapi.New(s.auth, func(*http.Request) (string, error) {
		user := users[0]
		users = users[1:]
		return user, nil
	}, nil)
	require.NoError(t, err)
	w := send(t, http.StripPrefix("/api", api), "POST", "/api/tokens", `{"name":"x"}`)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	require.Equal(t, "eve", decode[token](t, w).UserID)
	require.Equal(t, "user:eve", decode[token](t, w).CreatedBy)
}

// After a leak, the token that the second look revokes must name its actor too.
func TestRevocationOfSecondLookNamesActor(t *testing.T) {
	t.Parallel()
	x := newRace(t)
	x.after("Create", 1, func() { require.NoError(t, x.owner.Revoke(t.Context(), "ada", x.token.ID)) })
	require.Equal(t, http.StatusUnauthorized, send(t, x.api, "POST", "/api/tokens", `{"name":"new"}`, with(x.key)).Code)
	all, err := x.owner.List(t.Context(), tokenauth.Query{UserID: "ada", CreatedBy: "token:" + x.token.ID, IncludeRevoked: true})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "token:"+x.token.ID, all[0].RevokedBy)
}
