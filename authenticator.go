package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// AuthenticatorOptions are the settings of an [Authenticator]. A zero field selects the default.
type AuthenticatorOptions struct {
	// Realm is the realm in WWW-Authenticate challenges (RFC 9110 section 11.5). It must be
	// printable ASCII without quotation marks and backslashes. If Realm is empty, the realm is
	// "api".
	Realm string

	// Schemes are the accepted schemes of the Authorization header. The letter case of a scheme
	// does not matter. A response that asks the client for a key has one WWW-Authenticate challenge
	// per scheme, in the order of Schemes. If Schemes is empty, the schemes are "Bearer" (RFC 6750)
	// and "Token", which clients of Django REST Framework send.
	Schemes []string

	// KeyHeader is the name of a header, such as X-API-Key, in which a client may send a key
	// without a scheme. If KeyHeader is empty, keys are accepted only in the Authorization header.
	KeyHeader string

	// If KeyHeaderOnly is true, the Authenticator reads keys only from KeyHeader. It ignores the
	// Authorization header, which may then hold other credentials. KeyHeaderOnly requires
	// KeyHeader, and Schemes must then be empty. The challenge is then `ApiKey realm="…"`. ApiKey
	// is not a registered scheme.
	KeyHeaderOnly bool

	// ExpiryHeader is the name of a header, such as Token-Expires, that tells a client when its key
	// stops working. If the token expires soon, as [Manager.ExpiresSoon] defines it, or the key is the
	// previous key of the token, the response to an accepted request has the header. Its value is a
	// date of RFC 9110 section 5.6.7. If ExpiryHeader is empty, no response has such a header.
	ExpiryHeader string

	// ErrorHandler writes the status and the body of an error response. The status must be the
	// result of [StatusCode] for err. Before the call, the Authenticator sets the headers that the
	// response needs: WWW-Authenticate, Cache-Control, Vary, Retry-After and
	// X-Content-Type-Options. The text of err is for the log and must not be sent to the client.
	// ErrorHandler also replaces the bodies of error responses of packages tokenapi and tokenlogin.
	// If ErrorHandler is nil, the body is problem+json (RFC 9457).
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
}

// An Authenticator is middleware that authenticates a request by its key and passes the user to the
// handler. U is the service's own type of user. An Authenticator is safe for concurrent use.
//
// A client sends a key as "Authorization: Bearer <key>" (RFC 6750 section 2.1) or as
// "Authorization: Token <key>". If [AuthenticatorOptions].KeyHeader is set, a client may send the
// key without a scheme in that header. The Authenticator never reads a key from the query, a form
// or a cookie. A header with an empty value counts as absent. A repeated header is malformed, even
// if its values are empty. A request with two keys, in one header or in two, is malformed too. The
// response to a malformed request is 400.
type Authenticator[U any] struct {
	manager *Manager
	find    func(ctx context.Context, userID string) (U, error)
	options AuthenticatorOptions
	keys    bearer.Reader
	schemes []string // schemes of the WWW-Authenticate challenges
	vary    []string // names of the headers that may hold a key
}

// NewAuthenticator returns an Authenticator for the tokens of m. For each request with an accepted
// key, the Authenticator calls find with the user ID of the token. Therefore a user whom the
// service disables is refused from the next request on.
//
// If the user does not exist or may not sign in, find must return [ErrNoUser]. After any other
// error of find, the response is 503. If find returns a nil user or a zero value without an error,
// that counts as ErrNoUser. The same holds for a nil pointer or a zero value inside an interface.
// If the zero value of U is a real user, use a pointer as U. A type of size zero, such as struct{},
// is exempt from this check.
//
// The Authenticator waits for find. Give the queries of find a deadline, or requests wait while the
// database hangs.
//
// NewAuthenticator copies opts, which may be nil. It returns an error for an invalid option, and
// panics if m or find is nil.
func NewAuthenticator[U any](m *Manager, find func(ctx context.Context, userID string) (U, error), opts *AuthenticatorOptions) (*Authenticator[U], error) {
	if m == nil || find == nil {
		panic("tokenauth: NewAuthenticator: nil Manager or find")
	}
	a := &Authenticator[U]{manager: m, find: find}
	if opts != nil {
		a.options = *opts
	}
	o := &a.options
	o.Realm = cmp.Or(o.Realm, "api")
	o.KeyHeader = http.CanonicalHeaderKey(o.KeyHeader)
	if err := o.validate(); err != nil {
		return nil, err
	}
	a.keys.KeyHeader = o.KeyHeader
	a.schemes = []string{"ApiKey"}
	if !o.KeyHeaderOnly {
		a.keys.Schemes = slices.Clone(o.Schemes)
		if len(o.Schemes) == 0 {
			a.keys.Schemes = []string{"Bearer", "Token"}
		}
		a.schemes = a.keys.Schemes
		a.vary = append(a.vary, "Authorization")
	}
	if o.KeyHeader != "" {
		a.vary = append(a.vary, o.KeyHeader)
	}
	return a, nil
}

func (o *AuthenticatorOptions) validate() error {
	switch {
	case !syntax.IsQuotable(o.Realm):
		return optionError("AuthenticatorOptions.Realm must be printable ASCII without quote and backslash")
	case o.KeyHeader != "" && !syntax.IsWord(o.KeyHeader):
		return optionError("AuthenticatorOptions.KeyHeader must be 1 to 64 letters, digits, - and _")
	case o.KeyHeader == "Authorization":
		return optionError("AuthenticatorOptions.KeyHeader must not be Authorization")
	case o.ExpiryHeader != "" && !syntax.IsWord(o.ExpiryHeader):
		return optionError("AuthenticatorOptions.ExpiryHeader must be 1 to 64 letters, digits, - and _")
	case o.KeyHeaderOnly && o.KeyHeader == "":
		return optionError("AuthenticatorOptions.KeyHeaderOnly requires KeyHeader")
	case o.KeyHeaderOnly && len(o.Schemes) > 0:
		return optionError("AuthenticatorOptions.KeyHeaderOnly excludes Schemes")
	}
	for i, scheme := range o.Schemes {
		if !syntax.IsWord(scheme) {
			return optionError("AuthenticatorOptions.Schemes: a scheme must be 1 to 64 letters, digits, - and _")
		}
		if slices.ContainsFunc(o.Schemes[:i], func(other string) bool { return strings.EqualFold(other, scheme) }) {
			return optionError("AuthenticatorOptions.Schemes: a scheme must not be repeated")
		}
	}
	return nil
}

// Manager returns the Manager that was passed to [NewAuthenticator].
func (a *Authenticator[U]) Manager() *Manager { return a.manager }

// A Need says what a request requires of its token. The zero Need requires no scope. It refuses a
// token that is restricted to resources, because it names no resource.
type Need struct {
	Scopes []string // scopes that the token must have, all of them

	// Resources are the resources that the request concerns, such as a project in the path. If the
	// token is restricted to resources, it must be restricted to all of these, and perhaps to others.
	// Otherwise the response is 403. An empty resource is a mistake of the service, and the response is
	// 500 for each token.
	Resources []string

	// AnyResource accepts a token that is restricted to any resources. The handler must then call
	// [Token.Allows] for each resource that it reads, changes or lists. A Need with both AnyResource
	// and Resources is a mistake of the service, and the response is 500.
	AnyResource bool

	// If CurrentKey is true, the request must present the current key of the token. During the
	// grace of a rotation, the previous key is then refused with ErrPreviousKey.
	CurrentKey bool
}

// checkNeed returns a ScopeError if t lacks a scope of n, and a ResourceError if t is restricted to
// other resources. If n requires the current key and retired is true, checkNeed returns
// ErrPreviousKey. It returns errNeed if n is a mistake of the service.
func (m *Manager) checkNeed(n Need, t *Token, retired bool) error {
	scopes, err := syntax.Scopes(n.Scopes, m.scopes)
	switch {
	case err != nil, slices.Contains(n.Resources, ""), n.AnyResource && len(n.Resources) > 0:
		return errNeed
	case !t.HasScopes(scopes...):
		return &ScopeError{scopes}
	case !n.AnyResource && t.lacks(n.Resources):
		return &ResourceError{slices.Clone(n.Resources)}
	case n.CurrentKey && retired:
		return ErrPreviousKey
	}
	return nil
}

// Authenticate authenticates a request by its headers h, and returns the user and the token of the
// presented key. It returns an error if the request does not meet need. Use Authenticate in code
// that cannot use net/http middleware. The header names in h must be in the canonical form that
// [http.Header.Set] writes.
//
// The error is [ErrNoKey], [ErrInvalidRequest], [ErrPreviousKey] or a [*ScopeError], or it wraps
// [ErrInvalidKey]. It is a [*ResourceError] if the token is restricted to other resources. Any
// other error means that the store or the user lookup failed, or that need is a mistake of the
// service. [StatusCode] returns the HTTP status for each of these errors.
func (a *Authenticator[U]) Authenticate(ctx context.Context, h http.Header, need Need) (user U, t Token, err error) {
	var p presentation
	id, err := a.authenticate(ctx, h, &p)
	if err == nil {
		err = a.manager.checkNeed(need, &p.record.Token, p.retired)
	}
	a.manager.settle(ctx, &p, err)
	if err != nil {
		return user, Token{}, err
	}
	return id.user, id.record.token(), nil
}

// Confirm authenticates the key of a request once more, and returns the current user and the
// current token. The middleware of a must have authenticated the request whose context is ctx.
// Confirm reads the token from the store even if a cache holds it, and looks up the user again. Use
// Confirm directly before a change that must not be based on outdated rights.
//
// Confirm returns the errors of [Authenticator.Authenticate]. It returns [ErrNoKey] if a did not
// authenticate the request of ctx. It also returns ErrNoKey for a context from
// [Authenticator.NewContext], which holds no key.
func (a *Authenticator[U]) Confirm(ctx context.Context, need Need) (user U, t Token, err error) {
	known := a.identityIn(ctx)
	if known == nil || known.record.Digest == (Digest{}) {
		return user, Token{}, ErrNoKey
	}
	p := known.presented()
	r, err := a.manager.findFresh(ctx, &known.record.Token, &p)
	if err == nil {
		p.at = a.manager.options.Now()
		err = a.manager.judge(r, &p)
	}
	id := &identity[U]{record: p.record}
	if err == nil {
		err = a.findUser(ctx, id)
	}
	if err == nil {
		err = a.manager.checkNeed(need, &p.record.Token, p.retired)
	}
	if err != nil {
		a.manager.reject(ctx, p.record, err)
		return user, Token{}, err
	}
	return id.user, p.record.token(), nil
}

// authenticate finds the token and the user of the key that h presents, and returns them as an
// identity.
func (a *Authenticator[U]) authenticate(ctx context.Context, h http.Header, p *presentation) (*identity[U], error) {
	key, err := a.keys.Key(h)
	switch err {
	case nil:
	case bearer.ErrNone:
		return nil, ErrNoKey
	case bearer.ErrTooLong:
		return nil, errMalformedKey
	default:
		return nil, ErrInvalidRequest
	}
	if err := a.manager.authenticate(ctx, key, p); err != nil {
		// Check for illegal bytes only after the Manager has rejected the key. Accepted keys cannot
		// contain illegal bytes.
		if err == errMalformedKey && !bearer.IsKey(key) {
			return nil, ErrInvalidRequest
		}
		return nil, err
	}
	id := &identity[U]{Context: ctx, by: a, record: p.record, retired: p.retired}
	return id, a.findUser(ctx, id)
}

// findUser looks up the user of the token in id and sets id.user.
func (a *Authenticator[U]) findUser(ctx context.Context, id *identity[U]) (err error) {
	id.user, err = a.find(ctx, id.record.Token.UserID)
	switch {
	case err == nil && isNobody(reflect.ValueOf(&id.user).Elem()):
		return ErrNoUser
	case err != nil && !errors.Is(err, ErrNoUser):
		return &unavailableError{ReasonUserLookupFailed, err}
	}
	return err
}

// WriteError writes the error response for err, which may be any error of this package. The status
// is the result of [StatusCode]. The response to an authentication error contains the challenges of
// RFC 6750 section 3. If err is a [*SpecError], the body names the invalid field. The body does not
// contain the text of an internal error. The middleware of a calls WriteError too. If err is nil,
// the status is 503.
func (a *Authenticator[U]) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	p.SetHeader(w.Header(), a.schemes, a.options.Realm)
	a.addVary(w.Header())
	if a.options.ErrorHandler != nil {
		a.options.ErrorHandler(w, r, err)
		return
	}
	p.Write(w, r)
}

// addVary adds the names of the headers that may hold a key to the Vary header, each name at most
// once.
func (a *Authenticator[U]) addVary(h http.Header) {
	for _, name := range a.vary {
		if !slices.Contains(h["Vary"], name) {
			h["Vary"] = append(h["Vary"], name)
		}
	}
}
