package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
)

const (
	signInPath  = "/sign-in"
	afterSignIn = accountPath
	wrongSignIn = "The username or the password is wrong."
	tooOften    = "Too many failed attempts. Wait for a while, then try again."
	notNow      = "The service can't answer at the moment. Try again."
)

// A reply is an [http.ResponseWriter] that keeps the response in memory.
type reply struct {
	to     http.ResponseWriter // to the browser
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header               { return r.header }
func (r *reply) WriteHeader(status int)            { r.status = status }
func (r *reply) Write(content []byte) (int, error) { return r.body.Write(content) }

// Unwrap is for [http.ResponseController], with which tokenlogin limits the time to read the form.
func (r *reply) Unwrap() http.ResponseWriter { return r.to }

func (s service) showSignIn(w http.ResponseWriter, r *http.Request) {
	if s.sessions.visitor(r).user != nil {
		http.Redirect(w, r, afterSignIn, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "sign-in", "Sign in", "")
}

// trySignIn passes the form to tokenlogin, which throttles attempts, checks the password and issues
// a session. It returns the key of the session if the status is 200.
func (s service) trySignIn(w http.ResponseWriter, r *http.Request) (key string, status int) {
	answer := &reply{to: w, header: http.Header{}}
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", rand.Text()) // names the session; if the name were taken, tokenlogin would list all sessions
	s.signIn.ServeHTTP(answer, r)
	if answer.status == http.StatusOK {
		var session struct{ Key string }
		if err := json.Unmarshal(answer.body.Bytes(), &session); err != nil {
			panic("server: " + err.Error()) // tokenlogin writes JSON
		}
		return session.Key, http.StatusOK
	}
	for _, name := range []string{"Retry-After", "Connection"} {
		if value := answer.header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	// The username is not logged: some people type their password into that field.
	s.logger.WarnContext(r.Context(), "sign-in refused", "status", answer.status)
	return "", answer.status
}

func (s service) doSignIn(w http.ResponseWriter, r *http.Request) {
	key, status := s.trySignIn(w, r)
	if status != http.StatusOK {
		s.show(w, r, status, "sign-in", "Error: Sign in", whySignInFailed(status))
		return
	}
	if err := s.sessions.endAll(r); err != nil { // the previous session
		s.logger.WarnContext(r.Context(), "end session", "error", err)
	}
	setCookie(w, r, key)
	http.Redirect(w, r, afterSignIn, http.StatusSeeOther)
}

func whySignInFailed(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return tooOften
	case http.StatusConflict, http.StatusRequestTimeout, http.StatusServiceUnavailable:
		return notNow
	}
	return wrongSignIn
}

func (s service) doSignOut(w http.ResponseWriter, r *http.Request) {
	if err := s.sessions.endAll(r); err != nil {
		s.pageFailed(w, r, err)
		return
	}
	setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// clientAddress is for a service that only its own reverse proxy can reach. The proxy appends the
// address of its client to X-Forwarded-For. A client can forge all addresses before that one.
// Without the header, the address is unknown.
func clientAddress(r *http.Request) string {
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	return strings.TrimSpace(forwarded[strings.LastIndex(forwarded, ",")+1:])
}
