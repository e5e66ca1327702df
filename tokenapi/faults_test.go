package tokenapi_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// If the store fails, every route responds with 503. OnError receives the cause, and the response
// does not contain the cause.
func TestStoreFailureIs503(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	s.Store.Fail(errInternal)
	for _, request := range [][3]string{
		{"GET", "/api/tokens", ""},
		{"DELETE", "/api/tokens", ""},
		{"GET", "/api/tokens/" + made.ID, ""},
		{"PATCH", "/api/tokens/" + made.ID, `{"name":"x"}`},
		{"DELETE", "/api/tokens/" + made.ID, ""},
	} {
		w := send(t, s.mux, request[0], request[1], request[2], as("ada"))
		require.Equal(t, http.StatusServiceUnavailable, w.Code, request)
		require.Equal(t, "2", w.Header().Get("Retry-After"))
	}
	for _, request := range [][2]string{ // a client must check the result before it repeats these requests
		{"/api/tokens", `{"name":"x"}`},
		{"/api/tokens/" + made.ID + "/rotate", `{"grace_seconds":60}`},
	} {
		w := send(t, s.mux, "POST", request[0], request[1], as("ada"))
		require.Equal(t, http.StatusServiceUnavailable, w.Code, request)
		require.Empty(t, w.Header().Get("Retry-After"), request)
		require.Contains(t, w.Body.String(), "may have been made", request)
	}
	require.Len(t, s.logged, 7)
	for _, err := range s.logged {
		require.ErrorIs(t, err, errInternal)
		require.ErrorContains(t, err, errInternal.Error())
	}
}

// If Create always conflicts with other requests, the response must name other changes as a
// possible cause, not only an expired token.
func TestOtherChangesCameFirst(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(apitest.NewCrowdedStore(), "acme", nil))
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(m, nil), signedIn, nil)))
	w := send(t, h, "POST", "/api/tokens", `{"name":"x"}`, as("ada"))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "other changes came first")
}

// If userID or isStaff returns an error, the response is 503, even if the error wraps an error of
// this library.
func TestErrorOfUserIDIsNeverAnAnswer(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	for _, cause := range []error{tokenauth.ErrNotFound, tokenauth.ErrNoKey, tokenauth.ErrNoUser, tokenauth.ErrInsufficientScope} {
		err := errors.Join(errInternal, cause)
		users := must.Get(tokenapi.New(newAuth(m, nil), func(*http.Request) (string, error) { return "", err }, nil))
		require.Equal(t, http.StatusServiceUnavailable, send(t, http.StripPrefix("/api", users), "GET", "/api/tokens", "").Code)
		staff := must.Get(tokenapi.NewStaff(newAuth(m, nil), func(*http.Request) (bool, error) { return false, err }, nil))
		require.Equal(t, http.StatusServiceUnavailable, send(t, http.StripPrefix("/staff", staff), "GET", "/staff/tokens", "").Code)
	}
}

// A nil argument is a mistake in the program, so constructors panic.
func TestConstructorsPanicOnMistakes(t *testing.T) {
	t.Parallel()
	auth := newAuth(must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)), nil)
	isStaff := func(*http.Request) (bool, error) { return true, nil }
	var none *tokenauth.Authenticator[string]
	for name, f := range map[string]func(){
		"New: no Authenticator":      func() { _, _ = tokenapi.New(none, signedIn, nil) },
		"New: no userID":             func() { _, _ = tokenapi.New(auth, nil, nil) },
		"NewStaff: no Authenticator": func() { _, _ = tokenapi.NewStaff(none, isStaff, nil) },
		"NewStaff: no isStaff":       func() { _, _ = tokenapi.NewStaff(auth, nil, nil) },
	} {
		require.Panics(t, f, name)
	}
}

// An invalid option may come from the configuration of a service, so constructors return an error.
func TestConstructorsReturnErrorsForBadOptions(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a"}}))
	auth := newAuth(m, nil)
	for _, scope := range []string{"a b", "b", `a"`, "é"} { // malformed, or not a scope of the Manager
		h, err := tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: scope})
		require.ErrorContains(t, err, "Options.ManageScope", scope)
		require.Nil(t, h)
	}
	_, err := tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: "a"})
	require.NoError(t, err)
	h, err := tokenapi.NewStaff(auth, func(*http.Request) (bool, error) { return true, nil }, &tokenapi.Options{ManageScope: "a"})
	require.ErrorContains(t, err, "Options.ManageScope")
	require.Nil(t, h)
}

// If a caller changes its Options after New, the handler must not change.
func TestConstructorsCopyOptions(t *testing.T) {
	t.Parallel()
	opts := &tokenapi.Options{}
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(m, nil), signedIn, opts)))
	key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: "x", Scopes: []string{manageScope}})
	require.NoError(t, err)
	opts.ManageScope = manageScope
	require.Equal(t, http.StatusForbidden, send(t, h, "GET", "/api/tokens", "", with(key.Reveal())).Code)
}

// A request causes only the store calls of the Manager's method. The only additional calls
// authenticate a key and compare the presented token with the token to change.
func TestStoreCalls(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := must.Get(tokenauth.New(store, "acme", nil))
	issue := func(name string, scopes ...string) (key, target string) {
		k, made, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: name, Scopes: scopes})
		require.NoError(t, err)
		return k.Reveal(), "/api/tokens/" + made.ID
	}
	own, ownTarget := issue("own", manageScope)
	_, one := issue("laptop")
	api := must.Get(tokenapi.New(newAuth(m, nil), signedIn, &tokenapi.Options{ManageScope: manageScope}))
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
		{session, "POST", one + "/rotate", `{}`, 200, []string{"List", "Rotate"}},
		{session, "DELETE", "/api/tokens/", "", 404, nil},
		{session, "POST", "/api/tokens", `{"name":""}`, 400, nil},
		{byKey, "GET", "/api/tokens", "", 200, []string{"Find", "List"}},
		{byKey, "POST", "/api/tokens", `{"name":"k"}`, 201, []string{"Find", "List", "Create"}},
		{byKey, "GET", one, "", 200, []string{"Find", "List"}},
		{byKey, "PATCH", one, `{"name":"l"}`, 200, []string{"Find", "List", "Update", "List"}},
		{byKey, "POST", one + "/rotate", `{"generation":2}`, 200, []string{"Find", "List", "List", "Rotate"}},
		{byKey, "PATCH", ownTarget, `{"name":"m"}`, 200, []string{"Find", "Update", "List"}},
		{byKey, "POST", ownTarget + "/rotate", `{"generation":1,"grace_seconds":60}`, 200, []string{"Find", "List", "Rotate"}},
		{byKey, "DELETE", one, "", 204, []string{"Find", "Revoke"}},
		{byKey, "POST", "/api/logout", "", 204, []string{"Find", "Revoke"}},
		{session, "DELETE", one, "", 204, []string{"Revoke"}},
		{session, "DELETE", "/api/tokens", "", 200, []string{"RevokeAll"}},
	} {
		store.ResetCalls()
		w := send(t, h, c.method, c.target, c.body, c.by)
		require.Equal(t, c.status, w.Code, "%s %s: %s", c.method, c.target, w.Body)
		require.Equal(t, c.calls, store.Calls(), "%s %s by %s", c.method, c.target, c.by[0])
	}
	key, _ := issue("phone")
	store.ResetCalls()
	require.Equal(t, http.StatusNoContent, send(t, h, "POST", "/api/logout-all", "", with(key)).Code)
	require.Equal(t, []string{"Find", "RevokeAll"}, store.Calls())
}

// A row that no Manager wrote may hold a time that JSON cannot represent. The response must then be
// a complete 503, not a partial list.
func TestTimeThatJSONCannotHold(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	require.NoError(t, store.Create(t.Context(), tokenauth.Record{Token: tokenauth.Token{
		ID: "ID", UserID: "ada", Name: "x", CreatedAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
	}}))
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(must.Get(tokenauth.New(store, "acme", nil)), nil), signedIn, nil)))
	require.Equal(t, http.StatusServiceUnavailable, send(t, h, "GET", "/api/tokens", "", as("ada")).Code)
}
