package tokenapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
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

// If a client disconnects, OnError receives no error. Otherwise impatient clients would look like a
// failure of the store in the log. If the deadline of the request has passed, OnError receives the
// error.
// Case F4.
func TestDisconnectedClientIsNotReported(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	s.Store.Fail(errInternal)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for reported, ctx := range []context.Context{canceled, late} {
		s.logged = nil
		r := apitest.NewRequest("GET", "/api/tokens", "", as("ada")).WithContext(ctx)
		require.Equal(t, http.StatusServiceUnavailable, apitest.Do(t, s.mux, r).Code)
		require.Len(t, s.logged, reported)
	}
}

// If Create always conflicts with other requests, the response must name other changes as a
// possible cause, not only an expired token.
func TestConflictDetailMentionsConcurrentChange(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(apitest.NewCrowdedStore(), "acme", nil))
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(m, nil), signedIn, nil)))
	w := send(t, h, "POST", "/api/tokens", `{"name":"x"}`, as("ada"))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "other changes came first")
}

// If userID or isStaff returns an error, the response is 503, even if the error wraps an error of
// this library.
func TestErrorOfUserIDIs503(t *testing.T) {
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

// A row that no Manager wrote may hold a time that JSON cannot represent. The response must then be
// a complete 503, not a partial list.
func TestTimeBeyondJSONIs503(t *testing.T) {
	t.Parallel()
	store := &lateStore{tokenauth.NewMemoryStore()}
	h := http.StripPrefix("/api", must.Get(tokenapi.New(newAuth(must.Get(tokenauth.New(store, "acme", nil)), nil), signedIn, nil)))
	require.Equal(t, http.StatusServiceUnavailable, send(t, h, "GET", "/api/tokens", "", as("ada")).Code)
}

// A lateStore lists a record whose time JSON cannot represent.
type lateStore struct{ tokenauth.Store }

func (s *lateStore) List(context.Context, tokenauth.Query) ([]tokenauth.Record, error) {
	return []tokenauth.Record{{Token: tokenauth.Token{
		ID: "ID", UserID: "ada", Name: "x", CreatedAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
	}}}, nil
}
