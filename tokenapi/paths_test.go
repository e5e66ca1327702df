package tokenapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// mounted returns the handler of New twice: mounted at the root (key "") and mounted under a prefix
// (key "/api"). No ServeMux wraps the handlers, because a ServeMux would redirect some paths before
// the API sees them.
func mounted(s *service) map[string]http.Handler {
	api := must.Get(tokenapi.New(s.auth, signedIn, nil))
	return map[string]http.Handler{"": api, "/api": http.StripPrefix("/api", api)}
}

// The response for a path that is not exactly the path of a route is 404 for every method. A
// redirect could turn a request for one token into a request for all tokens.
// Case A10.
func TestOtherPathsAreNotFound(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for mount, h := range mounted(s) {
		for _, path := range []string{
			"/", "//", "/.", "/..",
			"/token", "/Tokens", "/tokens.", "/tokens/ID/x", "/tokens/ID/rotate/x", "/tokens/ID/Rotate",
			"/tokens/", "/tokens/ID/", "/tokens/ID/rotate/", "/logout/", "/openapi.json/",
			"//tokens", "/tokens//", "/tokens//ID", "/tokens/ID//rotate", "/tokens//rotate", "/tokens///",
			"/tokens/..", "/tokens/.", "/tokens/ID/..", "/tokens/../tokens", "/./tokens", "/../tokens", "/tokens/ID/../rotate",
			"/tokens/%2e", "/tokens/%2e%2e", "/tokens/%2E%2E", "/tokens/ID/%2e%2e", "/%2e%2e/tokens", "/tokens/%2e%2e/tokens",
			"/tokens/ID%2F..", "/tokens/ID%2F%2e%2e", "/tokens/x%2F..",
			"/tokens%2FID", "/tokens%2F", "/tokens/%2F", "/tokens/ID%2F", "/tokens/%2FID", "/%2Ftokens",
			"/tokens/ID%2Frotate", "/tokens/ID%2frotate", "/tokens/ID%252Frotate", "/tokens/ID/rotate%2F",
			"/tokens/%00", "/tokens/ID%00", "/tokens/ID%0a", "/tokens/ID%20", "/tokens/ID;x", "/tokens/ID%3Fx",
			"/tokens/{id}", "/tokens/%7Bid%7D", "/tokens/{id}/rotate", "/tokens/é", "/tokens/" + strings.Repeat("x", 65),
		} {
			path = strings.Replace(path, "ID", made.ID, 1)
			for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT", "PROPFIND"} {
				w := send(t, h, method, mount+path, "", as("ada"))
				require.Equal(t, http.StatusNotFound, w.Code, "%s %s", method, path)
				require.Empty(t, w.Header().Get("Location"), path)
				require.Empty(t, w.Header().Get("Allow"), path)
				require.Equal(t, method == "HEAD", w.Body.Len() == 0, "%s %s", method, path)
			}
		}
	}
	require.True(t, s.works(key), "no request with a wrong path may revoke or rotate the token")
}

// A reverse proxy may block routes by the path that it sees, for example all paths that end with
// /rotate. If the API decoded escaped paths, a client could reach a blocked route.
// Case A10.
func TestEscapedPathsReachNoRoute(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for mount, h := range mounted(s) {
		for _, c := range [][2]string{
			{"POST", "/tokens/ID/%72otate"},
			{"POST", "/tokens/ID/rotat%65"},
			{"POST", "/tokens/ID%2Frotate"},
			{"POST", "/tokens%2FID%2Frotate"},
			{"DELETE", "/%74okens"},
			{"DELETE", "/tokens/%" + fmt.Sprintf("%X", made.ID[0]) + made.ID[1:]},
			{"GET", "/openapi%2Ejson"},
			{"POST", "/logou%74"},
		} {
			w := send(t, h, c[0], mount+strings.Replace(c[1], "ID", made.ID, 1), "", as("ada"))
			require.Equal(t, http.StatusNotFound, w.Code, c)
		}
	}
	require.True(t, s.works(key), "no request with an escaped path may revoke or rotate the token")
}

// A service that strips a prefix with its last slash passes paths without a leading slash to the
// API. The response to these requests is 404.
// Case A10.
func TestPathsWithoutSlashAreNotFound(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	api := must.Get(tokenapi.New(s.auth, signedIn, nil))
	for _, path := range []string{"", "tokens", "*", "..", "openapi.json"} {
		for _, method := range []string{"GET", "CONNECT", "OPTIONS", "DELETE"} {
			r := httptest.NewRequest(method, "/", nil)
			r.URL.Path = path
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			require.Equal(t, http.StatusNotFound, w.Code, "%s %q", method, path)
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), path)
		}
	}
}

// Each route serves the methods in the OpenAPI document. A route that serves GET also serves HEAD.
// Case A10.
func TestOtherMethodsAreNotAllowed(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for mount, h := range mounted(s) {
		for path, methods := range documentedMethods() {
			allowed := withHead(methods)
			for _, method := range []string{
				"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Post", "X",
			} {
				if slices.Contains(allowed, method) {
					continue
				}
				for _, by := range []header{as("ada"), as(""), with(key)} { // with a session, without a session, with a key
					w := send(t, h, method, mount+strings.Replace(path, "{id}", made.ID, 1), "", by)
					require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, path)
					require.Equal(t, []string{strings.Join(allowed, ", ")}, w.Header()["Allow"], "%s %s", method, path)
					require.Equal(t, method == "HEAD", w.Body.Len() == 0, "%s %s", method, path)
				}
			}
		}
	}
	for path, allow := range map[string]string{"/tokens": "DELETE, GET, HEAD", "/tokens/ID": "DELETE, GET, HEAD"} {
		w := send(t, s.mux, "POST", "/staff"+path, "{}", as("root"))
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, path)
		require.Equal(t, allow, w.Header().Get("Allow"), path)
	}
	require.True(t, s.works(key))
}

// An outer router may set a path value with the name "id", such as the ID of an organization. The
// API must not use this value as the ID of a token.
func TestPathValueOfOuterRouterIsIgnored(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	key, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	other, _ := s.issue(t, tokenauth.Spec{UserID: "bob", Name: "laptop"})
	_, phone := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "phone"})
	for _, outer := range []string{"an organization", "a/b", "acme", phone.ID} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("id", outer)
			s.mux.ServeHTTP(w, r)
		})
		do := func(method, target, body string, by header) int { return send(t, h, method, target, body, by).Code }
		require.Equal(t, http.StatusOK, do("GET", "/api/tokens", "", as("ada")), outer)
		require.Equal(t, http.StatusCreated, do("POST", "/api/tokens", `{"name":"for `+url.PathEscape(outer)+`"}`, as("ada")), outer)
		require.Equal(t, http.StatusOK, do("GET", "/api/openapi.json", "", as("ada")), outer)
		require.Equal(t, http.StatusMethodNotAllowed, do("PUT", "/api/tokens", "", as("ada")), outer)
		require.Equal(t, http.StatusOK, do("GET", "/staff/tokens", "", as("root")), outer)

		w := send(t, h, "GET", "/api/tokens/"+made.ID, "", as("ada"))
		require.Equal(t, http.StatusOK, w.Code, outer)
		require.Equal(t, made.ID, decode[token](t, w).ID, outer)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("id", phone.ID)
		s.mux.ServeHTTP(w, r)
	})
	require.Equal(t, http.StatusNoContent, send(t, h, "POST", "/api/logout", "", with(other)).Code)
	require.Equal(t, http.StatusNoContent, send(t, h, "DELETE", "/api/tokens/"+made.ID, "", as("ada")).Code)
	require.False(t, s.works(key))
	found, err := s.Manager.Get(t.Context(), "ada", phone.ID)
	require.NoError(t, err)
	require.Zero(t, found.RevokedAt)
}

// The response to HEAD must have the status and the headers of the response to GET, and no body.
// Case A10.
func TestHeadHasHeadersOfGet(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for mount, h := range mounted(s) {
		for _, path := range []string{
			"/tokens", "/tokens?limit=1", "/tokens/" + made.ID, "/openapi.json", // 200
			"/tokens?limit=x", "/tokens/NOSUCHTOKEN", "/tokens/", "/logout", // errors
		} {
			for _, user := range []string{"ada", "", "broken"} {
				get := send(t, h, "GET", mount+path, "", as(user))
				head := send(t, h, "HEAD", mount+path, "", as(user))
				require.Equal(t, get.Code, head.Code, path)
				require.Equal(t, get.Header(), head.Header(), path)
				require.NotEmpty(t, get.Body.String(), path)
				require.Empty(t, head.Body.String(), path)
			}
		}
	}
}

// The response to a wrong key is 401 for every path and every method.
// Case A10.
func TestWrongKeyIsRefusedOnEveryPath(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	api := must.Get(tokenapi.New(s.auth, signedIn, nil))
	for _, path := range []string{"/", "/tokens", "/tokens/ID", "/tokens/", "//", "/logout", "/openapi.json"} {
		for _, method := range []string{"GET", "POST", "PUT", "CONNECT"} {
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Authorization", "Bearer wrong")
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			require.Equal(t, http.StatusUnauthorized, w.Code, "%s %s", method, path)
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), path)
		}
	}
}

// Each response must forbid caching and content sniffing, and must have the content type of its
// body. Otherwise a proxy could serve the tokens of one user to another user. apitest.Do checks the
// responses of all other tests too.
// Case A11.
func TestResponsesHaveSafeHeaders(t *testing.T) {
	t.Parallel()
	s := newService(t, nil, tokenapi.Options{})
	_, made := s.issue(t, tokenauth.Spec{UserID: "ada", Name: "laptop"})
	for _, c := range []struct {
		method, path, body, user string
		status                   int
		contentType              string
	}{
		{"GET", "", "", "ada", 200, "application/json"},
		{"POST", "", `{"name":"phone"}`, "ada", 201, "application/json"},
		{"POST", "", `{"name":"laptop"}`, "ada", 409, "application/problem+json"},
		{"POST", "", `{`, "ada", 400, "application/problem+json"},
		{"GET", "", "", "", 401, "application/problem+json"},
		{"GET", "", "", "broken", 503, "application/problem+json"},
		{"GET", "/UNKNOWN", "", "ada", 404, "application/problem+json"},
		{"PUT", "", "", "ada", 405, "application/problem+json"},
		{"DELETE", "/" + made.ID, "", "ada", 204, ""},
	} {
		w := httptest.NewRecorder()
		s.mux.ServeHTTP(w, apitest.NewRequest(c.method, "/api/tokens"+c.path, c.body, as(c.user)))
		require.Equal(t, c.status, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), c.status)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"), c.status)
		require.Contains(t, w.Header()["Vary"], "Cookie", c.status)
		require.Equal(t, c.contentType, w.Header().Get("Content-Type"), c.status)
	}
}

// A service may mount the API below a path with values of its own, such as the ID of an
// organization. Its function must find these values, and a log must find the route.
func TestServiceFindsItsPathValues(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "7", Name: "n", Scopes: []string{"manage"}})
	userID := func(r *http.Request) (string, error) { return r.PathValue("id"), nil }
	api := must.Get(tokenapi.New(fixture.NewAuthenticator(m, nil), userID, &tokenapi.Options{ManageScope: "manage"}))
	mux := http.NewServeMux()
	mux.Handle("/orgs/{id}/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.StripPrefix("/orgs/"+r.PathValue("id"), api).ServeHTTP(w, r)
	}))
	for _, authorization := range []string{"", "Bearer " + key} {
		for path, route := range map[string][2]string{
			"/orgs/7/tokens": {"GET /tokens", "7"}, "/orgs/7/tokens/" + token.ID: {"GET /tokens/{id}", token.ID},
		} {
			var pattern, id string
			logged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.StripPrefix("/orgs/7", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					api.ServeHTTP(w, r)
					pattern, id = r.Pattern, r.PathValue("id")
				})).ServeHTTP(w, r)
			})
			outer := http.NewServeMux()
			outer.Handle("/orgs/{id}/", logged)
			for _, h := range []http.Handler{mux, outer} {
				r := httptest.NewRequest("GET", path, nil)
				if authorization != "" {
					r.Header.Set("Authorization", authorization)
				}
				require.Equal(t, 200, fixture.Serve(h, r).Code, path)
			}
			require.Equal(t, route, [2]string{pattern, id}, authorization)
		}
	}
}
