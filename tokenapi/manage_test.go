package tokenapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// Somebody who finds a token that can manage tokens must not get more rights than that token has.
// Case A5.
func TestA5_ATokenGrantsNoMoreThanItHas(t *testing.T) {
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
		{"rotate itself", "POST", own.ID + "/rotate", `{"generation":1,"grace_seconds":3600}`, 200},
		{"more scopes for a weaker token", "PATCH", weaker.ID, `{"scopes":["write"]}`, 403},
		{"no expiry for a weaker token", "PATCH", weaker.ID, `{"expires_at":null}`, 403},
		{"fewer scopes for a weaker token", "PATCH", weaker.ID, `{"scopes":[]}`, 200},
		{"rotate a weaker token", "POST", weaker.ID + "/rotate", `{"generation":1}`, 200},
		{"rotate without a generation", "POST", weaker.ID + "/rotate", `{"grace_seconds":3600}`, 400},
		{"rotate with an empty body", "POST", own.ID + "/rotate", `{}`, 400},
		{"rotate a token with more scopes", "POST", broader.ID + "/rotate", `{"generation":1}`, 403},
		{"change a token with more scopes", "PATCH", broader.ID, `{"scopes":["read"]}`, 403},
		{"rotate a token without expiry", "POST", longer.ID + "/rotate", `{"generation":1}`, 403},
		{"read a token with more scopes", "GET", broader.ID, "", 200},
		{"revoke a token with more scopes", "DELETE", broader.ID, "", 204},
		{"token of another user", "GET", eves.ID, "", 404},
		{"token of another user", "PATCH", eves.ID, `{"name":"x"}`, 404},
		{"token of another user", "POST", eves.ID + "/rotate", `{"generation":1}`, 404},
		{"token of another user", "DELETE", eves.ID, "", 404},
	} {
		target := "/api/tokens"
		if c.target != "" {
			target += "/" + c.target
		}
		// The request has a session too, which must not add rights to those of the key.
		w := send(t, s.mux, c.method, target, c.body, with(key), as("eve"))
		require.Equal(t, c.status, w.Code, "%s: %s", c.name, w.Body)
	}
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"third"}`, with(key))
	require.Equal(t, "2026-03-02T12:00:00Z", *decode[token](t, w).ExpiresAt, "the new token expires with the token that created it")
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "GET", "/staff/tokens", "", with(key), as("root")).Code)

	now, err := s.Manager.Get(context.Background(), "ada", own.ID)
	require.NoError(t, err)
	require.Equal(t, own.Scopes, now.Scopes)
	require.Equal(t, own.ExpiresAt, now.ExpiresAt)
	_, err = s.Manager.Get(context.Background(), "eve", eves.ID)
	require.NoError(t, err)
}

// Case A5.
func TestA5_ATokenWithoutTheScopeManagesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ci", Scopes: []string{"read"}})
	w := send(t, s.mux, "GET", "/api/tokens", "", with(key))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="tokens:manage"`, w.Header().Get("WWW-Authenticate"))
}

// A token that never expires may create tokens that never expire. Case A5.
func TestA5_AnEndlessToken(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{DefaultTTL: time.Hour}, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}, NoExpiry: true})
	endless := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"a","expires_at":null}`, with(key)))
	require.Nil(t, endless.ExpiresAt)
	byPolicy := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"b"}`, with(key)))
	require.Equal(t, "2026-03-01T13:00:00Z", *byPolicy.ExpiresAt)
}

// If the request has no expiry, the Options of the Manager set the expiry of the new token. The new
// token must not expire later than the token that creates it. Case A5.
func TestA5_TheEndThatIsNotGiven(t *testing.T) {
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

// A client repeats a rotation because the response was lost. The second request must not end the
// grace of the previous key, or the client would be locked out.
func TestRotateCanBeRepeated(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	for name, by := range map[string]func(key string) header{
		"by session": func(string) header { return as("ada") },
		"by token":   with,
	} {
		key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name, Scopes: []string{manageScope}})
		for _, want := range []int{http.StatusOK, http.StatusConflict} {
			w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"generation":1,"grace_seconds":60}`, by(key))
			require.Equal(t, want, w.Code, name)
			require.True(t, s.works(key), name)
		}
	}
}

// If a session identifies the user, a request to rotate needs no member and no body.
func TestRotateWithoutBody(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", nil)
	r.Header.Set("X-User", "ada")
	w := apitest.Do(t, s.mux, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.True(t, s.works(keyIn(w)))
	require.False(t, s.works(key))
	require.Equal(t, http.StatusOK, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", "", as("ada")).Code, "a request to rotate may have an empty body and a Content-Type")
	r = httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader("")) // curl -d '' sends such a request
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, apitest.Do(t, s.mux, r).Code, "a request to rotate may have an empty body and the Content-Type of a form")
	require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", " ", as("ada")).Code)
}

// If middleware has already read the body, the API must refuse to rotate. The body may have had a
// grace, and a rotation without a grace would lock the client out.
func TestRotateWithLostBody(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader(`{"grace_seconds":3600}`))
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/json")
	_, err := io.Copy(io.Discard, r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, apitest.Do(t, s.mux, r).Code)
	require.True(t, s.works(key))
}

// Staff can list, read and revoke the tokens of all users. Every request of staff must name the
// user, except a request to list the tokens of all users.
func TestStaff(t *testing.T) {
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

func TestLogout(t *testing.T) {
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
