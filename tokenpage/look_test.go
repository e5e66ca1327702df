package tokenpage_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// This file tests that the page reads the session once more after it has created a token.

// afterCreate makes the service return the given result after the token was created.
func (s *site) afterCreate(userID func(*http.Request) (string, error)) {
	s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "Create" {
			s.userID = userID
		}
		return err
	})
}

// The session may end while the page creates a token. The key must not be shown then, and the token
// must be revoked. Otherwise a stolen session would leave a key behind.
// Case W7.
func TestTokenOfEndedSessionIsRevoked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		user   string
		err    error
		status int
	}{
		"signed out":      {"", nil, http.StatusUnauthorized},
		"another user":    {"ben", nil, http.StatusUnauthorized},
		"malformed user":  {"a\x00b", nil, http.StatusServiceUnavailable},
		"session failure": {"anna", errSession, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			s.afterCreate(func(*http.Request) (string, error) { return test.user, test.err })
			p := s.create(url.Values{"name": {"laptop"}})
			require.Equal(t, test.status, p.Code)
			require.Contains(t, p.text(), "Nothing was changed.")
			require.Empty(t, p.key)
			require.NotContains(t, p.body, "test_")
			tokens := s.tokens("anna")
			require.Len(t, tokens, 1)
			require.NotZero(t, tokens[0].RevokedAt)
			require.Empty(t, s.tokens("ben"))
			if test.status == http.StatusServiceUnavailable {
				require.Len(t, s.logged, 1)
			}
		})
	}
}

// A panic in the service's function must not leave a live token behind whose key no user has seen.
// Case W9.
func TestTokenIsRevokedIfServicePanics(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.afterCreate(func(*http.Request) (string, error) { panic("session store") })
	require.PanicsWithValue(t, "session store", func() { s.create(url.Values{"name": {"laptop"}}) })
	require.NotZero(t, s.tokens("anna")[0].RevokedAt)
}

// If the token cannot be revoked, the page must say that it may exist, and an event must name it.
// Otherwise a live token would stay unnoticed.
// Case W9.
func TestFailedRevocationOfNewTokenIsReported(t *testing.T) {
	t.Parallel()
	var failed []tokenauth.Event
	s := newSite(t, &tokenauth.Options{OnEvent: func(_ context.Context, e tokenauth.Event) {
		if e.Err != nil {
			failed = append(failed, e)
		}
	}}, nil)
	s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		switch method {
		case "Create":
			s.userID = func(*http.Request) (string, error) { return "", nil }
		case "Revoke":
			return errDown
		}
		return next()
	})
	p := s.create(url.Values{"name": {"laptop"}})
	require.Equal(t, http.StatusServiceUnavailable, p.Code)
	require.Contains(t, p.text(), "may or may not have been made")
	require.Empty(t, p.key)
	require.Contains(t, s.logged[0], errDown.Error(), "OnError must receive the cause")
	require.Len(t, failed, 1)
	require.Equal(t, tokenauth.EventRevoked, failed[0].Kind)
	require.Equal(t, s.tokens("anna")[0].ID, failed[0].Token.ID)
}

// An attacker may close the connection after the form was sent. The page must still read the
// session and revoke the token, and both must have a deadline.
// Case W7.
func TestDisconnectDoesNotStopSecondLook(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	ctx, disconnect := context.WithCancel(t.Context())
	limited := func(ctx context.Context) {
		require.NoError(t, ctx.Err())
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.LessOrEqual(t, time.Until(deadline), 5*time.Second)
	}
	s.Store.Intercept(func(ctx context.Context, method string, next func() error) error {
		err := next()
		switch method {
		case "Create":
			disconnect()
			s.userID = func(r *http.Request) (string, error) {
				limited(r.Context())
				return "", nil
			}
		case "Revoke":
			limited(ctx)
		}
		return err
	})
	form := url.Values{"user": {"anna"}, "id": {"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, "name": {"laptop"}, "expires": {"7"}}
	require.Empty(t, s.send(s.request(http.MethodPost, "new", form).WithContext(ctx)).key)
	require.NotZero(t, s.tokens("anna")[0].RevokedAt)
}

// The number of calls of the service's functions is documented, because each call may cost a query
// of the session store.
func TestSessionIsReadBeforeAndAfterForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{})
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	calls := 0
	s.userID = func(r *http.Request) (string, error) {
		calls++
		return cookieUser(r)
	}
	for _, c := range []struct {
		path  string
		form  url.Values // nil for a GET request
		calls int
	}{
		{"", nil, 1},
		{"new", nil, 1},
		{"new", url.Values{"user": {"anna"}, "id": {"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, "name": {"phone"}, "expires": {"7"}}, 3},
		{"new", url.Values{}, 2},
		{token.ID + "/rename", url.Values{"name": {"desk"}}, 2},
		{token.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 2},
		{token.ID + "/revoke", url.Values{}, 2},
	} {
		calls = 0
		s.visit(c.path, c.form)
		require.Equal(t, c.calls, calls, "%s %v", c.path, c.form)
	}
}
