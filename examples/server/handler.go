package main

import (
	"database/sql"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// A service holds what its handlers need.
type service struct {
	users    users
	notes    notes
	tokens   *tokenauth.Manager
	auth     *tokenauth.Authenticator[*user]
	sessions sessions
	signIn   http.Handler // checks the form of the sign-in page, and issues sessions
	login    http.Handler // login endpoint of the API, issues tokens
	logger   *slog.Logger
}

func newService(db *sql.DB, tokens *tokenauth.Manager, sessionStore tokenauth.Store, c config, logger *slog.Logger) (s service, err error) {
	s = service{users: users{db}, notes: notes{db}, tokens: tokens, logger: logger}
	s.auth, err = tokenauth.NewAuthenticator(tokens, s.users.byID, &tokenauth.AuthenticatorOptions{Realm: "notes"})
	if err != nil {
		return s, err
	}
	if s.sessions, err = newSessions(sessionStore, s.users, logger); err != nil {
		return s, err
	}
	// Both handlers share one Throttle. Otherwise an attacker could guess twice as often.
	options := &tokenlogin.Options{Stamp: s.users.stamp, Throttle: tokenlogin.NewThrottle(), OnError: s.logError}
	if c.proxy {
		options.Address = clientAddress
	}
	s.signIn, err = tokenlogin.New(s.sessions.auth, s.users.checkPassword, options)
	if err != nil {
		return s, err
	}
	s.login, err = tokenlogin.New(s.auth, s.users.checkPassword, options)
	return s, err
}

// newHandler returns the handler of all routes of the service.
func (s service) newHandler() (http.Handler, error) {
	mux := http.NewServeMux()
	s.addRoutes(mux)
	if err := errors.Join(s.addAPI(mux), s.addPages(mux)); err != nil {
		return nil, err
	}
	return logRequests(s.logger, mux), nil
}

// addRoutes adds the routes for programs, which present a key.
func (s service) addRoutes(mux *http.ServeMux) {
	mux.Handle("GET /me", s.auth.RequireFunc(anyResource)(logToken(s.me)))
	mux.Handle("GET /notes", s.auth.RequireScopes(scopeRead)(logToken(s.listNotes)))
	mux.Handle("POST /notes", s.auth.RequireScopes(scopeWrite)(logToken(s.addNote)))
	mux.Handle("/api/login", s.login)
}

// anyResource is for routes that show only the user and the token. These routes also accept a token
// that is restricted to resources.
func anyResource(*http.Request) (tokenauth.Need, error) {
	return tokenauth.Need{AnyResource: true}, nil
}

// addAPI adds the API that manages tokens. A request presents a key or the cookie of a session.
func (s service) addAPI(mux *http.ServeMux) error {
	api, err := tokenapi.New(s.auth, s.signedIn, &tokenapi.Options{ManageScope: scopeManage, SelfScope: scopeSelf, OnError: s.logError})
	if err != nil {
		return err
	}
	staffAPI, err := tokenapi.NewStaff(s.auth, s.isStaff, &tokenapi.Options{OnError: s.logError})
	if err != nil {
		return err
	}
	mux.Handle("/api/", http.StripPrefix("/api", api))
	mux.Handle("/api/staff/", http.StripPrefix("/api/staff", s.asStaff(staffAPI)))
	return nil
}

// addPages adds the pages for people, who sign in with a browser.
func (s service) addPages(mux *http.ServeMux) error {
	options := tokenpage.Options{Scopes: scopes, SignInURL: signInPath, FindUser: s.users.find, Layout: s.layout, OnError: s.logError}
	page, err := tokenpage.New(s.tokens, s.signedIn, &options)
	if err != nil {
		return err
	}
	staffPage, err := tokenpage.NewStaff(s.tokens, s.isStaff, &options)
	if err != nil {
		return err
	}
	mux.Handle(accountPath, http.StripPrefix("/account/tokens", page))
	mux.Handle(staffPath, http.StripPrefix("/staff/tokens", s.asStaff(staffPage)))

	forms := http.NewCrossOriginProtection()
	own := func(pattern string, h http.HandlerFunc) {
		mux.Handle(pattern, secure(forms.Handler(h)))
	}
	own("GET /{$}", s.home)
	own("GET "+signInPath, s.showSignIn)
	own("POST "+signInPath, s.doSignIn)
	own("POST /sign-out", s.doSignOut)
	own("GET "+passwordPath, s.showPassword)
	own("POST "+passwordPath, s.doPassword)
	mux.HandleFunc("GET /site.css", serveCSS)
	return nil
}

// signedIn returns the ID of the user of the session, and "" without a session. It reads the
// session from the database at each call.
func (s service) signedIn(r *http.Request) (string, error) {
	v := s.sessions.visitor(r)
	if v.user == nil {
		return "", v.err
	}
	return v.user.tokenID(), nil
}

func (s service) isStaff(r *http.Request) (bool, error) {
	v := s.sessions.visitor(r)
	return v.user != nil && v.user.Staff, v.err
}

// asStaff is middleware for the handlers of staff. It names the member of staff who makes a change.
func (s service) asStaff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := s.sessions.visitor(r); v.user != nil {
			r = r.WithContext(tokenauth.ContextWithActor(r.Context(), "staff:"+v.user.tokenID()))
		}
		next.ServeHTTP(w, r)
	})
}

func (s service) logError(r *http.Request, err error) {
	s.logger.ErrorContext(r.Context(), "request failed", "error", err)
}
