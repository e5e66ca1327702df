package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const sessionTime = 12 * time.Hour

// sessions holds the sessions of browsers. A session is a token of a second Manager, which has its
// own prefix and its own table. The value of the cookie is the key of the session. The API does not
// accept the key of a session, and the pages do not accept the key of an API token.
type sessions struct {
	manager *tokenauth.Manager
	auth    *tokenauth.Authenticator[*user]
}

func newSessions(store tokenauth.Store, u users, logger *slog.Logger) (sessions, error) {
	manager, err := tokenauth.New(store, "session", &tokenauth.Options{
		OnEvent:     tokenauth.LogEvents(logger.With("of", "sessions")),
		MaxTTL:      sessionTime,
		MaxPerUser:  -1, // with a limit, a thief of the password could use it up and lock the owner out
		TouchEvery:  -1, // last-used times of sessions are not recorded
		CheckUserID: tokenauth.DecimalUserID,
	})
	if err != nil {
		return sessions{}, err
	}
	auth, err := tokenauth.NewAuthenticator(manager, u.byID, nil)
	return sessions{manager, auth}, err
}

// A visitor is the sender of a request.
type visitor struct {
	user *user // nil if nobody is signed in
	err  error // if not nil, the session could not be read
}

// visitor reads the session and its user from the database, on each call. A handler calls visitor
// after it has read the body and directly before it acts, because the session may be revoked while
// the body arrives.
//
// If a request has several session cookies, another site of the same domain may have set one of
// them. In this case visitor returns no user.
func (s sessions) visitor(r *http.Request) visitor {
	cookies := r.CookiesNamed(cookieName(r))
	if len(cookies) != 1 {
		return visitor{}
	}
	u, _, err := s.auth.Authenticate(r.Context(), http.Header{"Authorization": {"Bearer " + cookies[0].Value}}, tokenauth.Need{})
	switch {
	case err == nil:
		return visitor{user: u}
	case tokenauth.StatusCode(err) == http.StatusServiceUnavailable:
		return visitor{err: err}
	}
	return visitor{} // the session expired or was revoked, or the cookie holds no session
}

// endAll revokes every session whose key a request presents. A request with several session cookies
// signs nobody in, but one of its cookies may hold the user's own session.
func (s sessions) endAll(r *http.Request) (err error) {
	for _, cookie := range r.CookiesNamed(cookieName(r)) {
		err = errors.Join(err, s.end(r.Context(), cookie.Value))
	}
	return err
}

// end revokes the session with the given key, if such a session exists. It does so even if ctx is
// done, because the client may have disconnected.
func (s sessions) end(ctx context.Context, key string) error {
	_, err := s.manager.RevokeKey(context.WithoutCancel(ctx), key)
	if errors.Is(err, tokenauth.ErrInvalidKey) {
		return nil
	}
	return err
}

// setCookie sets the cookie to the key of a session. If key is empty, setCookie deletes the cookie.
func setCookie(w http.ResponseWriter, r *http.Request, key string) {
	age := int(sessionTime.Seconds())
	if key == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: key, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: isSecure(r),
	})
}

// cookieName returns the name of the session's cookie. Over TLS, the name begins with __Host-.
// Browsers then accept the cookie only from this host and only over TLS.
func cookieName(r *http.Request) string {
	if isSecure(r) {
		return "__Host-session"
	}
	return "session"
}

// isSecure reports whether the browser uses TLS. The browser may connect to the service or to a
// reverse proxy, which sets X-Forwarded-Proto. A client that forges the header harms only itself.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}
