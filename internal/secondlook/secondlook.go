// Package secondlook judges the creation of a token once more when the store has the token.
//
// A client may lose its rights after it was judged and before its new token is stored. A concurrent
// RevokeAll then misses the token. If the second look still finds the rights, a later RevokeAll
// finds the token.
package secondlook

import (
	"context"
	"errors"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// timeout limits the second look, and then the revocation.
const timeout = 5 * time.Second

// Confirm calls look, which returns an error if the token t must not stay. If look returns an error
// or panics, Confirm revokes t. It does so even if ctx has ended, because the client may have
// disconnected.
//
// The results are the error of look and the error of the revocation. If the revocation failed, t
// may be live, and the Manager has emitted an event that names t.
func Confirm(ctx context.Context, m *tokenauth.Manager, t tokenauth.Token, look func(context.Context) error) (refused, failed error) {
	confirmed := false
	defer func() { // also if look panics
		if confirmed {
			return
		}
		failed = within(ctx, func(ctx context.Context) error { return m.Revoke(ctx, t.UserID, t.ID) })
		if errors.Is(failed, tokenauth.ErrNotFound) {
			failed = nil // the token was deleted, for example with its user
		}
	}()
	refused = within(ctx, look)
	confirmed = refused == nil
	return refused, nil
}

// within calls f with a context that ends after the timeout, but does not end with ctx.
func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	return f(ctx)
}
