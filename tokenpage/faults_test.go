package tokenpage_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

var errDown = errors.New("dial tcp 10.0.0.7:5432: connection refused")

// If the store fails, the page must say whether something was changed. The response must not
// contain the error, which OnError receives.
// Case W9.
func TestStoreFailureIs503(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	s.Store.Fail(errDown)
	down := func(p page, says string) {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
		require.NotEmpty(t, p.Header().Get("Retry-After"))
		require.Contains(t, p.text(), says)
		require.NotContains(t, p.body, "10.0.0.7")
		require.Contains(t, s.logged[len(s.logged)-1], errDown.Error(), "OnError must receive the cause")
	}
	for _, path := range []string{"", "history", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke"} {
		down(s.get(path), "Nothing was changed.")
	}
	for _, action := range []string{"rename", "rotate"} {
		down(s.post(token.ID+"/"+action, nil), "Nothing was changed.")
	}
	down(s.post(token.ID+"/revoke", nil), "may or may not have been made")
	down(s.create(url.Values{"name": {"phone"}}), "may or may not have been made")
	s.Store.Fail(nil)
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
}

// If the store fails during a write, the database may have committed the change. The page must not
// say that nothing was changed.
// Case W9.
func TestFailedWriteIsReportedAsUncertain(t *testing.T) {
	t.Parallel()
	opts := &tokenpage.Options{}
	s := newSite(t, nil, opts)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	s.mount(s.Manager.WithStore(newReadOnlyStore(s.Store), nil), opts)
	uncertain := func(p page) {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
		require.Contains(t, p.text(), "may or may not have been made")
		require.NotContains(t, p.body, "10.0.0.7")
		require.Contains(t, s.logged[len(s.logged)-1], errDown.Error(), "OnError must receive the cause")
		s.logged = []string{"nothing"}
	}
	uncertain(s.create(url.Values{"name": {"phone"}}))
	uncertain(s.post(token.ID+"/rename", url.Values{"name": {"phone"}}))
	uncertain(s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}))
	uncertain(s.post(token.ID+"/revoke", nil))
	s.user = "root"
	uncertain(s.post("/staff/"+token.ID+"/revoke", nil))
}

// If a client disconnects, OnError must not receive an error. If the store is too slow, OnError
// must receive one.
// Case W9.
func TestDisconnectIsNoError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timeout time.Duration
		logged  []string
	}{
		"client": {time.Hour, nil},
		"store":  {-1, []string{context.DeadlineExceeded.Error()}},
	} {
		s := newSite(t, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
		cancel()
		s.Store.Fail(ctx.Err())
		require.Equal(t, http.StatusServiceUnavailable, s.send(s.request(http.MethodGet, "", nil).WithContext(ctx)).Code)
		require.Equal(t, test.logged, s.logged, name)
	}
}

// If the service returns a malformed user ID, OnError must receive an error. The page must not
// blame the form, because the user cannot correct the ID.
// Case W9.
func TestMalformedUserIDIs503(t *testing.T) {
	t.Parallel()
	for user, check := range map[string]func(string) error{"a\x00b": nil, "07": tokenauth.DecimalUserID} {
		s := newSite(t, &tokenauth.Options{CheckUserID: check}, nil)
		s.user = user
		for _, p := range []page{s.get(""), s.get("new"), s.create(url.Values{"name": {"phone"}})} {
			require.Equal(t, http.StatusServiceUnavailable, p.Code)
		}
		require.Len(t, s.logged, 3)
	}
}

// If the service cannot read the session, the page must not treat the user as signed out. OnError
// must receive the error of the service.
// Case W9.
func TestSessionFailureIs503(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.user = "broken"
	for _, path := range []string{"", "new", "/staff/"} {
		p := s.get(path)
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
		require.Equal(t, errSession.Error(), s.logged[len(s.logged)-1])
	}
	require.Equal(t, http.StatusServiceUnavailable, s.create(url.Values{"name": {"phone"}}).Code)
}

// newReadOnlyStore returns a store whose calls of Find and List reach inner. All other calls fail.
func newReadOnlyStore(inner tokenauth.Store) *tokenauthtest.Store {
	store := tokenauthtest.NewStore(inner)
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Find" || method == "List" {
			return next()
		}
		return errDown
	})
	return store
}
