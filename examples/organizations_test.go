package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// docs: owner

// An Owner is a user or an organization.
type Owner struct {
	ID   string // "42" for a user, "org:7" for an organization
	Name string
}

// A Directory knows users, organizations, and the roles of members.
type Directory struct {
	names map[string]string // by the ID of the user or the organization
	roles map[string]string // by organization and user, as in "org:7 42"
}

// ByID finds the owner of a token.
func (d *Directory) ByID(_ context.Context, id string) (Owner, error) {
	name, ok := d.names[id]
	if !ok { // deleted, or disabled
		return Owner{}, tokenauth.ErrNoUser
	}
	return Owner{id, name}, nil
}

// checkOwnerID allows one spelling of each ID.
func checkOwnerID(id string) error {
	return tokenauth.DecimalUserID(strings.TrimPrefix(id, "org:"))
}

// docs: end

// sessionOf returns the ID of the user who is signed in. In this test, it stands in a cookie.
func sessionOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return cookie.Value
}

// docs: organization

// organization returns the ID of the organization in the path if the user who is signed in may
// manage its tokens. Otherwise it returns "".
func (d *Directory) organization(r *http.Request) (string, error) {
	org := "org:" + r.PathValue("org")
	if d.roles[org+" "+sessionOf(r)] != "admin" {
		return "", nil
	}
	return org, nil
}

// manage returns a handler for the tokens of organizations. next is a handler of package tokenpage
// or tokenapi whose function is d.organization. It serves the paths below prefix, for example
// /orgs/{org}/tokens.
func (d *Directory) manage(prefix string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := sessionOf(r); user != "" {
			r = r.WithContext(tokenauth.ContextWithActor(r.Context(), "user:"+user))
		}
		path := strings.Replace(prefix, "{org}", r.PathValue("org"), 1)
		http.StripPrefix(path, next).ServeHTTP(w, r)
	})
}

// docs: end

func routesOfOrganizations(tokens *tokenauth.Manager, d *Directory) (http.Handler, error) {
	mux := http.NewServeMux()
	auth, err := tokenauth.NewAuthenticator(tokens, d.ByID, nil)
	if err != nil {
		return nil, err
	}
	mux.Handle("GET /me", auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		owner, _ := auth.User(r.Context())
		_, _ = w.Write([]byte(owner.Name))
	})))

	// docs: mount
	page, err := tokenpage.New(tokens, d.organization, nil)
	if err != nil {
		return nil, err
	}
	api, err := tokenapi.New(auth, d.organization, nil)
	if err != nil {
		return nil, err
	}
	mux.Handle("/orgs/{org}/tokens/", d.manage("/orgs/{org}/tokens", page))
	mux.Handle("/api/orgs/{org}/", d.manage("/api/orgs/{org}", api))
	// docs: end
	return mux, nil
}

// offboard is the code in docs/organizations.md for a member who leaves.
func offboard(ctx context.Context, tokens *tokenauth.Manager, orgID, userID string) error {
	// docs: leave
	_, err := tokens.RevokeAll(ctx, userID) // the member's own tokens
	if err != nil {
		return err
	}
	created, err := tokens.List(ctx, tokenauth.Query{UserID: orgID, CreatedBy: "user:" + userID})
	if err != nil {
		return err
	}
	for _, t := range created { // the member may have kept a copy of the key
		fmt.Printf("Replace the key of %s (last used %v).\n", t.Name, t.LastUsedAt)
	}
	// docs: end
	return nil
}

var formID = regexp.MustCompile(`name="id" value="([A-Z2-7]{26})"`)

// The code in docs/organizations.md must let the admins of an organization manage its tokens, and
// nobody else. Its tokens must survive the member who created them, and tell who that was.
func TestOrganizationsPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := &Directory{
		names: map[string]string{"42": "Ada", "43": "Bob", "44": "Cy", "org:7": "Acme", "org:8": "Other"},
		roles: map[string]string{"org:7 42": "admin", "org:7 43": "admin", "org:7 44": "reader", "org:8 44": "admin"},
	}
	tokens := tokenauthtest.New(t, &tokenauth.Options{CheckUserID: checkOwnerID}).Manager
	mux, err := routesOfOrganizations(tokens, d)
	require.NoError(t, err)
	send := func(user, method, path, contentType, body string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		r.AddCookie(&http.Cookie{Name: "session", Value: user})
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		mux.ServeHTTP(w, r)
		return w
	}

	// Ada creates a token of the organization on the page.
	form := send("42", "GET", "/orgs/7/tokens/new", "", "")
	require.Equal(t, http.StatusOK, form.Code)
	id := formID.FindStringSubmatch(form.Body.String())[1]
	values := url.Values{"id": {id}, "user": {"org:7"}, "name": {"CI"}, "expires": {"90"}}
	created := send("42", "POST", "/orgs/7/tokens/new", "application/x-www-form-urlencoded", values.Encode())
	require.Equal(t, http.StatusOK, created.Code)
	require.Contains(t, created.Body.String(), "test_")
	// Bob creates one by the API.
	require.Equal(t, http.StatusCreated, send("43", "POST", "/api/orgs/7/tokens", "application/json", `{"name": "deploy"}`).Code)
	creators := map[string]string{}
	list, err := tokens.List(ctx, tokenauth.Query{UserID: "org:7"})
	require.NoError(t, err)
	for _, token := range list {
		creators[token.Name] = token.CreatedBy
	}
	require.Equal(t, map[string]string{"CI": "user:42", "deploy": "user:43"}, creators)

	// A reader, a member of another organization, and a stranger see and change nothing.
	for _, user := range []string{"44", "45", ""} {
		for _, path := range []string{"/orgs/7/tokens/", "/orgs/7/tokens/" + id + "/revoke", "/api/orgs/7/tokens", "/api/orgs/7/tokens/" + id} {
			require.Equal(t, http.StatusUnauthorized, send(user, "GET", path, "", "").Code, user+" "+path)
		}
		require.Equal(t, http.StatusUnauthorized, send(user, "DELETE", "/api/orgs/7/tokens/"+id, "", "").Code, user)
	}
	require.Equal(t, http.StatusNotFound, send("44", "DELETE", "/api/orgs/8/tokens/"+id, "", "").Code, "the token of another organization")

	// Ada leaves. The token goes on working, and Bob revokes it.
	key, _, err := tokens.Rotate(ctx, "org:7", id, 0)
	require.NoError(t, err)
	delete(d.names, "42")
	delete(d.roles, "org:7 42")
	require.NoError(t, offboard(ctx, tokens, "org:7", "42"))
	require.Equal(t, http.StatusOK, statusOf(mux, "GET", "/me", key))
	require.Equal(t, http.StatusUnauthorized, send("42", "GET", "/orgs/7/tokens/", "", "").Code)
	require.Equal(t, http.StatusNoContent, send("43", "DELETE", "/api/orgs/7/tokens/"+id, "", "").Code)
	require.Equal(t, http.StatusUnauthorized, statusOf(mux, "GET", "/me", key))
	revoked, err := tokens.Get(ctx, "org:7", id)
	require.NoError(t, err)
	require.Equal(t, "user:43", revoked.RevokedBy)
	for _, odd := range []string{"org:07", "org:", "org:org:7", "Org:7"} {
		require.True(t, errors.Is(tokens.CheckUserID(odd), tokenauth.ErrInvalidSpec), odd)
	}
}
