// Package tokenpage serves an account page on which people manage their API tokens. They list,
// create, rename, rotate and revoke tokens. A second page shows staff the tokens of all users. Use
// this package if the service has a sign-in for browsers. For programs, or for a page of your own,
// use the JSON API of package [github.com/go-tokenauth/tokenauth/tokenapi].
//
//	page, err := tokenpage.New(tokens, signedInUser, nil)
//	mux.Handle("/account/tokens/", http.StripPrefix("/account/tokens", page))
//
// The server renders the pages, and they work without JavaScript. All links are relative, so the
// service may mount the pages under any path that ends in a slash. The guide
// [docs/manage-tokens.md] has screenshots, and code for sign-in and sessions.
//
// # Resources and actors
//
// If the Manager has Options.Resources, the form for a new token requires a choice: some resources
// of the user, or all of them. The page calls the function once for each form for a new token, and
// once for each other page that shows a restricted token.
//
// For each change, the page gives the Manager an actor: "user:" and the ID of the user, or "staff"
// (see [tokenauth.ContextWithActor]). If the context of the request has an actor, the page keeps
// that actor. The lists show who revoked a token, and who created it if that was not its user.
//
// # Appearance
//
// [Options].CSS overrides the custom properties at the top of the stylesheet, such as --tp-brand.
// [Options].Layout puts the pages into the service's own frame. [Options].Texts replaces the texts.
// For several languages, create one handler per language and choose among them by request.
//
// # Security
//
// A page changes tokens only when a signed-in user sends a form. [http.CrossOriginProtection]
// refuses forms from other origins. The page reads a form completely before it acts: at most 64
// KiB, within 10 seconds. It calls the service's function before and after it reads the form. If
// the user has signed out in the meantime, or another user has signed in, nothing is changed.
//
// After the page has created a token, it calls the service's function again. If the same user is no
// longer signed in, the page revokes the token and does not show the key.
//
// The response to the form that creates a key contains the key. No other response, URL, cookie,
// title or log contains it. A form works once: the form for a new token carries the ID of that
// token, and the form for a new key carries the generation of the key that it replaces. If a
// browser sends a form twice, the page creates no second key, even if the first key has been
// revoked. After Manager.Prune has deleted the token, the form works again.
//
// The pages forbid inline scripts, inline styles, framing and storing.
//
// The service must decide by the session alone who is signed in, and never by a key. Otherwise a
// stolen key could create more powerful tokens. The pages refuse a request if the innermost
// [tokenauth.Authenticator] accepted a key.
//
// [docs/manage-tokens.md]: https://github.com/go-tokenauth/tokenauth/blob/main/docs/manage-tokens.md
package tokenpage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// Options are the settings of the pages. A zero field selects the default.
type Options struct {
	// Texts are the texts of the pages. An empty field selects the English text.
	Texts Texts

	// Scopes describes scopes to the users who choose among them. The keys of the map are the
	// scopes. The page offers the scopes of the Manager. If the Manager allows any scope, the page
	// offers the scopes of this map.
	Scopes map[string]string

	// FindUser returns the ID of the user whose name staff typed into the search field, such as a
	// username or an email address. If there is no such user, FindUser returns "" or
	// [tokenauth.ErrNoUser]. FindUser must not find users by ID, because the page itself also takes
	// the text as an ID. If the text is the name of one user and the ID of another, the page shows
	// the tokens of the user with the name, and links to the other user. If FindUser is nil, staff
	// type an ID.
	FindUser func(r *http.Request, typed string) (userID string, err error)

	// SignInURL is the sign-in page, for users who are not signed in. It must be an absolute path
	// or URL, because the paths of the pages have different depths. If SignInURL is empty, the page
	// says that the user is not signed in.
	SignInURL string

	// CSS is added to the end of the stylesheet.
	CSS string

	// Layout writes the whole document around a page. The Content-Security-Policy of the pages
	// allows styles, scripts, images and fonts of the same origin, and nothing inline. If Layout
	// returns an error, its output is discarded and the response is 500. But if the page shows a
	// new key, the response is the plain document, because the key would be lost. Layout must not
	// copy the page to any other place, because the page may contain a key. If Layout is nil, the
	// pages are plain documents.
	Layout func(w io.Writer, r *http.Request, p Page) error

	// CrossOrigin decides which forms to refuse. Set it if the service trusts other origins, or if
	// a reverse proxy changes the Host header. If CrossOrigin is nil, forms from all other origins
	// are refused.
	CrossOrigin *http.CrossOriginProtection

	// OnError receives each error of the store, and of the service's own functions, because of
	// which a page was not shown, or shows IDs in place of names and labels. It receives no error if
	// the client has disconnected. If OnError is nil, errors are discarded.
	OnError func(r *http.Request, err error)
}

// New returns the account page, on which users manage their own tokens. The page calls userID to
// learn who is signed in: once for each page, twice for each form, and once more after a token was
// created. If nobody is signed in, userID returns "" (see [Options].SignInURL). If userID returns
// an error, the response is 503.
//
// userID must decide by the session alone and never by a key. Each call must read the session from
// its store, because a user may sign out while a form arrives. A result that a middleware put into
// the context of the request may be outdated.
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
			err = m.CheckUserID(id) // the service, not the user, has made a malformed ID
		}
		return tokenauth.Query{UserID: id}, err
	}
	h.route("/new", (*exchange).newToken, (*exchange).create)
	h.route("/{id}/rename", (*exchange).askName, (*exchange).rename)
	h.route("/{id}/rotate", (*exchange).askGrace, (*exchange).rotate)
	return h, nil
}

// NewStaff returns a page on which staff see the tokens of all users, search them by user, and
// revoke them. The page calls isStaff once for each page and twice for each form. If isStaff
// returns false, the response is 403. If isStaff returns an error, the response is 503. The rules
// for userID of [New] also apply to isStaff: it must read the session on each call, and never use a
// key.
//
// The 403 page has a link to [Options].SignInURL, because the session may have ended. NewStaff
// ignores the descriptions in [Options].Scopes.
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

// newHandler returns a handler with the common routes of both pages.
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

// offerScopes sets the scopes that the form offers. These are the scopes of the Manager. If the
// Manager allows any scope, these are the scopes of Options.Scopes.
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
