package tokenpage_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// Staff must be able to find and revoke the token of any user, for example after a leak. Staff must
// not get a key of another user.
func TestStaffSeesAndRevokesTokensOfAllUsers(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna & co", Name: "laptop"})
	s.issue(tokenauth.Spec{UserID: "ben", Name: "phone"})
	s.user = "root"
	at := "/staff/"
	p := s.get(at)
	require.Contains(t, p.text(), "laptop No scopes User ID anna & co")
	require.Contains(t, p.text(), "phone No scopes User ID ben")
	require.NotContains(t, p.body, "New token")
	require.NotContains(t, p.body, "/rotate")

	form := p.element(t, "<form", `role="search"`)
	at = resolve(t, at, attribute(form, "action")) + "?" + url.Values{"search": {" anna & co "}}.Encode()
	p = s.get(at)
	require.Equal(t, "anna & co", p.fields().Get("search"))
	require.Contains(t, p.text(), "laptop")
	require.NotContains(t, p.text(), "phone")
	require.Equal(t, "/staff/", p.link(t, at, "Show all users"))
	require.Equal(t, "/staff/?user=anna+%26+co", p.link(t, at, "anna & co"))
	require.Equal(t, "/staff/history?search=anna+%26+co", p.link(t, at, "History"))

	at = p.link(t, at, "Revoke laptop")
	p = s.get(at)
	require.Contains(t, p.text(), "User ID anna & co")
	done := s.post(at, p.fields())
	require.False(t, s.works(key))
	at = resolve(t, at, done.Header().Get("Location"))
	require.Equal(t, "/staff/?done=revoke&user=anna+%26+co", at)
	p = s.get(at)
	require.Contains(t, p.text(), "The token is revoked.")
	require.Contains(t, p.text(), "There are no tokens here.")
	require.Contains(t, s.get("/staff/history").text(), "laptop Revoked")

	for _, action := range []string{"rename", "rotate"} {
		require.Equal(t, http.StatusNotFound, s.get("/staff/"+token.ID+"/"+action).Code, "staff must get no key")
	}
	require.Equal(t, http.StatusNotFound, s.get("/staff/new").Code)
	require.Equal(t, http.StatusNotFound, s.post("/staff/NOSUCHTOKEN/revoke", nil).Code)
}

// Staff may search for any text. A text that cannot be a user ID must find no tokens, without an
// error.
func TestStaffSearchAcceptsAnyText(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.user = "root"
	const noTokens, noUser = "There are no tokens here.", "No user has this name or ID."
	for user, want := range map[string]string{
		"nobody": noTokens, `"><script>`: noTokens,
		"a\x00b": noUser, "\xff": noUser, string(make([]byte, 1000)): noUser,
	} {
		for _, name := range []string{"user", "search"} {
			p := s.get("/staff/?" + name + "=" + url.QueryEscape(user))
			require.Equal(t, http.StatusOK, p.Code)
			require.Contains(t, p.text(), want)
		}
	}
}

// Staff must be able to search by a name, such as an email address, if the service has FindUser. If
// FindUser fails, the page must not say that there are no tokens.
func TestStaffSearchesByName(t *testing.T) {
	t.Parallel()
	var failure error
	s := newSite(t, nil, &tokenpage.Options{FindUser: func(_ *http.Request, typed string) (string, error) {
		return map[string]string{"anna@example.com": "7"}[typed], failure
	}})
	s.issue(tokenauth.Spec{UserID: "7", Name: "laptop"})
	s.issue(tokenauth.Spec{UserID: "8", Name: "phone"})
	s.user = "root"
	p := s.get("/staff/?search=anna%40example.com")
	require.Equal(t, "anna@example.com", p.fields().Get("search"))
	require.Contains(t, p.text(), "laptop")
	require.Contains(t, p.text(), "User anna@example.com , User ID 7")
	require.NotContains(t, p.text(), "phone")
	require.Contains(t, s.get(p.link(t, "/staff/", "7")).text(), "laptop")
	p = s.get(resolve(t, "/staff/", p.link(t, "/staff/", "History")))
	require.Contains(t, p.text(), "User anna@example.com , User ID 7")
	require.NotContains(t, p.text(), "phone")
	p = s.get("/staff/?search=8")
	require.Contains(t, p.text(), "phone", "no user has this name, but one has this ID")
	require.NotContains(t, p.text(), "laptop")
	failure = fmt.Errorf("staff: %w", tokenauth.ErrNoUser) // like the error of the function for an Authenticator
	require.Contains(t, s.get("/staff/?search=bob").text(), "There are no tokens here.")
	failure = errors.New("no connection")
	require.Equal(t, http.StatusServiceUnavailable, s.get("/staff/?search=7").Code)
	require.Equal(t, http.StatusOK, s.get("/staff/?user=8").Code)
}

// A text may be the name of one user and the ID of another. Staff must see both users. Otherwise
// they could revoke the tokens of the wrong one, or overlook a leaked token.
func TestStaffSearchShowsNameAndID(t *testing.T) {
	t.Parallel()
	named := map[string]string{"8": "7", "9": "7", "10": "10", "broken": "a\x00b"}
	s := newSite(t, nil, &tokenpage.Options{FindUser: func(_ *http.Request, typed string) (string, error) { return named[typed], nil }})
	s.issue(tokenauth.Spec{UserID: "7", Name: "laptop"})
	_, revoked := s.issue(tokenauth.Spec{UserID: "8", Name: "phone"})
	require.NoError(t, s.Manager.Revoke(t.Context(), "8", revoked.ID))
	s.user = "root"
	for _, view := range []string{"/staff/", "/staff/history"} {
		at := view + "?search=8"
		p := s.get(at)
		require.Contains(t, p.text(), "User 8 , User ID 7 You see the tokens of the user with this name. The text is also the ID of another user: User ID 8")
		require.Contains(t, p.text(), "laptop")
		require.NotContains(t, p.text(), "phone")
		other := p.link(t, at, "User ID 8")
		require.Equal(t, view+"?user=8", other)
		p = s.get(other)
		require.NotContains(t, p.text(), "laptop")
		require.Equal(t, view == "/staff/history", strings.Contains(p.text(), "phone"))
		require.Contains(t, p.text(), "User ID 8")
		require.NotContains(t, p.text(), "another user")
	}
	require.NotContains(t, s.get("/staff/?search=9").text(), "another user", "the user with the ID 9 has no tokens")
	require.NotContains(t, s.get("/staff/?search=10").text(), "another user", "the user has the same name and ID")
	require.Equal(t, http.StatusServiceUnavailable, s.get("/staff/?search=broken").Code, "the ID from FindUser is malformed")
	s.Store.Fail(errDown)
	require.Equal(t, http.StatusServiceUnavailable, s.get("/staff/?search=8").Code)
}

// Both views must say whose tokens they show, and whose token each row is. A link from a row must
// stay in the view.
func TestStaffViewsNameUsers(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "7", Name: "laptop"})
	s.issue(tokenauth.Spec{UserID: "8", Name: "phone"})
	s.user = "root"
	for view, intro := range map[string]string{"/staff/": "The live tokens of one user", "/staff/history": "Every token, including revoked ones"} {
		p := s.get(view)
		require.NotContains(t, p.text(), "The live tokens of one user")
		require.Contains(t, p.text(), "laptop No scopes User ID 7")
		require.Contains(t, p.text(), "phone No scopes User ID 8")
		at := p.link(t, view, "7")
		require.Equal(t, view+"?user=7", at)
		p = s.get(at)
		require.Contains(t, p.text(), intro)
		require.NotContains(t, p.text(), "every user")
		require.Contains(t, p.text(), "Show all users User ID 7")
		require.Contains(t, p.text(), "laptop No scopes User ID 7")
	}
}

// If the service accepts only some user IDs, the page must not pass others to the store, because
// queries for them may fail. Staff who mistype an ID must not believe that the user has no tokens.
func TestStaffSearchChecksUserID(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{CheckUserID: tokenauth.DecimalUserID}, nil)
	s.user = "root"
	s.Store.ResetCalls()
	for _, query := range []string{"user=abc", "search=abc", "search=07", "user=7.0"} {
		p := s.get("/staff/?" + query)
		require.Equal(t, http.StatusOK, p.Code)
		require.Contains(t, p.text(), "No user has this name or ID.")
	}
	require.Empty(t, s.Store.Calls())
}

// A user ID may end with a space. The link to the tokens of that user must not lead to the tokens
// of another user.
func TestStaffLinkKeepsSpacesOfUserID(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.issue(tokenauth.Spec{UserID: "7 ", Name: "laptop"})
	s.issue(tokenauth.Spec{UserID: "7", Name: "phone"})
	s.user = "root"
	p := s.get("/staff/?user=7+")
	require.Contains(t, p.text(), "laptop")
	require.NotContains(t, p.text(), "phone")
}

// A member of staff whose session has ended must find a link to sign in again.
// Case W7.
func TestStaffPageLinksToSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{SignInURL: signInURL})
	s.user = ""
	p := s.get("/staff/")
	require.Equal(t, http.StatusForbidden, p.Code)
	require.Equal(t, signInURL, p.link(t, "/staff/", "Sign in"))
}

// Only staff may see and revoke the tokens of other users.
func TestStaffPageRefusesOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for _, user := range []string{"", "anna"} {
		s.user = user
		for _, p := range []page{s.get("/staff/"), s.get("/staff/history"), s.get("/staff/" + token.ID + "/revoke"), s.post("/staff/"+token.ID+"/revoke", nil)} {
			require.Equal(t, http.StatusForbidden, p.Code)
			require.NotContains(t, p.body, "laptop")
		}
	}
	require.True(t, s.works(key))
}
