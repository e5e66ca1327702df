package tokenlogin

import (
	"context"
	"errors"
	"math"

	"github.com/go-tokenauth/tokenauth"
)

// An AtLimit says what the endpoint does if the password is right, but the user already has
// MaxPerUser tokens (see [tokenauth.Options]).
type AtLimit int

const (
	// RefuseAtLimit refuses the login. The response is 409 until the user revokes a token.
	RefuseAtLimit AtLimit = iota

	// ReplaceOldest revokes the oldest live token that a login of the user created, and issues the
	// new token. An event reports the revocation, with "login" as [tokenauth.Event].By. Tokens whose
	// [tokenauth.Token].CreatedBy is not "login" are never revoked. If the user has no token of a
	// login, the response is 409.
	//
	// [tokenauth.Manager.Issue] first revokes an expired token, if there is one. If the service has
	// lowered MaxPerUser, several tokens must be revoked. One login revokes at most 16 tokens, and the
	// response is then 409. The next login continues.
	//
	// The revocation is not undone if the endpoint then refuses the login because the stamps differ
	// (see [Options].Stamp). After a change of the password, the service revokes all tokens anyway.
	ReplaceOldest
)

// actor is the CreatedBy of all tokens that logins create.
const actor = "login"

// maxReplaced limits the tokens that one login revokes. A login may need several revocations,
// because a concurrent login can take each freed slot first.
const maxReplaced = 16

// An issuer issues a token.
type issuer = func(context.Context, tokenauth.Spec) (tokenauth.Key, tokenauth.Token, error)

// issueWithinLimit calls issue. If the user has too many tokens, it does what Options.AtLimit says.
func (l *login) issueWithinLimit(ctx context.Context, spec tokenauth.Spec, issue issuer) (tokenauth.Key, tokenauth.Token, error) {
	for replaced := 0; ; replaced++ {
		key, t, err := issue(ctx, spec)
		if !errors.Is(err, tokenauth.ErrTooManyTokens) || l.options.AtLimit != ReplaceOldest || replaced == maxReplaced {
			return key, t, err
		}
		if err := l.revokeOldest(ctx, spec.UserID); err != nil {
			return tokenauth.Key{}, tokenauth.Token{}, err
		}
	}
}

// revokeOldest revokes the oldest token that a login of the user created. Tokens without a slot do
// not count against MaxPerUser, so their revocation would not help. If there is no token to revoke,
// revokeOldest returns ErrTooManyTokens.
func (l *login) revokeOldest(ctx context.Context, userID string) error {
	oldest, err := l.manager.List(ctx, tokenauth.Query{UserID: userID, CreatedBy: actor, MinSlot: 1, MaxSlot: math.MaxInt32, Limit: 1})
	if err != nil {
		return err
	}
	if len(oldest) == 0 {
		return tokenauth.ErrTooManyTokens
	}
	err = l.manager.Revoke(ctx, userID, oldest[0].ID)
	if errors.Is(err, tokenauth.ErrNotFound) { // the token was deleted meanwhile, for example by Prune
		return nil
	}
	return err
}
