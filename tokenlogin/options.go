package tokenlogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of [New]. A zero field selects the default. The default is the safe
// choice, except for Stamp.
type Options struct {
	// Stamp returns the current stamp of a user. The endpoint calls it after it has issued a token,
	// and compares the result with the stamp that check returned. If the stamps differ, the
	// password has changed since check read it. The endpoint then revokes the token and refuses the
	// login like a wrong password. The same holds if Stamp returns [tokenauth.ErrNoUser]. After any
	// other error of Stamp, the endpoint revokes the token and the response is 503.
	//
	// Stamp must read the primary database. A replica may still have the previous stamp.
	//
	// If Stamp is nil, the endpoint does not detect a change of the password during a login. A
	// login with the previous password can then issue a token after the service has changed the
	// password and revoked all tokens, and that token stays live.
	Stamp func(ctx context.Context, userID string) (string, error)

	// TTL is the lifetime of a token if the request has no expiry. It must not exceed the MaxTTL of
	// the Manager. If TTL is zero, the Manager's Options apply.
	TTL time.Duration

	// Scopes are the scopes of a token if the request has no member "scopes". The Manager must
	// allow each of them. If Scopes is empty, such a token has no scopes.
	Scopes []string

	// AtLimit says what the endpoint does if the user already has MaxPerUser tokens. If a program logs
	// in at each run and does not log out, set ReplaceOldest, or a TTL. Otherwise the user reaches the
	// limit, and all later logins are refused.
	AtLimit AtLimit

	// Address returns the IP address of the client, for example from a header that a trusted proxy
	// sets. Address must not return an unchecked header, because a client can forge it. If Address
	// returns "", the attempt does not count against an address, and comes from no known place.
	//
	// If Address is nil, the address is that of the connection's peer. A peer that is loopback,
	// link-local, private, in 100.64.0.0/10 (RFC 6598) or no IP address counts as "", because it is
	// most likely a proxy that all clients share.
	Address func(*http.Request) string

	// Throttle delays attempts after failures. All handlers that sign in the same users must share
	// one Throttle. Otherwise each handler allows the full number of guesses. If Throttle is nil,
	// the handler has its own Throttle.
	Throttle *Throttle

	// OnError receives each error whose response is 503, for example to log the error. It receives
	// no error if the response is 503 because an attempt waited too long for other attempts.
	// Otherwise an attacker could fill the log. If OnError is nil, all errors are discarded.
	OnError func(*http.Request, error)
}

// New returns the login endpoint. The Manager of auth issues the tokens.
//
// The endpoint calls check to verify a password. If the password is right, check returns the ID of
// the user and a stamp. If the password is wrong, or the user is unknown or may not sign in, check
// returns "" as the ID or [tokenauth.ErrNoUser]. The response does not reveal which of these is the
// case. After any other error of check, the response is 503 and the attempt does not count as
// failed. Therefore check must never return another error for a wrong password.
//
// check must compare the username exactly, except for letter case; see [Throttle]. The username has
// no surrounding space and no control characters.
//
// The stamp is a text that changes whenever the password changes, such as a counter of the changes
// or a hash of the stored password hash. check must read the stamp and the password hash in one
// query, before it hashes the password. [Options].Stamp reads the stamp again. If Options.Stamp is
// nil, the endpoint ignores the stamp. Otherwise an empty stamp is an error, and the response is
// 503.
//
// When a password changes, a service must first save and commit the new password, and then call
// [tokenauth.Manager.RevokeAll]. In this order, RevokeAll or the comparison of the stamps ends
// every token of a login with the previous password.
//
// For an unknown user, check should do the same work as for a known user, for example compare the
// password with the hash of some other password. The response to a refused attempt takes at least a
// quarter of a second, which hides the remaining differences in time.
//
// New copies opts, which may be nil. It returns an error for an invalid option, and panics if auth
// or check is nil.
func New[U any](auth *tokenauth.Authenticator[U], check func(ctx context.Context, username, password string) (userID, stamp string, err error), opts *Options) (http.Handler, error) {
	if auth == nil || check == nil {
		panic("tokenlogin: New: nil Authenticator or check")
	}
	l := &login{manager: auth.Manager(), writeError: auth.WriteError, check: check}
	if opts != nil {
		l.options = *opts
	}
	if err := l.options.validate(l.manager); err != nil {
		return nil, err
	}
	if l.options.Throttle == nil {
		l.options.Throttle = NewThrottle()
	}
	if l.options.Address == nil {
		l.options.Address = peerAddress
	}
	return l, nil
}

// validate checks o and replaces o.Scopes by a sorted copy.
func (o *Options) validate(m *tokenauth.Manager) (err error) {
	switch limit := m.MaxTTL(); {
	case o.TTL < 0:
		return errors.New("tokenlogin: New: Options.TTL must not be negative")
	case limit > 0 && o.TTL > limit:
		return errors.New("tokenlogin: New: Options.TTL must not exceed the MaxTTL of the Manager")
	case o.AtLimit != RefuseAtLimit && o.AtLimit != ReplaceOldest:
		return errors.New("tokenlogin: New: Options.AtLimit must be RefuseAtLimit or ReplaceOldest")
	case o.Throttle != nil && o.Throttle.accounts == nil:
		return errors.New("tokenlogin: New: Options.Throttle must be made by NewThrottle")
	}
	if o.Scopes, err = syntax.Scopes(o.Scopes, m.Scopes()); err != nil {
		return fmt.Errorf("tokenlogin: New: Options.Scopes %w", err)
	}
	return nil
}
