package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// resourceManager returns a Manager of a service whose tokens can be restricted to n projects.
func resourceManager(n int) *tokenauth.Manager {
	projects := make([]tokenauth.Resource, n)
	for i := range projects {
		projects[i] = tokenauth.Resource{ID: fmt.Sprintf("prj-%04d", i+1), Label: fmt.Sprintf("%s %d", []string{"Website", "Shop", "بوابة"}[i%3], i+1)}
	}
	return must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "notes", &tokenauth.Options{
		Scopes:    []string{"notes:read"},
		Resources: func(context.Context, string) ([]tokenauth.Resource, error) { return projects, nil },
	}))
}

const (
	find = "[name=find]"
	all  = "[name=access][value=all]"
)

// searching returns a function that opens the form for a new token, runs the steps, and searches
// the resources. The search field must have the focus then, so that the user finds the results.
func searching(text string, steps ...action) func(*tab) {
	return func(b *tab) {
		b.visit("/new")
		b.do(steps...)
		b.do(mouse{}.write("#tp-find", text))
		b.load(mouse{}.press(find))
		require.Equal(b.t, text, eval[string](b, "document.activeElement.value"), "the search field must have the focus")
	}
}

// The pages of a service whose tokens can be restricted must be valid HTML, and usable with low
// vision and with a screen reader.
func TestPagesWithResourcesAreAccessible(t *testing.T) {
	needShared(t)
	t.Parallel()
	name := mouse{}.write("#tp-name", "laptop")
	rightToLeft := &tokenpage.Options{Texts: tokenpage.Texts{Lang: "ar", Title: "الرموز", RightToLeft: true}}
	history := lineage(t)
	const (
		form    = "New token" + ofUser
		mistake = "Error: New token" + ofUser
	)
	checkEach(t, []setup{
		{"few resources", accountPage(resourceManager(3), nil), []view{
			{"form", at("/new"), 200, form},
			{"all chosen", func(b *tab) {
				b.visit("/new")
				b.do(mouse{}.choose(all))
				require.False(b.t, eval[bool](b, "document.querySelector('#tp-resource-0').checkVisibility()"))
			}, 200, form},
			{"nothing chosen", wrong("/new", name), 422, mistake},
			{"gone", wrong("/new", name, forged("#tp-resource-0"), mouse{}.choose("#tp-resource-0")), 422, mistake},
			{"key", sending("/new", name, mouse{}.choose("#tp-resource-1")), 200, "Your new key" + ofUser},
		}},
		{"many resources", accountPage(resourceManager(500), nil), []view{
			{"form", at("/new"), 200, form},
			{"found", searching("SHOP 1", name, mouse{}.choose("#tp-resource-0"), mouse{}.choose("#tp-resource-3")), 200, form},
			{"found nothing", searching("no such project"), 200, form},
		}},
		{"no resources", accountPage(resourceManager(0), nil), []view{
			{"form", at("/new"), 200, form},
			{"nothing chosen", wrong("/new", name), 422, mistake},
		}},
		{"right to left", accountPage(resourceManager(12), rightToLeft), []view{
			{"found", searching("shop", mouse{}.choose("#tp-resource-0")), 200, "New token – الرموز"},
		}},
		{"lineage", accountPage(history, nil), []view{
			{"list", opened("/"), 200, "API tokens"},
			{"history", opened("/history"), 200, "API tokens"},
			{"revoke", func(b *tab) {
				b.visit("/")
				b.load(mouse{}.press(".tp-token a[href$=revoke]"))
				b.do(mouse{}.press("summary"))
			}, 200, "Revoke this token?" + ofUser},
		}},
		{"staff", must.Get(tokenpage.NewStaff(history, func(*http.Request) (bool, error) { return true, nil }, nil)), []view{
			{"history", opened("/history"), 200, "API tokens of all users"},
		}},
	})
}

// opened returns a function that opens a list and shows all resources of its first token.
func opened(path string) func(*tab) {
	return func(b *tab) {
		b.visit(path)
		b.do(mouse{}.press("summary"))
		require.True(b.t, eval[bool](b, "document.querySelector('details li').checkVisibility()"))
	}
}

// lineage returns a Manager with tokens that are restricted, were created and revoked by others,
// and were rotated with a grace.
func lineage(t *testing.T) *tokenauth.Manager {
	m := resourceManager(500)
	var ids []string
	for i := range 17 {
		ids = append(ids, fmt.Sprintf("prj-%04d", i+1))
	}
	as := func(by string) context.Context { return tokenauth.ContextWithActor(t.Context(), by) }
	issue := func(by string, spec tokenauth.Spec) tokenauth.Token {
		spec.UserID = "42"
		_, token, err := m.Issue(as(by), spec)
		require.NoError(t, err)
		return token
	}
	ci := issue("user:42", tokenauth.Spec{Name: "CI", Scopes: []string{"notes:read"}, Resources: ids, ExpiresAt: time.Now().Add(60 * day)})
	_, _, err := m.Rotate(t.Context(), "42", ci.ID, day)
	require.NoError(t, err)
	issue("token:"+ci.ID, tokenauth.Spec{Name: "deploy job", Resources: ids[:1]})
	issue("login", tokenauth.Spec{Name: "phone"})
	issue("user:7", tokenauth.Spec{Name: "backup", Resources: ids[:5]})
	for by, name := range map[string]string{"staff:9": "old laptop", "cli": "old phone", "user:42": "old job", "token:" + ci.ID: "old deploy job"} {
		require.NoError(t, m.Revoke(as(by), "42", issue("cli", tokenauth.Spec{Name: name}).ID))
	}
	return m
}

// Enter sends a form by its first button. In each field of the form for a new token, it must search
// the resources, because a person who searches must not create a token by accident.
func TestEnterSearchesResources(t *testing.T) {
	needShared(t)
	t.Parallel()
	m := resourceManager(500)
	server := httptest.NewServer(accountPage(m, nil))
	defer server.Close()
	b := newTab(t, &site{url: server.URL}, desk, false)
	for field, search := range map[string]struct {
		text   string
		listed int
	}{"#tp-name": {"desk", 500}, "#tp-find": {"prj-0123", 2}} {
		b.visit("/new")
		b.do(mouse{}.write("#tp-name", "laptop"), mouse{}.choose("#tp-resource-0"), mouse{}.write(field, search.text)) // a complete form
		b.load(chromedp.KeyEvent(kb.Enter))
		require.Equal(t, "New token", b.text("h1"))
		require.Equal(t, search.text, eval[string](b, "document.querySelector('"+field+"').value"), "the form must keep the text")
		require.Equal(t, search.listed, b.count("[name=resource]"))
	}
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "42"})
	require.NoError(t, err)
	require.Empty(t, tokens)
}

// A person must be able to search resources, choose some and create the token, with the keyboard
// alone and without JavaScript. The list of 500 resources must not be in the way.
func TestPersonRestrictsTokenWithKeyboard(t *testing.T) {
	needShared(t)
	t.Parallel()
	m := resourceManager(500)
	server := httptest.NewServer(accountPage(m, nil))
	defer server.Close()
	b := newTab(t, &site{url: server.URL}, phone, false)
	b.visit("/new")
	b.do(keyboard{}.write("#tp-name", "laptop"))
	b.do(keyboard{}.press(".tp-these a"), chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "90", eval[string](b, "document.activeElement.value"), "the link must skip the list")
	b.do(keyboard{}.write("#tp-find", "prj-032"))
	b.load(keyboard{}.press(find))
	b.do(keyboard{}.choose("[value=prj-0321]"), keyboard{}.choose("[value=prj-0323]"))
	b.load(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, 10, b.count("[name=resource]"))
	b.do(keyboard{}.choose("[name=expires][value='30']"))
	b.load(keyboard{}.press(submit + ".tp-primary"))
	b.key()
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "42"})
	require.NoError(t, err)
	require.Equal(t, []string{"prj-0321", "prj-0323"}, tokens[0].Resources)
}
