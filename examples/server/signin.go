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
	notNow      = "The service is not available at the moment. Try again."
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

// Unwrap returns the ResponseWriter to the browser. [http.ResponseController] needs it when
// tokenlogin limits the time to read the form.
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
	response := &reply{to: w, header: http.Header{}}
	r = r.Clone(r.Context())
	// tokenlogin names the session after the User-Agent. If the name were taken, tokenlogin would list
	// all sessions of the user.
	r.Header.Set("User-Agent", rand.Text())
	s.signIn.ServeHTTP(response, r)
	if response.status == http.StatusOK {
		var session struct{ Key string }
		if err := json.Unmarshal(response.body.Bytes(), &session); err != nil {
			panic("server: " + err.Error()) // tokenlogin writes JSON
		}
		return session.Key, http.StatusOK
	}
	for _, name := range []string{"Retry-After", "Connection"} {
		if value := response.header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	// Do not log the username, because some people type their password into its field.
	s.logger.WarnContext(r.Context(), "sign-in refused", "status", response.status)
	return "", response.status
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

// clientAddress returns the last address in X-Forwarded-For, or "" if the request has no such
// header. Use it only if a reverse proxy appends the address of its client to the header, and no
// other client can connect to the service. A client can forge all addresses except the last.
func clientAddress(r *http.Request) string {
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	return strings.TrimSpace(forwarded[strings.LastIndex(forwarded, ",")+1:])
}
