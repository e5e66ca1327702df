package tokenpage

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const (
	policy = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	// A layout has the service's logo and fonts.
	layoutPolicy = "; img-src 'self'; font-src 'self'"

	maxBody    = 64 << 10
	retryAfter = "5" // seconds
)

// A handler serves the account page, or the staff's.
type handler struct {
	manager *tokenauth.Manager
	options Options
	texts   *Texts
	title   string   // of the list
	intro   string   // of its live tokens
	scopes  []string // on offer
	policy  string
	assets  assets
	staff   bool

	// whose says whose tokens a request is about. The zero Query: nobody's.
	whose   func(*http.Request) (tokenauth.Query, error)
	pages   map[string]methods // by the only segment of the path
	actions map[string]methods // by the second one; the first is a token's ID
}

// methods are what answers at a path.
type methods struct {
	get, post func(*exchange) // post may be nil
}

// An exchange is a request and all that is needed to answer it.
type exchange struct {
	*handler
	w     http.ResponseWriter
	r     *http.Request
	now   time.Time
	root  string          // the relative URL of the list
	id    string          // of the token that the path names, if it does
	whose tokenauth.Query // whose tokens may be seen
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setHeaders(w.Header())
	// IDs and names of pages are never escaped, and what is escaped must not look like them.
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if len(segments) == 1 && h.assets.serve(w, r, segments[0]) {
		return
	}
	w.Header().Add("Vary", "Cookie")
	if to := withSlash(r); to != "" {
		redirect(w, to, http.StatusPermanentRedirect)
		return
	}
	x := &exchange{handler: h, w: w, r: r, now: h.options.Now(), root: rootOf(segments)}
	var at methods
	switch len(segments) {
	case 1:
		at = h.pages[segments[0]]
	case 2:
		if syntax.IsWord(segments[0]) { // an empty ID would select any token
			x.id, at = segments[0], h.actions[segments[1]]
		}
	}
	switch {
	case at.get == nil:
		x.problem(http.StatusNotFound, x.texts.NotFound)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		if x.identify() {
			at.get(x)
		}
	case at.post == nil:
		x.notAllowed("GET, HEAD")
	case r.Method != http.MethodPost:
		x.notAllowed("GET, HEAD, POST")
	case h.options.CrossOrigin.Check(r) != nil:
		x.problem(http.StatusForbidden, x.texts.CrossSite)
	default:
		if x.identify() && x.parseForm() {
			at.post(x)
		}
	}
}

func (h *handler) setHeaders(header http.Header) {
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	// Under no-referrer a browser sends "Origin: null" even with a form of the same
	// origin, which is refused where it does not send Sec-Fetch-Site: over plain HTTP.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// withSlash returns the relative URL of the list for a request to the place where the
// handler is mounted, but without the slash at its end: relative links would go wrong.
func withSlash(r *http.Request) string {
	asked, err := url.ParseRequestURI(r.RequestURI)
	if r.URL.Path != "" || err != nil || asked.Path == "" || strings.HasSuffix(asked.Path, "/") {
		return ""
	}
	return "./" + path.Base(asked.EscapedPath()) + "/"
}

func rootOf(segments []string) string {
	if len(segments) == 1 {
		return "./"
	}
	return strings.Repeat("../", len(segments)-1)
}

// redirect leaves a relative URL as it is; http.Redirect would resolve it against a
// path that has lost its prefix.
func redirect(w http.ResponseWriter, to string, status int) {
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

// identify finds out whose tokens the request is about. If it returns false it has answered.
func (x *exchange) identify() bool {
	// A key must not make others that may do more, whatever the service's function says.
	if _, ok := tokenauth.TokenFrom(x.r.Context()); ok {
		x.problem(http.StatusForbidden, x.texts.NotByKey)
		return false
	}
	whose, err := x.handler.whose(x.r)
	switch {
	case err != nil:
		x.fail(err, x.texts.Unavailable)
	case whose.UserID != "" || whose.AllUsers:
		x.whose = whose
		return true
	case x.staff:
		x.problem(http.StatusForbidden, x.texts.NotStaff)
	case x.options.SignInURL != "" && x.r.Method != http.MethodPost:
		redirect(x.w, x.options.SignInURL, http.StatusSeeOther)
	default:
		// A form is not sent on: form-action would forbid a sign-in at another origin.
		x.problem(http.StatusUnauthorized, x.texts.SignedOut)
	}
	return false
}

// parseForm reads the form. If it returns false it has answered.
func (x *exchange) parseForm() bool {
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxBody)
	err := x.r.ParseForm()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		x.problem(http.StatusRequestEntityTooLarge, x.texts.TooLarge)
	case err != nil:
		x.problem(http.StatusBadRequest, x.texts.BadRequest)
	}
	return err == nil
}

func (x *exchange) notAllowed(allow string) {
	x.w.Header().Set("Allow", allow)
	x.problem(http.StatusMethodNotAllowed, x.texts.NotAllowed)
}

// fail answers an error that is about no field of a form. Where the store did not
// answer, unavailable says what that means.
func (x *exchange) fail(err error, unavailable Problem) {
	if errors.Is(err, tokenauth.ErrNotFound) {
		x.problem(http.StatusNotFound, x.texts.NotFound)
		return
	}
	x.tell(err)
	x.w.Header().Set("Retry-After", retryAfter)
	x.problem(http.StatusServiceUnavailable, unavailable)
}

func (x *exchange) tell(err error) {
	if x.options.OnError != nil && x.r.Context().Err() != context.Canceled { // else the client gave up
		x.options.OnError(x.r, err)
	}
}

// token returns the token that the path names. If it returns false it has answered.
func (x *exchange) token() (tokenauth.Token, bool) {
	q := x.whose
	q.IDs, q.IncludeRevoked, q.Limit = []string{x.id}, true, 1
	tokens, err := x.manager.List(x.r.Context(), q)
	if err == nil && len(tokens) == 0 {
		err = tokenauth.ErrNotFound
	}
	if err != nil {
		x.fail(err, x.texts.Unavailable)
		return tokenauth.Token{}, false
	}
	return tokens[0], true
}

// liveToken is token, where a revoked one counts as none.
func (x *exchange) liveToken() (tokenauth.Token, bool) {
	t, ok := x.token()
	if ok && !t.RevokedAt.IsZero() {
		x.problem(http.StatusNotFound, x.texts.NotFound)
		return t, false
	}
	return t, ok
}
