package tokenpage_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A new name must not change the key, because programs use the key. A token that has expired cannot
// be renamed.
func TestRenameKeepsKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	_, short := s.issue(tokenauth.Spec{UserID: "anna", Name: "phone", ExpiresAt: s.Clock.Now().Add(day)})
	p := s.post(token.ID+"/rename", url.Values{"name": {"phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Equal(t, "phone", p.fields().Get("name"))
	require.Contains(t, p.text(), "You already have a token with this name.")
	require.Equal(t, http.StatusSeeOther, s.post(token.ID+"/rename", url.Values{"name": {" tablet "}}).Code)
	require.Contains(t, s.get("").text(), "tablet No scopes")
	require.True(t, s.works(key))
	s.Clock.Advance(day)
	p = s.post(short.ID+"/rename", url.Values{"name": {"old phone"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "The token has expired or was unused for too long. Nothing was changed.")
}

// The previous key must work until the chosen grace has passed, and the page must say when that is.
// A grace that the form does not offer must be refused, because it could overflow.
func TestRotateAppliesGrace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		grace string
		lasts time.Duration
		says  string
	}{
		"now":           {"0", 0, "The previous key no longer works."},
		"an hour":       {"3600", time.Hour, "The previous key stops working in 1 hour (1 Mar 2026)"},
		"a day":         {"86400", day, "The previous key stops working in 24 hours (2 Mar 2026)"},
		"a week":        {"604800", 3 * day, "The previous key stops working in 3 days (4 Mar 2026)"}, // the grace ends when the token expires
		"never offered": {"60", -1, "Choose when"},
		"negative":      {"-3600", -1, "Choose when"},
		"overflow":      {"9223372036854775807", -1, "Choose when"},
		"none":          {"", -1, "Choose when"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(3 * day)})
			p := s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {test.grace}})
			require.Contains(t, p.text(), test.says)
			if test.lasts < 0 {
				require.Equal(t, http.StatusUnprocessableEntity, p.Code)
				require.True(t, s.works(key))
				return
			}
			require.True(t, s.works(p.key))
			if test.lasts > 0 {
				s.Clock.Advance(test.lasts - time.Second)
				require.True(t, s.works(key))
				s.Clock.Advance(time.Second)
			}
			require.False(t, s.works(key))
		})
	}
}

// The form must offer only graces that the Manager's MaxGrace allows. The grace that is selected at
// first must be one of them.
func TestOfferedGracesAreAllowed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxGrace    time.Duration
		offered     []string
		preselected string
	}{
		"default":     {0, []string{"0", "3600", "86400", "604800"}, "86400"},
		"a day":       {day, []string{"0", "3600", "86400"}, "86400"},
		"two hours":   {2 * time.Hour, []string{"0", "3600"}, "3600"},
		"half a hour": {30 * time.Minute, []string{"0"}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, &tokenauth.Options{MaxGrace: test.maxGrace}, nil)
			_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
			for _, value := range []string{"0", "3600", "86400", "604800"} {
				form := s.get(token.ID + "/rotate").fields()
				require.Equal(t, test.preselected, form.Get("grace"))
				want := http.StatusOK
				if !contains(test.offered, value) {
					want = http.StatusUnprocessableEntity
				}
				form.Set("grace", value)
				p := s.post(token.ID+"/rotate", form)
				require.Equal(t, want, p.Code, value)
				require.Equal(t, want == http.StatusOK, p.key != "")
			}
		})
	}
}

// A form without the generation of the key must not replace the key. Otherwise an incomplete or
// repeated form would end a key that programs use.
// Case W5.
func TestRotateRefusesFormWithoutGeneration(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for name, form := range map[string]url.Values{
		"missing":      {"grace": {"0"}},
		"empty":        {"grace": {"0"}, "generation": {""}},
		"no number":    {"grace": {"0"}, "generation": {"x"}},
		"zero":         {"grace": {"0"}, "generation": {"0"}},
		"out of range": {"grace": {"0"}, "generation": {"99999999999999999999"}},
		"next":         {"grace": {"0"}, "generation": {"2"}},
	} {
		p := s.post(token.ID+"/rotate?generation=1", form) // a parameter of the URL must not count
		require.Equal(t, http.StatusConflict, p.Code, name)
		require.Empty(t, p.key, name)
		require.True(t, s.works(key), name)
	}
	require.Equal(t, []tokenauth.Token{token}, s.tokens("anna"))
}

// A token may expire while its form is open. The page must not show a new key that does not work.
func TestRotateRefusesExpiredToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop", ExpiresAt: s.Clock.Now().Add(day)})
	form := s.get(token.ID + "/rotate").fields()
	s.Clock.Advance(day)
	p := s.post(token.ID+"/rotate", form)
	require.Equal(t, http.StatusConflict, p.Code)
	require.Contains(t, p.text(), "No new key was made")
}

// If the browser sends a form twice, the second response must be the same as the first. A revoked
// token has no forms.
func TestRevokeCanBeRepeated(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, token := s.issue(tokenauth.Spec{UserID: "anna", Name: "laptop"})
	for range 2 {
		p := s.post(token.ID+"/revoke", nil)
		require.Equal(t, http.StatusSeeOther, p.Code)
		require.Equal(t, "../?done=revoke", p.Header().Get("Location"))
	}
	for _, action := range []string{"rename", "rotate", "revoke"} {
		require.Equal(t, http.StatusNotFound, s.get(token.ID+"/"+action).Code)
	}
	require.Equal(t, http.StatusNotFound, s.post(token.ID+"/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}).Code)
}
