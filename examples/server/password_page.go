package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	passwordPath     = "/account/password"
	minPassword      = 15 // characters, as NIST SP 800-63B-4 requires
	shortPassword    = "The new password must have at least 15 characters."
	passwordReplaced = "Somebody else has changed the password. Try again."
	passwordUnknown  = "The new password may not have been saved. Change the password again."
	notAllEnded      = "The password was changed, but some sessions or API tokens may still work. " +
		"Change the password again."
	badForm = "The form is incomplete or too large. Try again."
)

func (s service) showPassword(w http.ResponseWriter, r *http.Request) {
	s.passwordForm(w, r, http.StatusOK, "")
}

// passwordForm shows the form if the user is signed in. Otherwise it redirects to the sign-in page.
func (s service) passwordForm(w http.ResponseWriter, r *http.Request, status int, problem string) {
	switch v := s.sessions.visitor(r); {
	case v.err != nil:
		s.pageFailed(w, r, v.err)
	case v.user == nil:
		http.Redirect(w, r, signInPath, http.StatusSeeOther)
	default:
		s.show(w, r, status, "password", "Change your password", problem)
	}
}

// doPassword changes the password of the signed-in user, and then revokes all sessions and tokens
// of the user.
func (s service) doPassword(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.ParseForm() != nil {
		s.passwordForm(w, r, http.StatusBadRequest, badForm)
		return
	}
	v := s.sessions.visitor(r)
	if v.user == nil {
		s.passwordForm(w, r, http.StatusUnauthorized, "")
		return
	}
	if utf8.RuneCountInString(r.PostForm.Get("new")) < minPassword {
		s.passwordForm(w, r, http.StatusBadRequest, shortPassword)
		return
	}
	id := v.user.tokenID()
	previous, err := s.users.password(r.Context(), id)
	if err != nil {
		s.pageFailed(w, r, err)
		return
	}
	if status := s.checkAgain(w, r, v.user.Name); status != http.StatusOK {
		s.passwordForm(w, r, status, whySignInFailed(status))
		return
	}
	hash, err := hashPassword(r.PostForm.Get("new"))
	if err != nil {
		s.pageFailed(w, r, err)
		return
	}
	ctx := context.WithoutCancel(r.Context()) // if the client disconnects, RevokeAll must still follow the change
	switch changed, err := s.users.changePassword(ctx, id, previous, hash); {
	case err != nil:
		s.askToRepeat(w, r, err, passwordUnknown)
		return
	case !changed:
		s.passwordForm(w, r, http.StatusConflict, passwordReplaced)
		return
	}
	if err := s.revokeAll(ctx, id); err != nil {
		s.askToRepeat(w, r, err, notAllEnded)
		return
	}
	setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// checkAgain checks the current password in the form, and returns the status of the check. Failed
// checks count in the Throttle, so that a thief of the session cannot guess the password.
func (s service) checkAgain(w http.ResponseWriter, r *http.Request, username string) (status int) {
	form := url.Values{"username": {username}, "password": r.PostForm["current"]}
	attempt := r.Clone(r.Context())
	attempt.Body = io.NopCloser(strings.NewReader(form.Encode()))
	key, status := s.trySignIn(w, attempt)
	if status == http.StatusOK { // trySignIn has issued a session that is not needed
		if err := s.sessions.end(r.Context(), key); err != nil {
			s.logger.WarnContext(r.Context(), "end session", "error", err)
		}
	}
	return status
}

// askToRepeat asks the user to change the password again. It shows the password form, or the
// sign-in form if the session has been revoked.
func (s service) askToRepeat(w http.ResponseWriter, r *http.Request, err error, problem string) {
	s.logError(r, err)
	page, title := "sign-in", "Error: Sign in"
	if s.sessions.visitor(r).user != nil {
		page, title = "password", "Change your password"
	}
	s.show(w, r, http.StatusServiceUnavailable, page, title, problem)
}

// revokeAll revokes all tokens and sessions of a user. Call revokeAll after the change of the
// password was committed. An earlier call misses the session of a concurrent sign-in with the
// previous password. revokeAll revokes the sessions last, because the user needs a session to
// repeat a change that was interrupted.
func (s service) revokeAll(ctx context.Context, userID string) error {
	_, ofTokens := s.tokens.RevokeAll(ctx, userID)
	_, ofSessions := s.sessions.manager.RevokeAll(ctx, userID)
	return errors.Join(ofTokens, ofSessions)
}
