package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// The routes for programs must refuse a request without a valid key, and must serve a request with
// one.
func TestRoutesRequireKey(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	wrong := p.Key[:len(p.Key)-1] + "!"
	steps := []struct {
		name         string
		method, path string
		key, body    string
		want         int
		text         string
	}{
		{"the OpenAPI document needs no key", "GET", "/api/openapi.json", "", "", 200, ""},
		{"a wrong key is refused even there", "GET", "/api/openapi.json", wrong, "", 401, ""},
		{"me", "GET", "/me", p.Key, "", 200, ""},
		{"me without a body", "HEAD", "/me", p.Key, "", 200, ""},
		{"me without a key", "GET", "/me", "", "", 401, ""},
		{"me with a wrong key", "GET", "/me", wrong, "", 401, ""},
		{"no notes yet", "GET", "/notes", p.Key, "", 200, `{"notes":[]}` + "\n"},
		{"add a note", "POST", "/notes", p.Key, `{"text":"milk"}`, 201, `{"id":1,"text":"milk"}` + "\n"},
		{"add another note", "POST", "/notes", p.Key, `{"text":"Brötchen \u0000"}`, 201, `{"id":2,"text":"Brötchen \u0000"}` + "\n"},
		{"the newest comes first", "GET", "/notes", p.Key, "", 200,
			`{"notes":[{"id":2,"text":"Brötchen \u0000"},{"id":1,"text":"milk"}]}` + "\n"},
		{"add a note without a key", "POST", "/notes", "", `{"text":"milk"}`, 401, ""},
		{"unknown route", "GET", "/other", p.Key, "", 404, "404 page not found\n"},
		{"unknown method", "DELETE", "/notes", p.Key, "", 405, "Method Not Allowed\n"},
	}
	for _, s := range steps {
		got := p.do(t, s.method, s.path, s.key, s.body)
		require.Equal(t, s.want, got.StatusCode, s.name)
		if s.text != "" {
			require.Equal(t, s.text, got.Text, s.name)
		}
	}
}

// The route /me must describe the user and the presented token.
func TestMeReturnsUserAndToken(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	got := p.do(t, "GET", "/me", p.Key, "")
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Regexp(t, `^\{"user":\{"id":1,"name":"ada"\},"token":\{`+
		`"name":"curl [A-Z2-7]+","scopes":\["notes:read","notes:write"\],`+
		`"hint":"`+p.Key[len(p.Key)-4:]+`"\}\}`+"\n$", got.Text)
}

// A token that is restricted to resources must be able to read who it is, to rotate itself and to
// log out. It must not read or add notes, because the service does not divide them by resource.
func TestRestrictedTokenReadsAndRotatesItself(t *testing.T) {
	t.Parallel()
	s, store, _ := open(t)
	ada := must.Get(s.users.save(t.Context(), "ada", must.Get(hashPasswordWith(1000, testPassword)), false))
	m := must.Get(tokenauth.New(store, "notes", &tokenauth.Options{
		Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
			return []tokenauth.Resource{{ID: "p1"}}, nil
		},
	}))
	issued, _, err := m.Issue(t.Context(), tokenauth.Spec{
		UserID: ada.tokenID(), Name: "ci", Scopes: []string{scopeRead, scopeWrite, scopeSelf}, Resources: []string{"p1"},
	})
	require.NoError(t, err)
	key := issued.Reveal()
	leak.Default.Secret(key)
	handler := must.Get(s.newHandler())
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/me", "", 200},
		{"GET", "/notes", "", 403},
		{"POST", "/notes", `{"text":"milk"}`, 403},
		{"GET", "/api/tokens", "", 403},
		{"GET", "/api/tokens/self", "", 200},
		{"POST", "/api/tokens/self/rotate", `{"generation":1,"grace_seconds":60}`, 200},
		{"POST", "/api/logout", "", 204},
		{"GET", "/me", "", 401},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, c.want, w.Code, "%s %s: %d", c.method, c.path, w.Code)
	}
}

// A 401 response must tell the client which scheme to use, and whether its key was refused.
func TestUnauthorizedResponseHasChallenges(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	tests := []struct {
		name, key, attributes string
	}{
		{"without a key", "", ""},
		{"with a malformed key", "notes_x", `, error="invalid_token"`},
		{"with an unknown key", p.otherKey(t), `, error="invalid_token"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := p.do(t, "GET", "/me", tt.key, "")
			require.Equal(t, http.StatusUnauthorized, got.StatusCode)
			require.Equal(t, []string{
				`Bearer realm="notes"` + tt.attributes,
				`Token realm="notes"` + tt.attributes,
			}, got.Header.Values("WWW-Authenticate"))
			require.Equal(t, "application/problem+json", got.Header.Get("Content-Type"))
		})
	}
}

// otherKey returns a well-formed key that the program does not know.
func (p *program) otherKey(t *testing.T) string {
	t.Helper()
	other := must.Get(newManager(tokenauth.NewMemoryStore(), 0, slog.New(slog.DiscardHandler)))
	key, _, err := other.Issue(t.Context(), tokenauth.Spec{UserID: "1", Name: "other"})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return key.Reveal()
}

// A token must be limited to its scopes. A revoked token, and the token of an unknown user, must be
// refused.
func TestRoutesRequireScopes(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	user := addUser(t, path, demoName, true).tokenID()
	reader, revoke := issue(t, path, tokenauth.Spec{UserID: user, Name: "reader", Scopes: []string{scopeRead}})
	bare, _ := issue(t, path, tokenauth.Spec{UserID: user, Name: "bare"})
	nobody, _ := issue(t, path, tokenauth.Spec{UserID: "404", Name: "unknown user", Scopes: []string{scopeRead}})

	refused := p.do(t, "POST", "/notes", reader, `{"text":"milk"}`)
	require.Equal(t, http.StatusForbidden, refused.StatusCode)
	require.Equal(t, `Bearer realm="notes", error="insufficient_scope", scope="notes:write"`, refused.Header.Get("WWW-Authenticate"))
	require.Equal(t, http.StatusOK, p.do(t, "GET", "/notes", reader, "").StatusCode)
	require.Equal(t, http.StatusForbidden, p.do(t, "GET", "/notes", bare, "").StatusCode)
	require.Contains(t, p.do(t, "GET", "/me", bare, "").Text, `"scopes":[]`)
	require.Equal(t, http.StatusUnauthorized, p.do(t, "GET", "/notes", nobody, "").StatusCode)

	revoke()
	require.Equal(t, http.StatusUnauthorized, p.do(t, "GET", "/notes", reader, "").StatusCode, "a revoked key must be refused immediately")
}

// A body that is too large, malformed or of another media type must add no note.
// Case A6.
func TestBadBodiesAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	const asJSON = "application/json"
	tests := []struct {
		name, mediaType, body string
		want                  int
	}{
		{"with a charset", asJSON + "; charset=utf-8", `{"text":"milk"}`, http.StatusCreated},
		{"as large as allowed", asJSON, `{"text":"` + strings.Repeat("x", maxBody-len(`{"text":""}`)) + `"}`, http.StatusCreated},
		{"larger by one byte", asJSON, `{"text":"` + strings.Repeat("x", maxBody+1-len(`{"text":""}`)) + `"}`, http.StatusRequestEntityTooLarge},
		{"larger because of trailing space", asJSON, `{"text":"milk"}` + strings.Repeat(" ", maxBody), http.StatusRequestEntityTooLarge},
		{"no Content-Type", "", `{"text":"milk"}`, http.StatusUnsupportedMediaType},
		{"form", "application/x-www-form-urlencoded", `text=milk`, http.StatusUnsupportedMediaType},
		{"empty", asJSON, ``, http.StatusBadRequest},
		{"not JSON", asJSON, `milk`, http.StatusBadRequest},
		{"truncated", asJSON, `{"text":"mil`, http.StatusBadRequest},
		{"not an object", asJSON, `["milk"]`, http.StatusBadRequest},
		{"null", asJSON, `null`, http.StatusBadRequest},
		{"number as text", asJSON, `{"text":1}`, http.StatusBadRequest},
		{"no text", asJSON, `{}`, http.StatusBadRequest},
		{"empty text", asJSON, `{"text":""}`, http.StatusBadRequest},
		{"unknown member", asJSON, `{"text":"milk","user":2}`, http.StatusBadRequest},
		{"two objects", asJSON, `{"text":"milk"}{"text":"milk"}`, http.StatusBadRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/notes", strings.NewReader(tt.body))
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+p.Key)
			r.Header.Set("Content-Type", tt.mediaType)
			got := send(t, r)
			require.Equal(t, tt.want, got.StatusCode)
			if tt.want != http.StatusCreated {
				require.Equal(t, "application/problem+json", got.Header.Get("Content-Type"))
				require.Contains(t, got.Text, fmt.Sprintf(`"status":%d`, tt.want))
			}
		})
	}
}

// The log must have a line for each request, with the route and the ID of the token. It must not
// contain the path or the key, which may be secret.
func TestLogNamesRoutesAndTokens(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	p.do(t, "GET", "/me", p.Key, "")
	p.do(t, "GET", "/me", "notes_x", "")
	p.do(t, "GET", "/"+p.Key, p.Key, "")
	p.do(t, "GET", "/../"+p.Key+"/../me?key="+p.Key, "", "")
	p.do(t, p.Key, "/me", "", "")
	p.Stop()
	require.NoError(t, p.wait(t))

	lines := strings.Split(strings.TrimSpace(p.Log.String()), "\n")
	for i, want := range []string{
		`route="GET /me" status=200 duration=\S+ token=[A-Z2-7]{26}$`,
		`level=WARN msg="token rejected" reason=malformed$`,
		`route="GET /me" status=401 duration=\S+ token=""$`,
		`route="" status=404 `,
		`route="GET /me" status=307 `,
		`route="GET /me" status=401 `,
		`route="" status=405 `,
		`msg="shutting down"`,
	} {
		require.Regexp(t, regexp.MustCompile(want), lines[i])
	}
}
