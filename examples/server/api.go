package main

import (
	"net/http"

	"github.com/go-tokenauth/tokenauth"
)

func (s service) me(w http.ResponseWriter, r *http.Request) {
	type tokenView struct {
		Name   string           `json:"name"`
		Scopes tokenauth.Scopes `json:"scopes"`
		Hint   string           `json:"hint"`
	}
	u, _ := s.auth.User(r.Context())
	token, _ := s.auth.Token(r.Context())
	writeJSON(w, http.StatusOK, "application/json", struct {
		User  *user     `json:"user"`
		Token tokenView `json:"token"`
	}{u, tokenView{token.Name, token.Scopes, token.Hint}})
}

func (s service) listNotes(w http.ResponseWriter, r *http.Request) {
	u, _ := s.auth.User(r.Context())
	list, err := s.notes.list(r.Context(), u.ID)
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
		writeProblem(w, http.StatusBadRequest, "The text of the note must not be empty.")
		return
	}
	// While the body arrived, the token may have been revoked or may have lost its scopes.
	u, _, err := s.auth.Confirm(r.Context(), tokenauth.Need{Scopes: []string{scopeWrite}})
	if err != nil {
		s.auth.WriteError(w, r, err)
		return
	}
	added, err := s.notes.add(r.Context(), u.ID, body.Text)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, "application/json", added)
}

// failed logs the error. Its response does not contain the error.
func (s service) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.logError(r, err)
	writeProblem(w, http.StatusInternalServerError, "The service failed. Try again.")
}
