package tokenpage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/body"
	"github.com/go-tokenauth/tokenauth/internal/challenge"
)

const (
	policy = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	// layoutPolicy allows the logo and the fonts of the service's layout.
	layoutPolicy = "; img-src 'self'; font-src 'self'"

	retryAfter = "5" // seconds
)

// A handler serves the account page, or the staff page.
type handler struct {
	manager *tokenauth.Manager
	options Options
	texts   *Texts
	title   string   // title of the list
	intro   string   // introduction of the live tokens
	scopes  []string // scopes that the form for a new token offers
	policy  string
	assets  assets
	staff   bool
	mux     *http.ServeMux

	// whose calls the service's function and returns a Query for the tokens that the request may
	// see. For a request without a right, the Query is zero.
	whose func(*http.Request) (tokenauth.Query, error)
}

// An endpoint serves one method of one route.
type endpoint func(*exchange)

// An exchange is a request and the data that its endpoint needs.
type exchange struct {
	*handler
	w     http.ResponseWriter
	r     *http.Request // with the Pattern and the path values of the service's mux
	now   time.Time
	root  string          // URL of the page with the list of tokens, relative to the URL of r
	id    string          // token ID in the path, if the path has one
	whose tokenauth.Query // selects the tokens that the request may see; zero before identify

	resources []tokenauth.Resource // resources of the signed-in user; nil before offer
}

// exchangeKey is the context key of the exchange in a routed request.
type exchangeKey struct{}

// route registers the endpoints of a path. If post is nil, the path takes no form. Other methods
// get 405.
//
// The session may end while a client slowly sends a form. Therefore route calls identify twice:
// before it reads the form, and again before post.
func (h *handler) route(path string, get, post endpoint) {
	h.handle("GET "+path, func(x *exchange) {
		if x.identify() {
			get(x)
		}
	})
	allow := "GET, HEAD"
	if post != nil {
		allow += ", POST"
		h.handle("POST "+path, func(x *exchange) {
			if x.sameOrigin() && x.identify() && x.readForm() && x.identify() {
				post(x)
			}
		})
	}
	h.handle(path, func(x *exchange) { x.notAllowed(allow) })
}

// asset registers a file that does not depend on the user.
func (h *handler) asset(name, contentType string, content []byte) {
	h.handle("GET /"+name, func(x *exchange) {
		x.w.Header().Set("Content-Type", contentType)
		x.w.Header().Set("Cache-Control", "public, max-age=86400")
		_, _ = x.w.Write(content)
	})
	h.handle("/"+name, func(x *exchange) { x.notAllowed("GET, HEAD") })
}

// handle registers an endpoint for a pattern of the page's own mux.
func (h *handler) handle(pattern string, serve endpoint) {
	h.mux.HandleFunc(pattern, func(_ http.ResponseWriter, routed *http.Request) {
		x := routed.Context().Value(exchangeKey{}).(*exchange)
		x.id = routed.PathValue("id")
		serve(x)
	})
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setHeaders(w.Header())
	body.Limit(w, r)
	at := "/" + strings.TrimPrefix(r.URL.EscapedPath(), "/") // StripPrefix may leave no slash
	x := &exchange{handler: h, w: w, r: r, now: h.manager.Now(), root: rootOf(at)}
	switch to := withSlash(r); {
	case to != "":
		x.redirect(to, http.StatusPermanentRedirect)
	case path.Clean(at) != at, strings.Contains(at, "%"):
		// ServeMux would redirect an unclean path and decode an escaped one. No valid path of the
		// pages is escaped.
		x.notFound()
	default:
		// The mux sets Pattern and path values. It gets a separate request, so that those of r stay
		// unchanged.
		routed := &http.Request{Method: r.Method, URL: &url.URL{Path: at}}
		h.mux.ServeHTTP(w, routed.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	}
}

func (h *handler) setHeaders(header http.Header) {
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	// With no-referrer, browsers send "Origin: null" even with a form of the same origin. Over
	// plain HTTP they send no Sec-Fetch-Site, so that the page would refuse its own forms.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// withSlash returns the relative URL of the list if a request for the list lacks the slash at the
// end of the path. Otherwise it returns "". Without that slash, the relative links would be wrong.
func withSlash(r *http.Request) string {
	asked, err := url.ParseRequestURI(r.RequestURI)
	if r.URL.Path != "" || err != nil || asked.Path == "" || strings.HasSuffix(asked.Path, "/") {
		return ""
	}
	return "./" + path.Base(asked.EscapedPath()) + "/"
}

// rootOf returns the URL of the list relative to a path.
func rootOf(path string) string {
	up := strings.Count(path, "/") - 1
	if up == 0 {
		return "./"
	}
	return strings.Repeat("../", up)
}

// redirect sends a relative URL without resolving it. http.Redirect would resolve it against a path
// without the prefix that http.StripPrefix removed.
func (x *exchange) redirect(to string, status int) {
	x.w.Header().Add("Vary", "Cookie")
	x.w.Header().Set("Location", to)
	x.w.WriteHeader(status)
}

// sameOrigin reports whether a form comes from an allowed origin. If not, it writes the response.
func (x *exchange) sameOrigin() bool {
	if x.options.CrossOrigin.Check(x.r) != nil {
		x.problem(http.StatusForbidden, x.texts.CrossSite)
		return false
	}
	return true
}

// identify calls the service's function and sets x.whose. If the request may see no tokens, or if
// the signed-in user has changed since the first call, identify writes the response and returns
// false.
func (x *exchange) identify() bool {
	// Refuse keys here too, because the service's function may accept one by mistake. A stolen key
	// could then create more powerful tokens.
	if _, ok := tokenauth.TokenFrom(x.r.Context()); ok {
		x.problem(http.StatusForbidden, x.texts.NotByKey)
		return false
	}
	whose, err := x.handler.whose(x.r)
	switch {
	case err != nil:
		x.unavailable(err, x.texts.Unavailable)
	case isSomebody(whose) && isSomebody(x.whose) && whose.UserID != x.whose.UserID:
		x.problem(http.StatusConflict, x.texts.OtherUser)
	case isSomebody(whose):
		x.whose = whose
		x.setActor()
		return true
	case x.staff:
		x.problem(http.StatusForbidden, x.texts.NotStaff)
	case x.options.SignInURL != "" && x.r.Method != http.MethodPost:
		x.redirect(x.options.SignInURL, http.StatusSeeOther)
	default:
		// Do not redirect a form, because form-action forbids a sign-in page of another origin.
		x.problem(http.StatusUnauthorized, x.texts.SignedOut)
	}
	return false
}

// setActor names the signed-in user, or staff, to the Manager as the one who makes the changes. If
// the service has named somebody, setActor does nothing.
func (x *exchange) setActor() {
	ctx := x.r.Context()
	switch {
	case tokenauth.ActorFrom(ctx) != "":
		return
	case x.staff:
		ctx = tokenauth.ContextWithActor(ctx, actorStaff)
	default:
		ctx = tokenauth.ContextWithActor(ctx, actorUser+x.whose.UserID)
	}
	x.r = x.r.WithContext(ctx)
}

// isSomebody reports whether a result of handler.whose gives a right.
func isSomebody(q tokenauth.Query) bool { return q.UserID != "" || q.AllUsers }

// readForm reads the form of a request. If the form is malformed or does not arrive, readForm
// writes the response and returns false.
func (x *exchange) readForm() bool {
	text, err := body.Read(x.w, x.r)
	if err == nil {
		x.r.Body = io.NopCloser(bytes.NewReader(text))
		err = x.r.ParseForm()
	}
	if err == nil {
		return true
	}
	p := challenge.New(http.StatusBadRequest, "") // the error of ParseForm
	errors.As(err, &p)
	if p.Name != "" {
		x.w.Header().Set(p.Name, p.Value)
	}
	switch p.Status {
	case http.StatusRequestTimeout:
		x.problem(p.Status, x.texts.TooSlow)
	case http.StatusRequestEntityTooLarge:
		x.problem(p.Status, x.texts.TooLarge)
	default:
		x.problem(p.Status, x.texts.BadRequest)
	}
	return false
}

func (x *exchange) notFound() { x.problem(http.StatusNotFound, x.texts.NotFound) }

func (x *exchange) notAllowed(allow string) {
	x.w.Header().Set("Allow", allow)
	x.problem(http.StatusMethodNotAllowed, x.texts.NotAllowed)
}

// fail responds to an error of the Manager that concerns no field of a form. If the store failed,
// the page shows the given problem.
func (x *exchange) fail(err error, unavailable Problem) {
	if tokenauth.StatusCode(err) == http.StatusNotFound {
		x.notFound()
		return
	}
	x.unavailable(err, unavailable)
}

// unavailable responds to a failure of the store or of a function of the service.
func (x *exchange) unavailable(err error, p Problem) {
	x.report(err)
	x.w.Header().Set("Retry-After", retryAfter)
	x.problem(http.StatusServiceUnavailable, p)
}

// report calls OnError, unless the error occurred because the client disconnected.
func (x *exchange) report(err error) {
	if x.options.OnError != nil && x.r.Context().Err() != context.Canceled {
		x.options.OnError(x.r, err)
	}
}

// token returns the token whose ID is in the path. If it returns false, it has written the
// response.
func (x *exchange) token() (tokenauth.Token, bool) {
	tokens, err := x.find(x.id)
	if err == nil && len(tokens) == 0 {
		err = tokenauth.ErrNotFound
	}
	if err != nil {
		x.fail(err, x.texts.Unavailable)
		return tokenauth.Token{}, false
	}
	return tokens[0], true
}

// find returns the token with an ID, or none if the request may not see such a token.
func (x *exchange) find(id string) ([]tokenauth.Token, error) {
	q := x.whose
	q.IDs, q.IncludeRevoked, q.Limit = []string{id}, true, 1
	return x.manager.List(x.r.Context(), q)
}

// liveToken is like token, but does not find revoked tokens.
func (x *exchange) liveToken() (tokenauth.Token, bool) {
	t, ok := x.token()
	if ok && !t.RevokedAt.IsZero() {
		x.notFound()
		return t, false
	}
	return t, ok
}
