package tokenapi

import (
	"context"
	"net/http"
	"slices"
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

// allowsAll reports whether the token t, which is restricted to resources, allows all of the given
// resources. Nil means all resources.
func allowsAll(t *tokenauth.Token, resources []string) bool {
	return resources != nil && !slices.ContainsFunc(resources, func(r string) bool { return !t.Allows(r) })
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
	if p.Resources != nil && target.Resources != nil && !allowsAll(&target, *p.Resources) {
		return challenge.Member(http.StatusForbidden, "resources", "must not exceed those of the token to change")
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

// lookAgain identifies the client once more after it has created the token made. It returns an
// error if the client may not have created the token.
func (h *handler) lookAgain(ctx context.Context, c *call, made *tokenauth.Token) error {
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
