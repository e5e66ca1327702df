package tokenauth

import (
	"context"
	"fmt"
	"io"
	"reflect"
)

// An identity is the context of an authenticated request, with the user and the token. An identity
// holds neither the key nor the request. Therefore code that keeps the context after the request
// ends keeps no secret in memory.
type identity[U any] struct {
	context.Context
	by   *Authenticator[U]
	user U
	// record is shared with the store, so it must not be changed. It is nil if the request
	// presented no key.
	record  *Record
	retired bool // true if the request presented the retired key of record
}

// presented returns the presentation from which the identity was made. If NewContext made the
// identity, the digest in the presentation is zero. The identity has no field for the digest,
// because fmt prints the fields of a context. fmt does not print the record, to which a field only
// points.
func (id *identity[U]) presented() presentation {
	p := presentation{digest: id.record.Digest, record: id.record, retired: id.retired}
	generation := id.record.Token.Generation
	if id.retired {
		p.digest = id.record.Retired.Digest
		generation--
	}
	if generation == 0 {
		p.origin = id.record.Token.Origin
	}
	return p
}

// tokenKey is the context key of the innermost identity, whichever Authenticator made it.
type tokenKey struct{}

// Value returns the identity itself for two keys. One key is the Authenticator that made the
// identity, so that each Authenticator finds its own identity in a context. The other key is
// tokenKey.
func (id *identity[U]) Value(key any) any {
	if key == any(id.by) || key == (tokenKey{}) {
		return id
	}
	return id.Context.Value(key)
}

// Format writes a placeholder for every verb, so that a printed context shows no digest.
func (id *identity[U]) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "tokenauth identity") }

func (id *identity[U]) shared() *Record { return id.record }

// identityIn returns the identity that a put into ctx, or nil if ctx has no identity of a with a
// token.
func (a *Authenticator[U]) identityIn(ctx context.Context) *identity[U] {
	id, _ := ctx.Value(a).(*identity[U])
	if id == nil || id.record == nil {
		return nil
	}
	return id
}

// User returns the user that a found for the request whose context is ctx. If a put no user into
// ctx, User returns the zero value and false.
func (a *Authenticator[U]) User(ctx context.Context) (user U, ok bool) {
	if id := a.identityIn(ctx); id != nil {
		return id.user, true
	}
	return user, false
}

// Token returns a copy of the token whose key a accepted for the request whose context is ctx. If a
// put no token into ctx, Token returns false.
func (a *Authenticator[U]) Token(ctx context.Context) (t Token, ok bool) {
	if id := a.identityIn(ctx); id != nil {
		return id.record.token(), true
	}
	return Token{}, false
}

// NewContext returns a context from which [Authenticator.User], [Authenticator.Token] and
// [TokenFrom] return the given user and token. Use NewContext in tests of handlers, and after a
// direct call of [Authenticator.Authenticate]. A request with this context does not count as
// authenticated: the middleware of a still authenticates it, and [Authenticator.Confirm] returns
// [ErrNoKey].
func (a *Authenticator[U]) NewContext(ctx context.Context, user U, t Token) context.Context {
	return &identity[U]{Context: ctx, by: a, user: user, record: &Record{Token: t.clone()}}
}

// TokenFrom returns a copy of the token that the innermost [Authenticator] put into ctx. Use
// TokenFrom in logging code that has no access to the Authenticator. TokenFrom returns false if no
// Authenticator put a token into ctx. It also returns false if the innermost middleware is
// [Authenticator.Optional] and the request has no key.
func TokenFrom(ctx context.Context) (t Token, ok bool) {
	id, _ := ctx.Value(tokenKey{}).(interface{ shared() *Record })
	if id == nil || id.shared() == nil {
		return Token{}, false
	}
	return id.shared().token(), true
}

// isNobody reports whether a user is nil or zero. A type of size zero has only one value, and
// isNobody accepts that value as a user.
func isNobody(user reflect.Value) bool {
	if user.Kind() == reflect.Interface {
		return user.IsNil() || isNobody(user.Elem())
	}
	return user.Type().Size() > 0 && user.IsZero()
}
