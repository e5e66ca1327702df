package tokenapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/calltest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A store that is down is 503 for every route, and only the log learns why.
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
	for _, request := range [][2]string{ // repeated by a machine, these would do harm
		{"/api/tokens", `{"name":"x"}`},
		{"/api/tokens/" + made.ID + "/rotate", `{"grace_seconds":60}`},
	} {
		w := send(t, s.mux, "POST", request[0], request[1], as("ada"))
		require.Equal(t, http.StatusServiceUnavailable, w.Code, request)
		require.Empty(t, w.Header().Get("Retry-After"), request)
		require.Contains(t, w.Body.String(), "may have been made", request)
	}
	require.Len(t, s.told, 7)
	for _, err := range s.told {
		require.ErrorIs(t, err, errInternal)
	}
}

// A crowded store lets every new token lose its place to another.
type crowded struct{ tokenauth.Store }

func (crowded) Create(context.Context, ...tokenauth.Record) error { return tokenauth.ErrSlotTaken }

// Who makes a token must not read that "the token" has expired.
func TestOtherChangesCameFirst(t *testing.T) {
	t.Parallel()
	m := tokenauth.New(crowded{tokenauth.NewMemoryStore()}, "acme", nil)
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", tokenapi.New(m, signedIn, nil)))
	mux.Handle("/api/login", tokenapi.NewLogin(m, func(context.Context, string, string) (string, error) { return "ada", nil }, nil))
	for target, body := range map[string]string{
		"/api/tokens": `{"name":"x"}`,
		"/api/login":  `{"username":"ada","password":"right"}`,
	} {
		w := send(t, mux, "POST", target, body, as("ada"))
		require.Equal(t, http.StatusConflict, w.Code, target)
		require.Contains(t, w.Body.String(), "Other changes came first. Try again.", target)
	}
}

// An error of the service's own that wraps one of this library's is no verdict.
func TestErrorOfUserIDIsNeverAnAnswer(t *testing.T) {
	t.Parallel()
	m := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	h := http.StripPrefix("/api", tokenapi.New(m, func(*http.Request) (string, error) {
		return "", errors.Join(errInternal, tokenauth.ErrNotFound)
	}, nil))
	require.Equal(t, http.StatusServiceUnavailable, send(t, h, "GET", "/api/tokens", "").Code)
}

func TestConstructorsPanicOnMistakes(t *testing.T) {
	t.Parallel()
	m := tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a"}})
	isStaff := func(*http.Request) (bool, error) { return true, nil }
	check := func(context.Context, string, string) (string, error) { return "", nil }
	for name, f := range map[string]func(){
		"no manager":        func() { tokenapi.New(nil, signedIn, nil) },
		"no userID":         func() { tokenapi.New(m, nil, nil) },
		"malformed scope":   func() { tokenapi.New(m, signedIn, &tokenapi.Options{ManageScope: "a b"}) },
		"unknown scope":     func() { tokenapi.New(m, signedIn, &tokenapi.Options{ManageScope: "b"}) },
		"staff: no manager": func() { tokenapi.NewStaff(nil, isStaff, nil) },
		"staff: no isStaff": func() { tokenapi.NewStaff(m, nil, nil) },
		"staff by token":    func() { tokenapi.NewStaff(m, isStaff, &tokenapi.Options{ManageScope: "a"}) },
		"login: no manager": func() { tokenapi.NewLogin(nil, check, nil) },
		"login: no check":   func() { tokenapi.NewLogin(m, nil, nil) },
		"login: a zero Throttle, which would panic at each request": func() {
			tokenapi.NewLogin(m, check, &tokenapi.LoginOptions{Throttle: &tokenapi.Throttle{}})
		},
	} {
		require.Panics(t, f, name)
	}
	require.NotPanics(t, func() { tokenapi.New(m, signedIn, &tokenapi.Options{ManageScope: "a"}) })
}

// No request costs the database more than the Manager's own call does, but what is told
// of a key.
func TestStoreCalls(t *testing.T) {
	t.Parallel()
	store := &calltest.Recorder{Store: tokenauth.NewMemoryStore()}
	m := tokenauth.New(store, "acme", nil)
	issue := func(name string, scopes ...string) (key, target string) {
		k, made, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: name, Scopes: scopes})
		require.NoError(t, err)
		return k.Reveal(), "/api/tokens/" + made.ID
	}
	own, ownTarget := issue("own", manageScope)
	_, one := issue("laptop")
	auth := tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return id, nil }, nil)
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", auth.Optional(tokenapi.New(m, signedIn, &tokenapi.Options{ManageScope: manageScope}))))
	mux.Handle("/api/login", tokenapi.NewLogin(m, func(context.Context, string, string) (string, error) { return "ada", nil }, nil))
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
		{header{}, "POST", "/api/login", `{"username":"ada","password":"x","name":"z"}`, 200, []string{"List", "Create"}},
		{header{}, "POST", "/api/login", `{"username":"ada","password":"x"}`, 200, []string{"List", "Create"}},
		{header{}, "POST", "/api/login", `{"username":"ada","password":"x"}`, 200, []string{"List", "List", "List", "Create"}}, // with a number
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
		store.Calls = nil
		headers := []header{c.by}
		if c.by == (header{}) {
			headers = nil
		}
		w := send(t, mux, c.method, c.target, c.body, headers...)
		require.Equal(t, c.status, w.Code, "%s %s: %s", c.method, c.target, w.Body)
		require.Equal(t, c.calls, store.Calls, "%s %s by %s", c.method, c.target, c.by.name)
	}
	key, _ := issue("phone")
	store.Calls = nil
	require.Equal(t, http.StatusNoContent, send(t, mux, "POST", "/api/logout-all", "", with(key)).Code)
	require.Equal(t, []string{"Find", "RevokeAll"}, store.Calls)
}

// A row that no Manager wrote ends in an answer too.
func TestTimeThatJSONCannotHold(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	require.NoError(t, store.Create(t.Context(), tokenauth.Record{Token: tokenauth.Token{
		ID: "ID", UserID: "ada", Name: "x", CreatedAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
	}}))
	h := http.StripPrefix("/api", tokenapi.New(tokenauth.New(store, "acme", nil), signedIn, nil))
	require.Equal(t, http.StatusServiceUnavailable, send(t, h, "GET", "/api/tokens", "", as("ada")).Code)
}
