package tokenpage_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
)

// This file tests forms that arrive slowly. In the meantime, the session may end.

// slowly returns the request of a form whose second half arrives after a call of between.
func (s *site) slowly(path string, form url.Values, between func()) *http.Request {
	text := form.Encode()
	half := len(text) / 2
	r := s.request(http.MethodPost, path, nil)
	r.Body = bodyOf(io.MultiReader(strings.NewReader(text[:half]), pause(between), strings.NewReader(text[half:])))
	return r
}

// A pause is a reader that calls a function and contains no data.
type pause func()

func (p pause) Read([]byte) (int, error) {
	p()
	return 0, io.EOF
}

func bodyOf(r io.Reader) io.ReadCloser { return io.NopCloser(r) }

// onServer makes the service read the session from a store, so that a user may sign out during a
// request. If *failure is not nil, the store fails.
func (s *site) onServer(failure *error) {
	s.userID = func(*http.Request) (string, error) { return s.user, *failure }
}

// An attacker with a stolen session may send the beginning of a form, and the rest after the user
// has signed out. The form must change nothing. The same holds if another user signs in, or if a
// member of staff loses that right.
// Case W7.
func TestSlowFormAfterEndOfSessionChangesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		user    string // the signed-in user when the form is complete
		failure error  // error of the session store at that time
		page    int    // status of the account page
		staff   int    // status of the staff page
	}{
		"signed out":      {"", nil, http.StatusUnauthorized, http.StatusForbidden},
		"another user":    {"ben", nil, http.StatusConflict, http.StatusForbidden},
		"session failure": {"anna", errSession, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
			var failure error
			s.onServer(&failure)
			for path, user := range map[string]string{
				"new": "anna", token.ID + "/rename": "anna", token.ID + "/rotate": "anna", token.ID + "/revoke": "anna",
				"/staff/" + token.ID + "/revoke": "root",
			} {
				s.user, failure = user, nil
				form := s.get(path).fields()
				form.Set("name", "phone")
				p := s.send(s.slowly(path, form, func() { s.user, failure = test.user, test.failure }))
				want := test.page
				if user == "root" {
					want = test.staff
				}
				require.Equal(t, want, p.Code, path)
				require.Empty(t, p.key)
				require.NotContains(t, p.body, "laptop")
			}
			require.True(t, s.works(key))
			require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
			require.Empty(t, s.tokens("ben"))
		})
	}
}

// A form on a slow connection must work if the user stays signed in, in whatever pieces it arrives.
func TestSlowFormOfSameUserWorks(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	var failure error
	s.onServer(&failure)
	form := s.get("new").fields()
	form.Set("name", "laptop")
	require.True(t, s.works(s.send(s.slowly("new", form, func() {})).key))

	form = s.get("new").fields()
	form.Set("name", "phone")
	r := s.request(http.MethodPost, "new", nil)
	r.Body = bodyOf(iotest.OneByteReader(strings.NewReader(form.Encode())))
	require.True(t, s.works(s.send(r).key))
	require.Len(t, s.tokens("anna"), 2)
}

// A middleware of the service may parse the form before the page does. The page must then use that
// form.
func TestFormParsedByMiddlewareWorks(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	page := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "laptop", r.PostFormValue("name"))
		page.ServeHTTP(w, r)
	})
	require.True(t, s.works(s.create(url.Values{"name": {"laptop"}}).key))
}

// If nobody is signed in, or if a form comes from another site, the page must refuse the form
// without reading it. Otherwise strangers could make the service wait for bodies.
func TestFormWithoutSessionIsNotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for user, site := range map[string]string{"": "same-origin", "anna": "cross-site", "broken": "same-origin"} {
		s.user = user
		for _, path := range []string{"new", "X/rename", "X/rotate", "X/revoke", "/staff/X/revoke"} {
			r := s.slowly(path, nil, func() { require.Fail(t, "the page read the form", path) })
			r.Header.Set("Sec-Fetch-Site", site)
			require.GreaterOrEqual(t, s.send(r).Code, http.StatusUnauthorized)
		}
	}
}

// A form that does not arrive in time, or not completely, must change nothing. The page must say
// that the user can send it again.
func TestIncompleteFormChangesNothing(t *testing.T) {
	t.Parallel()
	for err, test := range map[error]struct {
		status     int
		says       string
		connection string
	}{
		os.ErrDeadlineExceeded: {http.StatusRequestTimeout, "took too long to arrive. Nothing was changed. Send it again.", "close"},
		io.ErrUnexpectedEOF:    {http.StatusBadRequest, "Nothing was changed.", ""},
	} {
		s := newSite(t, nil, nil)
		form := s.get("new").fields()
		form.Set("name", "laptop")
		r := s.request(http.MethodPost, "new", nil)
		r.Body = bodyOf(io.MultiReader(strings.NewReader(form.Encode()), iotest.ErrReader(err)))
		p := s.send(r)
		require.Equal(t, test.status, p.Code)
		require.Contains(t, p.text(), test.says)
		require.Equal(t, test.connection, p.Header().Get("Connection"))
		require.Empty(t, s.tokens("anna"))
	}
}

// A client that never ends a form must not hold a connection for ever, whether the page reads the
// form or refuses the request before.
// Case W7.
func TestFormHeldOpenEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cookie string
		path   string
		status int
	}{
		"signed in":     {"anna", "new", http.StatusRequestTimeout},
		"not signed in": {"", "new", http.StatusUnauthorized}, // net/http reads the rest of the form
		"unknown path":  {"anna", "nothing", http.StatusNotFound},
		"not allowed":   {"anna", "history", http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, nil, nil)
				c := pipe.Serve(t, s).Dial(t)
				begin := time.Now()
				c.Send("POST " + prefix + test.path + " HTTP/1.1\r\nHost: x\r\nCookie: user=" + test.cookie +
					"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\nname=lap")
				w, _ := c.Receive(t)
				require.Equal(t, test.status, w.StatusCode)
				c.RequireClosed(t)
				require.Less(t, time.Since(begin), 11*time.Second)
				require.Empty(t, s.tokens("anna"))
			})
		})
	}
}
