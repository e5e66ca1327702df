package main

import (
	"database/sql"
	"log/slog"
	"net/http"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// A service holds what its handlers need.
type service struct {
	users    users
	notes    notes
	tokens   *tokenauth.Manager
	sessions sessions
	signIn   http.Handler // the form's
	login    http.Handler // the API's
	logger   *slog.Logger
}

func newService(db *sql.DB, tokens *tokenauth.Manager, sessionStore tokenauth.Store, logger *slog.Logger) service {
	s := service{users: users{db}, notes: notes{db}, tokens: tokens, logger: logger}
	s.sessions = newSessions(sessionStore, s.users, logger)
	// One throttle for both: else who guesses had twice the attempts.
	options := &tokenapi.LoginOptions{Throttle: tokenapi.NewThrottle(), OnError: s.logError}
	s.signIn = tokenapi.NewLogin(s.sessions.manager, s.users.checkPassword, options)
	s.login = tokenapi.NewLogin(s.tokens, s.users.checkPassword, options)
	return s
}

// newHandler says on one screen who may do what.
func (s service) newHandler() http.Handler {
	mux := http.NewServeMux()

	// For programs, which present a key.
	auth := tokenauth.NewAuthenticator(s.tokens, s.users.byID, &tokenauth.AuthenticatorOptions{Realm: "notes"})
	handle := func(pattern string, guard func(http.Handler) http.Handler, h http.Handler) {
		mux.Handle(pattern, guard(logToken(h)))
	}
	handle("GET /me", auth.Require, http.HandlerFunc(s.me))
	handle("GET /notes", auth.RequireScopes(scopeRead), http.HandlerFunc(s.listNotes))
	handle("POST /notes", auth.RequireScopes(scopeWrite), http.HandlerFunc(s.addNote))

	// For both: a key, or the session of a browser.
	api := tokenapi.New(s.tokens, signedIn, &tokenapi.Options{ManageScope: scopeManage, OnError: s.logError})
	handle("/api/", auth.Optional, s.sessions.load(http.StripPrefix("/api", api)))
	staffAPI := tokenapi.NewStaff(s.tokens, isStaff, &tokenapi.Options{OnError: s.logError})
	handle("/api/staff/", auth.Optional, s.sessions.load(http.StripPrefix("/api/staff", staffAPI)))
	mux.Handle("/api/login", s.login)

	// For people, in a browser.
	pages := func(pattern string, h http.Handler) { mux.Handle(pattern, s.sessions.load(h)) }
	options := tokenpage.Options{Scopes: scopes, SignInURL: signInPath, FindUser: s.users.find, Layout: layout, OnError: s.logError}
	pages(accountPath, http.StripPrefix("/account/tokens", tokenpage.New(s.tokens, signedIn, &options)))
	pages(staffPath, http.StripPrefix("/staff/tokens", tokenpage.NewStaff(s.tokens, isStaff, &options)))
	forms := http.NewCrossOriginProtection()
	own := func(pattern string, h http.HandlerFunc) { pages(pattern, secure(forms.Handler(h))) }
	own("GET /{$}", s.home)
	own("GET "+signInPath, s.showSignIn)
	own("POST "+signInPath, s.doSignIn)
	own("POST /sign-out", s.doSignOut)
	mux.HandleFunc("GET /site.css", serveCSS)

	return logRequests(s.logger, mux)
}

// signedIn tells tokenapi and tokenpage whose session it is: "" is nobody's.
func signedIn(r *http.Request) (string, error) {
	v := visitorOf(r)
	if v.user == nil {
		return "", v.err
	}
	return v.user.tokenID(), nil
}

func isStaff(r *http.Request) (bool, error) {
	v := visitorOf(r)
	return v.user != nil && v.user.Staff, v.err
}

func (s service) logError(r *http.Request, err error) {
	s.logger.ErrorContext(r.Context(), "request failed", "error", err)
}
