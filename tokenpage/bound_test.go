package tokenpage_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// This file tests that the pages show what tokens are restricted to.

// Every page with a token must show what the token is restricted to, so that a user can tell which
// token to revoke. Users see the labels and staff see the IDs.
func TestPagesShowResourcesOfToken(t *testing.T) {
	t.Parallel()
	c := projects(3)
	c.resources = append(c.resources, tokenauth.Resource{ID: "p4"})
	s := newSite(t, c.options(), nil)
	p := s.create(url.Values{"name": {"laptop"}, "access": {"these"}, "resource": {"p1", "p3", "p4"}})
	const labels, raw = "laptop No scopes Resources Project 1 Project 3 p4 Key", "laptop No scopes Resources p1 p3 p4 User ID"
	require.Contains(t, p.text(), labels)
	id := s.tokens("anna")[0].ID
	for _, path := range []string{"", "history", id + "/rename", id + "/rotate", id + "/revoke"} {
		require.Contains(t, s.get(path).text(), labels, path)
	}
	require.Contains(t, s.post(id+"/rename", url.Values{"name": {""}}).text(), labels)
	require.Contains(t, s.post(id+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}).text(), labels)
	s.user = "root"
	for _, path := range []string{"/staff/", "/staff/history", "/staff/" + id + "/revoke"} {
		require.Contains(t, s.get(path).text(), raw, path)
	}
}

// If tokens can be restricted, the page must say of the others that they are not. A service without
// resources has a page that does not mention them.
func TestPagesShowUnrestrictedTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(1).options(), nil)
	_, free := s.issue(tokenauth.Spec{UserID: "anna", Name: "free"})
	require.Contains(t, s.get("").text(), "free No scopes All resources Key")
	require.Contains(t, s.get(free.ID+"/revoke").text(), "free No scopes All resources Key")

	without := newSite(t, nil, nil)
	without.mount(must.Get(tokenauth.New(s.Store, "acme", nil)), nil)
	require.Contains(t, without.get("").text(), "free No scopes Key")
	s.issue(tokenauth.Spec{UserID: "anna", Name: "bound", Resources: []string{"p1"}})
	text := without.get("").text()
	require.Contains(t, text, "free No scopes All resources Key")
	require.Contains(t, text, "bound No scopes Resources p1 Key")
}

// A token with many resources must not fill the page: the page shows five, and the others when the
// user asks for them.
func TestManyResourcesAreShownOnDemand(t *testing.T) {
	t.Parallel()
	s := newSite(t, projects(17).options(), nil)
	s.issue(tokenauth.Spec{UserID: "anna", Name: "five", Resources: ids(1, 5)})
	require.NotContains(t, s.get("").body, "<details")
	s.issue(tokenauth.Spec{UserID: "anna", Name: "all", Resources: ids(1, 17)})
	p := s.get("")
	require.Regexp(t, `(?s)<li><bdi>Project 13</bdi></li>\s*</ul>\s*<details>\s*<summary>12 more</summary>\s*<ul>\s*<li><bdi>Project 14`, p.body)
	require.Contains(t, p.text(), "12 more Project 14 Project 15 Project 16 Project 17 Project 2 Project 3 Project 4")
}

// The labels come from a function of the service. If the function fails, the page must show the
// IDs, because the user may have come to revoke a leaked key.
func TestPagesShowIDsIfResourcesFail(t *testing.T) {
	t.Parallel()
	c := projects(3)
	s := newSite(t, c.options(), nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", Resources: ids(1, 2)})
	c.resources, c.err = nil, errDown
	for i, path := range []string{"", "history", token.ID + "/revoke"} {
		p := s.get(path)
		require.Equal(t, http.StatusOK, p.Code)
		require.Contains(t, p.text(), "laptop No scopes Resources p1 p2 Key")
		require.Len(t, s.logged, i+1)
		require.Contains(t, s.logged[i], errDown.Error(), "OnError must receive the cause")
	}
	p := s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}})
	require.True(t, s.works(p.key), "the key must not be lost")
}

// When the page shows a new key, a function that hangs must not keep the page back until the client
// or a proxy gives up. The key would be lost.
func TestSlowResourcesDoNotHoldKeyBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := false
		s := newSite(t, &tokenauth.Options{TouchEvery: -1, Resources: func(ctx context.Context, _ string) ([]tokenauth.Resource, error) {
			if hang {
				<-ctx.Done()
			}
			return []tokenauth.Resource{{ID: "p1"}}, ctx.Err()
		}}, nil)
		_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", Resources: []string{"p1"}})
		hang = true
		begin := time.Now()
		p := s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}})
		require.NotEmpty(t, p.key)
		require.Equal(t, 5*time.Second, time.Since(begin))
		require.Equal(t, []string{"tokenauth: Options.Resources: context deadline exceeded"}, s.logged)
	})
}

// Labels and IDs of resources may contain HTML. The pages must show them as text.
// Case W1.
func TestResourcesAreShownAsText(t *testing.T) {
	t.Parallel()
	const id = `"><script>{{.}}'onfocus='`
	for _, label := range nasty {
		s := newSite(t, &tokenauth.Options{Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
			return []tokenauth.Resource{{ID: id, Label: label}, {ID: "<b>"}}, nil
		}}, nil)
		p := s.get("new")
		require.Contains(t, p.text(), label+" "+id+" <b>")
		require.Equal(t, []string{id, "<b>"}, p.listed())
		require.Equal(t, http.StatusOK, s.create(url.Values{"name": {"laptop"}, "access": {"these"}, "resource": p.listed()}).Code)
		require.Contains(t, s.get("").text(), label+" <b>")
		s.user = "root"
		require.Contains(t, s.get("/staff/").text(), id+" <b>")
	}
	s := newSite(t, projects(11).options(), nil)
	for _, search := range nasty {
		p := s.create(url.Values{"find": {"1"}, "search": {search + "\x00\xff"}})
		require.Equal(t, search, p.fields().Get("search"))
	}
}
