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
	// A thief of the session must not be able to guess the password, so the check goes through the
	// Throttle. The session that it issues ends below.
	attempt := r.Clone(r.Context())
	form := url.Values{"username": {v.user.Name}, "password": r.PostForm["current"]}
	attempt.Body = io.NopCloser(strings.NewReader(form.Encode()))
	if answer := s.trySignIn(w, attempt); answer.status != http.StatusOK {
		s.answerPassword(w, r, answer.status, whySignInFailed(answer.status))
		return
	}
	hash, err := hashPassword(r.PostForm.Get("new"))
	if err != nil {
		s.pageFailed(w, r, err)
		return
	}
	switch changed, err := s.users.changePassword(r.Context(), id, previous, hash); {
	case err != nil:
		s.pageFailed(w, r, err)
		return
	case !changed:
		s.answerPassword(w, r, http.StatusConflict, passwordReplaced)
		return
	}
	if err := s.revokeAll(context.WithoutCancel(r.Context()), id); err != nil {
		s.pageFailed(w, r, err)
		return
	}
	setCookie(w, r, "")
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// revokeAll ends all sessions and tokens of a user. Call it after a change of the password has been
// committed, never before: a sign-in with the previous password may be under way.
func (s service) revokeAll(ctx context.Context, userID string) error {
	_, ofSessions := s.sessions.manager.RevokeAll(ctx, userID)
	_, ofTokens := s.tokens.RevokeAll(ctx, userID)
	return errors.Join(ofSessions, ofTokens)
}
