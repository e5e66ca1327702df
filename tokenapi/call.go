package tokenapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

var (
	errCrossOrigin = challenge.New(http.StatusForbidden, "The request comes from another origin.")
	errByToken     = challenge.New(http.StatusForbidden, "Tokens cannot manage tokens here.")
	errNotStaff    = challenge.New(http.StatusForbidden, "Only staff may do this.")
)

// A call is a request to manage the tokens of a user.
type call struct {
	*http.Request
	id     string // token ID in the path, or the ID of the presented token if the path means that token
	query  url.Values
	body   []byte
	userID string           // user whose tokens the request concerns; empty for all users
	need   tokenauth.Need   // what the request requires of a presented key
	byKey  bool             // true if the request presents an accepted key
	token  *tokenauth.Token // token of the presented key, as the store has it; nil if byKey is false
}

// A rule says what an endpoint requires of a request.
type rule struct {
	allUsers   bool     // staff may omit the user, and then gets the tokens of all users
	currentKey bool     // a key that a rotation has replaced does not suffice
	params     []string // parameters that the query may have
}

// managed returns an endpoint that calls serve if the client may manage the tokens.
func (h *handler) managed(serve func(*call) (answer, error), r rule) endpoint {
	need := tokenauth.Need{Scopes: []string{h.options.ManageScope}, CurrentKey: r.currentKey}
	return func(w http.ResponseWriter, req *http.Request) (answer, error) {
		c := h.newCall(req, need)
		if err := h.admit(w, c); err != nil {
			return answer{}, err
		}
		if err := h.readQuery(c, r); err != nil {
			return answer{}, err
		}
		h.setActor(c)
		return serve(c)
	}
}

// presented returns an endpoint that calls serve if the client presents a key whose token meets
// need. The ID of the call is the ID of that token.
func (h *handler) presented(serve func(*call) (answer, error), need tokenauth.Need) endpoint {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		c := h.newCall(r, need)
		if !c.byKey {
			return answer{}, tokenauth.ErrNoKey
		}
		if err := h.admit(w, c); err != nil {
			return answer{}, err
		}
		c.id = c.token.ID
		h.setActor(c)
		return serve(c)
	}
}

func (h *handler) newCall(routed *http.Request, need tokenauth.Need) *call {
	r := routed.Context().Value(requestKey{}).(*http.Request)
	_, byKey := h.auth.Token(r.Context())
	return &call{Request: r, id: pathID(routed), need: need, byKey: byKey}
}

// setActor sets the actor that the Manager stores for the changes of the request. A presented token
// is always the actor. Otherwise the service may have set one, for example the member who manages
// the tokens of an organization.
func (h *handler) setActor(c *call) {
	by := "user:" + c.userID
	switch {
	case c.byKey:
		by = "token:" + c.token.ID
	case tokenauth.ActorFrom(c.Context()) != "":
		return
	case h.staff:
		by = "staff"
	}
	c.Request = c.WithContext(tokenauth.ContextWithActor(c.Context(), by))
}

// admit reads the body of a request and then identifies the client. The order matters: a client can
// send the body for as long as it likes, and may lose its rights meanwhile. A client without a
// session or a key is refused before the body is read.
func (h *handler) admit(w http.ResponseWriter, c *call) (err error) {
	switch {
	case c.byKey && slices.Contains(c.need.Scopes, ""): // the option with the scope is empty
		return errByToken
	case !c.byKey:
		if h.options.CrossOrigin.Check(c.Request) != nil {
			return errCrossOrigin
		}
		if err := h.session(c); err != nil {
			return err
		}
	}
	if c.body, err = body.Read(w, c.Request); err != nil {
		return err
	}
	if !c.byKey && !body.Expected(c.Request) {
		return nil // the session was read just now
	}
	return h.identify(c)
}

// identify finds out for whom the client acts now. It reads a presented token from the store, and
// never from a cache.
func (h *handler) identify(c *call) error {
	if !c.byKey {
		return h.session(c)
	}
	t, err := h.auth.confirm(c.Context(), c.need)
	c.userID, c.token = t.UserID, &t
	return err
}

func (h *handler) identifyUser(c *call, userID func(*http.Request) (string, error)) error {
	id, err := userID(c.Request)
	switch {
	case err == nil && id == "":
		return tokenauth.ErrNoKey
	case err == nil:
		err = h.manager.CheckUserID(id) // a malformed ID is a mistake of the service
	}
	if err != nil {
		return challenge.Unavailable(err)
	}
	c.userID = id
	return nil
}

func (h *handler) identifyStaff(c *call, isStaff func(*http.Request) (bool, error)) error {
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
func (h *handler) readQuery(c *call, r rule) error {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return challenge.New(http.StatusBadRequest, "The query is malformed.")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(r.params, name) && !(h.staff && name == "user_id"):
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
	if r.allUsers && !query.Has("user_id") {
		return nil
	}
	var invalid *tokenauth.SpecError
	if errors.As(h.manager.CheckUserID(c.userID), &invalid) {
		return challenge.Parameter("user_id", invalid.Problem)
	}
	return nil
}
