package tokenpage_test

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// Browsers and proxies may send a GET request without an action of the user. Only a POST request
// may change a token.
// Case W4.
func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	query := "?" + url.Values{"user": {"anna"}, "name": {"phone"}, "expires": {"7"}, "generation": {"1"}, "grace": {"0"}, "done": {"revoke"}}.Encode()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		for _, path := range []string{"", "history", "new", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke"} {
			p := s.send(s.request(method, path+query, nil))
			if method == http.MethodGet || method == http.MethodHead {
				require.Equal(t, http.StatusOK, p.Code)
				continue
			}
			require.Equal(t, http.StatusMethodNotAllowed, p.Code)
			want := "GET, HEAD, POST"
			if path == "" || path == "history" {
				want = "GET, HEAD"
			}
			require.Equal(t, want, p.Header().Get("Allow"))
		}
	}
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
	require.Equal(t, http.StatusMethodNotAllowed, s.post("", nil).Code)
	require.Equal(t, "GET, HEAD", s.post("tokens.css", nil).Header().Get("Allow"))
}

// A path with an empty token ID must not change a token, even if no ServeMux cleans the path.
// Case W7.
func TestPathWithoutTokenIDIsNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	s.Handler = http.StripPrefix("/account/tokens", must.Get(tokenpage.New(s.Manager, func(*http.Request) (string, error) { return "anna", nil }, nil)))
	for action, form := range map[string]url.Values{"rename": {"name": {"phone"}}, "rotate": {"generation": {"1"}, "grace": {"0"}}, "revoke": nil} {
		require.Equal(t, http.StatusNotFound, s.get("/account/tokens//"+action).Code, action)
		require.Equal(t, http.StatusNotFound, s.post("/account/tokens//"+action, form).Code, action)
	}
	s.Handler = http.StripPrefix("/staff", must.Get(tokenpage.NewStaff(s.Manager, func(*http.Request) (bool, error) { return true, nil }, nil)))
	require.Equal(t, http.StatusNotFound, s.post("/staff//revoke", nil).Code)
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
}

// A service may serve the page below a path prefix and behind a TLS proxy. Links must be relative,
// and the check of the origin must work if the proxy rewrites the host.
// Case W10.
func TestPageWorksUnderPrefixBehindProxy(t *testing.T) {
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
			r := s.request(http.MethodPost, "new", url.Values{"user": {"anna"}, "id": {rand.Text()}, "name": {"phone"}, "expires": {"7"}})
			r.Host = "10.0.0.7:8080"
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set(test.header, test.value)
			require.Equal(t, test.status, s.send(r).Code, name)
		}
	})
}

// ServeMux redirects to the clean path and decodes escaped segments. The page must do neither,
// because a proxy that blocks paths must see the same path as the page.
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

// The functions of the service must receive the request with the pattern and the path values of the
// service's own ServeMux.
func TestCallbacksReceiveRoutedRequest(t *testing.T) {
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
