package tokenpage_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A form must cause only the store calls of the Manager's method. The only additional call reads
// the token that the next page shows, or the owner of a token that staff revokes.
func TestFormsCauseFewStoreCalls(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := must.Get(tokenauth.New(store, "acme", nil))
	_, token, err := m.Issue(context.Background(), tokenauth.Spec{UserID: "anna", Name: "laptop"})
	require.NoError(t, err)
	_, other, err := m.Issue(context.Background(), tokenauth.Spec{UserID: "anna", Name: "phone"})
	require.NoError(t, err)
	s := newSite(t, nil, nil)
	s.mount(m, nil)
	const staff = "/staff/"
	id := rand.Text()
	for _, c := range []struct {
		path   string
		form   url.Values // nil for a GET request
		status int
		calls  []string
	}{
		{"", nil, 200, []string{"List"}},
		{"history", nil, 200, []string{"List"}},
		{"new", nil, 200, nil},
		{token.ID + "/rename", nil, 200, []string{"List"}},
		{token.ID + "/rotate", nil, 200, []string{"List"}},
		{token.ID + "/revoke", nil, 200, []string{"List"}},
		{"new", url.Values{"user": {"anna"}, "id": {id}, "name": {"desk"}, "expires": {"7"}}, 200, []string{"List", "Create"}},
		{"new", url.Values{"user": {"anna"}, "id": {rand.Text()}, "name": {""}, "expires": {"7"}}, 422, nil},
		{"new", url.Values{"user": {"anna"}, "id": {id}, "name": {"chair"}, "expires": {"7"}}, 409, []string{"List", "Create", "List"}}, // the form with this ID has already created a token
		{token.ID + "/rename", url.Values{"name": {"old laptop"}}, 303, []string{"Update", "List"}},
		{token.ID + "/rename", url.Values{"name": {""}}, 422, []string{"List"}},
		{token.ID + "/rename", url.Values{"name": {"phone"}}, 409, []string{"Update", "List"}},
		{token.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 200, []string{"List", "Rotate", "List"}},
		{token.ID + "/rotate", url.Values{"generation": {"1"}, "grace": {"0"}}, 409, []string{"List", "List"}},
		{token.ID + "/rotate", url.Values{"generation": {"2"}, "grace": {"1"}}, 422, []string{"List"}},
		{token.ID + "/revoke", url.Values{}, 303, []string{"Revoke"}},
		{staff, nil, 200, []string{"List"}},
		{staff + "history", nil, 200, []string{"List"}},
		{staff + other.ID + "/revoke", nil, 200, []string{"List"}},
		{staff + other.ID + "/revoke", url.Values{}, 303, []string{"List", "Revoke"}}, // the form does not contain the owner
	} {
		if s.user = "anna"; strings.HasPrefix(c.path, staff) {
			s.user = "root"
		}
		store.ResetCalls()
		p := s.visit(c.path, c.form)
		require.Equal(t, c.status, p.Code, "%s %v", c.path, c.form)
		require.Equal(t, c.calls, store.Calls(), "%s %v", c.path, c.form)
	}
}
