package examples_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// docs: either

// keyOrSession returns a handler that authenticates a request by its key if it has an Authorization
// header, and by its session otherwise.
func keyOrSession(byKey, bySession func(http.Handler) http.Handler, next http.Handler) http.Handler {
	withKey := byKey(next)
	withSession := http.NewCrossOriginProtection().Handler(bySession(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("Authorization")) > 0 { // a wrong key gets 401
			withKey.ServeHTTP(w, r)
			return
		}
		withSession.ServeHTTP(w, r)
	})
}

// docs: end

type sessionUser struct{}

// The code in docs/faq.md must not fall back to the session if the key is refused, and must not
// accept a session from another origin, because browsers add cookies to such requests.
func TestFAQServesKeysAndSessionsOnOneRoute(t *testing.T) {
	t.Parallel()
	kit := tokenauthtest.New(t, nil)
	findUser := func(_ context.Context, id string) (*User, error) { return &User{ID: id}, nil }
	auth, err := tokenauth.NewAuthenticator(kit.Manager, findUser, nil)
	require.NoError(t, err)
	requireSession := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("session")
			if err != nil {
				auth.WriteError(w, r, tokenauth.ErrNoKey)
				return
			}
			user := &User{ID: cookie.Value}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionUser{}, user)))
		})
	}
	mux := http.NewServeMux()
	order := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, ok := auth.User(r.Context())
		if !ok {
			user, _ = r.Context().Value(sessionUser{}).(*User)
		}
		_, _ = w.Write([]byte(user.ID))
	})
	// docs: either's route
	mux.Handle("POST /orders", keyOrSession(auth.RequireScopes("orders:write"), requireSession, order))
	// docs: end

	full, poor := "Bearer "+kit.Issue("42", "orders:write").Reveal(), "Bearer "+kit.Issue("42").Reveal()
	tests := []struct {
		name, key, session, site string
		status                   int
		user                     string
	}{
		{"key", full, "", "", 200, "42"},
		{"key and session", full, "43", "", 200, "42"},
		{"key from another site", full, "", "cross-site", 200, "42"},
		{"key without the scope, and session", poor, "43", "same-origin", 403, ""},
		{"wrong key, and session", "Bearer junk", "43", "same-origin", 401, ""},
		{"session", "", "43", "same-origin", 200, "43"},
		{"session from another site", "", "43", "cross-site", 403, ""},
		{"empty header, and session from another site", " ", "43", "cross-site", 401, ""},
		{"neither", "", "", "same-origin", 401, ""},
	}
	for _, tt := range tests {
		r, w := httptest.NewRequest("POST", "/orders", nil), httptest.NewRecorder()
		if tt.key != "" {
			r.Header.Set("Authorization", tt.key)
		}
		if tt.session != "" {
			r.AddCookie(&http.Cookie{Name: "session", Value: tt.session})
		}
		if tt.site != "" {
			r.Header.Set("Sec-Fetch-Site", tt.site)
		}
		mux.ServeHTTP(w, r)
		require.Equal(t, tt.status, w.Code, tt.name)
		if tt.status == 200 {
			require.Equal(t, tt.user, w.Body.String(), tt.name)
		}
	}
}
