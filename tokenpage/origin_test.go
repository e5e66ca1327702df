package tokenpage_test

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// Browsers send cookies even with forms of other sites. Such a form must not create or change
// tokens.
// Case W3.
func TestCrossSiteFormsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		headers map[string]string
		signIn  string
		status  int
	}{
		"same origin":                {map[string]string{"Sec-Fetch-Site": "same-origin"}, "anna", http.StatusOK},
		"typed in":                   {map[string]string{"Sec-Fetch-Site": "none"}, "anna", http.StatusOK},
		"cross-site":                 {map[string]string{"Sec-Fetch-Site": "cross-site"}, "anna", http.StatusForbidden},
		"same-site":                  {map[string]string{"Sec-Fetch-Site": "same-site"}, "anna", http.StatusForbidden},
		"null origin":                {map[string]string{"Origin": "null"}, "anna", http.StatusForbidden},
		"other origin":               {map[string]string{"Origin": "https://evil.example"}, "anna", http.StatusForbidden},
		"origin of another port":     {map[string]string{"Origin": "http://example.com:81"}, "anna", http.StatusForbidden},
		"old browser":                {map[string]string{"Origin": "https://example.com"}, "anna", http.StatusOK},
		"no browser":                 {nil, "anna", http.StatusOK},
		"no browser and no session":  {nil, "", http.StatusUnauthorized},
		"cross-site, not signed in":  {map[string]string{"Sec-Fetch-Site": "cross-site"}, "", http.StatusForbidden},
		"same origin, not signed in": {map[string]string{"Sec-Fetch-Site": "same-origin"}, "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			s.user = test.signIn
			_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
			for path, form := range map[string]url.Values{
				"new":                {"user": {"anna"}, "id": {rand.Text()}, "name": {"phone"}, "expires": {"7"}},
				token.ID + "/rename": {"name": {"tablet"}},
				token.ID + "/rotate": {"generation": {"1"}, "grace": {"0"}},
				token.ID + "/revoke": {},
			} {
				r := s.request(http.MethodPost, path, form)
				r.Header.Del("Sec-Fetch-Site")
				for name, value := range test.headers {
					r.Header.Set(name, value)
				}
				status := s.send(r).Code
				if status == http.StatusSeeOther || status == http.StatusNotFound { // an earlier iteration revoked the token
					status = http.StatusOK
				}
				require.Equal(t, test.status, status, path)
			}
			tokens := s.tokens("anna")
			if test.status != http.StatusOK {
				require.Equal(t, []tokenauth.Token{token}, tokens, "a refused form must change nothing")
			} else {
				require.Len(t, tokens, 2)
			}
		})
	}
}

// A link of another site must not make the page say that a token was revoked. Otherwise an attacker
// could make a user believe that a leaked key no longer works.
func TestCrossSiteLinkShowsNoNotice(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for site, claims := range map[string]bool{"": true, "same-origin": true, "none": false, "same-site": false, "cross-site": false} {
		r := s.request(http.MethodGet, "?done=revoke", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		p := s.send(r)
		require.Equal(t, http.StatusOK, p.Code)
		require.Equal(t, claims, strings.Contains(p.body, "The token is revoked."), site)
	}
}
