package tokenapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// Only the responses to create and rotate may contain the key. Otherwise a key could be read again
// later.
// Case A1.
func TestOnlyCreateAndRotateReturnKey(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	ada := as("ada")

	w := send(t, s.mux, "POST", "/api/tokens", `{"name":" laptop ","scopes":["b","a","b"],"expires_at":"2026-04-01T02:00:00+02:00"}`, ada)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	made := decode[token](t, w)
	require.Equal(t, "laptop", made.Name)
	require.Equal(t, []string{"a", "b"}, made.Scopes)
	require.Equal(t, "2026-04-01T00:00:00Z", *made.ExpiresAt)
	require.True(t, s.works(made.Key))

	base, err := url.Parse("https://example.test/api/tokens")
	require.NoError(t, err)
	location, err := base.Parse(w.Header().Get("Location"))
	require.NoError(t, err)
	require.Equal(t, "/api/tokens/"+made.ID, location.Path)

	for _, request := range [][3]string{
		{"GET", "/api/tokens", ""},
		{"GET", location.Path, ""},
		{"PATCH", location.Path, `{"name":"old laptop"}`},
		{"POST", "/api/tokens", `{"name":"old laptop"}`}, // 409, the name is taken
		{"PATCH", location.Path, `{"name":""}`},          // 400, the name is empty
	} {
		w := send(t, s.mux, request[0], request[1], request[2], ada)
		require.Empty(t, keyIn(w), request)
		require.NotContains(t, w.Body.String(), made.Key, request)
	}

	w = send(t, s.mux, "POST", location.Path+"/rotate", `{"grace_seconds":60}`, ada)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	rotated := decode[token](t, w)
	require.Equal(t, made.ID, rotated.ID)
	require.Equal(t, 2, rotated.Generation)
	require.True(t, s.works(made.Key), "the previous key works until its grace has passed")
	require.True(t, s.works(rotated.Key))
	s.Clock.Advance(time.Minute)
	require.False(t, s.works(made.Key), "the previous key is refused after its grace")
	require.True(t, s.works(rotated.Key))

	require.Equal(t, http.StatusNoContent, send(t, s.mux, "DELETE", location.Path, "", ada).Code)
	require.False(t, s.works(rotated.Key))
	require.NotNil(t, decode[token](t, send(t, s.mux, "GET", location.Path, "", ada)).RevokedAt)
}

// Responses must contain the JSON of tokenauth.Token, and no other data of the store, such as
// digests.
// Case A2.
func TestResponsesContainNoInternals(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "user-0042", Name: "laptop"})
	for _, target := range []string{"/api/tokens", "/api/tokens/" + made.ID} {
		body := send(t, s.mux, "GET", target, "", as("user-0042")).Body.String()
		require.Contains(t, body, string(must.Get(json.Marshal(made))))
		require.NotContains(t, body, key)
		words := strings.NewReplacer(made.ID, "", made.Hint, "").Replace(body) // random texts may contain any word
		for _, internal := range []string{"digest", "slot", "retired", fmt.Sprintf("%x", tokenauth.DigestOf(key))} {
			require.NotContains(t, strings.ToLower(words), internal)
		}
	}
}

// The response for another user's token must be the same as for a token that does not exist.
// Otherwise it would reveal that the ID exists.
// Case A3.
func TestTokenOfAnotherUserIsNotFound(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, request := range [][3]string{
		{"GET", "", ""},
		{"PATCH", "", `{"name":"mine","scopes":["admin"]}`},
		{"DELETE", "", ""},
		{"POST", "/rotate", `{}`},
	} {
		foreign := send(t, s.mux, request[0], "/api/tokens/"+made.ID+request[1], request[2], as("eve"))
		none := send(t, s.mux, request[0], "/api/tokens/NOSUCHTOKEN"+request[1], request[2], as("eve"))
		require.Equal(t, http.StatusNotFound, foreign.Code, request)
		require.Equal(t, none.Code, foreign.Code, request)
		require.Equal(t, none.Body.String(), foreign.Body.String(), request)
	}
	now, err := s.Manager.Get(context.Background(), "ada", made.ID)
	require.NoError(t, err)
	require.Equal(t, made, now, "requests of another user leave the token unchanged")
}

// The routes of /tokens must refuse a request without a signed-in user before they read its body.
// Case A4.
func TestTokenRoutesRequireSignIn(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop", Scopes: []string{manageScope}})
	for path, methods := range documentedMethods() {
		if !strings.HasPrefix(path, "/tokens") || strings.HasPrefix(path, "/tokens/self") { // these require a key
			continue
		}
		for _, method := range methods {
			target := "/api" + strings.Replace(path, "{id}", made.ID, 1)
			w := send(t, s.mux, method, target, "not read")
			require.Equal(t, http.StatusUnauthorized, w.Code, "%s %s", method, target)
			require.Len(t, w.Header()["Www-Authenticate"], 2)
			require.Equal(t, http.StatusForbidden, send(t, s.mux, method, target, "not read", with(key)).Code, "by key: %s %s", method, target)
			require.Equal(t, http.StatusForbidden, send(t, s.mux, method, target, "not read", with(key), as("ada")).Code, "by key and session: %s %s", method, target)
			require.Equal(t, http.StatusServiceUnavailable, send(t, s.mux, method, target, "not read", as("broken")).Code)
			require.Equal(t, http.StatusServiceUnavailable, send(t, s.mux, method, target, "not read", as("a\x01b")).Code, "userID returns a malformed ID")
		}
	}
	require.True(t, s.works(key))
	require.ErrorIs(t, s.logged[0], errInternal)
}

// A request for a name that another token of the user has must get 409.
// Case A9.
func TestTakenNameIsConflict(t *testing.T) {
	t.Parallel()
	s := newService(t, &tokenauth.Options{MaxPerUser: 2}, tokenapi.Options{})
	s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	_, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "phone"})
	for _, request := range [][2]string{{"POST", "/api/tokens"}, {"PATCH", "/api/tokens/" + other.ID}} {
		w := send(t, s.mux, request[0], request[1], `{"name":"laptop"}`, as("ada"))
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "#/name", field(t, w))
		require.NotContains(t, strings.ToLower(w.Body.String()), "unique")
	}
	w := send(t, s.mux, "POST", "/api/tokens", `{"name":"tablet"}`, as("ada"))
	require.Equal(t, http.StatusConflict, w.Code, "the user already has MaxPerUser tokens")
	require.Contains(t, w.Body.String(), "as many tokens as allowed")
	_, eves := s.issue(t, tokenauth.Spec{UserID: "eve", Name: "phone", ExpiresAt: s.Clock.Now().Add(time.Second)})
	s.Clock.Advance(time.Second)
	for _, request := range [][3]string{{"PATCH", "", `{"name":"x"}`}, {"POST", "/rotate", `{}`}} {
		w := send(t, s.mux, request[0], "/api/tokens/"+eves.ID+request[1], request[2], as("eve"))
		require.Equal(t, http.StatusConflict, w.Code, "an expired token cannot be changed")
	}
}

// Browsers send cookies even with requests from pages of another origin. Such a page must not be
// able to change tokens.
// Case A12.
func TestCrossOriginRequestsAreRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, _ := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "app"})
	for _, c := range []struct {
		line    header
		refused bool
	}{
		{header{"Sec-Fetch-Site", "cross-site"}, true},
		{header{"Sec-Fetch-Site", "same-site"}, true},
		{header{"Origin", "null"}, true},
		{header{"Origin", "https://evil.test"}, true},
		{header{"Sec-Fetch-Site", "same-origin"}, false},
		{header{"Sec-Fetch-Site", "none"}, false},
		{header{"Origin", "https://example.com"}, false},
		{header{"X-None", "a client other than a browser"}, false},
	} {
		want := map[bool]int{true: http.StatusForbidden, false: http.StatusOK}[c.refused]
		require.Equal(t, want, send(t, s.mux, "DELETE", "/api/tokens", "", as("eve"), c.line).Code, c.line)
		require.Equal(t, http.StatusOK, send(t, s.mux, "GET", "/api/tokens", "", as("eve"), c.line).Code, c.line)
		require.Equal(t, want, send(t, s.mux, "DELETE", "/staff/tokens?user_id=eve", "", as("root"), c.line).Code, c.line)
	}
	w := send(t, s.mux, "POST", "/api/logout", "", with(key), header{"Sec-Fetch-Site", "cross-site"})
	require.Equal(t, http.StatusNoContent, w.Code, "a cross-origin request with a key is accepted, because browsers do not add keys")
}

// A client that lost a response repeats its request. The repeated request must change nothing.
// Case A13.
func TestDeleteCanBeRepeated(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	var revokedAt []string
	for range 2 {
		require.Equal(t, http.StatusNoContent, send(t, s.mux, "DELETE", "/api/tokens/"+made.ID, "", as("ada")).Code)
		require.False(t, s.works(key))
		revokedAt = append(revokedAt, *decode[token](t, send(t, s.mux, "GET", "/api/tokens/"+made.ID, "", as("ada"))).RevokedAt)
		s.Clock.Advance(time.Minute)
	}
	require.Equal(t, revokedAt[0], revokedAt[1])
	require.Equal(t, http.StatusNotFound, send(t, s.mux, "PATCH", "/api/tokens/"+made.ID, `{"name":"x"}`, as("ada")).Code)
	s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, n := range []int{1, 0} {
		w := send(t, s.mux, "DELETE", "/api/tokens", "", as("ada"))
		require.JSONEq(t, fmt.Sprintf(`{"revoked":%d}`, n), w.Body.String())
	}
}
