package tokenapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// If the grace exceeded the longest time.Duration, the product in nanoseconds would overflow. The
// previous key would then stop working earlier or much later than the client asked for.
// Case A6.
func TestRotateRefusesGraceOutOfRange(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, seconds := range []string{
		"-1",
		"2592001",      // one second more than the default of Options.MaxGrace
		"9223372037",   // the first number of seconds beyond the longest time.Duration
		"18446744074",  // overflows to less than a second
		"-9223372037",  // overflows to 292 years
		"-18446744073", // overflows to less than a second
		"9223372036854775807",
		"-9223372036854775808",
	} {
		w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"grace_seconds":`+seconds+`}`, as("ada"))
		require.Equal(t, http.StatusBadRequest, w.Code, seconds)
		require.Equal(t, "#/grace_seconds", field(t, w), seconds)
		require.True(t, s.works(key), seconds)
	}
	w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"grace_seconds":2592000}`, as("ada"))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.True(t, s.works(key), "the longest grace is allowed")
}

// A client repeats a rotation because the response was lost. The second request must not end the
// grace of the previous key, or the client would be locked out.
func TestRotateCanBeRepeated(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	for name, by := range map[string]func(key string) header{
		"by session": func(string) header { return as("ada") },
		"by token":   with,
	} {
		key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: name, Scopes: []string{manageScope}})
		for _, want := range []int{http.StatusOK, http.StatusConflict} {
			w := send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", `{"generation":1,"grace_seconds":60}`, by(key))
			require.Equal(t, want, w.Code, name)
			require.True(t, s.works(key), name)
		}
	}
}

// If a session identifies the user, a request to rotate needs no member and no body.
func TestRotateNeedsNoBody(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", nil)
	r.Header.Set("X-User", "ada")
	w := apitest.Do(t, s.mux, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.True(t, s.works(keyIn(w)))
	require.False(t, s.works(key))
	require.Equal(t, http.StatusOK, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", "", as("ada")).Code, "a request to rotate may have an empty body and a Content-Type")
	r = httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader("")) // curl -d '' sends such a request
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, apitest.Do(t, s.mux, r).Code, "a request to rotate may have an empty body and the Content-Type of a form")
	require.Equal(t, http.StatusBadRequest, send(t, s.mux, "POST", "/api/tokens/"+made.ID+"/rotate", " ", as("ada")).Code)
}

// If middleware has already read the body, the API must refuse to rotate. The body may have had a
// grace, and a rotation without a grace would lock the client out.
func TestRotateRefusesBodyThatWasRead(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	r := httptest.NewRequest("POST", "/api/tokens/"+made.ID+"/rotate", strings.NewReader(`{"grace_seconds":3600}`))
	r.Header.Set("X-User", "ada")
	r.Header.Set("Content-Type", "application/json")
	_, err := io.Copy(io.Discard, r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, apitest.Do(t, s.mux, r).Code)
	require.True(t, s.works(key))
}

// During its grace, a key may belong to somebody else already. It may do what a client needs that
// has not noticed the rotation yet, but it may neither create tokens nor change or revoke others.
// Case A5.
func TestPreviousKeyCreatesAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{ManageScope: manageScope})
	_, other := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "other"})
	for i, c := range []struct {
		method, target, body string
		status               int
	}{
		{"POST", "/api/tokens", `{"name":"evil"}`, 403},
		{"PATCH", "/api/tokens/OTHER", `{"scopes":[]}`, 403},
		{"PATCH", "/api/tokens/OWN", `{"name":"evil"}`, 403},
		{"DELETE", "/api/tokens/OTHER", "", 403},
		{"DELETE", "/api/tokens", "", 403},
		{"POST", "/api/tokens/OTHER/rotate", `{"generation":1}`, 403},
		{"POST", "/api/tokens/OWN/rotate", `{"generation":1}`, 409},
		{"GET", "/api/tokens", "", 200},
		{"GET", "/api/tokens/OTHER", "", 200},
		{"POST", "/api/tokens/OWN/rotate", `{"generation":2}`, 200},
		{"POST", "/api/logout", "", 204},
		{"POST", "/api/logout-all", "", 403},
	} {
		previous, own := s.issue(t, tokenauth.Spec{UserID: "ada", Name: strconv.Itoa(i), Scopes: []string{manageScope}})
		_, _, err := s.Manager.Rotate(t.Context(), "ada", own.ID, time.Hour)
		require.NoError(t, err)
		before, err := s.Manager.List(t.Context(), tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		target := strings.NewReplacer("OWN", own.ID, "OTHER", other.ID).Replace(c.target)
		w := send(t, s.mux, c.method, target, c.body, with(previous))
		require.Equal(t, c.status, w.Code, "%s %s: %s", c.method, c.target, w.Body)
		if c.status < 300 {
			continue
		}
		after, err := s.Manager.List(t.Context(), tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Equal(t, before, after, "%s %s", c.method, c.target)
	}
}
