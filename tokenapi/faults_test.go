package tokenapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
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

// A counter counts the calls of a store.
type counter struct {
	tokenauth.Store
	calls int
}

func (c *counter) Create(ctx context.Context, records ...tokenauth.Record) error {
	c.calls++
	return c.Store.Create(ctx, records...)
}

func (c *counter) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	c.calls++
	return c.Store.List(ctx, q)
}

func (c *counter) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	c.calls++
	return c.Store.Update(ctx, userID, id, p, at)
}

func (c *counter) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	c.calls++
	return c.Store.Rotate(ctx, userID, id, r, at)
}

func (c *counter) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	c.calls++
	return c.Store.Revoke(ctx, userID, id, at)
}

func (c *counter) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	c.calls++
	return c.Store.RevokeAll(ctx, userID, at)
}

// No request costs the database more than the Manager's own call does.
func TestStoreCalls(t *testing.T) {
	t.Parallel()
	store := &counter{Store: tokenauth.NewMemoryStore()}
	m := tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1})
	_, made, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: "laptop"})
	require.NoError(t, err)
	h := http.StripPrefix("/api", tokenapi.New(m, signedIn, nil))
	one := "/api/tokens/" + made.ID
	for _, c := range []struct {
		method, target, body string
		calls                int
	}{
		{"GET", "/api/tokens", "", 1},
		{"POST", "/api/tokens", `{"name":"x"}`, 1},
		{"GET", one, "", 1},
		{"PATCH", one, `{"name":"y"}`, 2},
		{"POST", one + "/rotate", `{}`, 2},
		{"DELETE", one, "", 1},
		{"DELETE", "/api/tokens", "", 1},
		{"DELETE", "/api/tokens/", "", 0},
		{"POST", "/api/tokens", `{"name":""}`, 0},
	} {
		store.calls = 0
		send(t, h, c.method, c.target, c.body, as("ada"))
		require.Equal(t, c.calls, store.calls, "%s %s", c.method, c.target)
	}
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
