package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// right is a check that accepts every password.
func right(context.Context, string, string) (userID, stamp string, err error) { return "ada", "", nil }

// The login endpoint must read each member that the OpenAPI document lists, so that a generated
// client can send them. apitest.Do refuses a request with any other member.
func TestDocumentedMembersAreRead(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	operation := apitest.Paths()["/login"].(apitest.Object)["post"].(apitest.Object)
	members := apitest.Properties(t, operation, "application/json")
	require.NotEmpty(t, members)
	require.Equal(t, members, apitest.Properties(t, operation, "application/x-www-form-urlencoded"))
	for _, member := range members {
		w := send(t, s.mux, "POST", "/api/login", `{"`+member+`":{}}`) // no member is an object
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Equal(t, "#/"+member, field(t, w))
		require.NotContains(t, w.Body.String(), "unknown", member)
	}
}

// A nil argument is a mistake in the program, so New panics.
func TestNewPanicsOnNil(t *testing.T) {
	t.Parallel()
	auth := newAuth(must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)), nil)
	var none *tokenauth.Authenticator[string]
	require.Panics(t, func() { _, _ = tokenlogin.New(none, right, nil) }, "no Authenticator")
	require.Panics(t, func() { _, _ = tokenlogin.New(auth, nil, nil) }, "no check")
}

// New must refuse an option that would make each login fail or panic, or that would give a token
// more than the Manager's policy allows.
func TestNewReturnsErrorForInvalidOption(t *testing.T) {
	t.Parallel()
	auth := newAuth(must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a", "b"}, MaxTTL: time.Hour})), nil)
	for _, c := range []struct {
		opts tokenlogin.Options
		want string // empty if the option is valid
	}{
		{tokenlogin.Options{Throttle: &tokenlogin.Throttle{}}, "Options.Throttle must be made by NewThrottle"},
		{tokenlogin.Options{Throttle: tokenlogin.NewThrottle()}, ""},
		{tokenlogin.Options{TTL: -1}, "Options.TTL must not be negative"},
		{tokenlogin.Options{TTL: time.Hour + 1}, "Options.TTL must not exceed the MaxTTL of the Manager"},
		{tokenlogin.Options{TTL: time.Hour}, ""},
		{tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest}, ""},
		{tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest + 1}, "Options.AtLimit must be RefuseAtLimit or ReplaceOldest"},
		{tokenlogin.Options{AtLimit: -1}, "Options.AtLimit must be RefuseAtLimit or ReplaceOldest"},
		{tokenlogin.Options{Scopes: []string{"a", "c"}}, "Options.Scopes must not contain an unknown scope"},
		{tokenlogin.Options{Scopes: []string{"a b"}}, "Options.Scopes must not contain a character"},
		{tokenlogin.Options{Scopes: []string{"b", "a"}}, ""},
	} {
		h, err := tokenlogin.New(auth, right, &c.opts)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		require.Nil(t, h)
	}
}

// If a caller changes its Options after New, the handler must not change.
func TestNewCopiesOptions(t *testing.T) {
	t.Parallel()
	opts := &tokenlogin.Options{}
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	h := newLogin(m, func(context.Context, string, string) (string, string, error) { return "", "", errInternal }, opts)
	require.Equal(t, tokenlogin.Options{}, *opts)
	opts.OnError = func(*http.Request, error) { t.Error("the handler called an OnError that was set after New") }
	require.Equal(t, http.StatusServiceUnavailable, send(t, h, "POST", "/api/login", `{"username":"ada","password":"x"}`).Code)
}

// A login causes only the store calls of Manager.Issue. If the name is taken, the endpoint calls
// List to find a free number for the name, and then calls Issue again.
func TestLoginCausesFewStoreCalls(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	h := newLogin(must.Get(tokenauth.New(store, "acme", nil)), right, nil)
	for _, c := range []struct {
		body  string
		calls []string
	}{
		{`{"username":"ada","password":"x","name":"z"}`, []string{"List", "Create"}},
		{`{"username":"ada","password":"x"}`, []string{"List", "Create"}},
		{`{"username":"ada","password":"x"}`, []string{"List", "List", "List", "Create"}}, // the name is taken
	} {
		store.ResetCalls()
		w := send(t, h, "POST", "/api/login", c.body)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.Equal(t, c.calls, store.Calls(), c.body)
	}
}

// If Create always conflicts with other requests, the response to a login must name other changes
// as a possible cause, not only an expired token.
func TestConflictDetailMentionsConcurrentChange(t *testing.T) {
	t.Parallel()
	h := newLogin(must.Get(tokenauth.New(apitest.NewCrowdedStore(), "acme", nil)), right, nil)
	w := send(t, h, "POST", "/api/login", `{"username":"ada","password":"right"}`)
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "other changes came first")
}

// If the store does not respond, a login may have created a token. The response must have no
// Retry-After, so that clients do not repeat the login automatically.
func TestStoreFailureHasNoRetryAfter(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	s.Store.Fail(errInternal)
	w := s.post(t, home, "ada", "right")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, w.Header().Get("Retry-After"))
	require.Contains(t, w.Body.String(), "may have been made")
}

// The endpoint ignores a key in the request, because a client may log in while it still has an old
// key.
func TestLoginIgnoresKeys(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	for _, line := range []header{apitest.With("wrong"), apitest.With(s.Issue("bob").Reveal()), {"Authorization", "Bearer a, Bearer b"}} {
		w := s.post(t, home, "ada", "right", line)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "ada's ID", decode[token](t, w).UserID)
	}
}

// AuthenticatorOptions.ErrorHandler writes the status and the body of every error response of the
// login endpoint. No error response of the endpoint has a challenge that asks for a key.
func TestErrorHandlerWritesAllErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		kit := tokenauthtest.New(t, nil)
		auth := newAuth(kit.Manager, &tokenauth.AuthenticatorOptions{
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				w.WriteHeader(tokenauth.StatusCode(err))
				_, _ = fmt.Fprint(w, "handled")
			},
		})
		h := must.Get(tokenlogin.New(auth, func(_ context.Context, _, password string) (string, string, error) {
			switch password {
			case "right":
				return "ada", "", nil
			case "down":
				return "", "", errInternal
			}
			return "", "", nil
		}, nil))
		for _, c := range []struct {
			method, body string
			status       int
		}{
			{"GET", "", 405},
			{"POST", `[]`, 400},
			{"POST", `{"username":"ada"}`, 400},
			{"POST", `{"username":"ada","password":"right","scopes":["a b"]}`, 400},
			{"POST", strings.Repeat(" ", 64<<10+1), 413},
			{"POST", `{"username":"ada","password":"down"}`, 503},
			{"POST", `{"username":"ada","password":"wrong"}`, 400},
		} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, apitest.NewRequest(c.method, "/login", c.body))
			require.Equal(t, c.status, w.Code, c.body)
			require.Equal(t, "handled", w.Body.String(), c.body)
			require.Equal(t, []string{"no-store"}, w.Header()["Cache-Control"], c.body)
			require.Empty(t, w.Header()["Www-Authenticate"], c.body)
		}
	})
}

// If the Manager returns a SpecError, the body has a JSON Pointer to the invalid member.
func TestSpecErrorNamesMember(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, &tokenauth.Options{Scopes: []string{"a"}}, nil)
	w := send(t, s.mux, "POST", "/api/login", `{"username":"ada","password":"right","scopes":["b"]}`)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `"errors":[{"detail":"must not contain an unknown scope","pointer":"#/scopes"}]`)
	require.NotContains(t, w.Body.String(), "non_field_errors")
}

// No client may hold a connection open with a body, however its request is answered. A service may
// have set no timeouts.
// Case A6.
func TestBodyHeldOpenEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request, mediaType string
		status             int
	}{
		"wrong method":     {"GET /", "application/json", 405},
		"query in the URL": {"POST /?a=b", "application/json", 400},
		"wrong type":       {"POST /", "text/plain", 415},
		"JSON":             {"POST /", "application/json", 408},
		"form":             {"POST /", "application/x-www-form-urlencoded", 408},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				conn, begin := pipe.Serve(t, newLoginService(t, nil, nil).login).Dial(t), time.Now()
				conn.Send(c.request + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + c.mediaType + "\r\nContent-Length: 20\r\n\r\n{")
				w, _ := conn.Receive(t)
				require.Equal(t, c.status, w.StatusCode)
				conn.RequireClosed(t)
				require.Less(t, time.Since(begin), 11*time.Second)
			})
		})
	}
}
