package tokenapi_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// Somebody who finds a token that can manage tokens must not get more rights than that token has.
// Case A5.
func TestTokenGrantsOnlyItsOwnRights(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	tomorrow := s.Clock.Now().Add(24 * time.Hour)
	key, own := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope, "read"}, ExpiresAt: tomorrow})
	_, weaker := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "weaker", Scopes: []string{"read"}, ExpiresAt: tomorrow})
	_, broader := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "broader", Scopes: []string{"read", "write"}, ExpiresAt: tomorrow})
	_, longer := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "longer"})
	_, eves := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "eve's"})

	for _, c := range []struct {
		name, method, target, body string
		status                     int
	}{
		{"more scopes", "POST", "", `{"name":"x","scopes":["read","write"]}`, 403},
		{"later expiry", "POST", "", `{"name":"x","expires_at":"2026-03-02T12:00:00.000001Z"}`, 403},
		{"no expiry", "POST", "", `{"name":"x","expires_at":null}`, 403},
		{"own scopes and expiry", "POST", "", `{"name":"x","scopes":["read","tokens:manage"],"expires_at":"2026-03-02T12:00:00Z"}`, 201},
		{"more scopes for itself", "PATCH", own.ID, `{"scopes":["read","write","tokens:manage"]}`, 403},
		{"later expiry for itself", "PATCH", own.ID, `{"expires_at":"2026-03-03T00:00:00Z"}`, 403},
		{"no expiry for itself", "PATCH", own.ID, `{"expires_at":null}`, 403},
		{"another name for itself", "PATCH", own.ID, `{"name":"m"}`, 200},
		{"more scopes for a weaker token", "PATCH", weaker.ID, `{"scopes":["write"]}`, 403},
		{"no expiry for a weaker token", "PATCH", weaker.ID, `{"expires_at":null}`, 403},
		{"fewer scopes for a weaker token", "PATCH", weaker.ID, `{"scopes":[]}`, 200},
		{"scopes that a weaker token had before", "PATCH", weaker.ID, `{"scopes":["read"]}`, 403},
		{"earlier expiry for a weaker token", "PATCH", weaker.ID, `{"expires_at":"2026-03-01T13:00:00Z"}`, 200},
		{"expiry that a weaker token had before", "PATCH", weaker.ID, `{"expires_at":"2026-03-02T12:00:00Z"}`, 403},
		{"rotate a weaker token", "POST", weaker.ID + "/rotate", `{"generation":1}`, 403},
		{"rotate without a generation", "POST", own.ID + "/rotate", `{"grace_seconds":3600}`, 400},
		{"rotate with an empty body", "POST", own.ID + "/rotate", `{}`, 400},
		{"rotate from the next generation", "POST", own.ID + "/rotate", `{"generation":2}`, 409},
		{"rotate a token with more scopes", "POST", broader.ID + "/rotate", `{"generation":1}`, 403},
		{"change a token with more scopes", "PATCH", broader.ID, `{"scopes":["read"]}`, 403},
		{"rotate a token without expiry", "POST", longer.ID + "/rotate", `{"generation":1}`, 403},
		{"read a token with more scopes", "GET", broader.ID, "", 200},
		{"revoke a token with more scopes", "DELETE", broader.ID, "", 204},
		{"token of another user", "GET", eves.ID, "", 404},
		{"token of another user", "PATCH", eves.ID, `{"name":"x"}`, 404},
		{"token of another user", "POST", eves.ID + "/rotate", `{"generation":1}`, 403},
		{"token of another user", "DELETE", eves.ID, "", 404},
		{"rotate itself", "POST", own.ID + "/rotate", `{"generation":1,"grace_seconds":3600}`, 200},
	} {
		target := "/api/tokens"
		if c.target != "" {
			target += "/" + c.target
		}
		// The request has a session too, which must not add rights to those of the key.
		w := send(t, s.mux, c.method, target, c.body, with(key), as("eve"))
		require.Equal(t, c.status, w.Code, "%s: %s", c.name, w.Body)
	}
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "GET", "/staff/tokens", "", with(key), as("root")).Code)

	now, err := s.Manager.Get(context.Background(), "ada", own.ID)
	require.NoError(t, err)
	require.Equal(t, own.Scopes, now.Scopes)
	require.Equal(t, own.ExpiresAt, now.ExpiresAt)
	_, err = s.Manager.Get(context.Background(), "eve", eves.ID)
	require.NoError(t, err)
}

// A token must not shorten the expiry of a token that outlives it. Otherwise somebody who finds the
// first token could bring the other token within its rights, and then replace that token's key.
// Case A5.
func TestTokenCannotShortenTokenThatOutlivesIt(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	now := s.Clock.Now()
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}, ExpiresAt: now.Add(24 * time.Hour)})
	for name, expires := range map[string]time.Time{"never": {}, "an hour later": now.Add(25 * time.Hour)} {
		othersKey, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name, ExpiresAt: expires})
		w := send(t, s.mux, "PATCH", "/api/tokens/"+other.ID, `{"expires_at":"2026-03-01T13:00:00Z"}`, with(key))
		require.Equal(t, http.StatusForbidden, w.Code, name)
		w = send(t, s.mux, "POST", "/api/tokens/"+other.ID+"/rotate", `{"generation":1}`, with(key))
		require.Equal(t, http.StatusForbidden, w.Code, name)
		require.True(t, s.works(othersKey), name)
		unchanged, err := s.Manager.Get(t.Context(), "ada", other.ID)
		require.NoError(t, err)
		require.Equal(t, other, unchanged, name)
	}
}

// A leaked token without the ManageScope must not list or change the other tokens of its user. The
// challenge names the missing scope.
// Case A5.
func TestTokenWithoutManageScopeManagesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ci", Scopes: []string{"read"}})
	w := send(t, s.mux, "GET", "/api/tokens", "", with(key))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="tokens:manage"`, w.Header().Get("WWW-Authenticate"))
}

// A token that never expires may create tokens that never expire. If the request has no expiry, the
// new token gets the DefaultTTL.
// Case A5.
func TestTokenWithoutExpiryCreatesTokensWithoutExpiry(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{DefaultTTL: time.Hour}, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}, NoExpiry: true})
	endless := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"a","expires_at":null}`, with(key)))
	require.Nil(t, endless.ExpiresAt)
	byDefault := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"b"}`, with(key)))
	require.Equal(t, "2026-03-01T13:00:00Z", *byDefault.ExpiresAt)
}

// If the request has no expiry, the Options of the Manager set the expiry of the new token. The new
// token must not expire later than the token that creates it.
// Case A5.
func TestNewTokenExpiresWithItsCreator(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options tokenauth.Options
		want    string
	}{
		"no policy":          {tokenauth.Options{}, "2026-03-02T12:00:00Z"},
		"an earlier default": {tokenauth.Options{DefaultTTL: time.Hour}, "2026-03-01T13:00:00Z"},
		"a later default":    {tokenauth.Options{DefaultTTL: 1000 * time.Hour}, "2026-03-02T12:00:00Z"},
		"a later limit":      {tokenauth.Options{MaxTTL: 1000 * time.Hour}, "2026-03-02T12:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, &c.options, tokenapi.Options{ManageScope: manageScope})
			key, _ := s.issue(t, tokenauth.Spec{
				UserID: "ada", Name: "manager", Scopes: []string{manageScope}, ExpiresAt: s.Clock.Now().Add(24 * time.Hour),
			})
			w := send(t, s.mux, "POST", "/api/tokens", `{"name":"x"}`, with(key))
			require.Equal(t, http.StatusCreated, w.Code, w.Body)
			made := decode[token](t, w)
			require.NotNil(t, made.ExpiresAt)
			require.Equal(t, c.want, *made.ExpiresAt)
			require.Equal(t, c.want, *decode[token](t, send(t, s.mux, "GET", "/api/tokens/"+made.ID, "", with(key))).ExpiresAt)
			require.True(t, s.works(made.Key))
		})
	}
}
