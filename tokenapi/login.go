package tokenapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
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
	// say. But a peer that is loopback, private or no IP address is not counted: it is
	// most likely a proxy, and all its clients would wait for the failures of one.
	Address func(*http.Request) string

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
// held back for a quarter of a second, which hides the rest. Few checks run at once.
//
// Failures in a row keep an account, and apart from it an address (of IPv6 its
// /64), waiting, longer each time: 429 with Retry-After. After 100 in a row an
// account is closed, until 30 days have passed. A success ends the row. The last 8
// addresses from which an account signed in have a row of their own, so that
// strangers who fail, for as long as they like, lock nobody out of them; they can
// lock a user out of all others. Usernames that differ in letter case or space around
// them are one account; check must not take other spellings for the same user. All
// this is one process's own, in bounded memory, and ends with it.
//
// Options may be nil; they are copied. NewLogin panics on a programming mistake: a
// nil Manager or check.
func NewLogin(m *tokenauth.Manager, check func(ctx context.Context, username, password string) (userID string, err error), opts *LoginOptions) http.Handler {
	if m == nil || check == nil {
		panic("tokenapi: NewLogin: nil Manager or check")
	}
	l := &login{
		manager: m, check: check, accounts: newThrottle(accountPolicy), addresses: newThrottle(addressPolicy), places: newPlaces(),
		checks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	if opts != nil {
		l.options = *opts
	}
	if l.options.Address == nil {
		l.options.Address = peerAddress
	}
	return l
}

type login struct {
	manager   *tokenauth.Manager
	check     func(ctx context.Context, username, password string) (string, error)
	options   LoginOptions
	accounts  *throttle
	addresses *throttle
	places    *places
	checks    chan struct{} // those that run: hashing takes all of a processor
	origin    http.CrossOriginProtection
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
	userID, err := l.attempt(r, username, password)
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

// attempt returns the user whose password it is, if it may be tried now.
func (l *login) attempt(r *http.Request, username, password string) (userID string, err error) {
	account, address, now := strings.ToLower(username), addressOf(l.options.Address(r)), time.Now()
	row := account
	if l.places.know(account, address) {
		row += "\x00" + address
	}
	wait := l.accounts.begin(row, now)
	if wait == 0 && address != "" {
		if wait = l.addresses.begin(address, now); wait > 0 {
			l.accounts.undo(row, now)
		}
	}
	if wait > 0 {
		return "", retry(http.StatusTooManyRequests, "Too many failed attempts. Try again later.", wait)
	}
	userID, err = l.verify(r.Context(), username, password)
	var refused *problem
	switch {
	case err == nil:
		l.accounts.reset(row)
		l.addresses.undo(address, time.Now())
		if address != "" {
			l.places.add(account, address)
		}
	case errors.As(err, &refused) && refused.cause != nil && r.Context().Err() == nil: // no verdict, and not for the client's hanging up
		l.accounts.undo(row, time.Now())
		l.addresses.undo(address, time.Now())
	}
	return userID, err
}

func peerAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if ip := peer.Addr().Unmap(); err != nil || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return ""
	}
	return r.RemoteAddr
}

// addressOf returns what of an address counts: of IPv6 the part that is given to
// one customer, who has the rest to choose from.
func addressOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

const (
	failureTime = 250 * time.Millisecond // at least, whatever is wrong
	queueTime   = 5 * time.Second
)

var errBusy = errors.New("tokenapi: too many password checks at once")

func (l *login) verify(ctx context.Context, username, password string) (userID string, err error) {
	queue := time.NewTimer(queueTime)
	defer queue.Stop()
	select {
	case l.checks <- struct{}{}:
	case <-queue.C:
		return "", unavailable(errBusy)
	case <-ctx.Done():
		return "", unavailable(ctx.Err())
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
	defer func() { <-l.checks }()
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
