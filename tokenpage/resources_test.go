package tokenpage_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// This file tests the resources in the form for a new token.

// A catalog is what Options.Resources of a service returns.
type catalog struct {
	resources []tokenauth.Resource
	calls     int
	users     []string
	after     func() // called at the end of each call, if not nil
	err       error
}

// projects returns a catalog of n projects: Project 1 with the ID p1, and so on.
func projects(n int) *catalog {
	c := &catalog{}
	for i := range n {
		c.resources = append(c.resources, tokenauth.Resource{ID: fmt.Sprint("p", i+1), Label: fmt.Sprint("Project ", i+1)})
	}
	return c
}

func (c *catalog) options() *tokenauth.Options {
	return &tokenauth.Options{Scopes: []string{"a", "b"}, Resources: func(_ context.Context, userID string) ([]tokenauth.Resource, error) {
		c.calls++
		c.users = append(c.users, userID)
		resources, err := c.resources, c.err
		if c.after != nil {
			c.after()
		}
		return resources, err
	}}
}

// ids returns the IDs of the projects from first to last.
func ids(first, last int) (ids []string) {
	for i := first; i <= last; i++ {
		ids = append(ids, fmt.Sprint("p", i))
	}
	return ids
}

// listed returns the values of the checkboxes for resources on a page, in their order.
func (p page) listed() (values []string) {
	for _, tag := range voidElement.FindAllString(p.body, -1) {
		if attribute(tag, "name") == "resource" {
			values = append(values, attribute(tag, "value"))
		}
	}
	return values
}

// The form must offer the resources of the user with their labels, and their IDs beside them. It
// must have checked none of them and must not have chosen all of them. A service without resources
// must have the form without them.
func TestFormOffersResources(t *testing.T) {
	t.Parallel()
	c := projects(2)
	c.resources = append(c.resources, tokenauth.Resource{ID: "p3"}, tokenauth.Resource{ID: "p4", Label: "p4"}, tokenauth.Resource{ID: "p5", Label: "\x00\xff"})
	s := newSite(t, c.options(), nil)
	p := s.get("new")
	require.Contains(t, p.text(), "Only these: Project 1 p1 Project 2 p2 p3 p4 p5 All, also future ones Expires")
	require.Equal(t, []string{"these"}, p.fields()["access"])
	require.Empty(t, p.fields()["resource"])
	require.Equal(t, ids(1, 5), p.listed())
	require.NotContains(t, p.body, `name="find"`, "a short list needs no search")
	require.Equal(t, []string{"anna"}, c.users)

	p = newSite(t, nil, nil).get("new")
	require.NotContains(t, p.text(), "Resources")
	require.NotContains(t, p.fields(), "access")
}

// The token must be restricted to the checked resources. Only the choice "all" may create a token
// without a restriction.
func TestCreateRestrictsToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		form url.Values
		want []string
	}{
		"one":               {url.Values{"access": {"these"}, "resource": {"p2"}}, []string{"p2"}},
		"some":              {url.Values{"access": {"these"}, "resource": {"p3", "p1", "p3"}}, []string{"p1", "p3"}},
		"a hundred":         {url.Values{"access": {"these"}, "resource": append(ids(1, 100), "p1")}, nil},
		"all":               {url.Values{"access": {"all"}}, nil},
		"all after a check": {url.Values{"access": {"all"}, "resource": {"p1"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, projects(101).options(), nil)
			test.form.Set("name", "laptop")
			require.Equal(t, http.StatusOK, s.create(test.form).Code)
			token := s.tokens("anna")[0]
			if name == "a hundred" {
				require.Len(t, token.Resources, 100)
				return
			}
			require.Equal(t, test.want, token.Resources)
		})
	}
}

// A form that does not say clearly what the token is for must create no token. In particular, a
// form without a choice must not mean all resources. The error must link to the field, and the form
// must keep the input.
func TestCreateExplainsMistakesInResources(t *testing.T) {
	t.Parallel()
	const missing, gone, many = "Choose at least one resource, or choose all.", "You can no longer choose", "Choose at most 100 resources."
	for name, test := range map[string]struct {
		form url.Values
		says string
	}{
		"no choice":             {url.Values{}, missing},
		"no choice, but checks": {url.Values{"resource": {"p1"}}, missing},
		"nothing checked":       {url.Values{"access": {"these"}}, missing},
		"empty choice":          {url.Values{"access": {""}, "resource": {"p1"}}, missing},
		"unknown choice":        {url.Values{"access": {"ALL"}, "resource": {"p1"}}, missing},
		"all is second":         {url.Values{"access": {"these", "all"}}, missing},
		"unknown resource":      {url.Values{"access": {"these"}, "resource": {"p1", "p999"}}, gone},
		"label":                 {url.Values{"access": {"these"}, "resource": {"Project 1"}}, gone},
		"empty resource":        {url.Values{"access": {"these"}, "resource": {""}}, gone},
		"too many":              {url.Values{"access": {"these"}, "resource": ids(1, 101)}, many},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, projects(101).options(), nil)
			test.form["name"] = []string{"laptop"}
			test.form["user"], test.form["id"], test.form["expires"] = []string{"anna"}, []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, []string{"7"}
			p := s.post("new?access=all", test.form) // a parameter of the URL must not count
			require.Equal(t, http.StatusUnprocessableEntity, p.Code)
			require.Empty(t, s.tokens("anna"))
			require.Equal(t, "Error: New token – API tokens", p.title)
			p.element(t, "<a ", `href="#tp-access-0"`)
			require.Equal(t, 2, strings.Count(p.text(), test.says), "the error must be above the form and at the field")
			p.element(t, "<fieldset", `aria-describedby="tp-access-hint tp-access-error"`)
			require.Equal(t, "laptop", p.fields().Get("name"))
			if test.says == many {
				require.Equal(t, test.form["resource"], p.fields()["resource"])
			}
		})
	}
}

// All errors of a form must be shown together, in the order of the fields.
func TestMistakesInResourcesStandBesideOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(3).options(), nil)
	p := s.create(url.Values{"name": {""}, "scope": {"c"}, "access": {"these"}, "expires": {""}})
	require.Contains(t, p.text(), "Enter a name of 1 to 64 characters, none of them invisible. Choose only from these scopes. Choose at least one resource, or choose all. Choose when the token expires.")
}

// A user with many resources must find some of them without a script. The search must keep all
// input, show the checked resources beside the results, and create no token.
func TestSearchKeepsInput(t *testing.T) {
	t.Parallel()
	c := projects(30)
	c.resources[28].Label = "Ökonomie"
	c.resources[16].ID = "PRJ-17"
	s := newSite(t, c.options(), nil)
	form := s.get("new").fields()
	require.Equal(t, []string{""}, form["search"])
	form["name"], form["scope"], form["expires"], form["date"] = []string{" my laptop"}, []string{"b"}, []string{"date"}, []string{"2026-12-31"}
	form["resource"] = []string{"p30", "p5"}
	form.Set("find", "1")
	for search, want := range map[string][]string{
		"":           append([]string{"p5", "p30"}, append(append(ids(1, 4), ids(6, 16)...), append([]string{"PRJ-17"}, ids(18, 29)...)...)...),
		"prj-":       {"p5", "p30", "PRJ-17"},
		" PROJECT 2": append([]string{"p5", "p30"}, append([]string{"p2"}, ids(20, 28)...)...),
		"P29":        {"p5", "p30", "p29"},
		"öKO":        {"p5", "p30", "p29"},
		"nothing":    {"p5", "p30"},
	} {
		form.Set("search", search)
		p := s.post("new", form)
		require.Equal(t, http.StatusOK, p.Code)
		require.Equal(t, "New token – API tokens", p.title)
		require.Equal(t, want, p.listed(), search)
		require.Contains(t, p.text(), fmt.Sprintf("%d of 30 shown", len(want)))
		kept := p.fields()
		for field := range form {
			if field != "find" && field != "id" && field != "resource" {
				require.Equal(t, form[field], kept[field], field)
			}
		}
		require.Equal(t, []string{"p5", "p30"}, kept["resource"])
		require.Contains(t, p.element(t, `name="search"`), " autofocus", "a screen reader continues at the search field")
		require.Equal(t, "tp-listed", attribute(p.element(t, `name="search"`), "aria-describedby"))
	}
	require.Empty(t, s.tokens("anna"))
	form.Del("find")
	require.NotContains(t, s.get("new").element(t, `name="search"`), "autofocus")
	require.Equal(t, http.StatusOK, s.post("new", form).Code)
	require.Equal(t, []string{"p30", "p5"}, s.tokens("anna")[0].Resources)
}

// After a mistake, the form must keep the text of the search, and must still show all checked
// resources. The error has the focus then.
func TestMistakeKeepsSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(30).options(), nil)
	p := s.create(url.Values{"name": {""}, "access": {"these"}, "resource": {"p5"}, "search": {"Project 30"}, "expires": {"7"}})
	require.Equal(t, http.StatusUnprocessableEntity, p.Code)
	require.Equal(t, []string{"p5", "p30"}, p.listed())
	require.Equal(t, "Project 30", p.fields().Get("search"))
	require.NotContains(t, p.element(t, `name="search"`), "autofocus")
}

// A checked resource may be gone when the user searches. The page must say so, because the token
// would otherwise lack the resource.
func TestSearchReportsGoneResource(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(30).options(), nil)
	p := s.create(url.Values{"access": {"these"}, "resource": {"p1", "p31"}, "find": {"1"}})
	require.Equal(t, http.StatusUnprocessableEntity, p.Code)
	require.Contains(t, p.text(), "You can no longer choose")
	require.Equal(t, []string{"p1"}, p.fields()["resource"])
	require.NotContains(t, p.element(t, `name="search"`), "autofocus")
}

// A search form of another user must not show the resources of the signed-in user.
func TestSearchOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	c := projects(30)
	s := newSite(t, c.options(), nil)
	p := s.create(url.Values{"user": {"ben"}, "find": {"1"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Zero(t, c.calls)
}

// A short list has no search field, so a text for it must not hide a resource. Its order must not
// change after a mistake.
func TestShortListIsNotSearched(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(10).options(), nil)
	p := s.create(url.Values{"name": {""}, "access": {"these"}, "resource": {"p7"}, "search": {"Project 3"}})
	require.Equal(t, ids(1, 10), p.listed())
	require.Equal(t, []string{"p7"}, p.fields()["resource"])
	require.NotContains(t, p.body, "10 of 10")
	require.Contains(t, newSite(t, projects(11).options(), nil).get("new").text(), "11 of 11 shown")
}

// The form for a user with a huge number of resources must have a limited size. It must still show
// all checked resources, and its search must find every resource.
func TestFormListsLimitedNumber(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(20_000).options(), nil)
	p := s.get("new")
	require.Equal(t, ids(1, 500), p.listed())
	require.Less(t, len(p.body), 150<<10)
	require.Contains(t, p.text(), "500 of 20000 shown")
	p = s.create(url.Values{"find": {"1"}, "search": {"Project 20000"}, "resource": {"p19999"}})
	require.Equal(t, []string{"p19999", "p20000"}, p.listed())
	p = s.create(url.Values{"find": {"1"}, "resource": ids(1001, 1600)})
	require.Equal(t, ids(1001, 1600), p.listed())
}

// A user without resources must read that there are none, and can still choose all. The choice must
// not be made in advance.
func TestUserWithoutResources(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(0).options(), nil)
	p := s.get("new")
	require.Contains(t, p.text(), "Resources There is nothing yet that you could choose. All, also future ones Expires")
	form := p.fields()
	require.NotContains(t, form, "access")
	form.Set("name", "laptop")
	p = s.post("new", form)
	require.Equal(t, http.StatusUnprocessableEntity, p.Code)
	p.element(t, "<a ", `href="#tp-access-0"`)
	form.Set("access", "all")
	require.Equal(t, http.StatusOK, s.post("new", form).Code)
	require.Nil(t, s.tokens("anna")[0].Resources)
}

// If the service cannot say which resources there are, the page must say that nothing was changed,
// and OnError must receive the cause.
// Case W9.
func TestFailureOfResourcesIs503(t *testing.T) {
	t.Parallel()
	c := projects(3)
	s := newSite(t, c.options(), nil)
	c.err = errDown
	form := url.Values{"name": {"laptop"}, "access": {"all"}}
	for _, p := range []page{s.get("new"), s.create(form), s.create(url.Values{"find": {"1"}})} {
		require.Equal(t, http.StatusServiceUnavailable, p.Code)
		require.Contains(t, p.text(), "Nothing was changed.")
		require.NotContains(t, p.body, "10.0.0.7")
	}
	require.Len(t, s.logged, 3)
	require.Contains(t, s.logged[2], errDown.Error())
	c.err = nil
	c.after = func() { c.err = errDown } // the Manager's own call fails
	require.Equal(t, http.StatusServiceUnavailable, s.create(url.Values{"name": {"laptop"}, "access": {"these"}, "resource": {"p1"}}).Code)
	require.Empty(t, s.tokens("anna"))
}

// A resource may be gone when the Manager looks, although the page still had it. The Manager
// decides.
func TestManagerRefusesGoneResource(t *testing.T) {
	t.Parallel()
	c := projects(3)
	s := newSite(t, c.options(), nil)
	c.after = func() { c.resources = c.resources[:1] }
	p := s.create(url.Values{"name": {"laptop"}, "access": {"these"}, "resource": {"p1", "p3"}})
	require.Equal(t, http.StatusUnprocessableEntity, p.Code)
	require.Contains(t, p.text(), "You can no longer choose")
	p.element(t, "<a ", `href="#tp-access-0"`)
	require.Empty(t, s.tokens("anna"))
}

// An instance of the service without resources may receive the form of an instance that has some,
// for example while a new version is rolled out. It must not create a token for all resources.
func TestFormWithResourcesIsRefusedWithoutOption(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, form := range []url.Values{
		{"access": {"these"}, "resource": {"p1"}}, {"access": {"these"}}, {"access": {"x"}}, {"access": {"these"}, "resource": {"p1"}, "find": {"1"}},
	} {
		form.Set("name", "laptop")
		p := s.create(form)
		require.Equal(t, http.StatusUnprocessableEntity, p.Code, form)
		require.Equal(t, "Error: New token – API tokens", p.title)
		require.NotContains(t, p.body, `href="#tp-access-0"`, "the form has no such field")
	}
	require.Empty(t, s.tokens("anna"))
	require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"laptop"}}).Code)
}

// Each call of Options.Resources may cost a query. The page must call it once for a form, and for
// other pages only if they show a restricted token.
func TestPagesCallResourcesOnce(t *testing.T) {
	t.Parallel()
	c := projects(30)
	s := newSite(t, c.options(), nil)
	_, bound := s.issue(tokenauth.Spec{UserID: "anna", Name: "bound", Resources: []string{"p1"}})
	_, free := s.issue(tokenauth.Spec{UserID: "ben", Name: "free"})
	for _, test := range []struct {
		user, path string
		form       url.Values // nil for a GET request
		status     int
		calls      int
	}{
		{"anna", "new", nil, 200, 1},
		{"anna", "new", url.Values{"find": {"1"}}, 200, 1},
		{"anna", "new", url.Values{"name": {"a"}}, 422, 1},
		{"anna", "new", url.Values{"name": {"a"}, "access": {"all"}}, 200, 1},
		{"anna", "new", url.Values{"name": {"b"}, "access": {"these"}, "resource": {"p2"}}, 200, 2}, // one is the Manager's
		{"anna", "", nil, 200, 1},
		{"anna", "history", nil, 200, 1},
		{"anna", bound.ID + "/rename", nil, 200, 1},
		{"anna", bound.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 200, 1},
		{"anna", bound.ID + "/rename", url.Values{"name": {"c"}}, 303, 0},
		{"anna", bound.ID + "/revoke", url.Values{}, 303, 0},
		{"ben", "", nil, 200, 0},
		{"ben", free.ID + "/revoke", nil, 200, 0},
		{"root", "/staff/history", nil, 200, 0},
	} {
		s.user, c.calls = test.user, 0
		for name, value := range map[string]string{"user": test.user, "id": rand.Text(), "expires": "7"} {
			if test.path == "new" && test.form != nil {
				test.form.Set(name, value)
			}
		}
		p := s.visit(test.path, test.form)
		require.Equal(t, test.status, p.Code, test)
		require.Equal(t, test.calls, c.calls, test)
	}
}
