package main

import (
	"bytes"
	"encoding/json"
	"net/http"
)

const (
	signInPath   = "/sign-in"
	afterSignIn  = accountPath
	wrongSignIn  = "The username or the password is wrong."
	tooOften     = "Too many failed attempts. Wait for a while, then try again."
	tooManyTimes = "You are signed in too many times. Sign out elsewhere, or try again tomorrow."
	notNow       = "The service can't answer at the moment. Try again."
)

// A reply is an [http.ResponseWriter] that keeps the response in memory.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header               { return r.header }
func (r *reply) WriteHeader(status int)            { r.status = status }
func (r *reply) Write(content []byte) (int, error) { return r.body.Write(content) }

func (s service) showSignIn(w http.ResponseWriter, r *http.Request) {
	if visitorOf(r).user != nil {
		http.Redirect(w, r, afterSignIn, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "sign-in", "Sign in", "")
}

// doSignIn passes the form to tokenlogin, which throttles attempts, checks the password and issues
// a session.
func (s service) doSignIn(w http.ResponseWriter, r *http.Request) {
	answer := &reply{header: http.Header{}}
	s.signIn.ServeHTTP(answer, r)
	if answer.status != http.StatusOK {
		if wait := answer.header.Get("Retry-After"); wait != "" {
			w.Header().Set("Retry-After", wait)
		}
		// The username is not logged: some people type their password into that field.
		s.logger.WarnContext(r.Context(), "sign-in refused", "status", answer.status)
		s.show(w, r, answer.status, "sign-in", "Error: Sign in", whySignInFailed(answer.status))
		return
	}
	var session struct{ Key string }
	if err := json.Unmarshal(answer.body.Bytes(), &session); err != nil {
		panic("server: " + err.Error()) // tokenlogin writes JSON
	}
	if err := s.sessions.end(r.Context(), visitorOf(r)); err != nil { // the previous session
		s.logger.WarnContext(r.Context(), "end session", "error", err)
	}
	setCookie(w, r, session.Key)
	http.Redirect(w, r, afterSignIn, http.StatusSeeOther)
}

func whySignInFailed(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return tooOften
	case http.StatusConflict:
		return tooManyTimes
	case http.StatusServiceUnavailable:
		return notNow
	}
	return wrongSignIn
}

func (s service) doSignOut(w http.ResponseWriter, r *http.Request) {
	if err := s.sessions.end(r.Context(), visitorOf(r)); err != nil {
		s.pageFailed(w, r, err)
		return
	}
	setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}
