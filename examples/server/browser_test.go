package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

// A browser keeps cookies and sends forms. It does not follow redirects.
type browser struct {
	*program
	t      *testing.T
	client http.Client
}

func (p *program) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{p, t, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signedIn returns a browser in which the user has signed in.
func (p *program) signedIn(t *testing.T, name, password string) *browser {
	t.Helper()
	b := p.browser(t)
	got := b.post(signInPath, url.Values{"username": {name}, "password": {password}})
	require.Equal(t, http.StatusSeeOther, got.StatusCode)
	require.Equal(t, accountPath, got.Header.Get("Location"))
	return b
}

func (b *browser) get(path string) readResponse {
	b.t.Helper()
	return b.send("GET", path, nil, nil, false)
}

func (b *browser) post(path string, form url.Values) readResponse {
	b.t.Helper()
	return b.send("POST", path, form, nil, false)
}

// send sends a form. It passes the response to the search for leaked secrets, except a response
// that may contain a key.
func (b *browser) send(method, path string, form url.Values, header http.Header, showsKey bool) readResponse {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+path, strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	for _, cookie := range response.Cookies() {
		if cookie.Value != "" {
			leak.Default.Secret(cookie.Value)
		}
	}
	shown := response.Header.Clone()
	shown.Del("Set-Cookie") // it contains the key of a session
	_, _ = fmt.Fprintf(&leak.Default, "%v", shown)
	if !showsKey {
		_, _ = leak.Default.Write(body)
	}
	return readResponse{response, string(body)}
}

var newKey = regexp.MustCompile(`>(notes_[0-9A-Za-z]{38})<`)

// create creates a token on the account page. It returns the key that the page shows.
func (b *browser) create(name string, scopes ...string) string {
	b.t.Helper()
	form := b.newForm()
	form["name"], form["scope"], form["expires"] = []string{name}, scopes, []string{"7"}
	got := b.send("POST", accountPath+"new", form, nil, true)
	require.Equal(b.t, http.StatusOK, got.StatusCode)
	found := newKey.FindStringSubmatch(got.Text)
	require.Len(b.t, found, 2, "the page must show a key")
	leak.Default.Secret(found[1])
	return found[1]
}

var (
	hidden     = regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([0-9A-Z]+)"`)
	revokeLink = regexp.MustCompile(`href="\./([A-Z2-7]{26})/revoke"`)
)

// cookie returns the name and the value of the cookie of the session.
func (b *browser) cookie() string {
	b.t.Helper()
	site, err := url.Parse(b.URL)
	require.NoError(b.t, err)
	cookies := b.client.Jar.Cookies(site)
	require.Len(b.t, cookies, 1)
	return cookies[0].Name + "=" + cookies[0].Value
}

// newForm returns the hidden fields of the form for a new token: the user, and the ID of the token.
func (b *browser) newForm() url.Values {
	b.t.Helper()
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(b.get(accountPath+"new").Text, -1) {
		form.Set(field[1], field[2])
	}
	require.NotEmpty(b.t, form["user"])
	return form
}

// userID returns the ID of the signed-in user, which the form for a new token contains.
func (b *browser) userID() string { return b.newForm().Get("user") }

// tokenIDs returns the IDs of the tokens on a list, in the order of the list.
func (b *browser) tokenIDs(path string) (ids []string) {
	b.t.Helper()
	got := b.get(path)
	require.Equal(b.t, http.StatusOK, got.StatusCode)
	for _, found := range revokeLink.FindAllStringSubmatch(html.UnescapeString(got.Text), -1) {
		ids = append(ids, found[1])
	}
	return ids
}
