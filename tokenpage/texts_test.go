package tokenpage_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// marked returns texts that are all different and contain no letters. It also returns their number.
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
	texts.Listed = func(listed, all int) string { return fmt.Sprintf("[%d]", 1000*listed+all) }
	texts.More = func(n int) string { return fmt.Sprintf("[%d]", 1000+n) }
	return texts, n
}

// skip returns the text before the main part of a page.
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

// A service may translate the pages. Therefore every text of a page must come from Texts, and every
// field of Texts must be used.
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
		require.NotRegexp(t, `\pL`, text, "each text of the page must come from Texts")
		for _, mark := range mark.FindAllString(text, -1) {
			seen[mark] = true
		}
	}
	visitForms(s, look)
	visitLists(s, look)
	visitProblems(s, look)
	named := newSite(t, nil, &tokenpage.Options{Texts: texts, FindUser: func(*http.Request, string) (string, error) { return "7", nil }})
	named.user = "root"
	named.issue(tokenauth.Spec{UserID: "1", Name: "1"})
	look(named.get("/staff/?search=1"))
	look(named.get("/staff/?user=%00"))
	idle := newSite(t, &tokenauth.Options{IdleTimeout: day}, &tokenpage.Options{Texts: texts})
	idle.user = "7"
	idle.issue(tokenauth.Spec{UserID: "7", Name: "1"})
	idle.Clock.Advance(day)
	look(idle.get(""))
	visitResources(t, texts, look)
	visitActors(t, texts, look)
	short := newSite(t, &tokenauth.Options{MaxTTL: 2 * day}, &tokenpage.Options{Texts: texts})
	short.user = "7"
	look(short.get("new"))
	for i := range n {
		require.True(t, seen[fmt.Sprintf("[%d]", i+1)], "no page shows text %d", i+1)
	}
}

func visitResources(t *testing.T, texts tokenpage.Texts, look func(page)) {
	c := &catalog{}
	opts := c.options()
	opts.Scopes = nil
	s := newSite(t, opts, &tokenpage.Options{Texts: texts})
	s.user = "7"
	look(s.get("new"))
	all := make([]string, 101)
	for i := range all {
		all[i] = fmt.Sprint(i)
		c.resources = append(c.resources, tokenauth.Resource{ID: all[i]})
	}
	look(s.get("new"))
	look(s.create(url.Values{"access": {"these"}}))
	look(s.create(url.Values{"access": {"these"}, "find": {"1"}}))
	look(s.create(url.Values{"access": {"these"}, "resource": all}))
	look(s.create(url.Values{"access": {"these"}, "resource": {"999"}}))
	s.issue(tokenauth.Spec{UserID: "7", Name: "1", Resources: all[:9]})
	s.issue(tokenauth.Spec{UserID: "7", Name: "2"})
	look(s.get(""))
}

func visitActors(t *testing.T, texts tokenpage.Texts, look func(page)) {
	s := newSite(t, nil, &tokenpage.Options{Texts: texts})
	for i, by := range []string{"user:7", "user:8", "token:9", "staff", "cli", "login", "9"} {
		token := s.issueAs("user:7", tokenauth.Spec{UserID: "7", Name: fmt.Sprint(i)})
		require.NoError(t, s.Manager.Revoke(as(t, by), "7", token.ID))
	}
	s.user = "7"
	look(s.get("history"))
	s.user = "root"
	look(s.get("/staff/history"))
}

func visitForms(s *site, look func(page)) {
	s.user = "7"
	look(s.get("new"))
	form := url.Values{"name": {"1"}}
	look(s.create(form))
	look(s.create(form))
	form.Set("name", "8")
	look(s.create(form)) // the form was used
	look(s.create(url.Values{"name": {""}, "scope": {"x"}, "expires": {""}}))
	look(s.create(url.Values{"name": {"2"}, "expires": {"date"}}))
	s.failCreate(tokenauth.ErrConflict)
	look(s.create(url.Values{"name": {"9"}}))
	s.Store.Intercept(nil)
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
	look(s.get("")) // the list has a token that expires soon
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
	late := s.request(http.MethodPost, "new", nil)
	late.Body = bodyOf(iotest.ErrReader(os.ErrDeadlineExceeded))
	look(s.send(late))
	s.Store.Fail(errDown)
	look(s.get(""))
	look(s.create(url.Values{"name": {"9"}}))
	s.Store.Fail(nil)
	byKey := s.request(http.MethodGet, "", nil)
	look(s.send(byKey.WithContext(newAuth(s.Manager).NewContext(byKey.Context(), "7", tokenauth.Token{}))))
	s.user = ""
	look(s.post("new", nil))
}

// If a field of Texts is empty, the page must use the English text.
func TestMissingTextsAreEnglish(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{Texts: tokenpage.Texts{Title: "Keys", NotFound: tokenpage.Problem{Title: "Gone"}}})
	p := s.get("nothing")
	require.Equal(t, "Gone – Keys", p.title)
	require.Contains(t, p.text(), "There is no such page or token.")
}

// A page in a language such as Arabic must run from right to left.
func TestRightToLeftTextsSetDirection(t *testing.T) {
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

// A time in the next minute must not be shown as "in 0 minutes".
func TestNearExpiryIsShownAsMoment(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(time.Second)})
	require.Contains(t, s.get("").text(), "Created just now 1 Mar 2026 Expires in a moment 1 Mar 2026")
}

// Some services give a token an expiry such as the year 9999 instead of no expiry. The difference
// to such a time overflows time.Duration, so the page must show only the date. A zero time in the
// store must not break the page.
func TestFarTimesAreShownAsDates(t *testing.T) {
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

// The page must show how long ago a token was created, rounded down to whole units.
func TestPastTimesAreShownAsAges(t *testing.T) {
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
