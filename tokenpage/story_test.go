package tokenpage_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// A screen reader reads each link without the text around it. Therefore the label of each link must
// name its token.
// Case W6.
func TestEveryControlNamesItsToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, name := range []string{"laptop", "phone"} {
		s.issue(tokenauth.Spec{UserID: "anna", Name: name})
	}
	p := s.get("")
	for i, token := range s.tokens("anna") {
		for action, label := range map[string]string{"rename": "Rename ", "rotate": "Rotate ", "revoke": "Revoke "} {
			require.Equal(t, prefix+token.ID+"/"+action, p.link(t, prefix, label+token.Name), i)
		}
	}
	require.NotContains(t, p.body, "<script")
}

// A user without scripts must be able to create a token by links and forms alone.
// Case W6.
func TestCreateWorksWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSite(t, &tokenauth.Options{Scopes: []string{"notes:read", "notes:write"}},
		&tokenpage.Options{Scopes: map[string]string{"notes:read": "Read your notes"}})
	p := s.get("")
	require.Contains(t, p.text(), "You have no live tokens A token is like a password")
	at := p.link(t, prefix, "New token")
	p = s.get(at)
	require.Contains(t, p.text(), "notes:read Read your notes")
	require.Contains(t, p.text(), "in 90 days 30 May 2026")
	form := p.fields()
	require.Equal(t, url.Values{"user": {"anna"}, "id": form["id"], "name": {""}, "expires": {"90"}, "date": {""}}, form)
	form.Set("name", "backup")
	form.Set("scope", "notes:read")
	p = s.post(at, form)
	key := p.key
	at = p.link(t, at, "Back to the tokens")
	require.Equal(t, prefix, at)
	s.Clock.Advance(time.Hour)
	require.True(t, s.works(key))
	require.NoError(t, s.Manager.Flush(t.Context()))
	s.Clock.Advance(2 * time.Hour)
	p = s.get(at)
	hint := key[len(key)-4:]
	require.Contains(t, p.text(), "backup Scopes notes:read Key ends in "+hint+" Created 3 hours ago 1 Mar 2026 Expires in 90 days 30 May 2026 Last used 2 hours ago 1 Mar 2026 Rename backup")
}

// A user without scripts must be able to rename, rotate and revoke a token by links and forms
// alone.
// Case W6.
func TestChangeWorksWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, _ := s.issue(tokenauth.Spec{UserID: "anna", Name: "backup"})
	at := prefix
	rename := s.get(at).link(t, at, "Rename backup")
	form := s.get(rename).fields()
	form.Set("name", "night backup")
	done := s.post(rename, form)
	require.Equal(t, http.StatusSeeOther, done.Code)
	at = resolve(t, rename, done.Header().Get("Location"))
	p := s.get(at)
	require.Contains(t, p.text(), "The token was renamed.")

	rotate := p.link(t, at, "Rotate night backup")
	form = s.get(rotate).fields()
	require.Equal(t, url.Values{"generation": {"1"}, "grace": {"86400"}}, form)
	form.Set("grace", "3600")
	p = s.post(rotate, form)
	require.Contains(t, p.text(), "The previous key stops working in 1 hour")
	require.True(t, s.works(key))
	require.True(t, s.works(p.key))
	s.Clock.Advance(time.Hour)
	require.False(t, s.works(key))
	key = p.key

	revoke := s.get(at).link(t, at, "Revoke night backup")
	p = s.get(revoke)
	require.Contains(t, p.text(), "Revoke this token? Its key stops working at once")
	require.True(t, s.works(key))
	done = s.post(revoke, p.fields())
	require.False(t, s.works(key))
	at = resolve(t, revoke, done.Header().Get("Location"))
	p = s.get(at)
	require.Contains(t, p.text(), "The token is revoked.")
	require.Contains(t, p.title, "The token is revoked.", "a screen reader reads the title first")
	require.Contains(t, p.text(), "You have no live tokens")
	p = s.get(p.link(t, at, "History"))
	require.Contains(t, p.text(), "night backup Revoked")
	require.NotContains(t, p.body, "/rotate")
}
