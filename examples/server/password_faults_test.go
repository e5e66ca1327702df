package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

const nextPassword = "a new password of ada"

// A site is a service whose stores can fail. Ada has a token and a session.
type site struct {
	service
	tokenStore, sessionStore *tokenauthtest.Store
	ada                      string // ID of ada
	cookie                   string // of the session
}

func newSite(t *testing.T) *site {
	t.Helper()
	s, tokens, sessions := open(t)
	o := &site{tokenStore: tokenauthtest.NewStore(tokens), sessionStore: tokenauthtest.NewStore(sessions)}
	var err error
	o.service, _, err = build(s.users.db, o.tokenStore, o.sessionStore, config{touch: -1}, slog.New(slog.NewTextHandler(&leak.Default, nil)))
	require.NoError(t, err)
	leak.Default.Secret(testPassword)
	o.ada = must.Get(s.users.save(t.Context(), demoName, must.Get(hashPassword(testPassword)), false)).tokenID()
	_, _, err = o.tokens.Issue(t.Context(), tokenauth.Spec{UserID: o.ada, Name: "laptop"})
	require.NoError(t, err)
	o.cookie = o.newSession(t, "browser")
	return o
}

// newSession issues a session of ada and returns its cookie.
func (o *site) newSession(t *testing.T, name string) (cookie string) {
	t.Helper()
	key, _, err := o.sessions.manager.Issue(t.Context(), tokenauth.Spec{UserID: o.ada, Name: name})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	return "session=" + key.Reveal()
}

// post sends a form with the given cookies.
func (o *site) post(ctx context.Context, path, cookies string, form url.Values) *httptest.ResponseRecorder {
	r, w := httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(form.Encode())), httptest.NewRecorder()
	r.Header.Set("Content-Type", asForm)
	r.Header.Set("Cookie", cookies)
	must.Get(o.newHandler()).ServeHTTP(w, r)
	return w
}

// change sends the form to change the password of ada.
func (o *site) change(ctx context.Context, current string) *httptest.ResponseRecorder {
	return o.post(ctx, passwordPath, o.cookie, url.Values{"current": {current}, "new": {nextPassword}})
}

// afterCheck calls f whenever the service has checked a password.
func (o *site) afterCheck(f func()) {
	check := o.signIn
	o.signIn = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check.ServeHTTP(w, r)
		f()
	})
}

// requireLive requires the numbers of live tokens and sessions of ada.
func (o *site) requireLive(t *testing.T, tokens, sessions int) {
	t.Helper()
	require.Len(t, must.Get(o.tokens.List(t.Context(), tokenauth.Query{UserID: o.ada})), tokens, "tokens")
	require.Len(t, must.Get(o.sessions.manager.List(t.Context(), tokenauth.Query{UserID: o.ada})), sessions, "sessions")
}

// A thief who knows the password can create many sessions. The owner must still be able to sign in
// and to change the password. The number of sessions must not slow down the sign-in.
func TestThiefCannotPreventChangeOfPassword(t *testing.T) {
	t.Parallel()
	o := newSite(t)
	for i := range 120 { // more than a Manager allows by default
		o.newSession(t, fmt.Sprint("thief ", i))
	}
	for range 2 {
		w := o.post(t.Context(), signInPath, "", url.Values{"username": {demoName}, "password": {testPassword}})
		require.Equal(t, http.StatusSeeOther, w.Code)
	}
	require.Zero(t, o.sessionStore.Count("List"), "a sign-in must not list all sessions")
	require.Equal(t, signInPath, o.change(t.Context(), testPassword).Header().Get("Location"))
	o.requireLive(t, 0, 0)
}

// When the service checks the current password, it issues a session. It must revoke this session,
// even if it does not change the password or the client disconnects. Otherwise each attempt would
// leave a session behind.
func TestRefusedChangeOfPasswordLeavesNoSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile string // statement that is executed between the check and the change
		leaves    bool   // whether the client disconnects
		want      int
		text      string
	}{
		"changed meanwhile":   {"UPDATE users SET password = 'the owner''s'", false, http.StatusConflict, passwordReplaced},
		"database fails":      {"ALTER TABLE users RENAME COLUMN password TO other", false, http.StatusServiceUnavailable, passwordUnknown},
		"client disconnected": {"ALTER TABLE users RENAME COLUMN password TO other", true, http.StatusServiceUnavailable, passwordUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newSite(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.afterCheck(func() {
				must.Get(o.users.db.ExecContext(t.Context(), tt.meanwhile))
				if tt.leaves {
					cancel()
				}
			})
			w := o.change(ctx, testPassword)
			require.Equal(t, tt.want, w.Code)
			require.Contains(t, w.Body.String(), tt.text)
			o.requireLive(t, 1, 1)
		})
	}
}

// If the client disconnects after the password was checked, the service must still change the
// password and revoke the sessions and tokens. Otherwise a thief would keep access after the
// change.
func TestChangeOfPasswordCompletesAfterDisconnect(t *testing.T) {
	t.Parallel()
	o := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.afterCheck(cancel)
	o.change(ctx, testPassword)
	id, _, err := o.users.checkPassword(t.Context(), demoName, nextPassword)
	require.NoError(t, err)
	require.Equal(t, o.ada, id)
	o.requireLive(t, 0, 0)
}

// If RevokeAll fails after the password was changed, a thief may still have access. The page must
// tell the user, and must have a form to change the password again. The service must revoke the
// tokens before the sessions, because the user needs a session to repeat the change.
func TestFailedRevokeAllAsksForAnotherChange(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tokens, sessions bool // whether RevokeAll fails on the store of tokens, and on that of sessions
		form             string
	}{
		"tokens":   {true, false, signInPath},
		"sessions": {false, true, passwordPath},
		"both":     {true, true, passwordPath},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newSite(t)
			failing := true
			var order []string
			fail := func(of string, fails bool) func(context.Context, string, func() error) error {
				return func(_ context.Context, method string, next func() error) error {
					if method != "RevokeAll" || !failing {
						return next()
					}
					order = append(order, of)
					if fails {
						return errors.New("connection lost")
					}
					return next()
				}
			}
			o.tokenStore.Intercept(fail("token", tt.tokens))
			o.sessionStore.Intercept(fail("session", tt.sessions))
			w := o.change(t.Context(), testPassword)
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.Contains(t, w.Body.String(), notAllEnded)
			require.Contains(t, w.Body.String(), `action="`+tt.form+`"`)
			require.Equal(t, "token", order[0])
			require.Contains(t, order, "session")
			live := map[bool]int{true: 1}
			o.requireLive(t, live[tt.tokens], live[tt.sessions])

			failing = false
			if !tt.sessions {
				w := o.post(t.Context(), signInPath, "", url.Values{"username": {demoName}, "password": {nextPassword}})
				require.Len(t, w.Result().Cookies(), 1)
				o.cookie = "session=" + w.Result().Cookies()[0].Value
			}
			require.Equal(t, http.StatusSeeOther, o.change(t.Context(), nextPassword).Code)
			o.requireLive(t, 0, 0)
		})
	}
}
