// Package tokenpage is an account page on which people manage their API tokens:
// they see them, make new ones, and rename, rotate and revoke them. A second page
// shows staff the tokens of all users.
//
//	page := tokenpage.New(tokens, signedInUser, nil)
//	mux.Handle("/account/tokens/", http.StripPrefix("/account/tokens", page))
//
// The pages are rendered on the server and work without JavaScript. All links are
// relative, so that they may be mounted under any path that ends in a slash.
//
// # Appearance
//
// [Options].CSS overrides the custom properties at the top of the stylesheet, such
// as --tp-brand, [Options].Layout puts the pages into the service's own frame, and
// [Options].Texts replaces the words. For several languages, make a handler for each
// and choose by request.
//
// # Security
//
// A page changes something only when a form of the same origin is sent, which
// [http.CrossOriginProtection] checks, by a user who is signed in. A key is in the
// answer to the form that made it and nowhere else: in no URL, redirect, cookie,
// title or log. Sending that form again makes no second key: the name is taken, or
// the key has been replaced already. Every page forbids inline scripts and styles,
// framing and storing.
//
// Who is signed in must be told by the session alone, never by a key, or whoever has a
// key could make others that may do more. A request whose key an
// [tokenauth.Authenticator] accepted is refused.
package tokenpage

import (
	"cmp"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of the pages. Every zero field is the default.
type Options struct {
	// Texts are the words on the pages. Empty fields: English.
	Texts Texts

	// Scopes describes scopes to those who choose among them, by name. The scopes
	// that are offered are the Manager's; where it allows any, the ones here.
	Scopes map[string]string

	// FindUser tells staff whom they mean by what they typed, such as a username or an
	// address of e-mail: the ID of a user, or "" or [tokenauth.ErrNoUser] if there is none.
	// It must know IDs as well, which staff can type too. Nil: they type the ID.
	FindUser func(r *http.Request, typed string) (userID string, err error)

	// SignInURL is where people go who are not signed in: an absolute path or URL, since
	// the pages lie at several depths. Empty: they are told so.
	SignInURL string

	// CSS is added to the end of the stylesheet.
	CSS string

	// Layout writes a whole document around a page. It is executed before anything is
	// sent; after an error the answer is 500, or the plain document if the page holds a
	// new key, which would be lost. The policy of the pages allows it
	// styles, scripts, images and fonts of the same origin, and nothing inline. A page
	// may hold a key, which must go nowhere else. Nil: a plain document.
	Layout func(w io.Writer, r *http.Request, p Page) error

	// CrossOrigin decides which forms to refuse, for a service that trusts other
	// origins, or whose proxy hides the host from it. Nil: all of other origins.
	CrossOrigin *http.CrossOriginProtection

	// OnError is told what kept a page from being shown: what the store or the
	// service's own functions returned, unless the client gave up. Nil: nobody is told.
	OnError func(r *http.Request, err error)

	// Now is the clock by which times are told. Nil: time.Now.
	Now func() time.Time
}

// New returns the account page, for each user's own tokens. It calls userID on each
// request to learn who is signed in: an empty ID means nobody (see
// [Options].SignInURL), an error that it can't be told (503). userID must go by the
// session alone, never by a key.
//
// Options may be nil; they are copied. New panics on a programming mistake: a nil
// Manager or userID, or a description of a scope that does not or cannot exist.
func New(m *tokenauth.Manager, userID func(*http.Request) (string, error), opts *Options) http.Handler {
	if m == nil || userID == nil {
		panic("tokenpage: New: nil Manager or userID")
	}
	h := newHandler(m, opts)
	h.whose = func(r *http.Request) (tokenauth.Query, error) {
		id, err := userID(r)
		if err == nil && id != "" {
			err = syntax.UserID(id) // here, where it is not taken for a mistake in a form
		}
		return tokenauth.Query{UserID: id}, err
	}
	h.pages = map[string]methods{
		viewLive:    {get: (*exchange).live},
		viewHistory: {get: (*exchange).history},
		"new":       {get: (*exchange).newToken, post: (*exchange).create},
	}
	h.actions = map[string]methods{
		"rename": {get: (*exchange).askName, post: (*exchange).rename},
		"rotate": {get: (*exchange).askGrace, post: (*exchange).rotate},
		"revoke": {get: (*exchange).askRevoke, post: (*exchange).revoke},
	}
	return h
}

// NewStaff returns a page on which staff see the tokens of all users, search them by
// user, and revoke them. For whom isStaff is false it is 403; an error means that it
// can't be told (503). isStaff must go by the session alone, never by a key.
//
// Of the options, Scopes means nothing here, FindUser only here, and SignInURL is a link on the page that
// refuses: staff whose session has ended is told no more than others. NewStaff panics as
// [New] does.
func NewStaff(m *tokenauth.Manager, isStaff func(*http.Request) (bool, error), opts *Options) http.Handler {
	if m == nil || isStaff == nil {
		panic("tokenpage: NewStaff: nil Manager or isStaff")
	}
	h := newHandler(m, opts)
	h.staff = true
	h.title, h.intro = h.texts.StaffTitle, h.texts.StaffIntro
	h.whose = func(r *http.Request) (tokenauth.Query, error) {
		ok, err := isStaff(r)
		return tokenauth.Query{AllUsers: ok}, err
	}
	h.pages = map[string]methods{
		viewLive:    {get: (*exchange).live},
		viewHistory: {get: (*exchange).history},
	}
	h.actions = map[string]methods{
		"revoke": {get: (*exchange).askRevoke, post: (*exchange).revoke},
	}
	return h
}

func newHandler(m *tokenauth.Manager, opts *Options) *handler {
	h := &handler{manager: m}
	if opts != nil {
		h.options = *opts
	}
	o := &h.options
	o.Scopes = maps.Clone(o.Scopes)
	described := slices.Sorted(maps.Keys(o.Scopes))
	h.scopes = m.Scopes()
	if len(h.scopes) == 0 {
		h.scopes = described
	}
	for _, scope := range described {
		if err := syntax.Scope(scope); err != nil {
			panic("tokenpage: Options.Scopes: " + err.Error())
		}
		if !slices.Contains(h.scopes, scope) {
			panic("tokenpage: Options.Scopes: unknown scope")
		}
	}
	o.CrossOrigin = cmp.Or(o.CrossOrigin, http.NewCrossOriginProtection())
	if o.Now == nil {
		o.Now = time.Now
	}
	h.policy = policy
	if o.Layout == nil {
		o.Layout = h.plainLayout
	} else {
		h.policy += layoutPolicy
	}
	h.texts = o.Texts.orEnglish()
	h.title, h.intro = h.texts.Title, h.texts.Intro
	h.assets = newAssets(o.CSS)
	return h
}
