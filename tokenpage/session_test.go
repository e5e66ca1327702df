package tokenpage_test

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// The session may end, or another user may sign in, between the page and its form. The form must
// then change nothing, and the response must show no tokens of the first user.
// Case W7.
func TestFormOfEndedSessionChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, &tokenpage.Options{SignInURL: signInURL})
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	forms := map[string]url.Values{"new": nil, token.ID + "/rename": nil, token.ID + "/rotate": nil, token.ID + "/revoke": nil}
	for path := range forms {
		forms[path] = s.get(path).fields()
		forms[path].Set("name", "phone")
	}
	for user, status := range map[string]int{"": http.StatusUnauthorized, "ben": http.StatusNotFound} {
		s.user = user
		for path, form := range forms {
			want := status
			if path == "new" && user == "ben" {
				want = http.StatusConflict
			}
			p := s.post(path, form)
			require.Equal(t, want, p.Code, path)
			require.Empty(t, p.key)
			require.NotContains(t, p.body, "laptop")
			if user == "" {
				require.Contains(t, p.text(), "Nothing was changed. Sign in")
			}
		}
		require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
		require.Empty(t, s.tokens("ben"))
	}
	s.user = ""
	for path := range forms {
		p := s.get(path)
		require.Equal(t, http.StatusSeeOther, p.Code)
		require.Equal(t, signInURL, p.Header().Get("Location"))
		require.Empty(t, p.body)
	}
}

// If the service has no SignInURL, the page cannot redirect a user who is not signed in.
// Case W7.
func TestPageWithoutSignInURLIs401(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.user = ""
	p := s.get("")
	require.Equal(t, http.StatusUnauthorized, p.Code)
	require.Equal(t, "You are not signed in – API tokens", p.title)
}

// A service may by mistake accept a key as a sign-in to the page. The page must refuse such a
// request. Otherwise a leaked key with few scopes could create keys with more scopes.
// Case W7.
func TestKeyDoesNotSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", Scopes: []string{"read"}})
	auth := newAuth(s.Manager)
	userID := func(r *http.Request) (string, error) {
		user, _ := auth.User(r.Context())
		return user, nil
	}
	isStaff := func(r *http.Request) (bool, error) {
		user, err := userID(r)
		return user == "anna", err
	}
	mux := http.NewServeMux()
	mux.Handle(prefix, auth.Optional(http.StripPrefix("/account/tokens", must.Get(tokenpage.New(s.Manager, userID, nil)))))
	mux.Handle("/staff/", auth.Optional(http.StripPrefix("/staff", must.Get(tokenpage.NewStaff(s.Manager, isStaff, nil)))))
	s.Handler = mux
	for _, path := range []string{"", "history", "new", token.ID + "/rename", token.ID + "/rotate", token.ID + "/revoke", "/staff/", "/staff/" + token.ID + "/revoke"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if method == http.MethodPost && (path == "" || path == "history" || path == "/staff/") {
				continue
			}
			r := s.request(method, path, url.Values{"user": {"anna"}, "id": {rand.Text()}, "name": {"phone"}, "scope": {"admin"}, "expires": {"never"}, "generation": {"1"}, "grace": {"0"}})
			r.Header.Set("Authorization", "Bearer "+key)
			p := s.send(r)
			require.Equal(t, http.StatusForbidden, p.Code, path)
			require.Contains(t, p.text(), "not for programs that present the key")
			require.NotContains(t, p.body, "laptop")
		}
	}
	tokens := s.tokens("anna")
	require.Len(t, tokens, 1)
	require.Equal(t, 1, tokens[0].Generation)
	require.Zero(t, tokens[0].RevokedAt)
}

// The response for another user's token must be the same as for a token that does not exist.
// Otherwise it would reveal that the ID exists.
// Case W7.
func TestTokenOfAnotherUserIsNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "ben", Name: "laptop"})
	for _, action := range []string{"rename", "rotate", "revoke"} {
		for _, form := range []url.Values{nil, {"name": {"mine"}, "generation": {"1"}, "grace": {"0"}}} {
			other, none := s.visit(token.ID+"/"+action, form), s.visit("NOSUCHTOKEN/"+action, form)
			require.Equal(t, http.StatusNotFound, other.Code)
			require.Equal(t, none.body, other.body)
		}
	}
	require.True(t, s.works(key))
	require.NotContains(t, s.get("?user=ben").body, "laptop", "only staff can search for a user")
	forged := cursorAt(t, token.CreatedAt.Add(-time.Microsecond), token.ID)
	require.NotContains(t, s.get("?after="+forged).body, "laptop")
}
