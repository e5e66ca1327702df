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
	passwordReplaced = "The password was changed by somebody else. Try again."
	passwordUnknown  = "The new password may or may not be saved. Change the password once more."
	notAllEnded      = "The password is changed, but some sessions or API tokens may still work. Change the password once more."
	badForm          = "The form did not arrive whole. Try again."
)

func (s service) showPassword(w http.ResponseWriter, r *http.Request) {
	s.answerPassword(w, r, http.StatusOK, "")
}

// answerPassword shows the form to people who are signed in.
func (s service) answerPassword(w http.ResponseWriter, r *http.Request, status int, problem string) {
	switch v := s.sessions.visitor(r); {
	case v.err != nil:
		s.pageFailed(w, r, v.err)
	case v.user == nil:
		http.Redirect(w, r, signInPath, http.StatusSeeOther)
	default:
		s.show(w, r, status, "password", "Change your password", problem)
	}
}

// doPassword changes the password of the user who is signed in, and then ends all sessions and
// tokens of the user.
func (s service) doPassword(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.ParseForm() != nil {
		s.answerPassword(w, r, http.StatusBadRequest, badForm)
		return
	}
	v := s.sessions.visitor(r)
	if v.user == nil {
		s.answerPassword(w, r, http.StatusUnauthorized, "")
		return
	}
	if utf8.RuneCountInString(r.PostForm.Get("new")) < minPassword {
		s.answerPassword(w, r, http.StatusBadRequest, shortPassword)
		return
	}
	id := v.user.tokenID()
	previous, err := s.users.password(r.Context(), id)
	if err != nil {
		s.pageFailed(w, r, err)
		return
	}
	if status := s.checkAgain(w, r, v.user.Name); status != http.StatusOK {
		s.answerPassword(w, r, status, whySignInFailed(status))
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
		s.onceMore(w, r, err, passwordUnknown)
		return
	case !changed:
		s.answerPassword(w, r, http.StatusConflict, passwordReplaced)
		return
	}
	if err := s.revokeAll(ctx, id); err != nil {
		s.onceMore(w, r, err, notAllEnded)
		return
	}
	setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// checkAgain checks the current password in the form, and returns the status of the check. A thief
// of the session must not be able to guess the password, so the check goes through the Throttle.
func (s service) checkAgain(w http.ResponseWriter, r *http.Request, username string) (status int) {
	form := url.Values{"username": {username}, "password": r.PostForm["current"]}
	attempt := r.Clone(r.Context())
	attempt.Body = io.NopCloser(strings.NewReader(form.Encode()))
	key, status := s.trySignIn(w, attempt)
	if status == http.StatusOK { // trySignIn has issued a session, which nobody needs
		if err := s.sessions.end(r.Context(), key); err != nil {
			s.logger.WarnContext(r.Context(), "end session", "error", err)
		}
	}
	return status
}

// onceMore asks the user to change the password once more. It shows the form, or the sign-in form
// if the session has ended.
func (s service) onceMore(w http.ResponseWriter, r *http.Request, err error, problem string) {
	s.logError(r, err)
	page, title := "sign-in", "Error: Sign in"
	if s.sessions.visitor(r).user != nil {
		page, title = "password", "Change your password"
	}
	s.show(w, r, http.StatusServiceUnavailable, page, title, problem)
}

// revokeAll ends all tokens and sessions of a user. Call it after a change of the password has been
// committed, never before: a sign-in with the previous password may be under way. The sessions end
// last, because the user needs one to repeat a change that was interrupted.
func (s service) revokeAll(ctx context.Context, userID string) error {
	_, ofTokens := s.tokens.RevokeAll(ctx, userID)
	_, ofSessions := s.sessions.manager.RevokeAll(ctx, userID)
	return errors.Join(ofTokens, ofSessions)
}
