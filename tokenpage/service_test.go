package tokenpage_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

func TestW8ManyTokens(t *testing.T) {
	t.Parallel()
	const many = 10_000
	s := newSite(t, &tokenauth.Options{MaxPerUser: -1}, nil)
	specs := make([]tokenauth.ImportSpec, many)
	for i := range specs {
		specs[i] = tokenauth.ImportSpec{UserID: "anna", Name: "token " + strconv.Itoa(i), Origin: "old", Digest: tokenauth.DigestOf(strconv.Itoa(i)),
			CreatedAt: s.Clock.Now().Add(time.Duration(i-many) * time.Second)}
	}
	_, err := s.Manager.Import(t.Context(), specs...)
	require.NoError(t, err)
	for at, i := prefix, 0; ; {
		p := s.get(at)
		for range 100 {
			require.Contains(t, p.body, "<bdi>token "+strconv.Itoa(i)+"</bdi>")
			i++
		}
		require.Less(t, len(p.body), 200<<10)
		if i == many {
			require.NotContains(t, p.body, "Next page")
			require.Equal(t, prefix, p.link(t, at, "First page"))
			return
		}
		if i == 300 {
			i = many - 100 // the pages between are like the others
			at = prefix + "?after=" + cursorAt(t, specs[i-1].CreatedAt, "ZZZZ")
			continue
		}
		at = p.link(t, at, "Next page")
	}
}

func TestW8MalformedCursor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, text := range []string{
		"1", "1.", ".A", "1.\x00", "1.a b", "99999999999999999999.A", "9223372036854775807.A", "-9223372036854775808.A", "1.A.B",
	} {
		require.Equal(t, http.StatusBadRequest, s.get("?after="+base64.RawURLEncoding.EncodeToString([]byte(text))).Code, text)
	}
	for _, after := range []string{"x", "1.A", "%00", "MS5B%3D"} {
		require.Equal(t, http.StatusBadRequest, s.get("?after="+after).Code, after)
	}
	require.Contains(t, s.get("?after="+cursorAt(t, time.UnixMicro(1800000000000000), "A")).text(), "There are no tokens here.")
}

// cursorAt returns the text of a cursor.
func cursorAt(t *testing.T, at time.Time, id string) string {
	t.Helper()
	text, err := tokenauth.Cursor{CreatedAt: at, ID: id}.MarshalText()
	require.NoError(t, err)
	return string(text)
}

var errDown = errors.New("dial tcp 10.0.0.7:5432: connection refused")

func TestW9StoreIsDown(t *testing.T) {
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
		require.Contains(t, s.logged[len(s.logged)-1], errDown.Error(), "the service is told why")
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

// Where the store fails in the middle of a change, nobody is told that nothing was changed.
func TestW9ChangeMayHaveBeenMade(t *testing.T) {
	t.Parallel()
	opts := &tokenpage.Options{}
	s := newSite(t, nil, opts)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	s.mount(s.Manager.WithStore(newReadOnlyStore(s.Store)), opts)
	uncertain := func(p page) {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
		require.Contains(t, p.text(), "may or may not have been made")
		require.NotContains(t, p.body, "10.0.0.7")
		require.Contains(t, s.logged[len(s.logged)-1], errDown.Error(), "the service is told why")
		s.logged = []string{"nothing"}
	}
	uncertain(s.create(url.Values{"name": {"phone"}}))
	uncertain(s.post(token.ID+"/rename", url.Values{"name": {"phone"}}))
	uncertain(s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}))
	uncertain(s.post(token.ID+"/revoke", nil))
	s.user = "root"
	uncertain(s.post("/staff/"+token.ID+"/revoke", nil))
}

// A client that gives up is no failure of the service, a store that is too slow is one.
func TestW9ClientGivesUp(t *testing.T) {
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

// An ID that no user can have is the service's mistake: it is told so, and the form is not blamed.
func TestW9MalformedUserID(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.user = "a\x00b"
	for _, p := range []page{s.get(""), s.get("new"), s.create(url.Values{"name": {"phone"}})} {
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
	}
	require.Len(t, s.logged, 3)
}

func TestW9SignInCannotBeChecked(t *testing.T) {
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

func TestW10UnderAPrefixBehindAProxy(t *testing.T) {
	t.Parallel()
	t.Run("redirects to the slash", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil, nil)
		page := must.Get(tokenpage.New(s.Manager, func(*http.Request) (string, error) { return "anna", nil }, nil))
		for target, location := range map[string]string{"/account/tokens": "./tokens/", "/account/tokens?x=y": "./tokens/"} {
			w := httptest.NewRecorder()
			http.StripPrefix("/account/tokens", page).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
			require.Equal(t, http.StatusPermanentRedirect, w.Code)
			require.Equal(t, location, w.Header().Get("Location"))
		}
		for strip, target := range map[string]string{"/a/b/": "/a/b/", "/a/b": "/a/b/", "": "/"} {
			w := httptest.NewRecorder()
			http.StripPrefix(strip, page).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
			require.Equal(t, http.StatusOK, w.Code)
		}
	})
	t.Run("unknown paths find their way back", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil, nil)
		for _, path := range []string{"nothing", "a/b", "a/b/c", "new/", "%6eew", "a%2Frename", "%2e%2e/revoke", "favicon.ico", "history/x"} {
			p := s.get(path)
			require.Equal(t, http.StatusNotFound, p.Code, path)
			require.Equal(t, prefix, p.link(t, prefix+path, "Back to the tokens"), path)
			require.Equal(t, prefix+"tokens.css", strings.Split(resolve(t, prefix+path, attribute(p.element(t, "<link"), "href")), "?")[0])
		}
	})
	t.Run("proxy rewrites the host", func(t *testing.T) {
		t.Parallel()
		protection := http.NewCrossOriginProtection()
		require.NoError(t, protection.AddTrustedOrigin("https://acme.example"))
		for name, test := range map[string]struct {
			header, value string
			trusted       *http.CrossOriginProtection
			status        int
		}{
			"browser":                       {"Sec-Fetch-Site", "same-origin", nil, http.StatusOK},
			"old browser":                   {"Origin", "https://acme.example", nil, http.StatusForbidden},
			"old browser, origin is known":  {"Origin", "https://acme.example", protection, http.StatusOK},
			"other origin, origin is known": {"Origin", "https://evil.example", protection, http.StatusForbidden},
		} {
			s := newSite(t, nil, &tokenpage.Options{CrossOrigin: test.trusted})
			r := s.request(http.MethodPost, "new", url.Values{"user": {"anna"}, "name": {"phone"}, "expires": {"7"}})
			r.Host = "10.0.0.7:8080"
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set(test.header, test.value)
			require.Equal(t, test.status, s.send(r).Code, name)
		}
	})
}

// The clock is read before a token is made, and other processes have clocks of their
// own: a token must not seem to come from the future.
func TestCreatedAfterNow(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	page := must.Get(tokenpage.New(s.Manager, func(*http.Request) (string, error) { return "anna", nil }, &tokenpage.Options{
		Now: func() time.Time { return s.Clock.Now().Add(-time.Millisecond) },
	}))
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Contains(t, w.Body.String(), "just now")
	require.NotContains(t, w.Body.String(), "in a moment")
}

// ServeMux redirects to the clean path and unescapes segments. The page does neither, so that a
// path means the same here and to a proxy.
func TestOddPathsAreNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	page := must.Get(tokenpage.New(s.Manager, func(*http.Request) (string, error) { return "anna", nil }, nil))
	for _, strip := range []string{"/account/tokens", "/account/tokens/"} { // without a mux, which would redirect
		s.Handler = http.StripPrefix(strip, page)
		for _, path := range []string{
			token.ID + "%2Frotate", token.ID + "/%72otate", token.ID + "/rotate/", token.ID + "//rotate", "//" + token.ID + "/rotate",
			token.ID + "/./rotate", "x/../" + token.ID + "/rotate", "../rotate", "..", ".", "//", "new/", "history/", token.ID, token.ID + "/",
			"%2e%2e/rotate", "tokens.css/", "./tokens.css",
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodConnect} {
				p := s.send(s.request(method, prefix+path, url.Values{"generation": {"1"}, "grace": {"0"}}))
				require.Equal(t, http.StatusNotFound, p.Code, "%s %s", method, path)
				require.Equal(t, "Not found – API tokens", p.title)
			}
		}
		require.Equal(t, http.StatusOK, s.get(token.ID+"/rotate").Code)
	}
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
}

// The service's functions get the request as the service routed it.
func TestRequestKeepsRouteOfTheService(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	routes := map[string]bool{}
	note := func(r *http.Request) { routes[r.Pattern+" "+r.PathValue("org")+" "+r.PathValue("id")] = true }
	page := must.Get(tokenpage.New(s.Manager, func(r *http.Request) (string, error) {
		note(r)
		return "anna", nil
	}, &tokenpage.Options{Layout: func(w io.Writer, r *http.Request, p tokenpage.Page) error {
		note(r)
		return frame.Execute(w, struct {
			tokenpage.Page
			User string
		}{p, "Anna"})
	}}))
	mux := http.NewServeMux()
	mux.HandleFunc("/orgs/{org}/tokens/", func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("id", "of the service")
		http.StripPrefix("/orgs/7/tokens", page).ServeHTTP(w, r)
		note(r)
	})
	s.Handler = mux
	for path, want := range map[string]int{"": 200, "new": 200, "history": 200, token.ID + "/rotate": 200, "nothing": 404} {
		require.Equal(t, want, s.get("/orgs/7/tokens/"+path).Code, path)
	}
	require.Equal(t, map[string]bool{"/orgs/{org}/tokens/ 7 of the service": true}, routes)
}
