package tokenpage_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page must show a new key only once. If the browser sends the form again, the page must create
// no second key and must not replace the first one.
// Case W5.
func TestKeyIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	form := url.Values{"name": {"laptop"}}
	created := s.create(form)
	require.True(t, s.works(created.key))
	require.Equal(t, 1, strings.Count(created.body, created.key), "the page must contain the key once")
	require.Contains(t, created.text(), "You will not see it again")
	require.Contains(t, created.element(t, "<textarea"), "readonly")

	again := s.create(form) // as if the user reloads the page
	require.Equal(t, http.StatusConflict, again.Code)
	require.Empty(t, again.key)
	require.Contains(t, again.text(), "its key cannot be shown again")
	require.Len(t, s.tokens("anna"), 1)
	require.True(t, s.works(created.key))

	id := s.tokens("anna")[0].ID
	rotation := s.get(id + "/rotate").fields()
	rotated := s.post(id+"/rotate", rotation)
	require.Equal(t, http.StatusOK, rotated.Code)
	require.NotEqual(t, created.key, rotated.key)
	require.True(t, s.works(rotated.key))
	require.Equal(t, 1, strings.Count(rotated.body, rotated.key))

	again = s.post(id+"/rotate", rotation)
	require.Equal(t, http.StatusConflict, again.Code)
	require.Empty(t, again.key)
	require.True(t, s.works(rotated.key))
	require.Equal(t, 2, s.tokens("anna")[0].Generation)

	third := s.post(id+"/rotate", again.fields()) // the user may send the new form on purpose
	require.Equal(t, http.StatusOK, third.Code)
	require.True(t, s.works(third.key))
}
