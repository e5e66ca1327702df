package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	sessionCookie = "session"
	sessionTime   = 12 * time.Hour
)

// sessions are the sessions of browsers: tokens of a second Manager, with a prefix and a table of
// their own. The key of a session is the value of a cookie. It is never accepted as the key of an
// API token, nor the reverse.
type sessions struct {
	manager *tokenauth.Manager
	auth    *tokenauth.Authenticator[*user]
}

func newSessions(store tokenauth.Store, u users, logger *slog.Logger) (sessions, error) {
	manager, err := tokenauth.New(store, "session", &tokenauth.Options{
		OnEvent:    tokenauth.LogEvents(logger.With("of", "sessions")),
		MaxTTL:     sessionTime,
		TouchEvery: -1, // last-used times of sessions are not recorded
	})
	if err != nil {
		return sessions{}, err
	}
	auth, err := tokenauth.NewAuthenticator(manager, u.byID, nil)
	return sessions{manager, auth}, err
}

// A visitor is the sender of a request with a session.
type visitor struct {
	user    *user  // nil if nobody is signed in
	session string // ID of the session's token
	err     error  // if not nil, the session could not be read
}

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

// load reads the session of a request once, for all later calls of visitorOf.
func (s sessions) load(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie(sessionCookie); err == nil {
			ctx := context.WithValue(r.Context(), visitorKey{}, s.visitor(r.Context(), cookie.Value))
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

func (s sessions) visitor(ctx context.Context, key string) visitor {
	u, token, err := s.auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}}, tokenauth.Need{})
	switch {
	case err == nil:
		return visitor{user: u, session: token.ID}
	case tokenauth.StatusCode(err) == http.StatusServiceUnavailable:
		return visitor{err: err}
	}
	return visitor{} // the session expired or was revoked, or the cookie holds no session
}

func (s sessions) end(ctx context.Context, v visitor) error {
	if v.user == nil {
		return v.err
	}
	return s.manager.Revoke(ctx, v.user.tokenID(), v.session)
}

// setCookie sets the cookie to the key of a session. If key is "", it deletes the cookie.
func setCookie(w http.ResponseWriter, r *http.Request, key string) {
	age := int(sessionTime.Seconds())
	if key == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: key, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: isSecure(r),
	})
}

// isSecure reports whether the browser uses TLS, to the service or to a reverse proxy, which sets
// X-Forwarded-Proto. A client that forges the header harms only itself.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}
