package tokenapi

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of [New] and [NewStaff]. A zero field selects the default, which is the
// safe choice.
type Options struct {
	// ManageScope is the scope that allows a token to manage the tokens of its user. If ManageScope
	// is empty, tokens cannot manage tokens.
	//
	// A token with this scope can list and revoke all tokens of the user. It can create tokens whose
	// scopes and expiry do not exceed its own. If the scopes and the expiry of a token do not exceed
	// its own, it can rename that token, remove scopes and resources and set an earlier expiry. It can
	// neither add a scope or a resource nor set a later expiry, and it can rotate only itself. A token
	// that is restricted to resources cannot manage tokens, even if it has this scope. During the
	// grace of a rotation, the previous key can only list and read tokens, log out and rotate its own
	// token.
	//
	// A rotation with the previous key replaces the new key. Therefore rotate a leaked key only with
	// a grace of zero. Tokens that a token has created stay live when that token is revoked: see
	// [tokenauth.Manager.RevokeCreatedBy].
	ManageScope string

	// SelfScope is the scope that allows a token to read and rotate itself at /tokens/self, even if
	// the token is restricted to resources. Such a token can do nothing to other tokens. If SelfScope
	// is empty, the response is 403.
	//
	// During the grace of a rotation, the previous key can do this too. Therefore a client that lost
	// the new key can rotate the token again. A thief of the key can do the same, and can keep the
	// owner's key working by a grace. The event EventPreviousKeyUsed shows such a use. Revoke a token
	// whose key has leaked.
	SelfScope string

	// CrossOrigin decides which requests from other origins to refuse. It does not apply to a
	// request that presents a key, because browsers add cookies to requests but no keys. If
	// CrossOrigin is nil, a request from another origin must present a key.
	CrossOrigin *http.CrossOriginProtection

	// OnError receives each error whose response is 503, for example to log the error. If OnError
	// is nil, these errors are discarded. OnError does not receive errors of authentication,
	// because [tokenauth.Options].OnEvent receives them.
	OnError func(*http.Request, error)
}

// New returns a handler with which the signed-in user manages the user's own tokens. The handler
// calls userID to get the ID of the signed-in user, for example from a session cookie. If userID
// returns "", nobody is signed in and the response is 401. If userID returns an error, the response
// is 503. The function userID must use only the session and never a key. Otherwise a stolen key
// could create tokens with more rights. It must not read the body.
//
// The handler calls userID again when the whole body has arrived, and once more after it has
// created a token. A user who signs out in between gets no key, and the new token is revoked.
//
// If a request presents a key of auth, the handler acts for the user of the key's token and does
// not call userID. The handler then reads the token from the store, even if a cache holds it. Every
// token may revoke itself (/logout). The current key of every token that is not restricted to
// resources may revoke all tokens of its user (/logout-all). [Options].ManageScope and
// [Options].SelfScope say which tokens may do more.
//
// If a request presents a key, the actor of its changes is "token:" and the ID of the key's token.
// Otherwise it is the actor in the context of the request. If there is none, it is "user:" and the
// ID of the user. See [tokenauth.ContextWithActor].
//
// New copies opts, which may be nil. It returns an error for an invalid option, and panics if auth
// or userID is nil.
func New[U any](auth *tokenauth.Authenticator[U], userID func(*http.Request) (string, error), opts *Options) (http.Handler, error) {
	if auth == nil || userID == nil {
		panic("tokenapi: New: nil Authenticator or userID")
	}
	h := newHandler(anyUser[U]{auth}, opts)
	if err := errors.Join(h.checkScope("ManageScope", h.options.ManageScope), h.checkScope("SelfScope", h.options.SelfScope)); err != nil {
		return nil, err
	}
	h.session = func(c *call) error { return h.identifyUser(c, userID) }
	h.route("/tokens", methods{
		http.MethodGet:    h.managed(h.list, rule{allUsers: true, params: listParams}),
		http.MethodPost:   h.managed(h.create, rule{currentKey: true}),
		http.MethodDelete: h.managed(h.revokeAll, rule{currentKey: true}),
	})
	h.route("/tokens/{id}", methods{
		http.MethodGet:    h.managed(h.read, rule{}),
		http.MethodPatch:  h.managed(h.update, rule{currentKey: true}),
		http.MethodDelete: h.managed(h.revoke, rule{currentKey: true}),
	})
	h.route("/tokens/{id}/rotate", methods{http.MethodPost: h.managed(h.rotate, rule{})})
	self := tokenauth.Need{Scopes: []string{h.options.SelfScope}, AnyResource: true}
	h.route("/tokens/self", methods{http.MethodGet: h.presented(h.readSelf, self)})
	h.route("/tokens/self/rotate", methods{http.MethodPost: h.presented(h.rotate, self)})
	h.route("/logout", methods{http.MethodPost: h.presented(h.revoke, tokenauth.Need{AnyResource: true})})
	// A restricted token must not end tokens beyond its resources, and a previous key no other token.
	h.route("/logout-all", methods{http.MethodPost: h.presented(h.logoutAll, tokenauth.Need{CurrentKey: true})})
	return h.handler(), nil
}

// NewStaff returns a handler with which staff lists, reads and revokes the tokens of all users. The
// handler does not create or change tokens, so that nobody gets a key for another user. The handler
// calls isStaff to find out whether the sender of a request may use it. If isStaff returns false,
// the response is 403. If isStaff returns an error, the response is 503. Like the function userID
// of [New], isStaff must use only the session.
//
// The query parameter user_id selects the user, as in /tokens?user_id=42. Without user_id, GET
// /tokens lists the tokens of all users. The handler refuses a request that presents a key.
//
// The actor of a change is the actor in the context of the request, or "staff" if there is none.
//
// NewStaff copies opts, which may be nil. It returns an error if opts has a ManageScope or a
// SelfScope, and panics if auth or isStaff is nil.
func NewStaff[U any](auth *tokenauth.Authenticator[U], isStaff func(*http.Request) (bool, error), opts *Options) (http.Handler, error) {
	if auth == nil || isStaff == nil {
		panic("tokenapi: NewStaff: nil Authenticator or isStaff")
	}
	h := newHandler(anyUser[U]{auth}, opts)
	if h.options.ManageScope != "" || h.options.SelfScope != "" {
		return nil, errors.New("tokenapi: NewStaff: Options.ManageScope and Options.SelfScope must be empty")
	}
	h.staff = true
	h.session = func(c *call) error { return h.identifyStaff(c, isStaff) }
	h.route("/tokens", methods{
		http.MethodGet:    h.managed(h.list, rule{allUsers: true, params: listParams}),
		http.MethodDelete: h.managed(h.revokeAll, rule{}),
	})
	h.route("/tokens/{id}", methods{
		http.MethodGet:    h.managed(h.read, rule{}),
		http.MethodDelete: h.managed(h.revoke, rule{}),
	})
	return h.handler(), nil
}

// An authenticator is a [tokenauth.Authenticator] for any type of user.
type authenticator interface {
	Manager() *tokenauth.Manager
	OptionalFunc(func(*http.Request) (tokenauth.Need, error)) func(http.Handler) http.Handler
	Token(context.Context) (tokenauth.Token, bool)
	WriteError(http.ResponseWriter, *http.Request, error)
	confirm(context.Context, tokenauth.Need) (tokenauth.Token, error)
}

// anyUser implements authenticator.
type anyUser[U any] struct{ *tokenauth.Authenticator[U] }

func (a anyUser[U]) confirm(ctx context.Context, need tokenauth.Need) (tokenauth.Token, error) {
	_, t, err := a.Confirm(ctx, need)
	return t, err
}

// An endpoint serves one method of one route.
type endpoint func(w http.ResponseWriter, r *http.Request) (answer, error)

// methods are the endpoints of a route, by HTTP method.
type methods map[string]endpoint

// An answer is the response to a request that succeeds.
type answer struct {
	status   int    // HTTP status; 0 means 200
	location string // Location header; empty if there is none
	body     any    // value to marshal as JSON; nil if the response has no body
}

type handler struct {
	auth    authenticator
	manager *tokenauth.Manager
	options Options
	staff   bool
	session func(*call) error // identifies the client of a request without a key by its session
	mux     *http.ServeMux
}

//go:embed openapi.json
var document json.RawMessage

func newHandler(auth authenticator, opts *Options) *handler {
	h := &handler{auth: auth, manager: auth.Manager(), mux: http.NewServeMux()}
	if opts != nil {
		h.options = *opts
	}
	h.options.CrossOrigin = cmp.Or(h.options.CrossOrigin, http.NewCrossOriginProtection())
	h.route("/openapi.json", methods{http.MethodGet: func(http.ResponseWriter, *http.Request) (answer, error) {
		return answer{body: document}, nil
	}})
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { auth.WriteError(w, r, tokenauth.ErrNotFound) })
	return h
}

// checkScope returns an error if the option with the given name is neither empty nor a scope of the
// Manager.
func (h *handler) checkScope(option, scope string) error {
	if scope == "" {
		return nil
	}
	if _, err := syntax.Scopes([]string{scope}, h.manager.Scopes()); err != nil {
		return fmt.Errorf("tokenapi: New: Options.%s %w", option, err)
	}
	return nil
}

// route registers the endpoints of a path. The pattern has no method, because a ServeMux refuses
// the pattern "PATCH /tokens/{id}" beside "/tokens/self". A method that is not in m gets the
// response 405. If the path has a malformed token ID, such as an ID with an escaped slash, the
// response is 404.
func (h *handler) route(path string, m methods) {
	if m[http.MethodGet] != nil {
		m[http.MethodHead] = m[http.MethodGet]
	}
	notAllowed := challenge.NotAllowed(slices.Collect(maps.Keys(m))...)
	h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		serve := m[r.Method]
		switch id := pathID(r); {
		case id != "" && !syntax.IsWord(id):
			h.auth.WriteError(w, r, tokenauth.ErrNotFound)
		case serve == nil:
			h.fail(w, r, notAllowed)
		default:
			a, err := serve(w, r)
			h.respond(w, r, a, err)
		}
	})
}

// requestKey is the context key of the request that the service knows, in a request that the mux
// has routed.
type requestKey struct{}

// pathID returns the token ID in the path of a request that the mux has routed. If the route has no
// token ID, pathID returns "". PathValue alone would also return a value that an outer router set
// with SetPathValue.
func pathID(r *http.Request) string {
	if !strings.Contains(r.Pattern, "{id}") {
		return ""
	}
	return r.PathValue("id")
}

// handler returns the handler that New and NewStaff return. It authenticates a request by the
// Authenticator before it calls the mux.
func (h *handler) handler() http.Handler {
	// The endpoints decide which tokens they accept.
	anyToken := func(*http.Request) (tokenauth.Need, error) { return tokenauth.Need{AnyResource: true}, nil }
	protected := h.auth.OptionalFunc(anyToken)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect a path that is not clean, and decode an escaped path.
		if p := r.URL.EscapedPath(); path.Clean("/"+p) != p || strings.Contains(p, "%") {
			h.auth.WriteError(w, r, tokenauth.ErrNotFound)
			return
		}
		// The mux gets a copy of r. In r itself, the functions of the service find the path values of the
		// service's own mux.
		routed := r.WithContext(context.WithValue(r.Context(), requestKey{}, r))
		h.mux.ServeHTTP(w, routed)
		r.Pattern = r.Method + " " + routed.Pattern // for logs and metrics
		if id := pathID(routed); id != "" {
			r.SetPathValue("id", id)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Add("Vary", "Cookie")
		body.Limit(w, r) // for requests that are refused before admit reads the body
		protected.ServeHTTP(w, r)
	})
}

func (h *handler) respond(w http.ResponseWriter, r *http.Request, a answer, err error) {
	var text []byte
	if err == nil && a.body != nil {
		text, err = json.Marshal(a.body) // Marshal fails if the store returned a time beyond the year 9999
	}
	switch {
	case err != nil:
		h.fail(w, r, err)
		return
	case a.location != "":
		w.Header().Set("Location", a.location)
	}
	if text == nil {
		w.WriteHeader(a.status)
		return
	}
	challenge.WriteJSON(w, r, "application/json", cmp.Or(a.status, http.StatusOK), text)
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	failed := tokenauth.StatusCode(err) == http.StatusServiceUnavailable
	if failed && h.options.OnError != nil && r.Context().Err() != context.Canceled { // Canceled: the client has disconnected
		h.options.OnError(r, err)
	}
	h.auth.WriteError(w, r, err)
}
