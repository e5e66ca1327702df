package tokenpage_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

var nasty = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{{.}}`, `' onfocus='alert(1)`,
	`&lt;b&gt;`, `</textarea></title>`, strings.Repeat("W", 64), "عربي", "👩🏽‍💻",
}

// Names and user IDs may contain HTML or template code. The pages must show them as text. Otherwise
// a user could run a script in the browser of staff.
// Case W1.
func TestUserInputIsShownAsText(t *testing.T) {
	t.Parallel()
	for _, name := range nasty {
		s := newSite(t, nil, nil)
		s.user = "user " + name
		answer := s.create(url.Values{"name": {name}})
		require.Equal(t, http.StatusOK, answer.Code)
		require.NotEmpty(t, answer.key)
		id := s.tokens(s.user)[0].ID
		for _, path := range []string{"", "history", id + "/rename", id + "/rotate", id + "/revoke"} {
			p := s.get(path)
			require.Equal(t, http.StatusOK, p.Code)
			require.Contains(t, p.text(), name)
			require.NotContains(t, p.title, name)
		}
		require.Equal(t, name, s.get(id+"/rename").fields().Get("name"))
		staffed := "/staff/?user=" + url.QueryEscape(s.user)
		s.user = "root"
		require.Contains(t, s.get(staffed).text(), "user "+name)
	}
}

// The form must show a refused name again as text, without control characters.
// Case W1.
func TestRefusedNameIsShownAsText(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for name, again := range map[string]string{
		"":                       "",
		"\u202etxt.exe":          "\u202etxt.exe",
		"a\x00b\x01c\x7f":        "abc",
		"not \xff UTF-8":         "not  UTF-8",
		strings.Repeat("x", 65):  strings.Repeat("x", 65),
		`"><script>` + "\u200b":  `"><script>` + "\u200b",
		strings.Repeat("<", 9e3): strings.Repeat("<", 9e3),
	} {
		for _, p := range []page{s.create(url.Values{"name": {name}}), s.post(token.ID+"/rename", url.Values{"name": {name}})} {
			require.Equal(t, http.StatusUnprocessableEntity, p.Code)
			require.Equal(t, again, p.fields().Get("name"))
		}
	}
	require.Len(t, s.tokens("anna"), 1)
}

// A form that is too large or malformed must be refused before the page uses it.
// Case W1.
func TestBadFormsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	r := s.request(http.MethodPost, "new", nil)
	r.Body = http.NoBody
	long := httptest.NewRequest(http.MethodPost, r.URL.Path, oversized())
	long.Header = r.Header
	require.Equal(t, http.StatusRequestEntityTooLarge, s.send(long).Code)
	broken := httptest.NewRequest(http.MethodPost, r.URL.Path, strings.NewReader("name=%zz"))
	broken.Header = r.Header
	require.Equal(t, http.StatusBadRequest, s.send(broken).Code)
	require.Empty(t, s.tokens("anna"))
}
