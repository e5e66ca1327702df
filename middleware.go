package tokenauth

import (
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Require returns a handler that calls next for each request with an accepted key. In next,
// [Authenticator.User] and [Authenticator.Token] return the user and the token. Other requests do
// not reach next. The response is 401 if the request has no key or a wrong key, and 400 if its
// credentials are malformed. The response is 503 if the store or the user lookup fails. It is 403
// if the token is restricted to resources: such a token requires [Authenticator.RequireFunc].
//
// These error responses forbid caching. Shared caches do not store the responses of next to
// requests with an Authorization header (RFC 9111 section 3.5). If next allows caching
// nevertheless, for example with Cache-Control: public, next must also send Vary: Authorization.
//
// The handler next receives a copy of the request. If next sets Pattern, the path values that
// Pattern names, or MultipartForm, Require sets them on the original request too. If next panics,
// Require removes the files of the multipart form.
func (a *Authenticator[U]) Require(next http.Handler) http.Handler {
	return a.wrap(next, unrestricted, false)
}

// RequireScopes is like [Authenticator.Require], but the token must also have all of the given
// scopes. If the token lacks a scope, the response is 403. RequireScopes panics if no scope is
// given, or if a scope is malformed or not in the Manager's [Options].Scopes.
func (a *Authenticator[U]) RequireScopes(scopes ...string) func(http.Handler) http.Handler {
	need, err := syntax.Scopes(scopes, a.manager.scopes)
	if err != nil || len(need) == 0 {
		panic("tokenauth: RequireScopes: no scope, or a malformed or unknown one")
	}
	allow := func(r *http.Request, t *Token, retired bool) error {
		if !t.HasScopes(need...) {
			return &ScopeError{slices.Clone(need)}
		}
		return unrestricted(r, t, retired)
	}
	return func(next http.Handler) http.Handler { return a.wrap(next, allow, false) }
}

// RequireFunc is like [Authenticator.Require], but the function need returns what each request
// requires. RequireFunc calls need after the key and the user were accepted, with the
// request that next receives. If need returns [ErrNotFound], the response is 404. If need returns
// [ErrInsufficientScope], the response is 403. After any other error of need, the response is 503.
// If the Need has a malformed or unknown scope, an empty resource, or both Resources and
// AnyResource, the response is 500.
//
// A token that is restricted to resources reaches next only if the Need has Resources, all of which
// the token is restricted to, or AnyResource.
func (a *Authenticator[U]) RequireFunc(need func(*http.Request) (Need, error)) func(http.Handler) http.Handler {
	allow := a.allowFunc("RequireFunc", need)
	return func(next http.Handler) http.Handler { return a.wrap(next, allow, false) }
}

// OptionalFunc is like [Authenticator.RequireFunc], but also calls next for requests without a key,
// without a call of need. For these requests, [Authenticator.User] returns false.
func (a *Authenticator[U]) OptionalFunc(need func(*http.Request) (Need, error)) func(http.Handler) http.Handler {
	allow := a.allowFunc("OptionalFunc", need)
	return func(next http.Handler) http.Handler { return a.wrap(next, allow, true) }
}

// allowFunc returns the function for wrap that judges a token by the result of need.
func (a *Authenticator[U]) allowFunc(caller string, need func(*http.Request) (Need, error)) func(*http.Request, *Token, bool) error {
	if need == nil {
		panic("tokenauth: " + caller + ": nil function")
	}
	return func(r *http.Request, t *Token, retired bool) error {
		n, err := need(r)
		var scope *ScopeError
		var resource *ResourceError
		switch {
		case err == nil:
			return a.manager.checkNeed(n, t, retired)
		case errors.Is(err, ErrNotFound): // %v, because err may wrap another sentinel too
			return fmt.Errorf("%w: %v", ErrNotFound, err)
		case errors.As(err, &scope):
			return scope
		case errors.As(err, &resource):
			return resource
		case errors.Is(err, ErrInsufficientScope):
			return fmt.Errorf("%w: %v", ErrInsufficientScope, err)
		}
		return &unavailableError{ReasonNeedFailed, err}
	}
}

// Optional is like [Authenticator.Require], but also calls next for requests without a key. For
// these requests, [Authenticator.User] returns false. A request with a wrong key is still refused.
func (a *Authenticator[U]) Optional(next http.Handler) http.Handler {
	return a.wrap(next, unrestricted, true)
}

// wrap returns the handler that authenticates requests and calls next. A request with a key for
// which allow returns an error is refused. allow receives the token, and whether the presented key
// is the token's previous key. If optional is true, next also serves requests without a key.
func (a *Authenticator[U]) wrap(next http.Handler, allow func(r *http.Request, t *Token, retired bool) error, optional bool) http.Handler {
	if isNil(next) {
		panic("tokenauth: nil http.Handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if optional || a.options.KeyHeader != "" {
			// The Vary header may omit a required Authorization header (RFC 9110 section 12.5.5).
			a.addVary(w.Header())
		}
		var p presentation
		inner, err := a.identify(r, &p)
		if optional && err == ErrNoKey {
			inner, err = a.anonymous(r), nil
		}
		pattern, form, returned := r.Pattern, r.MultipartForm, false
		defer func() { handBack(r, inner, pattern, form, returned) }()
		if err == nil && p.record != nil {
			err = allow(inner, &p.record.Token, p.retired)
		}
		if a.accept(w, r, inner, &p, err) {
			next.ServeHTTP(w, inner)
		}
		returned = true
	})
}

// accept records the outcome of the authentication of r, and reports whether next may run. If err
// is not nil, accept writes the error response. If there is no key, or if inner is r itself because
// an outer handler has already recorded the outcome, a success is not recorded.
func (a *Authenticator[U]) accept(w http.ResponseWriter, r, inner *http.Request, p *presentation, err error) bool {
	if err != nil || inner != r && p.record != nil {
		a.manager.settle(r.Context(), p, err)
	}
	switch {
	case err != nil:
		a.WriteError(w, r, err)
	case a.options.ExpiryHeader != "" && p.record != nil:
		a.announceEnd(w.Header(), p)
	}
	return err == nil
}

// announceEnd sets the ExpiryHeader if the presented key stops working soon.
func (a *Authenticator[U]) announceEnd(h http.Header, p *presentation) {
	t := p.record.token()
	var end time.Time
	if p.retired {
		end = t.PreviousKeyUntil
	} else if expiresSoon(&t, p.at) {
		end = t.ExpiresAt
	}
	if !end.IsZero() {
		h.Set(a.options.ExpiryHeader, end.Format(http.TimeFormat))
	}
}

// identify authenticates r and returns the request for next. If an outer handler of a has already
// authenticated the same key, the result is r itself. Otherwise the result is a copy of r with a
// new context. If the authentication fails, the result is nil.
func (a *Authenticator[U]) identify(r *http.Request, p *presentation) (*http.Request, error) {
	ctx := r.Context()
	if known := a.identityIn(ctx); known != nil {
		judged := known.presented()
		key, err := a.keys.Key(r.Header)
		if err == nil && a.manager.recognize(key, p) && p.digest == judged.digest {
			*p = judged
			return r, nil
		}
	}
	id, err := a.authenticate(ctx, r.Header, p)
	if err != nil {
		return nil, err
	}
	return r.WithContext(id), nil
}

// anonymous returns the request for next if r has no key. If an outer Authenticator put an identity
// into the context of r, the result is a copy of r. The context of the copy hides that identity
// from TokenFrom.
func (a *Authenticator[U]) anonymous(r *http.Request) *http.Request {
	ctx := r.Context()
	if ctx.Value(tokenKey{}) == nil {
		return r
	}
	return r.WithContext(&identity[U]{Context: ctx, by: a})
}

// handBack sets Pattern, its path values and MultipartForm on r if a handler set them on inner,
// because code around the middleware reads them from r. Logs and metrics read Pattern and the path
// values. When a handler returns, net/http removes the files of MultipartForm. If returned is
// false, the handler panicked or called runtime.Goexit, and handBack removes these files itself.
// pattern and form are the values before the handler ran, which r and its copy inner had in common.
// If inner is nil or r itself, handBack does nothing.
func handBack(r, inner *http.Request, pattern string, form *multipart.Form, returned bool) {
	if inner == nil || inner == r {
		return
	}
	if inner.MultipartForm != form {
		r.MultipartForm = inner.MultipartForm
		if !returned && r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll()
		}
	}
	if inner.Pattern != pattern {
		r.Pattern = inner.Pattern
		for _, name := range pathNames(inner.Pattern) {
			r.SetPathValue(name, inner.PathValue(name))
		}
	}
}

// pathNames returns the names of the wildcards in a pattern, such as id in "GET /tokens/{id}".
func pathNames(pattern string) (names []string) {
	for _, part := range strings.Split(pattern, "{")[1:] {
		name, _, _ := strings.Cut(part, "}")
		name, _, _ = strings.Cut(name, ":") // other routers have {id:[0-9]+}
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			names = append(names, name)
		}
	}
	return names
}
