package tokenpage

import (
	"errors"
	"net/url"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// Parameters of the URL that say whose tokens staff want to see.
const (
	byUser   = "user"   // an ID, from a link
	bySearch = "search" // a text that staff typed
)

// A search says whose tokens staff want to see. The zero search means the tokens of all users.
type search struct {
	name, value string // parameter of the URL
	userID      string // the user who was found; empty if there is no such user
	otherID     string // another user, whose ID is the name of the first; empty if there is none
}

// search finds the user whose tokens staff want to see. The typed text may be the name of one user
// and the ID of another user. The name then decides, and the page mentions the other user.
func (x *exchange) search(query url.Values) (search, error) {
	if !x.staff {
		return search{}, nil
	}
	s := search{name: byUser, value: query.Get(byUser)}
	if typed := strings.TrimSpace(query.Get(bySearch)); typed != "" {
		s.name, s.value = bySearch, typed
	}
	if x.manager.CheckUserID(s.value) == nil {
		s.userID = s.value
	}
	if s.name == byUser || x.options.FindUser == nil {
		return s, nil
	}
	named, err := x.options.FindUser(x.r, s.value)
	switch {
	case errors.Is(err, tokenauth.ErrNoUser):
		return s, nil
	case err != nil:
		return search{}, err
	case named == "" || named == s.value:
		return s, nil
	}
	if s.userID != "" {
		s.otherID, err = x.owner(s.userID)
	}
	s.userID = named
	return s, err
}

// owner returns userID if the user has tokens, also revoked ones. Otherwise owner returns "".
func (x *exchange) owner(userID string) (string, error) {
	tokens, err := x.manager.List(x.r.Context(), tokenauth.Query{UserID: userID, IncludeRevoked: true, Limit: 1})
	if err != nil || len(tokens) == 0 {
		return "", err
	}
	return userID, nil
}

// listOf returns the tokens that q selects. If staff search for a user, listOf returns only the
// tokens of that user.
func (x *exchange) listOf(s search, q tokenauth.Query) ([]tokenauth.Token, error) {
	switch {
	case s.userID != "":
		q.UserID, q.AllUsers = s.userID, false
	case s.value != "": // no user has this name or ID
		return nil, nil
	}
	return x.manager.List(x.r.Context(), q)
}

// A searchView is the search form of staff, and the user who was found.
type searchView struct {
	URL               string // the list of all users
	Label, Typed      string // label of the search field, and the text in the field
	UserID            string // the user who was found, if any
	Name              string // the typed name of that user, if staff typed a name
	OtherID, OtherURL string // the other user, if any
	Unknown           bool   // whether staff search for a user who cannot exist
}

func (x *exchange) searchView(view string, s search) searchView {
	v := searchView{
		URL: x.listURL(view), Label: x.texts.User, Typed: visible(s.value),
		UserID: s.userID, OtherID: s.otherID, OtherURL: x.listURL(view, byUser, s.otherID),
		Unknown: s.value != "" && s.userID == "",
	}
	if s.userID != s.value {
		v.Name = v.Typed
	}
	if x.options.FindUser != nil {
		v.Label = x.texts.NameOrID
	}
	return v
}
