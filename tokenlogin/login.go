package tokenlogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of [New]. A zero field selects the default, which is the safe choice.
type Options struct {
	// Address returns the IP address of the client, for example from a header that a trusted proxy
	// sets. Address must not return an unchecked header, because a client can forge it. If Address
	// returns "", the attempt does not count against an address.
	//
	// If Address is nil, the address is that of the connection's peer. A peer that is loopback,
	// link-local, private or no IP address counts as "", because it is most likely a proxy that all
	// clients share.
	Address func(*http.Request) string

	// Throttle delays attempts after failures. All handlers that sign in the same users must share
	// one Throttle. Otherwise each handler allows the full number of guesses. If Throttle is nil,
	// the handler has its own Throttle.
	Throttle *Throttle

	// OnError receives each error whose response is 503, for example to log the error. If OnError
	// is nil, these errors are discarded.
	OnError func(*http.Request, error)
}

// New returns the login endpoint. The Manager of auth issues the tokens.
//
// The endpoint calls check to verify a password. If the password is right, check returns the ID of
// the user. If the password is wrong, or the user is unknown or may not sign in, check returns ""
// or [tokenauth.ErrNoUser]. The response does not reveal which of these is the case. After any
// other error of check, the response is 503 and the attempt does not count as failed. Therefore
// check must never return another error for a wrong password.
//
// For an unknown user, check should do the same work as for a known user, for example compare the
// password with the hash of some other password. The response to a refused attempt takes at least a
// quarter of a second, which hides the remaining differences in time.
//
// New copies opts, which may be nil. It returns an error for a Throttle that [NewThrottle] did not
// make, and panics if auth or check is nil.
func New[U any](auth *tokenauth.Authenticator[U], check func(ctx context.Context, username, password string) (userID string, err error), opts *Options) (http.Handler, error) {
	if auth == nil || check == nil {
		panic("tokenlogin: New: nil Authenticator or check")
	}
	l := &login{manager: auth.Manager(), writeError: auth.WriteError, check: check}
	if opts != nil {
		l.options = *opts
	}
	switch {
	case l.options.Throttle == nil:
		l.options.Throttle = NewThrottle()
	case l.options.Throttle.accounts == nil:
		return nil, errors.New("tokenlogin: New: Options.Throttle must be made by NewThrottle")
	}
	if l.options.Address == nil {
		l.options.Address = peerAddress
	}
	return l, nil
}

type login struct {
	manager    *tokenauth.Manager
	writeError func(http.ResponseWriter, *http.Request, error)
	check      func(ctx context.Context, username, password string) (string, error)
	options    Options
	origin     http.CrossOriginProtection
}

// A response is the body of the response to a successful login: a token with its key. The key and
// the expiry are repeated under the names that Django REST Framework and knox use.
type response struct {
	tokenauth.Token
	Key     string     `json:"key"`
	DRFKey  string     `json:"token"`
	KnoxEnd *time.Time `json:"expiry"`
}

// ServeHTTP implements [http.Handler].
func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Add("Vary", "Cookie")
	result, err := l.serve(w, r)
	var text []byte
	if err == nil {
		text, err = json.Marshal(result)
	}
	if err == nil {
		challenge.WriteJSON(w, r, "application/json", http.StatusOK, text)
		return
	}
	failed := tokenauth.StatusCode(err) == http.StatusServiceUnavailable
	if failed && l.options.OnError != nil && r.Context().Err() != context.Canceled { // Canceled: the client has disconnected
		l.options.OnError(r, err)
	}
	l.writeError(w, r, err)
}

// credentials are the members of the body of a login request.
type credentials struct {
	username, password, name string
	scopes                   []string
	expires                  body.Expiry
}

func (l *login) serve(w http.ResponseWriter, r *http.Request) (response, error) {
	c, err := l.read(w, r)
	if err != nil {
		return response{}, err
	}
	verify := func(queue context.Context) (string, error) {
		return l.verify(r.Context(), queue, c.username, c.password)
	}
	userID, err := l.options.Throttle.attempt(r.Context(), c.username, l.options.Address(r), verify)
	if err != nil {
		return response{}, err
	}
	spec := tokenauth.Spec{UserID: userID, Name: c.name, Scopes: c.scopes, ExpiresAt: c.expires.At, NoExpiry: c.expires.Never()}
	issue := l.manager.Issue
	if c.name == "" {
		spec.Name, issue = nameOf(r.UserAgent()), l.issueNumbered
	}
	key, t, err := issue(r.Context(), spec)
	if err != nil {
		return response{}, challenge.Uncertain(err, tokenauth.StatusCode(err))
	}
	result := response{Token: t, Key: key.Reveal(), DRFKey: key.Reveal()}
	if !t.ExpiresAt.IsZero() {
		result.KnoxEnd = &t.ExpiresAt
	}
	return result, nil
}

// read returns the credentials in the body of a request.
func (l *login) read(w http.ResponseWriter, r *http.Request) (*credentials, error) {
	switch {
	case r.Method != http.MethodPost:
		return nil, challenge.NotAllowed(http.MethodPost)
	case l.origin.Check(r) != nil:
		return nil, challenge.New(http.StatusForbidden, "The request comes from another origin.")
	case r.URL.RawQuery != "": // refused, because servers and proxies log URLs
		return nil, challenge.New(http.StatusBadRequest, "Parameters must be in the body, not in the URL.")
	}
	c := &credentials{}
	err := body.ReadJSONOrForm(w, r, body.Members{
		"username": &c.username, "password": &c.password, "name": &c.name, "scopes": &c.scopes, "expires_at": &c.expires,
	})
	if err != nil {
		return nil, err
	}
	c.username = strings.TrimSpace(c.username)
	for _, given := range [][2]string{{"username", c.username}, {"password", c.password}} {
		if given[1] == "" || strings.Contains(given[1], "\x00") {
			return nil, challenge.Member(http.StatusBadRequest, given[0], "is required and must not contain NUL")
		}
	}
	return c, nil
}

// failureTime is the minimum duration of a refused attempt. It prevents the duration from revealing
// why the attempt was refused.
const failureTime = 250 * time.Millisecond

// verify checks a password. Only a few checks run at the same time. verify waits until its check
// may run or queue ends.
func (l *login) verify(ctx, queue context.Context, username, password string) (userID string, err error) {
	select {
	case l.options.Throttle.checks <- struct{}{}:
	case <-queue.Done():
		return "", challenge.Unavailable(fmt.Errorf("%w: %w", errUnchecked, context.Cause(queue)))
	}
	failure := time.NewTimer(failureTime)
	defer failure.Stop()
	userID, err = l.checkOne(ctx, username, password)
	switch {
	case err != nil && !errors.Is(err, tokenauth.ErrNoUser):
		return "", challenge.Unavailable(err)
	case err == nil && userID != "":
		if err := syntax.UserID(userID); err != nil {
			return "", challenge.Unavailable(fmt.Errorf("user ID %w", err))
		}
		return userID, nil
	}
	select {
	case <-failure.C:
	case <-ctx.Done():
	}
	const detail = "Unable to log in with provided credentials." // as in Django REST Framework
	refused := challenge.New(http.StatusBadRequest, detail)
	refused.NonFieldErrors = []string{detail}
	return "", refused
}

// checkOne calls check and then allows the next check to run, even if this call panics.
func (l *login) checkOne(ctx context.Context, username, password string) (string, error) {
	defer func() { <-l.options.Throttle.checks }()
	return l.check(ctx, username, password)
}

const (
	maxDefaultName = 56 // maximum number of characters, which leaves room for a number
	nameless       = "login"
	maxNumberTries = 16
)

// nameOf returns the name for a token, made from a User-Agent header.
func nameOf(userAgent string) string {
	printable := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, userAgent)
	runes := []rune(strings.TrimSpace(printable))
	name, err := syntax.Name(string(runes[:min(len(runes), maxDefaultName)]))
	if err != nil {
		return nameless
	}
	return name
}

// issueNumbered issues a token. If the user has a token with the same name, issueNumbered adds a
// number to the name.
func (l *login) issueNumbered(ctx context.Context, spec tokenauth.Spec) (key tokenauth.Key, t tokenauth.Token, err error) {
	base := spec.Name
	for range maxNumberTries { // a concurrent login may take the same number first
		key, t, err = l.manager.Issue(ctx, spec)
		if !errors.Is(err, tokenauth.ErrNameTaken) {
			return key, t, err
		}
		tokens, err := l.manager.List(ctx, tokenauth.Query{UserID: spec.UserID})
		if err != nil {
			return key, t, err
		}
		taken := map[string]bool{}
		for i := range tokens {
			taken[tokens[i].Name] = true
		}
		for n := 2; taken[spec.Name]; n++ {
			spec.Name = fmt.Sprintf("%s (%d)", base, n)
		}
	}
	return key, t, tokenauth.ErrConflict
}
