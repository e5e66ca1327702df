package tokenapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// LoginOptions are settings of [NewLogin]. Every zero field is the safe default.
type LoginOptions struct {
	// Address returns the address that a request comes from, as a trusted proxy
	// tells it: one IP address, never a header as it came, which a client can make up.
	// "" is not counted. Nil: that of the peer of the connection, whatever headers
	// say. But a peer that is loopback, link-local, private or no IP address is not
	// counted: it is most likely a proxy, and all its clients would wait for the
	// failures of one.
	Address func(*http.Request) string

	// Throttle counts what fails. Give one to all handlers that let the same users in;
	// by two, who guesses would have twice the attempts. Nil: one of its own.
	Throttle *Throttle

	// OnError is told of each error that is answered 503, for the log. Nil:
	// nobody is told.
	OnError func(*http.Request, error)
}

// NewLogin returns a handler of POST, at whatever path it is mounted, that takes a
// username and a password, as JSON or a form, for a new token: one for each
// device. The body may give a name (else it is made from the User-Agent, with a
// number where it is taken), scopes and expires_at. The key is in the answer, as
// "token", as Django REST Framework has it, with knox's "expiry" beside.
//
// The service's check returns the ID of the user, or "" if the password is wrong,
// or the user unknown or not allowed to sign in: the client learns only that it is
// one of these. [tokenauth.ErrNoUser] means the same. Any other error means that
// check could not tell; it is answered 503 and not counted, so it must never stand
// for a wrong password. For an unknown user check should do the same work as for
// a known one, such as comparing with the hash of some password; refusals are
// held back for a quarter of a second, which hides the rest. Few checks run at once;
// whoever has to wait for others for more than 5 seconds gets 503.
//
// Failures in a row keep an account waiting, longer each time: 429 with Retry-After.
// After 100 in a row it is closed, until 30 days have passed. A success ends the row.
// Attempts at once gain nothing: as many run as may fail without a wait, at most five,
// and the others wait for these to end, then to get in or to be told to wait longer.
// Apart from that, failures from an address (of IPv6 its /64), whosever accounts they
// are for, keep that waiting, until an hour has passed without one: a success there
// proves nothing for the others. The last 8
// addresses from which an account signed in have a row of their own, so that
// strangers who fail elsewhere, for as long as they like, lock nobody out of them; they
// can lock a user out of all others. Usernames that differ in letter case or space around
// them are one account; check must not take other spellings for the same user. All
// this is a [Throttle]'s.
//
// Options may be nil; they are copied. NewLogin panics on a programming mistake: a
// nil Manager or check, or a Throttle that [NewThrottle] did not make.
func NewLogin(m *tokenauth.Manager, check func(ctx context.Context, username, password string) (userID string, err error), opts *LoginOptions) http.Handler {
	if m == nil || check == nil {
		panic("tokenapi: NewLogin: nil Manager or check")
	}
	l := &login{manager: m, check: check}
	if opts != nil {
		l.options = *opts
	}
	if l.options.Throttle == nil {
		l.options.Throttle = NewThrottle()
	} else if l.options.Throttle.accounts == nil {
		panic("tokenapi: NewLogin: a Throttle that NewThrottle did not make")
	}
	if l.options.Address == nil {
		l.options.Address = peerAddress
	}
	return l
}

type login struct {
	manager *tokenauth.Manager
	check   func(ctx context.Context, username, password string) (string, error)
	options LoginOptions
	origin  http.CrossOriginProtection
}

func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := l.serve(w, r)
	respond(w, r, a, err, l.options.OnError)
}

// A loginView has the key as DRF names it, and its end as knox does.
type loginView struct {
	Token  string     `json:"token"`
	Expiry *time.Time `json:"expiry"`
	tokenView
}

func (l *login) serve(w http.ResponseWriter, r *http.Request) (answer, error) {
	switch {
	case r.Method != http.MethodPost:
		return answer{}, notAllowed(http.MethodPost)
	case l.origin.Check(r) != nil:
		return answer{}, errCrossOrigin
	case r.URL.RawQuery != "": // it is logged on its way
		return answer{}, refuse(http.StatusBadRequest, "Parameters must be in the body, not in the URL.")
	}
	var username, password, name string
	var scopes []string
	var expires expiry
	m := members{"username": &username, "password": &password, "name": &name, "scopes": &scopes, "expires_at": &expires}
	if err := readLogin(w, r, m); err != nil {
		return answer{}, err
	}
	username = strings.TrimSpace(username)
	for _, given := range [][2]string{{"username", username}, {"password", password}} {
		if given[1] == "" || strings.Contains(given[1], "\x00") {
			return answer{}, badMember(given[0], "must be given, without NUL")
		}
	}
	verify := func(queue context.Context) (string, error) { return l.verify(r.Context(), queue, username, password) }
	userID, err := l.options.Throttle.attempt(r.Context(), username, l.options.Address(r), verify)
	if err != nil {
		return answer{}, err
	}
	spec := tokenauth.Spec{UserID: userID, Name: name, Scopes: scopes, ExpiresAt: expires.at, NoExpiry: expires.never()}
	issue := l.manager.Issue
	if name == "" {
		spec.Name, issue = nameOf(r.UserAgent()), l.issueNumbered
	}
	key, t, err := issue(r.Context(), spec)
	if err != nil {
		return answer{}, notIssued(l.manager, err, &spec.Name, scopes)
	}
	v := viewOf(&t)
	return answer{body: loginView{key.Reveal(), v.ExpiresAt, v}}, nil
}

func readLogin(w http.ResponseWriter, r *http.Request, m members) error {
	mediaType, body, err := readBody(w, r, typeJSON, typeForm)
	switch {
	case err != nil:
		return err
	case mediaType == typeForm:
		return decodeForm(body, m)
	}
	return decodeJSON(body, m)
}

const failureTime = 250 * time.Millisecond // at least, whatever is wrong

func (l *login) verify(ctx, queue context.Context, username, password string) (userID string, err error) {
	select {
	case l.options.Throttle.checks <- struct{}{}:
	case <-queue.Done():
		return "", unavailable(fmt.Errorf("%w: %w", errUnchecked, context.Cause(queue)))
	}
	failure := time.NewTimer(failureTime)
	defer failure.Stop()
	userID, err = l.checkOne(ctx, username, password)
	switch {
	case err != nil && !errors.Is(err, tokenauth.ErrNoUser):
		return "", unavailable(err)
	case err == nil && userID != "":
		if err := syntax.UserID(userID); err != nil {
			return "", unavailable(err)
		}
		return userID, nil
	}
	select {
	case <-failure.C:
	case <-ctx.Done():
	}
	const detail = "Unable to log in with provided credentials." // DRF's words
	p := refuse(http.StatusBadRequest, detail)
	p.NonFieldErrors = []string{detail}
	return "", p
}

// checkOne makes room for the next check, also after a panic.
func (l *login) checkOne(ctx context.Context, username, password string) (string, error) {
	defer func() { <-l.options.Throttle.checks }()
	return l.check(ctx, username, password)
}

const (
	maxDefaultName = 56 // characters, which leaves room for a number
	nameless       = "login"
	numberTries    = 16
)

// nameOf makes a name of a User-Agent.
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

// issueNumbered issues a token whose name gets a number if it is taken.
func (l *login) issueNumbered(ctx context.Context, spec tokenauth.Spec) (key tokenauth.Key, t tokenauth.Token, err error) {
	base := spec.Name
	for range numberTries { // others may take the same number first
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
