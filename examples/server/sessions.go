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

// Sessions of browsers are tokens too, of a Manager of their own: the key is in a
// cookie, its digest in a table beside that of the API tokens, and they expire. A
// key of one never counts as one of the other.
type sessions struct {
	manager *tokenauth.Manager
	auth    *tokenauth.Authenticator[*user]
}

func newSessions(store tokenauth.Store, u users, logger *slog.Logger) sessions {
	manager := tokenauth.New(store, "session", &tokenauth.Options{
		OnEvent:    tokenauth.LogEvents(logger.With("of", "sessions")),
		MaxTTL:     sessionTime,
		TouchEvery: -1, // nobody asks for the last use of a session
	})
	return sessions{manager, tokenauth.NewAuthenticator(manager, u.byID, nil)}
}

// A visitor is who sent a request, as its session tells.
type visitor struct {
	user    *user  // nil: nobody is signed in
	session string // the ID of the session
	err     error  // why it can't be told
}

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

// load looks the session of a request up, once for all that ask for the visitor.
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
	u, token, err := s.auth.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + key}})
	switch {
	case err == nil:
		return visitor{user: u, session: token.ID}
	case tokenauth.StatusCode(err) == http.StatusServiceUnavailable:
		return visitor{err: err}
	}
	return visitor{} // expired, signed out, or never one
}

func (s sessions) end(ctx context.Context, v visitor) error {
	if v.user == nil {
		return v.err
	}
	return s.manager.Revoke(ctx, v.user.tokenID(), v.session)
}

// setCookie gives the key of a session to the browser; "" takes it away.
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

// isSecure reports whether the browser came by TLS. A proxy in front, which has it,
// says so. Whoever lies harms only himself.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}
