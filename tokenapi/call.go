package tokenapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

var (
	errCrossOrigin = challenge.New(http.StatusForbidden, "The request comes from another origin.")
	errByToken     = challenge.New(http.StatusForbidden, "Tokens cannot manage tokens here.")
	errNotStaff    = challenge.New(http.StatusForbidden, "Only staff may do this.")
)

// A reach says whose tokens a request to the handler of NewStaff may concern.
type reach int

const (
	oneUser   reach = iota // the tokens of the user in the parameter user_id
	everybody              // the tokens of all users if the parameter user_id is absent
)

// managed returns an endpoint that calls serve if the client may manage the tokens. params are the
// names of the parameters that the query may have.
func (h *handler) managed(serve func(http.ResponseWriter, *call) (answer, error), whose reach, params ...string) endpoint {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		c := &call{Request: r, id: pathID(r)}
		if t, ok := h.auth.Token(r.Context()); ok {
			c.token = &t
		} else if h.origin.Check(r) != nil { // for cookies only: browsers add cookies to requests, but no keys
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

// presented returns an endpoint that calls serve with the token of the presented key.
func (h *handler) presented(serve func(context.Context, *tokenauth.Token) error) endpoint {
	return func(_ http.ResponseWriter, r *http.Request) (answer, error) {
		t, ok := h.auth.Token(r.Context())
		if !ok {
			return answer{}, tokenauth.ErrNoKey
		}
		return answer{status: http.StatusNoContent}, serve(r.Context(), &t)
	}
}

func (h *handler) identifyUser(c *call, userID func(*http.Request) (string, error)) error {
	if c.token != nil {
		c.userID = c.token.UserID
		switch scope := h.options.ManageScope; {
		case scope == "":
			return errByToken
		case !c.token.HasScopes(scope):
			return &tokenauth.ScopeError{Need: []string{scope}}
		}
		return nil
	}
	id, err := userID(c.Request)
	switch {
	case err == nil && id == "":
		return tokenauth.ErrNoKey
	case err == nil:
		err = syntax.UserID(id)
	}
	if err != nil {
		return challenge.Unavailable(err)
	}
	c.userID = id
	return nil
}

func (h *handler) identifyStaff(c *call, isStaff func(*http.Request) (bool, error)) error {
	if c.token != nil {
		return errByToken
	}
	ok, err := isStaff(c.Request)
	switch {
	case err != nil:
		return challenge.Unavailable(err)
	case !ok:
		return errNotStaff
	}
	return nil
}

// readQuery parses the query. It returns an error if a parameter is unknown or repeated. For the
// handler of NewStaff, readQuery also sets the user from the parameter user_id.
func (h *handler) readQuery(c *call, whose reach, params []string) error {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return challenge.New(http.StatusBadRequest, "The query is malformed.")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(params, name) && !(h.staff && name == "user_id"):
			return challenge.New(http.StatusBadRequest, "The query has an unknown parameter.")
		case len(values) > 1:
			return challenge.Parameter(name, "must be given only once")
		}
	}
	c.query = query
	if !h.staff {
		return nil
	}
	c.userID = query.Get("user_id")
	if err := syntax.UserID(c.userID); err != nil && (query.Has("user_id") || whose == oneUser) {
		return challenge.Parameter("user_id", err.Error())
	}
	return nil
}
