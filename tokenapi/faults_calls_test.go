package tokenapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A fault is a way in which a call of the store fails.
var faults = map[string]func(next func() error) error{
	"failed": func(func() error) error { return errInternal },
	"lost": func(next func() error) error { // the store makes the change, and its response is lost
		_ = next()
		return errInternal
	},
}

// faultyRequests are requests whose store calls fail in turn. ID stands for the ID of the presented
// token, OTHER for the ID of another token of the same user.
var faultyRequests = [][3]string{
	{"GET", "/api/tokens", ""},
	{"GET", "/api/tokens/OTHER", ""},
	{"GET", "/api/tokens?created_by=user:ada&expires_before=2026-03-03T00:00:00Z", ""},
	{"GET", "/api/tokens/self", ""},
	{"POST", "/api/tokens", `{"name":"new","resources":["p1"]}`},
	{"PATCH", "/api/tokens/OTHER", `{"resources":["p1"]}`},
	{"POST", "/api/tokens/self/rotate", `{"generation":1,"grace_seconds":60}`},
	{"POST", "/api/tokens", `{"name":"new","scopes":["tokens:manage"]}`},
	{"POST", "/api/tokens", `{"name":"new","expires_at":"2026-03-01T13:00:00Z"}`},
	{"PATCH", "/api/tokens/ID", `{"name":"renamed"}`},
	{"PATCH", "/api/tokens/OTHER", `{"scopes":[]}`},
	{"POST", "/api/tokens/ID/rotate", `{"generation":1,"grace_seconds":60}`},
	{"DELETE", "/api/tokens/OTHER", ""},
	{"DELETE", "/api/tokens", ""},
	{"POST", "/api/logout", ""},
	{"POST", "/api/logout-all", ""},
}

// Whichever call of the store fails, the response must be 503 without a key, and no new token may
// be live, except if the outcome of a call is unknown. If only the token cannot be read after a
// rotation, the client must get its new key, because the previous key ends.
// Case F8.
func TestFailureOfEachStoreCallIs503(t *testing.T) {
	t.Parallel()
	for _, request := range faultyRequests {
		for fault, fail := range faults {
			for _, permanent := range []bool{false, true} {
				for _, bySession := range []bool{false, true} {
					if bySession && (strings.Contains(request[1], "/logout") || strings.Contains(request[1], "/self")) {
						continue
					}
					for n := 1; failAt(t, request, n, fail, permanent, bySession); n++ {
						require.Less(t, n, 20, "%s %s %s", request, fault, "the request never succeeds")
					}
				}
			}
		}
	}
}

// failAt sends a request to a new service, whose n-th store call fails. If permanent is true, all
// later calls fail too. failAt returns false if the request makes fewer than n calls.
func failAt(t *testing.T, request [3]string, n int, fail func(func() error) error, permanent, bySession bool) bool {
	t.Helper()
	s := newService(t, &tokenauth.Options{TouchEvery: -1, Resources: projects}, tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope})
	own, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "own", Scopes: []string{manageScope, selfScope}, ExpiresAt: s.Clock.Now().Add(48 * 3600e9)})
	_, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "other", ExpiresAt: made.ExpiresAt})
	s.Store.ResetCalls()
	calls, at, failed := 0, "", 0
	s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		if calls++; calls == n || permanent && calls > n {
			at, failed = at+" "+method, failed+1
			return fail(next)
		}
		return next()
	})
	by := with(own)
	if bySession {
		by = as("ada")
	}
	ids := strings.NewReplacer("ID", made.ID, "OTHER", other.ID)
	w := send(t, s.mux, request[0], ids.Replace(request[1]), request[2], by)
	if failed == 0 {
		require.Less(t, w.Code, 300, "%s: %s", request, w.Body)
		return false
	}
	s.Store.Intercept(nil)
	if w.Code == http.StatusOK && strings.HasSuffix(request[1], "/rotate") {
		require.Equal(t, " List", at)
		require.Equal(t, "Rotate", s.Store.Calls()[calls-2])
		require.True(t, s.works(keyIn(w)))
		require.NotContains(t, w.Body.String(), "created_at", "the response must have no member that is not known")
		return true
	}
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s:%s: %s", request, at, w.Body)
	require.Empty(t, keyIn(w))
	live, err := s.Manager.List(t.Context(), tokenauth.Query{UserID: "ada"})
	require.NoError(t, err)
	for _, l := range live {
		if l.ID != made.ID && l.ID != other.ID {
			require.True(t, at == " Create" || permanent, "%s:%s: the new token is live", request, at)
		}
	}
	return true
}
