package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/go-tokenauth/tokenauth/internal/bearer"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// AuthenticatorOptions are an [Authenticator]'s settings. Every zero field is
// the default.
type AuthenticatorOptions struct {
	// Realm is told in challenges (RFC 9110 section 11.5): printable ASCII
	// without quote and backslash. Empty: "api".
	Realm string

	// KeyHeader is a header, such as X-API-Key, that may hold the key alone,
	// beside Authorization. Empty: none.
	KeyHeader string

	// ErrorHandler writes the status, which [StatusCode] tells, and the body of
	// a refusal. The headers are set before it runs: WWW-Authenticate,
	// Cache-Control, Vary, Retry-After, X-Content-Type-Options. What err says is for
	// the log, not for the client. Nil: a body as of RFC 9457.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
}

const defaultRealm = "api"

// An Authenticator turns requests that present keys into requests with a user of
// type U, the service's own. It is safe for concurrent use.
//
// A key is accepted as "Authorization: Bearer <key>" (RFC 6750 section 2.1) or
// "Authorization: Token <key>", in any letter case of the scheme, or alone in the
// header that [AuthenticatorOptions].KeyHeader names, and nowhere else: not in the
// query, a form or a cookie.
type Authenticator[U any] struct {
	manager *Manager
	find    func(ctx context.Context, userID string) (U, error)
	options AuthenticatorOptions // with KeyHeader in canonical form
	vary    []string
}

// NewAuthenticator returns an Authenticator of the manager's tokens. It calls
// find on each request with the token's user ID, so that a user who is switched
// off is out at once: find returns [ErrNoUser] for a user who does not exist or
// may not sign in. A nil user is taken for that too; any other error is answered 503.
//
// Options may be nil; they are copied. NewAuthenticator panics on a programming
// mistake: a nil manager or find, or a malformed realm or header name.
func NewAuthenticator[U any](m *Manager, find func(ctx context.Context, userID string) (U, error), opts *AuthenticatorOptions) *Authenticator[U] {
	if m == nil || find == nil {
		panic("tokenauth: NewAuthenticator: nil Manager or find")
	}
	a := &Authenticator[U]{manager: m, find: find, vary: []string{"Authorization"}}
	if opts != nil {
		a.options = *opts
	}
	o := &a.options
	if o.Realm = cmp.Or(o.Realm, defaultRealm); !syntax.IsQuotable(o.Realm) {
		panic("tokenauth: NewAuthenticator: malformed Realm")
	}
	if o.KeyHeader != "" {
		o.KeyHeader = http.CanonicalHeaderKey(o.KeyHeader)
		if !syntax.IsWord(o.KeyHeader) || o.KeyHeader == "Authorization" {
			panic("tokenauth: NewAuthenticator: malformed KeyHeader")
		}
		a.vary = append(a.vary, o.KeyHeader)
	}
	return a
}

// Require serves requests with a good key by next, which gets the user by
// [UserFrom] and the token by [TokenFrom]. Others it refuses, and next never
// runs: 401 without a key or with a wrong one, 400 for malformed credentials,
// 503 when the store or the lookup of the user fails.
//
// Refusals are not cached. Shared caches keep no answer to an Authorization header
// (RFC 9111 section 3.5), unless next lets them, as by Cache-Control: public; if it
// does, or lets browsers keep its answers, it must say Vary: Authorization.
func (a *Authenticator[U]) Require(next http.Handler) http.Handler {
	return a.handler(next, nil, false)
}

// RequireScopes is [Authenticator.Require] for requests that need all of the
// scopes: a good key of a token that lacks one is refused with 403. It panics on
// no scope, a malformed one and one that is not in the Manager's [Options].Scopes.
func (a *Authenticator[U]) RequireScopes(scopes ...string) func(http.Handler) http.Handler {
	need, err := syntax.Scopes(scopes, a.manager.scopes)
	if err != nil || len(need) == 0 {
		panic("tokenauth: RequireScopes: no scope, or a malformed or unknown one")
	}
	return func(next http.Handler) http.Handler { return a.handler(next, need, false) }
}

// Optional is [Authenticator.Require] that also serves requests without a key,
// with no user in the context. A wrong key is refused as always.
func (a *Authenticator[U]) Optional(next http.Handler) http.Handler {
	return a.handler(next, nil, true)
}

func (a *Authenticator[U]) handler(next http.Handler, need []string, optional bool) http.Handler {
	if next == nil {
		panic("tokenauth: nil http.Handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An outer middleware of ours has done the work already.
		known, ok := r.Context().Value(contextKey{}).(*identity[U])
		if !ok || known.by != a {
			fresh := &identifiedRequest[U]{}
			fresh.Context = r.Context()
			err := a.identify(fresh.Context, r.Header, need, &fresh.identity)
			if err != nil && !(optional && err == ErrNoKey) {
				a.WriteError(w, r, err)
				return
			}
			if optional || a.options.KeyHeader != "" {
				// What answers an Authorization needs no Vary (RFC 9110 section 12.5.5),
				// and on each request it would be felt. Of the rest caches know nothing.
				a.addVary(w.Header())
			}
			if err != nil {
				next.ServeHTTP(w, r)
				return
			}
			setContext(&fresh.request, r, &fresh.identityContext)
			r = &fresh.request
		} else if !hasScopes(known.token.Scopes, need) {
			err := newScopeError(need)
			a.manager.settle(r.Context(), &presentation{token: known.token}, err)
			a.WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Authenticate returns the user and the token of the key that h presents, for
// whoever has no net/http middleware. The names in h must be in canonical form,
// as [http.Header.Set] makes them.
//
// Its errors are [ErrNoKey], [ErrInvalidRequest], [ErrInvalidKey] and what wraps
// it, and a [*ScopeError] if the token lacks one of the scopes. With any other
// error nothing is known of the key. [StatusCode] tells them apart.
func (a *Authenticator[U]) Authenticate(ctx context.Context, h http.Header, scopes ...string) (U, Token, error) {
	var none U
	var id identity[U]
	if err := a.identify(ctx, h, scopes, &id); err != nil {
		return none, Token{}, err
	}
	return id.user, id.Token(), nil
}

// identify decides, and settles what follows but for the response.
func (a *Authenticator[U]) identify(ctx context.Context, h http.Header, need []string, id *identity[U]) error {
	var p presentation
	err := a.decide(ctx, h, need, id, &p)
	a.manager.settle(ctx, &p, err)
	return err
}

func (a *Authenticator[U]) decide(ctx context.Context, h http.Header, need []string, id *identity[U], p *presentation) error {
	key, err := bearer.Key(h, a.options.KeyHeader)
	switch err {
	case nil:
	case bearer.ErrNone:
		return ErrNoKey
	case bearer.ErrTooLong:
		return errMalformedKey
	default:
		return ErrInvalidRequest
	}
	if err := a.manager.authenticate(ctx, key, p); err != nil {
		// Only what is not accepted is looked at again: a good key has no such bytes.
		if err == errMalformedKey && !bearer.IsKey(key) {
			return ErrInvalidRequest
		}
		return err
	}
	if id.user, err = a.find(ctx, p.token.UserID); err != nil {
		if errors.Is(err, ErrNoUser) {
			return err
		}
		return &unavailableError{findingUser, err}
	}
	if isNil(reflect.ValueOf(&id.user).Elem()) {
		return ErrNoUser
	}
	if !hasScopes(p.token.Scopes, need) {
		return newScopeError(need)
	}
	id.token, id.by = p.token, a
	return nil
}

// isNil reports whether a user can be nil, and is.
func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Interface:
		return v.IsNil() || isNil(v.Elem())
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// An identity is the one value that a request's context carries: who sent it.
type identity[U any] struct {
	user  U
	token *Token            // shared: not to be changed, nor handed out
	by    *Authenticator[U] // nil: from NewContext
}

// Token returns a copy that the caller may change.
func (id *identity[U]) Token() Token { return id.token.clone() }

type contextKey struct{}

// An identityContext is a context that holds an identity in itself.
type identityContext[U any] struct {
	context.Context
	identity identity[U]
}

func (c *identityContext[U]) Value(key any) any {
	if key == (contextKey{}) {
		return &c.identity
	}
	return c.Context.Value(key)
}

// An identifiedRequest is a request and its context in one allocation: two would
// be felt on each request.
type identifiedRequest[U any] struct {
	identityContext[U]
	request http.Request
}

// setContext is from.WithContext(ctx), written to a place that is there already.
func setContext(to, from *http.Request, ctx context.Context) { *to = *from.WithContext(ctx) }

// UserFrom returns the user that an [Authenticator] put into the context of a
// request. ok is false if there is none, and also if U is not the very type that
// the Authenticator has: *User and User are two. Where ok is false, user is the
// zero value and must not be taken for somebody.
func UserFrom[U any](ctx context.Context) (user U, ok bool) {
	id, ok := ctx.Value(contextKey{}).(*identity[U])
	if !ok {
		return user, false
	}
	return id.user, true
}

// TokenFrom returns the token whose key a request presented; ok is false if an
// [Authenticator] put none into its context. It is a copy.
func TokenFrom(ctx context.Context) (t Token, ok bool) {
	id, ok := ctx.Value(contextKey{}).(interface{ Token() Token })
	if !ok {
		return Token{}, false
	}
	return id.Token(), true
}

// NewContext returns a context in which [UserFrom] and [TokenFrom] find the
// given values, for tests of handlers that call them. It satisfies no
// [Authenticator]: a request with it is authenticated all the same.
func NewContext[U any](ctx context.Context, user U, t Token) context.Context {
	t = t.clone()
	return &identityContext[U]{Context: ctx, identity: identity[U]{user: user, token: &t}}
}
