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
	"github.com/go-tokenauth/tokenauth/internal/secondlook"
)

type login struct {
	manager    *tokenauth.Manager
	writeError func(http.ResponseWriter, *http.Request, error)
	check      func(ctx context.Context, username, password string) (userID, stamp string, err error)
	options    Options
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
	body.Limit(w, r)
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
	if failed && !errors.Is(err, errBusy) && l.options.OnError != nil && r.Context().Err() != context.Canceled { // Canceled: the client has disconnected
		l.options.OnError(r, err)
	}
	l.writeError(w, r, err)
}

// credentials are the content of the body of a login request.
type credentials struct {
	username, password string
	spec               tokenauth.Spec // lacks the UserID
	numbered           bool           // true if the body has no name, so that a number may be added
}

// An identity is the result of a successful check.
type identity struct {
	userID string
	stamp  string // changes with the password
}

// failureTime is the minimum time from the start of a check to the response to a refused attempt.
// It prevents the duration from revealing why the attempt was refused.
const failureTime = 250 * time.Millisecond

const refusal = "Unable to log in with provided credentials." // as in Django REST Framework

// errRefused means that the password is wrong, or that the user may not sign in.
var errRefused error = &challenge.Problem{Status: http.StatusBadRequest, Detail: refusal, NonFieldErrors: []string{refusal}}

func (l *login) serve(w http.ResponseWriter, r *http.Request) (result response, err error) {
	c, err := l.read(w, r)
	if err != nil {
		return response{}, err
	}
	ctx := tokenauth.ContextWithActor(r.Context(), actor)
	var id identity
	var begin time.Time
	check := func() (err error) {
		begin = time.Now()
		id, err = l.verify(ctx, c)
		return err
	}
	issue := func() (err error) {
		result, err = l.issue(ctx, c, id)
		return err
	}
	err = l.options.Throttle.attempt(ctx, c.username, l.options.Address(r), check, issue)
	if err == errRefused {
		select {
		case <-time.After(failureTime - time.Since(begin)):
		case <-ctx.Done():
		}
	}
	return result, err
}

// read returns the credentials in the body of a request. It checks everything that does not depend
// on the user, so that the response to an invalid request does not reveal whether the password is
// right.
func (l *login) read(w http.ResponseWriter, r *http.Request) (*credentials, error) {
	switch {
	case r.Method != http.MethodPost:
		return nil, challenge.NotAllowed(http.MethodPost)
	case r.URL.RawQuery != "": // refused, because servers and proxies log URLs
		return nil, challenge.New(http.StatusBadRequest, "Parameters must be in the body, not in the URL.")
	}
	c := &credentials{}
	var expires body.Expiry
	err := body.ReadJSONOrForm(w, r, body.Members{
		"username": &c.username, "password": &c.password, "name": &c.spec.Name, "scopes": &c.spec.Scopes, "expires_at": &expires,
	})
	if err != nil {
		return nil, err
	}
	c.username = strings.TrimSpace(c.username)
	switch {
	case c.username == "" || strings.ContainsFunc(c.username, unicode.IsControl):
		return nil, challenge.Member(http.StatusBadRequest, "username", "is required and must not contain a control character")
	case c.password == "" || strings.Contains(c.password, "\x00"):
		return nil, challenge.Member(http.StatusBadRequest, "password", "is required and must not contain NUL")
	}
	if c.spec.Scopes == nil {
		c.spec.Scopes = l.options.Scopes
	}
	c.spec.ExpiresAt, c.spec.NoExpiry = expires.At, expires.Never()
	if !expires.Given && l.options.TTL > 0 {
		c.spec.ExpiresAt = l.manager.Now().Add(l.options.TTL)
	}
	if c.spec.Name == "" {
		c.spec.Name, c.numbered = nameOf(r.UserAgent()), true
	}
	return c, l.manager.CheckSpec(c.spec)
}

// verify checks the password. It returns errRefused if the password is wrong.
func (l *login) verify(ctx context.Context, c *credentials) (identity, error) {
	userID, stamp, err := l.check(ctx, c.username, c.password)
	switch {
	case errors.Is(err, tokenauth.ErrNoUser), err == nil && userID == "":
		return identity{}, errRefused
	case err != nil:
		return identity{}, challenge.Unavailable(err)
	}
	if err := l.manager.CheckUserID(userID); err != nil {
		return identity{}, challenge.Unavailable(fmt.Errorf("tokenlogin: check: %w", err))
	}
	if l.options.Stamp != nil && stamp == "" {
		return identity{}, challenge.Unavailable(errNoStamp)
	}
	return identity{userID, stamp}, nil
}

var errNoStamp = errors.New("tokenlogin: check returned no stamp, but Options.Stamp is set")

// issue issues the token of a login.
func (l *login) issue(ctx context.Context, c *credentials, id identity) (response, error) {
	issue := l.manager.Issue
	if c.numbered {
		issue = l.issueNumbered
	}
	c.spec.UserID = id.userID
	key, t, err := l.issueWithinLimit(ctx, c.spec, issue)
	var invalid *tokenauth.SpecError
	switch {
	case errors.As(err, &invalid) && invalid.Field == "expires_at":
		// The expiry has passed since read checked it. The response must not reveal that the
		// password is right.
		return response{}, errRefused
	case err != nil:
		return response{}, challenge.Uncertain(err, tokenauth.StatusCode(err))
	}
	if err := l.confirm(ctx, t, id.stamp); err != nil {
		return response{}, err
	}
	result := response{Token: t, Key: key.Reveal(), DRFKey: key.Reveal()}
	if !t.ExpiresAt.IsZero() {
		result.KnoxEnd = &t.ExpiresAt
	}
	return result, nil
}

// confirm reads the stamp of the user again, now that the token t is in the store. If the stamp is
// not the one that the check returned, confirm revokes t.
//
// If the password changes after confirm reads the stamp, the store already has t. The RevokeAll
// that follows the change then revokes t.
func (l *login) confirm(ctx context.Context, t tokenauth.Token, stamp string) error {
	if l.options.Stamp == nil {
		return nil
	}
	refused, failed := secondlook.Confirm(ctx, l.manager, t, func(ctx context.Context) error {
		current, err := l.options.Stamp(ctx, t.UserID)
		switch {
		case errors.Is(err, tokenauth.ErrNoUser), err == nil && current != stamp:
			return errRefused
		case err != nil:
			return challenge.Unavailable(err)
		}
		return nil
	})
	if failed != nil {
		return challenge.Uncertain(errors.Join(refused, failed), http.StatusServiceUnavailable)
	}
	return refused
}
