package tokenpage_test

import (
	"context"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

var frame = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="{{.Lang}}"><head><title>{{.Title}} | Acme</title>{{.Head}}</head>
<body><header>Hello, {{.User}}</header><main>{{.Main}}</main></body></html>`))

// The service's layout must contain the title and the main part of each page. If the layout fails,
// the response must not contain its partial output.
func TestLayoutWrapsPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{Layout: func(w io.Writer, r *http.Request, p tokenpage.Page) error {
		if r.URL.Query().Has("broken") {
			_, _ = io.WriteString(w, "half a page")
			return errors.New("no such template")
		}
		return frame.Execute(w, struct {
			tokenpage.Page
			User string
		}{p, "Anna"})
	}})
	p := s.get("")
	require.Equal(t, "API tokens | Acme", p.title)
	require.Contains(t, p.body, "<header>Hello, Anna</header><main><div class=\"tp\">")
	require.Contains(t, p.Header().Get("Content-Security-Policy"), "img-src 'self'; font-src 'self'")
	require.Equal(t, "Not found – API tokens | Acme", s.get("nothing").title)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, s.request(http.MethodGet, "?broken", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "half a page")
	require.Equal(t, []string{"no such template"}, s.logged)
}

// When the layout of the key page fails, the key already exists. The page must show the key without
// the layout. Otherwise the key would be lost.
func TestKeyIsShownIfLayoutFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{Layout: func(w io.Writer, _ *http.Request, _ tokenpage.Page) error {
		_, _ = io.WriteString(w, "half a page")
		return errors.New("no such template")
	}})
	created := s.create(url.Values{"name": {"laptop"}})
	require.True(t, s.works(created.key))
	rotated := s.post(s.tokens("anna")[0].ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}})
	require.True(t, s.works(rotated.key))
	for _, p := range []page{created, rotated} {
		require.Equal(t, http.StatusOK, p.Code)
		require.NotContains(t, p.body, "half a page")
	}
	require.Equal(t, []string{"no such template", "no such template"}, s.logged)
}

// After a rotation, the store may fail when the Manager reads the token. The page must show the new
// key, which would be lost otherwise, and must not invent properties of the token.
func TestKeyIsShownIfTokenCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(time.Hour)})
	rotated := false
	s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		if rotated {
			return errDown
		}
		rotated = method == "Rotate"
		return next()
	})
	p := s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"86400"}})
	s.Store.Intercept(nil)
	require.Equal(t, http.StatusOK, p.Code)
	require.True(t, s.works(p.key))
	require.NotContains(t, p.text(), "Never")
	require.NotContains(t, p.text(), "stops working")
}
