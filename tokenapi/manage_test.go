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
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A leaked token that manages tokens must be worth no more than itself.
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
		{"longer life", "POST", "", `{"name":"x","expires_at":"2026-03-02T12:00:00.000001Z"}`, 403},
		{"endless life", "POST", "", `{"name":"x","expires_at":null}`, 403},
		{"own scopes and life", "POST", "", `{"name":"x","scopes":["read","tokens:manage"],"expires_at":"2026-03-02T12:00:00Z"}`, 201},
		{"more scopes for itself", "PATCH", own.ID, `{"scopes":["read","write","tokens:manage"]}`, 403},
		{"longer life for itself", "PATCH", own.ID, `{"expires_at":"2026-03-03T00:00:00Z"}`, 403},
		{"endless life for itself", "PATCH", own.ID, `{"expires_at":null}`, 403},
		{"a name for itself", "PATCH", own.ID, `{"name":"m"}`, 200},
		{"its own key", "POST", own.ID + "/rotate", `{"generation":1,"grace_seconds":3600}`, 200},
		{"more scopes for a weaker", "PATCH", weaker.ID, `{"scopes":["write"]}`, 403},
		{"longer life for a weaker", "PATCH", weaker.ID, `{"expires_at":null}`, 403},
		{"fewer scopes for a weaker", "PATCH", weaker.ID, `{"scopes":[]}`, 200},
		{"the key of a weaker", "POST", weaker.ID + "/rotate", `{"generation":1}`, 200},
		{"any key, without saying which", "POST", weaker.ID + "/rotate", `{"grace_seconds":3600}`, 400},
		{"any key, without a body", "POST", own.ID + "/rotate", `{}`, 400},
		{"the key of a broader", "POST", broader.ID + "/rotate", `{"generation":1}`, 403},
		{"a change to a broader", "PATCH", broader.ID, `{"scopes":["read"]}`, 403},
		{"the key of one that lives longer", "POST", longer.ID + "/rotate", `{"generation":1}`, 403},
		{"read a broader", "GET", broader.ID, "", 200},
		{"revoke a broader", "DELETE", broader.ID, "", 204},
		{"another user's", "GET", eves.ID, "", 404},
		{"another user's", "PATCH", eves.ID, `{"name":"x"}`, 404},
		{"another user's", "POST", eves.ID + "/rotate", `{"generation":1}`, 404},
		{"another user's", "DELETE", eves.ID, "", 404},
	} {
		target := "/api/tokens"
		if c.target != "" {
			target += "/" + c.target
		}
		// Who is signed in beside does not matter: the token is the weaker one.
		w := send(t, s.mux, c.method, target, c.body, with(key), as("eve"))
		require.Equal(t, c.status, w.Code, "%s: %s", c.name, w.Body)
	}
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"no expiry given"}`, with(key))
	require.Equal(t, "2026-03-02T12:00:00Z", *decode[token](t, w).ExpiresAt, "it ends with the token that made it")
	require.Equal(t, http.StatusForbidden, send(t, s.mux, "GET", "/staff/tokens", "", with(key), as("root")).Code)

	now, err := s.Manager.Get(context.Background(), "ada", own.ID)
	require.NoError(t, err)
	require.Equal(t, own.Scopes, now.Scopes)
	require.Equal(t, own.ExpiresAt, now.ExpiresAt)
	_, err = s.Manager.Get(context.Background(), "eve", eves.ID)
	require.NoError(t, err)
}

func TestA5_ATokenWithoutTheScopeManagesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "ci", Scopes: []string{"read"}})
	w := send(t, s.mux, "GET", "/api/tokens", "", with(key))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, `Bearer realm="api", error="insufficient_scope", scope="tokens:manage"`, w.Header().Get("WWW-Authenticate"))
}

// A token without an end may make others without one.
func TestA5_AnEndlessToken(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{DefaultTTL: time.Hour}, tokenapi.Options{ManageScope: manageScope})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "manager", Scopes: []string{manageScope}, NoExpiry: true})
	endless := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"a","expires_at":null}`, with(key)))
	require.Nil(t, endless.ExpiresAt)
	byPolicy := decode[token](t, send(t, s.mux, "POST", "/api/tokens", `{"name":"b"}`, with(key)))
	require.Equal(t, "2026-03-01T13:00:00Z", *byPolicy.ExpiresAt)
}

// What names no end ends as the policy says, but not after the token that makes it.
func TestA5_TheEndThatIsNotGiven(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options tokenauth.Options
		want    string
	}{
		"no policy":                {tokenauth.Options{}, "2026-03-02T12:00:00Z"},
		"a default that is sooner": {tokenauth.Options{DefaultTTL: time.Hour}, "2026-03-01T13:00:00Z"},
		"a default that is later":  {tokenauth.Options{DefaultTTL: 1000 * time.Hour}, "2026-03-02T12:00:00Z"},
		"a limit that is later":    {tokenauth.Options{MaxTTL: 1000 * time.Hour}, "2026-03-02T12:00:00Z"},
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

// A client that repeats a rotation, since the answer was lost, must not end the key
// to which the first one promised a grace.
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

// Every member is optional, and so is the body.
func TestRotateWithoutBody(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", nil)
	r.Header.Set("X-User", "ada")
	w := sendRequest(t, s.mux, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.True(t, s.works(keyIn(w)))
	require.False(t, s.works(key))
	require.Equal(t, http.StatusOK, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", "", as("ada")).Code, "with the type of a body")
	r = httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader("")) // as curl -d '' does
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, sendRequest(t, s.mux, r).Code, "with the type of another body")
	require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", " ", as("ada")).Code)
}

// A body that something in front of the API has read already may have asked for a grace: to
// rotate without one would lock the client out.
func TestRotateWithLostBody(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader(`{"grace_seconds":3600}`))
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/json")
	_, err := io.Copy(io.Discard, r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, sendRequest(t, s.mux, r).Code)
	require.True(t, s.works(key))
}

// Staff reaches everybody's tokens, and must say whose.
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

	// Without a user nothing is reached, least of all everybody's.
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

	// Nobody gets a key in another's name, nor gives another's key more to do.
	eve := "?user_id=eve"
	for _, request := range [][3]string{
		{"POST", "/staff/tokens" + eve, `{"name":"made by staff"}`},
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
	s := newService(t, nil, tokenapi.Options{}) // managing by token is off
	var keys []string
	for _, name := range []string{"laptop", "phone", "tablet"} {
		key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name})
		keys = append(keys, key)
	}
	evesKey, _ := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "laptop"})

	for _, target := range []string{"/api/logout", "/api/logout-all"} {
		require.Equal(t, http.StatusUnauthorized, send(t, s.mux, "POST", target, "", as("ada")).Code, "no token to log out")
	}
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout", "", with(keys[0]), as("eve")).Code)
	require.Equal(t, []bool{false, true, true, true}, []bool{s.works(keys[0]), s.works(keys[1]), s.works(keys[2]), s.works(evesKey)})
	require.Equal(t, http.StatusNoContent, send(t, s.mux, "POST", "/api/logout-all", "", with(keys[1])).Code)
	require.Equal(t, []bool{false, false, true}, []bool{s.works(keys[1]), s.works(keys[2]), s.works(evesKey)})
}
