package examples_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// A projectList has the projects of each user, by the ID of the user.
type projectList map[string][]project

type project struct{ ID, Name string }

// docs: resources

// resources returns the resources that a token of the user can be restricted to.
func (l projectList) resources(_ context.Context, userID string) ([]tokenauth.Resource, error) {
	var all []tokenauth.Resource
	for _, p := range l[userID] {
		all = append(all, tokenauth.Resource{ID: "project:" + p.ID, Label: p.Name})
	}
	return all, nil
}

// docs: end

// has reports whether the user may use a project.
func (l projectList) has(userID, id string) bool {
	for _, p := range l[userID] {
		if p.ID == id {
			return true
		}
	}
	return false
}

func routesOfResources(auth *tokenauth.Authenticator[*User], projects projectList) http.Handler {
	mux := http.NewServeMux()
	deploy := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

	// docs: one
	oneProject := auth.RequireFunc(func(r *http.Request) (tokenauth.Need, error) {
		id := r.PathValue("project")
		user, _ := auth.User(r.Context())
		if !projects.has(user.ID, id) { // a restriction of the token gives the user no rights
			return tokenauth.Need{}, tokenauth.ErrNotFound
		}
		return tokenauth.Need{Scopes: []string{"deploy"}, Resources: []string{"project:" + id}}, nil
	})
	mux.Handle("POST /projects/{project}/deploy", oneProject(deploy))
	// docs: end

	// docs: list
	list := func(w http.ResponseWriter, r *http.Request) {
		user, _ := auth.User(r.Context())
		token, _ := auth.Token(r.Context())
		names := []string{}
		for _, p := range projects[user.ID] {
			if token.Allows("project:" + p.ID) {
				names = append(names, p.Name)
			}
		}
		_ = json.NewEncoder(w).Encode(names)
	}
	anyProject := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) {
		return tokenauth.Need{AnyResource: true}, nil // list checks each project
	})
	mux.Handle("GET /projects", anyProject(http.HandlerFunc(list)))
	// docs: end
	mux.Handle("POST /invoices", auth.Require(deploy))
	return mux
}

// The code in docs/fine-grained-tokens.md must keep a token within its projects, and must not let a
// token act on a project that its user does not have.
func TestFineGrainedTokensPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	projects := projectList{"42": {{"7", "Shop"}, {"8", "Blog"}}, "43": {{"9", "Other"}}}
	options := tokenauth.Options{}
	// docs: options
	options.Resources = projects.resources
	// docs: end
	kit := tokenauthtest.New(t, &options)
	tokens := kit.Manager
	auth, err := tokenauth.NewAuthenticator(tokens, func(_ context.Context, id string) (*User, error) { return &User{ID: id}, nil }, nil)
	require.NoError(t, err)

	// docs: issue
	key, _, err := tokens.Issue(ctx, tokenauth.Spec{
		UserID: "42", Name: "CI of the shop", Scopes: []string{"deploy"}, Resources: []string{"project:7"},
	})
	// docs: end
	require.NoError(t, err)
	all := kit.Issue("42", "deploy")
	mux := routesOfResources(auth, projects)
	for path, want := range map[string][2]int{ // statuses with the restricted and with the other token
		"/projects/7/deploy": {200, 200}, "/projects/8/deploy": {403, 200}, "/projects/9/deploy": {404, 404}, "/invoices": {403, 200},
	} {
		require.Equal(t, want[0], statusOf(mux, "POST", path, key), path)
		require.Equal(t, want[1], statusOf(mux, "POST", path, all), path)
	}
	for want, key := range map[string]tokenauth.Key{`["Shop"]`: key, `["Shop","Blog"]`: all} {
		r, w := httptest.NewRequest("GET", "/projects", nil), httptest.NewRecorder()
		tokenauthtest.SetKey(r, key)
		mux.ServeHTTP(w, r)
		require.JSONEq(t, want, w.Body.String())
	}
	_, _, err = tokens.Issue(ctx, tokenauth.Spec{UserID: "42", Name: "n", Resources: []string{"project:9"}})
	require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
}
