package main

import (
	"net/http"

	"github.com/go-tokenauth/tokenauth"
)

// currentUser returns who sent a request, or nil.
func currentUser(r *http.Request) *user {
	u, _ := tokenauth.UserFrom[*user](r.Context())
	return u
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
	s.logError(r, err)
	writeProblem(w, http.StatusInternalServerError, "The service failed. Try again.")
}
