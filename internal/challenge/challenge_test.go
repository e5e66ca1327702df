package challenge_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

var errStore = errors.New("dial tcp 10.0.0.7: refused")

// Clients parse error responses as application/problem+json of RFC 9457.
func TestProblemIsWrittenAsProblemJSON(t *testing.T) {
	t.Parallel()
	refused := challenge.New(http.StatusBadRequest, "Wrong password.")
	refused.NonFieldErrors = []string{"Wrong password."}
	for name, c := range map[string]struct {
		problem *challenge.Problem
		body    string
	}{
		"plain":       {challenge.New(404, "Not found."), `{"title":"Not Found","status":404,"detail":"Not found."}`},
		"member":      {challenge.Member(409, "name", "is taken"), `{"title":"Conflict","status":409,"detail":"name: is taken.","errors":[{"detail":"is taken","pointer":"#/name"}]}`},
		"parameter":   {challenge.Parameter("limit", "is bad"), `{"title":"Bad Request","status":400,"detail":"limit: is bad.","errors":[{"detail":"is bad","parameter":"limit"}]}`},
		"non-field":   {refused, `{"title":"Bad Request","status":400,"detail":"Wrong password.","non_field_errors":["Wrong password."]}`},
		"unavailable": {challenge.Unavailable(errStore), `{"title":"Service Unavailable","status":503,"detail":"The service is not available at the moment. Try again."}`},
	} {
		w := httptest.NewRecorder()
		c.problem.Write(w, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, c.problem.Status, w.Code, name)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), name)
		require.Equal(t, c.body+"\n", w.Body.String(), name)

		head := httptest.NewRecorder()
		c.problem.Write(head, httptest.NewRequest("HEAD", "/", nil))
		require.Equal(t, w.Code, head.Code, name)
		require.Equal(t, w.Header(), head.Header(), name)
		require.Empty(t, head.Body.String(), name)
	}
}

// A Problem must wrap its internal cause for logs and for errors.Is. The response to the client
// must not contain the text of the cause.
// Case X5.
func TestProblemOfFailureHidesItsCause(t *testing.T) {
	t.Parallel()
	for _, err := range []error{challenge.Unavailable(errStore), challenge.Uncertain(errStore, http.StatusServiceUnavailable)} {
		require.ErrorIs(t, err, errStore)
		require.Equal(t, errStore.Error(), err.Error(), "Error must return the text of the cause, for logs")
		var p *challenge.Problem
		require.ErrorAs(t, err, &p)
		w := httptest.NewRecorder()
		p.SetHeader(w.Header(), []string{"Bearer"}, "api")
		p.Write(w, httptest.NewRequest("GET", "/", nil))
		require.NotContains(t, w.Body.String(), "10.0.0.7")
		require.Empty(t, w.Header()["Www-Authenticate"], "a response with status 503 must not contain a challenge")
	}
}

// If the outcome of a request is unknown, the response must not contain Retry-After. Otherwise
// clients and proxies would repeat the request.
// Case F8.
func TestProblemOfUnknownOutcomeHasNoRetryAfter(t *testing.T) {
	t.Parallel()
	retryAfter := func(err error) string {
		var p *challenge.Problem
		require.ErrorAs(t, err, &p)
		h := http.Header{}
		p.SetHeader(h, nil, "api")
		return h.Get("Retry-After")
	}
	require.Equal(t, "2", retryAfter(challenge.Unavailable(errStore)))
	require.Empty(t, retryAfter(challenge.Uncertain(errStore, http.StatusServiceUnavailable)))
	require.Empty(t, retryAfter(challenge.Uncertain(challenge.Unavailable(errStore), http.StatusServiceUnavailable)))
	require.Equal(t, errStore, challenge.Uncertain(errStore, http.StatusConflict), "Uncertain must return the error unchanged if the status is not 503")
}

// A client must see one challenge per accepted scheme. Challenges that other middleware has set
// must stay. No cache may store the response.
// Cases H10, H21.
func TestSetHeaderAddsOneFieldPerChallenge(t *testing.T) {
	t.Parallel()
	h := http.Header{"Www-Authenticate": {"Basic"}, "Cache-Control": {"public"}}
	p := &challenge.Problem{Status: 401, Challenge: true, Attributes: `, error="invalid_token"`}
	p.SetHeader(h, []string{"Bearer", "Token"}, "acme")
	require.Equal(t, http.Header{
		"Www-Authenticate":       {"Basic", `Bearer realm="acme", error="invalid_token"`, `Token realm="acme", error="invalid_token"`},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}, h)
}

// NotAllowed must not change the caller's slice of methods.
func TestNotAllowedSortsCopyOfMethods(t *testing.T) {
	t.Parallel()
	methods := []string{"POST", "GET", "DELETE", "HEAD"}
	h := http.Header{}
	challenge.NotAllowed(methods...).SetHeader(h, nil, "api")
	require.Equal(t, "DELETE, GET, HEAD, POST", h.Get("Allow"))
	require.Equal(t, []string{"POST", "GET", "DELETE", "HEAD"}, methods, "NotAllowed must not change its argument, which concurrent requests share")
}
