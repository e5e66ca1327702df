package tokenpage_test

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// marked returns texts of which each is different and holds no letter, and their number.
func marked() (tokenpage.Texts, int) {
	n := 0
	var mark func(v reflect.Value)
	mark = func(v reflect.Value) {
		for i := range v.NumField() {
			switch field := v.Field(i); field.Kind() {
			case reflect.Struct:
				mark(field)
			case reflect.String:
				n++
				field.SetString(fmt.Sprintf("[%d]", n))
			}
		}
	}
	var texts tokenpage.Texts
	mark(reflect.ValueOf(&texts).Elem())
	texts.Date = func(t time.Time) string { return fmt.Sprintf("[%d]", t.YearDay()) }
	texts.Relative = func(d time.Duration) string { return fmt.Sprintf("[%d]", int(d.Hours())) }
	return texts, n
}

// skip returns what stands before the main part of a page.
func (p page) skip() string {
	_, body, _ := strings.Cut(p.body, "<body")
	before, _, _ := strings.Cut(body, "<main")
	return page{body: "<main" + before}.text()
}

var (
	attributeText = regexp.MustCompile(` (?:aria-label|title|alt|placeholder|lang|data-copied|data-failed)="([^"]*)"`)
	keyEnd        = regexp.MustCompile(`<dd><code>....</code></dd>`)
	mark          = regexp.MustCompile(`\[\d+\]`)
)

// Every text of every page comes from the table, and every entry of the table is used.
func TestEveryTextIsReplaceable(t *testing.T) {
	t.Parallel()
	texts, n := marked()
	s := newSite(t, &tokenauth.Options{MaxPerUser: 4}, &tokenpage.Options{Texts: texts, Scopes: map[string]string{"1": ""}, SignInURL: signInURL})
	seen := map[string]bool{}
	look := func(p page) {
		t.Helper()
		p.body = keyElement.ReplaceAllString(keyEnd.ReplaceAllString(p.body, ""), "")
		text := p.title + " " + p.skip() + " " + p.text()
		for _, found := range attributeText.FindAllStringSubmatch(p.body, -1) {
			text += " " + found[1]
		}
		require.NotRegexp(t, `\pL`, text, "no text is left")
		for _, mark := range mark.FindAllString(text, -1) {
			seen[mark] = true
		}
	}
	visitForms(s, look)
	visitLists(s, look)
	visitProblems(s, look)
	named := newSite(t, nil, &tokenpage.Options{Texts: texts, FindUser: func(*http.Request, string) (string, error) { return "7", nil }})
	named.user = "root"
	look(named.get("/staff/?search=1"))
	short := newSite(t, &tokenauth.Options{MaxTTL: 2 * day}, &tokenpage.Options{Texts: texts})
	short.user = "7"
	look(short.get("new"))
	for i := range n {
		require.True(t, seen[fmt.Sprintf("[%d]", i+1)], "text %d of the table is on no page", i+1)
	}
}

func visitForms(s *site, look func(page)) {
	s.user = "7"
	look(s.get("new"))
	look(s.create(url.Values{"name": {"1"}}))
	look(s.create(url.Values{"name": {"1"}}))
	look(s.create(url.Values{"name": {""}, "scope": {"x"}, "expires": {""}}))
	look(s.create(url.Values{"name": {"2"}, "expires": {"date"}}))
	s.Store.Fail(tokenauth.ErrConflict)
	look(s.create(url.Values{"name": {"9"}}))
	s.Store.Fail(nil)
	_, soon := s.issue(tokenauth.Spec{UserID: "7", Name: "2", ExpiresAt: s.Clock.Now().Add(time.Hour)})
	s.issue(tokenauth.Spec{UserID: "7", Name: "3"})
	_, kept := s.issue(tokenauth.Spec{UserID: "7", Name: "4"})
	look(s.create(url.Values{"name": {"5"}}))
	for _, action := range []string{"rename", "rotate", "revoke"} {
		look(s.get(kept.ID + "/" + action))
	}
	look(s.post(kept.ID+"/rename", url.Values{"name": {"3"}}))
	look(s.post(kept.ID+"/rotate", nil))
	look(s.post(kept.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"3600"}}))
	look(s.post(kept.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"3600"}}))
	look(s.post(kept.ID+"/rotate", url.Values{"generation": {"2"}, "grace": {"0"}}))
	s.Clock.Advance(50 * time.Minute)
	look(s.get("")) // with one that expires soon
	s.Clock.Advance(10 * time.Minute)
	look(s.post(soon.ID+"/rename", url.Values{"name": {"6"}}))
	look(s.post(soon.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}))
	look(s.get(""))
	s.post(kept.ID+"/revoke", nil)
}

func visitLists(s *site, look func(page)) {
	s.user = "8"
	for _, path := range []string{"", "history", "?done=revoke", "?done=rename", "?after=" + cursorAt(s.t, s.Clock.Now(), "1")} {
		look(s.get(path))
	}
	many := make([]tokenauth.ImportSpec, 101)
	for i := range many {
		many[i] = tokenauth.ImportSpec{UserID: "9", Name: fmt.Sprint(i), Origin: "1", Digest: tokenauth.DigestOf(fmt.Sprint(i))}
	}
	_, err := s.Manager.Import(s.t.Context(), many...)
	require.NoError(s.t, err)
	s.user = "root"
	for _, path := range []string{"/staff/", "/staff/history", "/staff/?user=7", "/staff/?user=9"} {
		look(s.get(path))
	}
}

func visitProblems(s *site, look func(page)) {
	s.user = "7"
	look(s.create(url.Values{"name": {"2"}, "user": {"8"}}))
	look(s.get("nothing"))
	look(s.get("?after=x"))
	look(s.post("", nil))
	look(s.get("/staff/"))
	cross := s.request(http.MethodPost, "new", nil)
	cross.Header.Set("Sec-Fetch-Site", "cross-site")
	look(s.send(cross))
	large := httptest.NewRequest(http.MethodPost, prefix+"new", oversized())
	large.Header = s.request(http.MethodPost, "new", nil).Header
	look(s.send(large))
	s.Store.Fail(errDown)
	look(s.get(""))
	look(s.create(url.Values{"name": {"9"}}))
	s.Store.Fail(nil)
	byKey := s.request(http.MethodGet, "", nil)
	look(s.send(byKey.WithContext(newAuth(s.Manager).NewContext(byKey.Context(), "7", tokenauth.Token{}))))
	s.user = ""
	look(s.post("new", nil))
}

func TestEnglishFillsTheGaps(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{Texts: tokenpage.Texts{Title: "Keys", NotFound: tokenpage.Problem{Title: "Gone"}}})
	p := s.get("nothing")
	require.Equal(t, "Gone – Keys", p.title)
	require.Contains(t, p.text(), "There is no such page or token.")
}

// Translated into Arabic, a page that still runs from left to right is hard to read.
func TestTextsFromRightToLeft(t *testing.T) {
	t.Parallel()
	require.Contains(t, newSite(t, nil, nil).get("").body, `<html lang="en">`)
	texts := tokenpage.Texts{Lang: "ar", RightToLeft: true}
	require.Contains(t, newSite(t, nil, &tokenpage.Options{Texts: texts}).get("").body, `<html lang="ar" dir="rtl">`)
	s := newSite(t, nil, &tokenpage.Options{Texts: texts, Layout: func(w io.Writer, _ *http.Request, p tokenpage.Page) error {
		_, err := fmt.Fprintf(w, `<html lang="%s"><title>%t</title><main>%s</main></html>`, p.Lang, p.RightToLeft, p.Main)
		return err
	}})
	require.Equal(t, "true", s.get("").title)
}

func TestMomentsAhead(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(time.Second)})
	require.Contains(t, s.get("").text(), "Created just now 1 Mar 2026 Expires in a moment 1 Mar 2026")
}

// Times that no duration reaches, as the end that some give a token for "never", are told
// by their date alone; and a time that a store has lost costs nobody the page.
func TestMomentsFarOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for id, created := range map[string]time.Time{"OLD": time.Date(1600, 1, 2, 0, 0, 0, 0, time.UTC), "LOST": {}} {
		require.NoError(t, s.Store.Create(t.Context(), tokenauth.Record{Digest: tokenauth.DigestOf(id), Token: tokenauth.Token{
			ID: id, UserID: "anna", Name: id, CreatedAt: created, ExpiresAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		}}))
	}
	text := s.get("").text()
	require.Contains(t, text, "OLD No scopes Created 2 Jan 1600 Expires 31 Dec 9999 Last used Never")
	require.Contains(t, text, "LOST No scopes Created Expires 31 Dec 9999")
}

func TestRelativeTimes(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]string{
		0: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 59*time.Minute + 59*time.Second: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago", 2 * day: "2 days ago", 12*day + time.Hour: "12 days ago",
		729 * day: "729 days ago", 730 * day: "2 years ago",
	} {
		s := newSite(t, nil, nil)
		s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
		s.Clock.Advance(age)
		require.Contains(t, s.get("").text(), "Created "+want+" ")
	}
}

var frame = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="{{.Lang}}"><head><title>{{.Title}} | Acme</title>{{.Head}}</head>
<body><header>Hello, {{.User}}</header><main>{{.Main}}</main></body></html>`))

func TestLayoutOfTheService(t *testing.T) {
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

// A key is made already when its page is laid out: it is shown all the same, or it is lost.
func TestKeyIsShownWhereTheLayoutFails(t *testing.T) {
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

func TestNewPanicsOnNil(t *testing.T) {
	t.Parallel()
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	userID := func(*http.Request) (string, error) { return "", nil }
	isStaff := func(*http.Request) (bool, error) { return false, nil }
	for name, call := range map[string]func() (http.Handler, error){
		"New, Manager":      func() (http.Handler, error) { return tokenpage.New(nil, userID, nil) },
		"New, userID":       func() (http.Handler, error) { return tokenpage.New(m, nil, nil) },
		"NewStaff, Manager": func() (http.Handler, error) { return tokenpage.NewStaff(nil, isStaff, nil) },
		"NewStaff, isStaff": func() (http.Handler, error) { return tokenpage.NewStaff(m, nil, nil) },
	} {
		require.Panics(t, func() { _, _ = call() }, name)
	}
}

func TestNewReturnsErrorForBadScopes(t *testing.T) {
	t.Parallel()
	someScopes := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{Scopes: []string{"a"}}))
	anyScope := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
	for described, m := range map[string]*tokenauth.Manager{"b": someScopes, "two words": anyScope, "": anyScope} {
		opts := &tokenpage.Options{Scopes: map[string]string{described: "x"}}
		_, err := tokenpage.New(m, func(*http.Request) (string, error) { return "", nil }, opts)
		require.ErrorContains(t, err, "tokenpage: New: Options.Scopes", described)
		_, err = tokenpage.NewStaff(m, func(*http.Request) (bool, error) { return false, nil }, opts)
		require.ErrorContains(t, err, "tokenpage: NewStaff: Options.Scopes", described)
	}
}
