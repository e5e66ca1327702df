package tokenpage_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// A page must forbid foreign content, frames, caching and content sniffing, so that another site
// can neither show the page nor read it. Every other test checks these headers in send too.
// Case W2.
func TestPagesForbidForeignContentFramesAndCaching(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, r := range []*http.Request{
		s.request(http.MethodGet, "", nil), s.request(http.MethodGet, "tokens.css", nil), s.request(http.MethodGet, "missing", nil),
		s.request(http.MethodPost, "create", nil),
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		checkHeaders(t, w.Header())
	}
}

// Browsers may cache the stylesheet and the script, which do not depend on the user. If the
// stylesheet changes, its URL must change too, because browsers would otherwise show new pages with
// the old style.
func TestAssetsAreCachedUntilTheyChange(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{CSS: "\n:root { --tp-brand: #b00020; }\n"})
	s.user = ""
	css := s.get("tokens.css")
	require.Equal(t, "text/css; charset=utf-8", css.Header().Get("Content-Type"))
	require.True(t, strings.HasSuffix(css.body, "--tp-brand: #b00020; }\n"))
	js := s.get("copy.js")
	require.Equal(t, "text/javascript; charset=utf-8", js.Header().Get("Content-Type"))
	for _, asset := range []page{css, js} {
		require.Equal(t, http.StatusOK, asset.Code)
		require.Equal(t, "public, max-age=86400", asset.Header().Get("Cache-Control"))
		require.Empty(t, asset.Header().Get("Vary"))
	}
	behind := newSite(t, nil, nil)
	page := behind.Handler
	behind.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		page.ServeHTTP(w, r)
	})
	require.Equal(t, []string{"Accept-Encoding"}, behind.get("tokens.css").Header().Values("Vary"), "the page must keep the Vary header of another handler")
	require.Equal(t, []string{"Accept-Encoding", "Cookie"}, behind.get("").Header().Values("Vary"))
	s.user = "anna"
	plain := newSite(t, nil, nil)
	require.NotEqual(t, attribute(plain.get("").element(t, "<link"), "href"), attribute(s.get("").element(t, "<link"), "href"),
		"a changed stylesheet must have another URL")
}
