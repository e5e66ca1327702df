package tokenapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

// mayGrant returns an error if the scopes or the expiry exceed those of the presented token. A zero
// expiry means never.
func (c *call) mayGrant(scopes []string, expiresAt time.Time) error {
	if c.token == nil {
		return nil
	}
	return within(c.token, "the presented token", scopes, expiresAt)
}

// mayChange returns an error if the presented token may not change its target, the token that the
// path names, by p. A change may only narrow the target. It sets p.Replaces, so that a concurrent
// change of the target makes the update fail. Otherwise the update could undo that change.
func (h *handler) mayChange(c *call, p *tokenauth.Patch) error {
	if c.token == nil {
		return nil
	}
	target := *c.token
	if c.id != target.ID {
		var err error
		if target, err = h.manager.Get(c.Context(), c.userID, c.id); err != nil {
			return err
		}
	}
	if c.mayGrant(target.Scopes, target.ExpiresAt) != nil {
		return challenge.New(http.StatusForbidden, "The token to change has scopes or an expiry beyond those of the presented token.")
	}
	p.Replaces = &target
	scopes, expiresAt := target.Scopes, target.ExpiresAt
	if p.Scopes != nil {
		scopes = *p.Scopes
	}
	if p.ExpiresAt != nil {
		expiresAt = *p.ExpiresAt
	}
	return within(&target, "the token to change", scopes, expiresAt)
}

// mayRotate returns an error if the presented token may not rotate the token that the path names,
// from the given generation. A token may rotate only itself. The generation must be that of the
// token when the key was confirmed. Otherwise a client could give the next generation, and take the
// token over if the owner replaces its key meanwhile.
func (c *call) mayRotate(generation *int) error {
	switch {
	case c.token == nil:
		return nil
	case c.id != c.token.ID:
		return challenge.New(http.StatusForbidden, "A token can rotate only itself.")
	case generation == nil: // required, because programs repeat requests
		return challenge.Member(http.StatusBadRequest, "generation", "is required if the request presents a token")
	case *generation != c.token.Generation:
		return tokenauth.ErrConflict
	}
	return nil
}

// within returns an error if the scopes or the expiry exceed those of the token limit, which whose
// describes. A zero expiry means never.
func within(limit *tokenauth.Token, whose string, scopes []string, expiresAt time.Time) error {
	if !limit.HasScopes(scopes...) {
		return challenge.Member(http.StatusForbidden, "scopes", "must not exceed those of "+whose)
	}
	if end := limit.ExpiresAt; !end.IsZero() && (expiresAt.IsZero() || expiresAt.After(end)) {
		return challenge.Member(http.StatusForbidden, "expires_at", "must not be later than that of "+whose)
	}
	return nil
}

// timeout limits each of the two steps after a token was created: lookAgain and undo. They do not
// end when the client disconnects.
const timeout = 5 * time.Second

// lookAgain identifies the client once more after it has created the token made. It returns an
// error if the client may not have created the token. The client may have lost its rights after
// admit had identified it, and before the token was stored. A concurrent RevokeAll has then missed
// the token.
func (h *handler) lookAgain(c *call, made *tokenauth.Token) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), timeout)
	defer cancel()
	again := *c
	again.Request = c.WithContext(ctx)
	if err := h.identify(&again); err != nil {
		return err
	}
	if again.userID != made.UserID {
		return tokenauth.ErrNoKey
	}
	return again.mayGrant(made.Scopes, made.ExpiresAt)
}

// undo revokes the token with the given ID, whose key nobody has, and returns err, the reason. If
// the outcome is unknown, undo returns another error, and the Manager emits an event with the ID.
func (h *handler) undo(c *call, id string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), timeout)
	defer cancel()
	failed := h.manager.Revoke(ctx, c.userID, id)
	if failed == nil || errors.Is(failed, tokenauth.ErrNotFound) {
		return err
	}
	return challenge.Uncertain(failed, tokenauth.StatusCode(failed))
}
