package main

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/go-tokenauth/tokenauth"
)

// A service holds what its handlers need.
type service struct {
	notes  notes
	logger *slog.Logger
}

// newHandler says on one screen who may do what.
func newHandler(db *sql.DB, tokens *tokenauth.Manager, logger *slog.Logger) http.Handler {
	s := service{notes{db}, logger}
	auth := tokenauth.NewAuthenticator(tokens, users{db}.byID, &tokenauth.AuthenticatorOptions{Realm: "notes"})
	mux := http.NewServeMux()
	handle := func(pattern string, guard func(http.Handler) http.Handler, h http.HandlerFunc) {
		mux.Handle(pattern, guard(logToken(h)))
	}
	handle("GET /{$}", auth.Optional, s.greet)
	handle("GET /me", auth.Require, s.me)
	handle("GET /notes", auth.RequireScopes(scopeRead), s.listNotes)
	handle("POST /notes", auth.RequireScopes(scopeWrite), s.addNote)
	return logRequests(logger, mux)
}

// currentUser returns who sent a request, or nil.
func currentUser(r *http.Request) *user {
	u, _ := tokenauth.UserFrom[*user](r.Context())
	return u
}

func (s service) greet(w http.ResponseWriter, r *http.Request) {
	name := "stranger"
	if u := currentUser(r); u != nil {
		name = u.Name
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "Hello, %s.\n", name)
}

func (s service) me(w http.ResponseWriter, r *http.Request) {
	type tokenView struct {
		Name   string   `json:"name"`
		Scopes []string `json:"scopes"`
		Hint   string   `json:"hint"`
	}
	token, _ := tokenauth.TokenFrom(r.Context())
	writeJSON(w, http.StatusOK, "application/json", struct {
		User  *user     `json:"user"`
		Token tokenView `json:"token"`
	}{currentUser(r), tokenView{token.Name, append([]string{}, token.Scopes...), token.Hint}})
}

func (s service) listNotes(w http.ResponseWriter, r *http.Request) {
	list, err := s.notes.list(r.Context(), currentUser(r).ID)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", struct {
		Notes []note `json:"notes"`
	}{list})
}

func (s service) addNote(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Text string `json:"text"`
	}
	if status, problem := readJSON(w, r, &body); problem != "" {
		writeProblem(w, status, problem)
		return
	}
	if body.Text == "" {
		writeProblem(w, http.StatusBadRequest, "A note needs a text.")
		return
	}
	added, err := s.notes.add(r.Context(), currentUser(r).ID, body.Text)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, "application/json", added)
}

// failed tells the log why, and the client only that.
func (s service) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.ErrorContext(r.Context(), "request failed", "error", err)
	writeProblem(w, http.StatusInternalServerError, "The service failed. Try again.")
}
