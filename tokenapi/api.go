package tokenapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are settings of [New] and [NewStaff]. Every zero field is the safe
// default.
type Options struct {
	// ManageScope is the scope by which a token may manage its user's tokens.
	// Even so it reaches only tokens with no scope and no expiry beyond its own,
	// and makes no others; it lists and revokes them all. What it made outlives
	// its own revocation, so after a leak revoke all. A key in the grace of a rotation
	// can do it all too, and replace the new key: never give grace to a key that has
	// leaked. Empty: no token manages tokens.
	ManageScope string

	// OnError is told of each error that is answered 503, for the log. Nil:
	// nobody is told.
	OnError func(*http.Request, error)
}

// New returns the API of one user's own tokens. It asks userID who is signed in,
// which is for the service to say, as by a session cookie: "" is nobody (401), an
// error is no answer (503). It must answer by the session alone, never by a key, or
// whoever has a key makes others that can do more and never expire.
//
// Mounted behind [tokenauth.Authenticator.Optional], it lets tokens log out: each
// may revoke itself, and all tokens of its user. So a leaked key, whatever its
// scopes, can stop the user's other clients, though it gains nothing by that. A request
// that presents a key acts for the token's user, and userID is not asked; what
// more it may do is up to [Options].ManageScope.
//
// Options may be nil; they are copied. New panics on a programming mistake: a nil
// Manager or userID, or a ManageScope that is malformed or does not exist.
func New(m *tokenauth.Manager, userID func(*http.Request) (string, error), opts *Options) http.Handler {
	if m == nil || userID == nil {
		panic("tokenapi: New: nil Manager or userID")
	}
	h := newHandler(m, opts)
	h.identify = func(c *call) error { return h.identifyUser(c, userID) }
	if scope := h.options.ManageScope; scope != "" {
		if _, err := syntax.Scopes([]string{scope}, syntax.ScopeSet(m.Scopes())); err != nil {
			panic("tokenapi: New: malformed or unknown ManageScope")
		}
	}
	h.routes["/tokens"][http.MethodPost] = h.managed(h.create, oneUser)
	h.routes["/tokens/{id}"][http.MethodPatch] = h.managed(h.update, oneUser)
	h.routes["/tokens/{id}/rotate"] = map[string]endpoint{http.MethodPost: h.managed(h.rotate, oneUser)}
	h.routes["/logout"] = map[string]endpoint{http.MethodPost: presented(func(ctx context.Context, t tokenauth.Token) error {
		return m.Revoke(ctx, t.UserID, t.ID)
	})}
	h.routes["/logout-all"] = map[string]endpoint{http.MethodPost: presented(func(ctx context.Context, t tokenauth.Token) error {
		_, err := m.RevokeAll(ctx, t.UserID)
		return err
	})}
	return h
}

// NewStaff returns the API of all users' tokens, to list, read and revoke them: it
// makes and changes none, so that nobody gets a key in another's name. It asks isStaff
// whether who sent a request may use it: false is 403, an error 503. Like userID of
// [New], isStaff must answer by the session alone. The user whose token is meant
// stands in the query, as in /tokens?user_id=42; without it GET /tokens lists
// everybody's. A request that presents a key is refused.
//
// Options may be nil; they are copied. NewStaff panics on a programming mistake:
// a nil Manager or isStaff, or a ManageScope.
func NewStaff(m *tokenauth.Manager, isStaff func(*http.Request) (bool, error), opts *Options) http.Handler {
	if m == nil || isStaff == nil {
		panic("tokenapi: NewStaff: nil Manager or isStaff")
	}
	h := newHandler(m, opts)
	if h.options.ManageScope != "" {
		panic("tokenapi: NewStaff: no token manages everybody's tokens")
	}
	h.staff = true
	h.identify = func(c *call) error { return h.identifyStaff(c, isStaff) }
	return h
}

// An endpoint serves one method of one route.
type endpoint func(w http.ResponseWriter, r *http.Request, id string) (answer, error)

type handler struct {
	manager  *tokenauth.Manager
	options  Options
	staff    bool
	identify func(*call) error              // says who sent a request, and for whose tokens
	routes   map[string]map[string]endpoint // by pattern and method
	origin   http.CrossOriginProtection
}

// A call is a request by somebody who may manage the tokens of a user.
type call struct {
	*http.Request
	query  url.Values
	id     string           // of the token that the path names
	userID string           // empty: everybody
	token  *tokenauth.Token // the one that the request presents; nil: none
}

//go:embed openapi.json
var document json.RawMessage

// A reach says whose tokens one request of staff may concern.
type reach int

const (
	oneUser reach = iota
	everybody
)

// newHandler returns what users and staff share.
func newHandler(m *tokenauth.Manager, opts *Options) *handler {
	h := &handler{manager: m}
	if opts != nil {
		h.options = *opts
	}
	h.routes = map[string]map[string]endpoint{
		"/tokens": {
			http.MethodGet:    h.managed(h.list, everybody, "cursor", "limit", "revoked"),
			http.MethodDelete: h.managed(h.revokeAll, oneUser),
		},
		"/tokens/{id}": {
			http.MethodGet:    h.managed(h.read, oneUser),
			http.MethodDelete: h.managed(h.revoke, oneUser),
		},
		"/openapi.json": {http.MethodGet: func(http.ResponseWriter, *http.Request, string) (answer, error) {
			return answer{body: document}, nil
		}},
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := h.serve(w, r)
	respond(w, r, a, err, h.options.OnError)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) (answer, error) {
	methods, id := h.route(r.URL.EscapedPath()) // an escaped slash must not act as one
	if methods == nil {
		return answer{}, refuse(http.StatusNotFound, "There is nothing here.")
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve, ok := methods[method]
	if !ok {
		return answer{}, notAllowed(slices.Collect(maps.Keys(methods))...)
	}
	return serve(w, r, id)
}

// route returns what is served at a path, and the ID in it.
func (h *handler) route(path string) (methods map[string]endpoint, id string) {
	rest, ok := strings.CutPrefix(path, "/tokens/")
	if !ok {
		return h.routes[path], ""
	}
	id, action, nested := strings.Cut(rest, "/")
	if !syntax.IsWord(id) {
		return nil, ""
	}
	pattern := "/tokens/{id}"
	if nested {
		pattern += "/" + action
	}
	return h.routes[pattern], id
}

// managed is an endpoint for those who may manage tokens.
func (h *handler) managed(serve func(http.ResponseWriter, *call) (answer, error), whose reach, params ...string) endpoint {
	return func(w http.ResponseWriter, r *http.Request, id string) (answer, error) {
		c := &call{Request: r, id: id}
		if t, ok := tokenauth.TokenFrom(r.Context()); ok {
			c.token = &t
		} else if h.origin.Check(r) != nil { // a key, unlike a cookie, is not sent by itself
			return answer{}, errCrossOrigin
		}
		if err := h.identify(c); err != nil {
			return answer{}, err
		}
		if err := h.readQuery(c, whose, params); err != nil {
			return answer{}, err
		}
		return serve(w, c)
	}
}

// presented is an endpoint for the token that a request presents.
func presented(serve func(context.Context, tokenauth.Token) error) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, _ string) (answer, error) {
		t, ok := tokenauth.TokenFrom(r.Context())
		if !ok {
			return answer{}, unauthorized("Present the key of the token to log out.")
		}
		return answer{status: http.StatusNoContent}, serve(r.Context(), t)
	}
}

func (h *handler) identifyUser(c *call, userID func(*http.Request) (string, error)) error {
	if c.token != nil {
		c.userID = c.token.UserID
		switch scope := h.options.ManageScope; {
		case scope == "":
			return refuse(http.StatusForbidden, "Tokens are not managed with a token here.")
		case !c.token.HasScopes(scope):
			return refuse(http.StatusForbidden, "The token lacks a scope: this needs "+scope+".").
				challenge(`, error="insufficient_scope", scope="` + scope + `"`)
		}
		return nil
	}
	id, err := userID(c.Request)
	switch {
	case err == nil && id == "":
		return unauthorized("Authentication credentials were not provided.")
	case err == nil:
		err = syntax.UserID(id)
	}
	if err != nil {
		return unavailable(err)
	}
	c.userID = id
	return nil
}

func (h *handler) identifyStaff(c *call, isStaff func(*http.Request) (bool, error)) error {
	if c.token != nil {
		return refuse(http.StatusForbidden, "Tokens are not managed with a token here.")
	}
	ok, err := isStaff(c.Request)
	switch {
	case err != nil:
		return unavailable(err)
	case !ok:
		return refuse(http.StatusForbidden, "This is for staff.")
	}
	return nil
}

// readQuery takes the parameters that are known, each once, and whose tokens
// staff means.
func (h *handler) readQuery(c *call, whose reach, params []string) error {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "The query is malformed.")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(params, name) && !(h.staff && name == "user_id"):
			return refuse(http.StatusBadRequest, "The query has an unknown parameter.") // not to be repeated
		case len(values) > 1:
			return badParameter(name, "given more than once")
		}
	}
	c.query = query
	if !h.staff {
		return nil
	}
	c.userID = query.Get("user_id")
	if err := syntax.UserID(c.userID); err != nil && (query.Has("user_id") || whose == oneUser) {
		return badParameter("user_id", err.Error())
	}
	return nil
}

// invalidSpec tells which member a Manager refused; name is nil if none was given.
func invalidSpec(m *tokenauth.Manager, err error, name *string, scopes []string) error {
	if !errors.Is(err, tokenauth.ErrInvalidSpec) {
		return err
	}
	member := "expires_at"
	if _, bad := syntax.Scopes(scopes, syntax.ScopeSet(m.Scopes())); bad != nil {
		member = "scopes"
	}
	if name != nil {
		if _, bad := syntax.Name(*name); bad != nil {
			member = "name"
		}
	}
	return badMember(member, strings.TrimPrefix(err.Error(), tokenauth.ErrInvalidSpec.Error()+": "))
}
