package tokenpage_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	day       = 24 * time.Hour
	prefix    = "/account/tokens/"
	signInURL = "/sign-in" // if the test sets Options.SignInURL
)

// A site is a service with the page for users at /account/tokens/ and the page for staff at
// /staff/. The cookie "user" names the signed-in user. The user "root" is staff.
type site struct {
	*tokenauthtest.Kit
	http.Handler
	t      *testing.T
	user   string   // ID of the signed-in user; empty if nobody is signed in
	logged []string // texts of the errors that OnError received

	// userID returns who is signed in. A test may replace it.
	userID func(*http.Request) (string, error)
}

var errSession = errors.New("session store is down")

func newSite(t *testing.T, managerOptions *tokenauth.Options, opts *tokenpage.Options) *site {
	s := &site{t: t, user: "anna", Kit: tokenauthtest.New(t, managerOptions)}
	if opts == nil {
		opts = &tokenpage.Options{}
	}
	s.userID = cookieUser
	opts.OnError = func(_ *http.Request, err error) { s.logged = append(s.logged, err.Error()) }
	s.mount(s.Manager, opts)
	return s
}

// cookieUser returns the user ID in the cookie of a request.
func cookieUser(r *http.Request) (string, error) {
	cookie, err := r.Cookie("user")
	if err != nil {
		return "", nil
	}
	if cookie.Value == "broken" {
		return "ignored", errSession
	}
	return url.QueryUnescape(cookie.Value)
}

func (s *site) mount(m *tokenauth.Manager, opts *tokenpage.Options) {
	userID := func(r *http.Request) (string, error) { return s.userID(r) }
	isStaff := func(r *http.Request) (bool, error) {
		id, err := userID(r)
		return id == "root", err
	}
	mux := http.NewServeMux()
	mux.Handle(prefix, http.StripPrefix("/account/tokens", must.Get(tokenpage.New(m, userID, opts))))
	mux.Handle("/staff/", http.StripPrefix("/staff", must.Get(tokenpage.NewStaff(m, isStaff, opts))))
	s.Handler = mux
}

// newAuth returns an Authenticator whose users are strings: the user IDs.
func newAuth(m *tokenauth.Manager) *tokenauth.Authenticator[string] {
	return must.Get(tokenauth.NewAuthenticator(m, func(_ context.Context, id string) (string, error) { return id, nil }, nil))
}

// issue issues a token by a direct call of the Manager.
func (s *site) issue(spec tokenauth.Spec) (string, tokenauth.Token) {
	key, token, err := s.Manager.Issue(context.Background(), spec)
	require.NoError(s.t, err)
	leak.Default.Secret(key.Reveal())
	return key.Reveal(), token
}

func (s *site) tokens(user string) []tokenauth.Token {
	tokens, err := s.Manager.List(context.Background(), tokenauth.Query{UserID: user, IncludeRevoked: true})
	require.NoError(s.t, err)
	return tokens
}

func (s *site) request(method, path string, form url.Values) *http.Request {
	if !strings.HasPrefix(path, "/") {
		path = prefix + path
	}
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if s.user != "" {
		r.AddCookie(&http.Cookie{Name: "user", Value: url.QueryEscape(s.user)})
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r
}

func (s *site) get(path string) page { return s.send(s.request(http.MethodGet, path, nil)) }

func (s *site) post(path string, form url.Values) page {
	return s.send(s.request(http.MethodPost, path, form))
}

// visit sends a GET request, or the given form if it is not nil.
func (s *site) visit(path string, form url.Values) page {
	if form == nil {
		return s.get(path)
	}
	return s.post(path, form)
}

// create sends the form for a new token. If the given form has no ID, create adds a new one, so
// that a second call with the same url.Values sends the same form again.
func (s *site) create(form url.Values) page {
	for name, value := range map[string]string{"user": s.user, "id": rand.Text(), "expires": "90"} {
		if !form.Has(name) {
			form.Set(name, value)
		}
	}
	return s.post("new", form)
}

// A page is a response. If its body is HTML, send has checked it.
type page struct {
	*httptest.ResponseRecorder
	body  string
	title string
	key   string // key that the page shows
}

var (
	titleElement = regexp.MustCompile(`<title>([^<]*)</title>`)
	keyElement   = regexp.MustCompile(`(<textarea [^>]*>)([^<]*)(</textarea>)`)
)

// send returns the response to a request. It checks the headers and the HTML of the response. It
// also passes the response to the search for leaked keys, except the element that may contain a
// key.
func (s *site) send(r *http.Request) page {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	p := page{ResponseRecorder: w, body: w.Body.String()}
	if found := keyElement.FindStringSubmatch(p.body); found != nil {
		p.key = found[2]
		leak.Default.Secret(p.key)
	}
	_, _ = fmt.Fprint(&leak.Default, w.Header(), keyElement.ReplaceAllString(p.body, "$1$3"), s.logged)
	checkHeaders(s.t, w.Header())
	if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		checkHTML(s.t, p.body)
		p.title = titleElement.FindStringSubmatch(p.body)[1]
	}
	return p
}

// text returns the visible text of a page, with single spaces.
func (p page) text() string {
	_, main, _ := strings.Cut(p.body, "<main")
	return strings.Join(strings.Fields(unescape(regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<main"+main, " "))), " ")
}

func unescape(s string) string {
	return strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&#43;", "+", "&amp;", "&").Replace(s)
}

// element returns the first tag of a page that contains all given texts.
func (p page) element(t *testing.T, holds ...string) string {
	t.Helper()
tags:
	for _, tag := range regexp.MustCompile(`<[a-z][^>]*>`).FindAllString(p.body, -1) {
		for _, text := range holds {
			if !strings.Contains(tag, text) {
				continue tags
			}
		}
		return tag
	}
	require.Failf(t, "the page has no such element", "%q in %s", holds, p.body)
	return ""
}

// link returns the target of the link with the given label. The path is that of the page.
func (p page) link(t *testing.T, path, label string) string {
	t.Helper()
	for _, found := range regexp.MustCompile(`(?s)<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>`).FindAllStringSubmatch(p.body, -1) {
		if strings.Join(strings.Fields(page{body: "<main>" + found[2]}.text()), " ") == label {
			return resolve(t, path, unescape(found[1]))
		}
	}
	require.Failf(t, "the page has no such link", "%q in %s", label, p.text())
	return ""
}

func resolve(t *testing.T, path, reference string) string {
	t.Helper()
	base, err := url.Parse(path)
	require.NoError(t, err)
	to, err := base.Parse(reference)
	require.NoError(t, err)
	return to.String()
}

// fields returns the values that a browser would send with the form of a page, without changes.
func (p page) fields() url.Values {
	form := url.Values{}
	for _, tag := range regexp.MustCompile(`<input [^>]*>`).FindAllString(p.body, -1) {
		choice := strings.Contains(tag, `type="radio"`) || strings.Contains(tag, `type="checkbox"`)
		if !choice || strings.Contains(tag, " checked") {
			form.Add(attribute(tag, "name"), attribute(tag, "value"))
		}
	}
	return form
}

func attribute(tag, name string) string {
	found := regexp.MustCompile(` ` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if found == nil {
		return ""
	}
	return unescape(found[1])
}

// works reports whether the Manager accepts a key.
func (s *site) works(key string) bool {
	_, err := s.Manager.Authenticate(context.Background(), key)
	return err == nil
}

func oversized() *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte("name=a&"), 100<<10)) }
