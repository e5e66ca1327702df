package tokenpage_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A browser may send a form again, for example when the user reloads the page with the key. If the
// first token was revoked in the meantime, a second key would be a surprise. The page must say that
// the form was used, and offer a new one.
// Case W5.
func TestCreateFormWorksOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	form := s.get("new").fields()
	form.Set("name", "laptop")
	require.NotEmpty(t, s.post("new", form).key)
	used := s.tokens("anna")[0].ID
	require.Equal(t, form.Get("id"), used)
	require.Equal(t, http.StatusSeeOther, s.post(used+"/revoke", nil).Code)

	for _, name := range []string{"laptop", "another name"} {
		form.Set("name", name)
		again := s.post("new", form)
		require.Equal(t, http.StatusConflict, again.Code)
		require.Contains(t, again.text(), "This form has already created a token")
		require.Empty(t, again.key)
		require.Len(t, s.tokens("anna"), 1)
		require.Equal(t, name, again.fields().Get("name"), "the form must keep the input")
		require.NotEqual(t, used, again.fields().Get("id"))
		if name == "laptop" {
			continue
		}
		require.NotEmpty(t, s.post("new", again.fields()).key, "the user may send the new form on purpose")
	}
	require.Len(t, s.tokens("anna"), 2)
}

// A double click sends a form twice at once. Only one token may result, also if a program sends the
// form with several names.
// Case W5.
func TestConcurrentFormsCreateOneToken(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{
		"same form":     {"laptop", "laptop", "laptop", "laptop"},
		"several names": {"laptop", "phone", "tablet", "desk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, nil)
			id := rand.Text()
			var wg sync.WaitGroup
			responses := make([]*httptest.ResponseRecorder, len(names))
			for i, name := range names {
				r := s.request(http.MethodPost, "new", url.Values{"user": {"anna"}, "id": {id}, "name": {name}, "expires": {"7"}})
				responses[i] = httptest.NewRecorder()
				wg.Go(func() { s.ServeHTTP(responses[i], r) })
			}
			wg.Wait()
			keys := 0
			for _, w := range responses {
				if strings.Contains(w.Body.String(), "<textarea") {
					keys++
					continue
				}
				require.Equal(t, http.StatusConflict, w.Code)
			}
			require.Equal(t, 1, keys)
			require.Len(t, s.tokens("anna"), 1)
		})
	}
}

// A form without a valid ID must not create a token. If the page chose an ID itself, the form would
// work again and again.
// Case W5.
func TestCreateRefusesFormWithoutID(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	valid := rand.Text()
	for name, form := range map[string]url.Values{
		"missing":    {},
		"empty":      {"id": {""}},
		"too short":  {"id": {valid[1:]}},
		"too long":   {"id": {valid + "A"}},
		"lower case": {"id": {strings.ToLower(valid)}},
		"not base32": {"id": {"1" + valid[1:]}},
		"a path":     {"id": {"../../../../../../../../.."}},
		"not first":  {"id": {"", valid}},
	} {
		form["user"], form["name"], form["expires"] = []string{"anna"}, []string{"laptop"}, []string{"7"}
		p := s.post("new?id="+valid, form) // a parameter of the URL must not count
		require.Equal(t, http.StatusBadRequest, p.Code, name)
		require.Contains(t, p.text(), "Nothing was changed.")
	}
	require.Empty(t, s.tokens("anna"))
}

// The ID of another user's token in a form must neither change that token nor show it.
// Case W7.
func TestFormWithIDOfAnotherUserCreatesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	key, token := s.issue(tokenauth.Spec{UserID: "ben", Name: "secret name"})
	p := s.create(url.Values{"id": {token.ID}, "name": {"laptop"}})
	require.Equal(t, http.StatusConflict, p.Code)
	require.NotContains(t, p.text(), "already created", "it would reveal that the ID exists")
	require.NotContains(t, p.body, "secret name")
	require.Empty(t, s.tokens("anna"))
	require.Equal(t, []tokenauth.Token{token}, s.tokens("ben"))
	require.True(t, s.works(key))
}
