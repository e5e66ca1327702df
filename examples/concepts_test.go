package examples_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// docs: users
type User struct{ ID, Name string }

type Users struct{ db *sql.DB }

// ByID finds an active user. On PostgreSQL, write $1 instead of the question mark.
func (s *Users) ByID(ctx context.Context, id string) (*User, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // otherwise a request waits while the database hangs
	defer cancel()
	u := &User{}
	err := s.db.QueryRowContext(ctx, "SELECT id, name FROM users WHERE id = ? AND active", id).Scan(&u.ID, &u.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tokenauth.ErrNoUser // the response is 401
	}
	return u, err // the response to any other error is 503
}

// docs: end

// The code in docs/concepts.md must refuse users who are switched off, and requests with a token
// that may not change the project in the path.
func TestConceptsPage(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	for _, statement := range []string{
		"CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, active BOOLEAN)",
		"INSERT INTO users VALUES ('42', 'Ada', TRUE), ('43', 'Bob', FALSE)",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	users := &Users{db}
	kit := tokenauthtest.New(t, nil)
	tokens := kit.Manager
	auth, err := tokenauth.NewAuthenticator(tokens, users.ByID, nil)
	require.NoError(t, err)
	mux := routesOfConcepts(auth)
	status := func(method, path string, key tokenauth.Key) int { return statusOf(mux, method, path, key) }
	ada, bob := kit.Issue("42", "deploy:web"), kit.Issue("43")
	require.Equal(t, http.StatusOK, status("GET", "/me", ada))
	require.Equal(t, http.StatusUnauthorized, status("GET", "/me", bob))
	require.Equal(t, http.StatusForbidden, status("POST", "/orders", ada))
	require.Equal(t, http.StatusOK, status("GET", "/", ada))
	require.Equal(t, http.StatusOK, status("POST", "/deploy/web", ada))
	require.Equal(t, http.StatusForbidden, status("POST", "/deploy/shop", ada))
}

// A key holder must not be able to cause a 500, and thereby an alert, by the path of a request.
func TestConceptsPageRefusesUnknownProjects(t *testing.T) {
	t.Parallel()
	for _, scopes := range [][]string{nil, {"orders:write", "deploy:web", "deploy:shop"}} {
		kit := tokenauthtest.New(t, &tokenauth.Options{Scopes: scopes})
		findUser := func(_ context.Context, id string) (*User, error) { return &User{ID: id}, nil }
		auth, err := tokenauth.NewAuthenticator(kit.Manager, findUser, nil)
		require.NoError(t, err)
		mux, key := routesOfConcepts(auth), kit.Issue("42", "deploy:web")
		require.Equal(t, http.StatusOK, statusOf(mux, "POST", "/deploy/web", key))
		require.Equal(t, http.StatusForbidden, statusOf(mux, "POST", "/deploy/shop", key))
		for _, path := range []string{"/deploy/other", "/deploy/a%20b", "/deploy/%22", "/deploy/%FF"} {
			require.Equal(t, http.StatusNotFound, statusOf(mux, "POST", path, key), path)
		}
	}
}

// routesOfConcepts returns a service with the routes of docs/concepts.md.
func routesOfConcepts(auth *tokenauth.Authenticator[*User]) http.Handler {
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	me, order, home, deploy := ok, ok, ok, ok
	projects := map[string]bool{"web": true, "shop": true}

	// docs: routes
	mux.Handle("GET /me", auth.Require(me))                               // any valid key
	mux.Handle("POST /orders", auth.RequireScopes("orders:write")(order)) // a key with this scope
	mux.Handle("GET /{$}", auth.Optional(home))                           // with or without a key
	mux.Handle("POST /deploy/{project}", auth.RequireFunc(func(r *http.Request) (tokenauth.Need, error) {
		project := r.PathValue("project")
		if !projects[project] { // projects are those of the service
			return tokenauth.Need{}, tokenauth.ErrNotFound
		}
		return tokenauth.Need{Scopes: []string{"deploy:" + project}}, nil
	})(deploy))
	// docs: end
	return mux
}

// statusOf returns the status of the response to a request with a key.
func statusOf(handler http.Handler, method, path string, key tokenauth.Key) int {
	r, w := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
	tokenauthtest.SetKey(r, key)
	handler.ServeHTTP(w, r)
	return w.Code
}

// manage is the code in docs/concepts.md that changes tokens.
func manage(ctx context.Context, tokens *tokenauth.Manager, leaked string) error {
	// docs: manage
	key, token, err := tokens.Issue(ctx, tokenauth.Spec{
		UserID: "42", Name: "CI", Scopes: []string{"orders:read"}, ExpiresAt: time.Now().AddDate(0, 3, 0),
	})
	if err != nil {
		return err
	}
	show(key.Reveal()) // the only time that the key can be shown

	list, err := tokens.List(ctx, tokenauth.Query{UserID: "42"})
	if err != nil {
		return err
	}
	_, err = tokens.Update(ctx, "42", token.ID, tokenauth.Patch{Name: new("old CI")})
	if err != nil {
		return err
	}
	key, token, err = tokens.Rotate(ctx, "42", token.ID, 24*time.Hour) // both keys work for another day
	if err != nil {
		return err
	}
	if err := tokens.Revoke(ctx, "42", token.ID); err != nil {
		return err
	}
	// docs: end
	show(key.Reveal())
	if len(list) != 1 {
		return errors.New("the list must have the token")
	}
	// docs: leak
	_, err = tokens.RevokeKey(ctx, leaked) // the token whose key this is
	if err != nil {
		return err
	}
	_, err = tokens.RevokeAll(ctx, "42") // all tokens of the user
	// docs: end
	return err
}

func show(string) {}

// The calls in docs/concepts.md must work, in the order of the page.
func TestConceptsPageManagesTokens(t *testing.T) {
	t.Parallel()
	tokens, err := tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil)
	require.NoError(t, err)
	leaked, _, err := tokens.Issue(t.Context(), tokenauth.Spec{UserID: "43", Name: "laptop"})
	require.NoError(t, err)
	require.NoError(t, manage(t.Context(), tokens, leaked.Reveal()))
	_, err = tokens.Authenticate(t.Context(), leaked.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrRevoked)
}
