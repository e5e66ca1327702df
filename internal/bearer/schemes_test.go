package bearer_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// One request may contain the key of an app and the key of its user, in two headers. Each header
// has its own Authenticator. The handler must get both the app and the user.
func TestTwoAuthenticatorsReadTwoHeaders(t *testing.T) {
	t.Parallel()
	apps, users := fixture.NewManager(tokenauth.NewMemoryStore(), nil), fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	appKey, _ := fixture.Issue(t, apps, tokenauth.Spec{UserID: "app", Name: "n"})
	userKey, _ := fixture.Issue(t, users, tokenauth.Spec{UserID: "ada", Name: "n"})
	byApp := fixture.NewAuthenticator(apps, &tokenauth.AuthenticatorOptions{KeyHeader: "x-app-key", KeyHeaderOnly: true, Realm: "apps"})
	byUser := fixture.NewAuthenticator(users, nil)
	h := byApp.Require(byUser.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app, _ := byApp.User(r.Context())
		u, _ := byUser.User(r.Context())
		_, _ = fmt.Fprint(w, app.ID, " for ", u.ID)
	})))
	send := func(app, authorization string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-App-Key", app)
		r.Header.Set("Authorization", authorization)
		return fixture.Serve(h, r)
	}
	require.Equal(t, "app for ada", send(appKey, "Bearer "+userKey).Body.String())
	require.Equal(t, 401, send(appKey, "Bearer "+appKey).Code)
	require.Equal(t, 401, send("", "Bearer "+userKey).Code)
	w := send("x", "Bearer "+userKey)
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{`ApiKey realm="apps", error="invalid_token"`}, w.Header().Values("WWW-Authenticate"))
	require.Equal(t, []string{"X-App-Key"}, w.Header().Values("Vary"))
	require.Equal(t, []string{`ApiKey realm="apps"`}, send("", "").Header().Values("WWW-Authenticate"))
	require.Equal(t, 200, send(appKey, "Bearer "+userKey).Code)

	// With KeyHeaderOnly, the Authenticator must not parse Authorization, which may contain
	// credentials for an API gateway.
	jwt := httptest.NewRequest("GET", "/", nil)
	jwt.Header.Set("X-App-Key", appKey)
	jwt.Header.Set("Authorization", "Bearer a b, Bearer c")
	require.Equal(t, 200, fixture.Serve(byApp.Require(fixture.Whoami), jwt).Code)
}

// A service can set AuthenticatorOptions.Schemes to the authentication schemes that its clients
// already send. The Authenticator must accept only these schemes.
func TestOnlyConfiguredSchemesAreAccepted(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	schemes := []string{"Api-Key", "Bearer"}
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{Schemes: schemes})
	schemes[0] = "changed" // must have no effect, because NewAuthenticator copies the options
	h := auth.Require(fixture.Whoami)
	require.Equal(t, 200, fixture.Get(h, "Api-Key "+key).Code)
	require.Equal(t, 200, fixture.Get(h, "api-key "+key).Code)
	require.Equal(t, 200, fixture.Get(h, "bearer "+key).Code)
	w := fixture.Get(h, "Token "+key)
	require.Equal(t, 401, w.Code)
	require.Equal(t, []string{`Api-Key realm="api"`, `Bearer realm="api"`}, w.Header().Values("WWW-Authenticate"))
	require.Equal(t, 400, fixture.Get(h, "Token x, Api-Key "+key).Code)
	require.Equal(t, 401, fixture.Get(h, "Basic x, Token "+key).Code, "this Authenticator does not accept the scheme Token, so the request contains no key")
}
