// Package tokenpage is an account page on which people manage their API tokens:
// they see them, make new ones, and rename, rotate and revoke them. A second page
// shows staff the tokens of all users.
//
//	page, err := tokenpage.New(tokens, signedInUser, nil)
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
	"errors"
	"fmt"
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

// New returns the account page, for each user's own tokens. It calls userID on each request to
// learn who is signed in. If userID returns "", nobody is signed in (see [Options].SignInURL); an
// error means that it failed (503). It must decide by the session alone and never by a key.
//
// New copies opts, which may be nil. It returns an error if opts describes a scope that is
// malformed or unknown to the Manager, and panics if m or userID is nil.
func New(m *tokenauth.Manager, userID func(*http.Request) (string, error), opts *Options) (http.Handler, error) {
	if m == nil || userID == nil {
		panic("tokenpage: New: nil Manager or userID")
	}
	h, err := newHandler(m, opts)
	if err != nil {
		return nil, fmt.Errorf("tokenpage: New: %w", err)
	}
	h.whose = func(r *http.Request) (tokenauth.Query, error) {
		id, err := userID(r)
		if err == nil && id != "" {
			err = syntax.UserID(id) // a malformed ID is the service's mistake, not the form's
		}
		return tokenauth.Query{UserID: id}, err
	}
	h.route("/new", (*exchange).newToken, (*exchange).create)
	h.route("/{id}/rename", (*exchange).askName, (*exchange).rename)
	h.route("/{id}/rotate", (*exchange).askGrace, (*exchange).rotate)
	return h, nil
}

// NewStaff returns a page on which staff see the tokens of all users, search them by user, and
// revoke them. It calls isStaff on each request: false is 403, an error is 503. Like the userID
// of [New], isStaff must decide by the session alone.
//
// [Options].SignInURL is a link on the page that refuses, because the session of staff may have
// ended. NewStaff ignores the descriptions of [Options].Scopes.
//
// NewStaff copies opts, which may be nil. It returns the same errors as New, and panics if m or
// isStaff is nil.
func NewStaff(m *tokenauth.Manager, isStaff func(*http.Request) (bool, error), opts *Options) (http.Handler, error) {
	if m == nil || isStaff == nil {
		panic("tokenpage: NewStaff: nil Manager or isStaff")
	}
	h, err := newHandler(m, opts)
	if err != nil {
		return nil, fmt.Errorf("tokenpage: NewStaff: %w", err)
	}
	h.staff = true
	h.title, h.intro = h.texts.StaffTitle, h.texts.StaffIntro
	h.whose = func(r *http.Request) (tokenauth.Query, error) {
		ok, err := isStaff(r)
		return tokenauth.Query{AllUsers: ok}, err
	}
	return h, nil
}

// newHandler returns a handler with the routes that both pages have.
func newHandler(m *tokenauth.Manager, opts *Options) (*handler, error) {
	h := &handler{manager: m, mux: http.NewServeMux()}
	if opts != nil {
		h.options = *opts
	}
	o := &h.options
	o.Scopes = maps.Clone(o.Scopes)
	if err := h.offerScopes(); err != nil {
		return nil, err
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
	h.routeAssets()
	h.route("/{$}", (*exchange).live, nil)
	h.route("/history", (*exchange).history, nil)
	h.route("/{id}/revoke", (*exchange).askRevoke, (*exchange).revoke)
	h.handle("/", (*exchange).notFound)
	return h, nil
}

// offerScopes sets the scopes on offer: the Manager's, or those that the options describe if the
// Manager allows any.
func (h *handler) offerScopes() error {
	described := slices.Sorted(maps.Keys(h.options.Scopes))
	h.scopes = h.manager.Scopes()
	if len(h.scopes) == 0 {
		h.scopes = described
	}
	for _, scope := range described {
		if err := syntax.Scope(scope); err != nil {
			return fmt.Errorf("Options.Scopes: scope %w", err)
		}
		if !slices.Contains(h.scopes, scope) {
			return errors.New("Options.Scopes must not contain an unknown scope")
		}
	}
	return nil
}
