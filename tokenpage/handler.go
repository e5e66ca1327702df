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
)

const (
	policy = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	// A layout has the service's logo and fonts.
	layoutPolicy = "; img-src 'self'; font-src 'self'"

	maxBody    = 64 << 10
	retryAfter = "5" // seconds
)

// A handler serves the account page, or the staff page.
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
	mux     *http.ServeMux

	// whose says whose tokens a request is about. The zero Query: nobody's.
	whose func(*http.Request) (tokenauth.Query, error)
}

// An endpoint serves one method of one route.
type endpoint func(*exchange)

// An exchange is a request with all that its endpoint needs.
type exchange struct {
	*handler
	w     http.ResponseWriter
	r     *http.Request // as the service sent it: Pattern and the path values are the service's
	now   time.Time
	root  string          // the relative URL of the list
	id    string          // of the token that the path names, if it does
	whose tokenauth.Query // whose tokens may be seen
}

// exchangeKey finds the exchange in the context of a routed request.
type exchangeKey struct{}

// route registers the endpoints of a path; post may be nil. Other methods get 405.
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
			if x.sameOrigin() && x.identify() && x.parseForm() {
				post(x)
			}
		})
	}
	h.handle(path, func(x *exchange) { x.notAllowed(allow) })
}

// asset registers a file that is the same for everybody.
func (h *handler) asset(name, contentType string, content []byte) {
	h.handle("GET /"+name, func(x *exchange) {
		x.w.Header().Set("Content-Type", contentType)
		x.w.Header().Set("Cache-Control", "public, max-age=86400")
		_, _ = x.w.Write(content)
	})
	h.handle("/"+name, func(x *exchange) { x.notAllowed("GET, HEAD") })
}

// handle registers an endpoint for a pattern of the mux.
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
	at := "/" + strings.TrimPrefix(r.URL.EscapedPath(), "/") // StripPrefix may leave no slash
	x := &exchange{handler: h, w: w, r: r, now: h.options.Now(), root: rootOf(at)}
	switch to := withSlash(r); {
	case to != "":
		x.redirect(to, http.StatusPermanentRedirect)
	case path.Clean(at) != at, strings.Contains(at, "%"):
		// ServeMux would redirect the first and unescape the second. No path here is escaped.
		x.notFound()
	default:
		// The mux sets Pattern and path values, so it gets a request of its own.
		routed := &http.Request{Method: r.Method, URL: &url.URL{Path: at}}
		h.mux.ServeHTTP(w, routed.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
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

// rootOf returns the relative URL of the list from a path.
func rootOf(path string) string {
	up := strings.Count(path, "/") - 1
	if up == 0 {
		return "./"
	}
	return strings.Repeat("../", up)
}

// redirect sends a relative URL as it is. http.Redirect would resolve it against a path that has
// lost its prefix.
func (x *exchange) redirect(to string, status int) {
	x.w.Header().Add("Vary", "Cookie")
	x.w.Header().Set("Location", to)
	x.w.WriteHeader(status)
}

// sameOrigin refuses a form of another origin. If it returns false, it has answered.
func (x *exchange) sameOrigin() bool {
	if x.options.CrossOrigin.Check(x.r) != nil {
		x.problem(http.StatusForbidden, x.texts.CrossSite)
		return false
	}
	return true
}

// identify finds out whose tokens the request is about. If it returns false, it has answered.
func (x *exchange) identify() bool {
	// A key must not make others that may do more, whatever the service's function says.
	if _, ok := tokenauth.TokenFrom(x.r.Context()); ok {
		x.problem(http.StatusForbidden, x.texts.NotByKey)
		return false
	}
	whose, err := x.handler.whose(x.r)
	switch {
	case err != nil:
		x.unavailable(err, x.texts.Unavailable)
	case whose.UserID != "" || whose.AllUsers:
		x.whose = whose
		return true
	case x.staff:
		x.problem(http.StatusForbidden, x.texts.NotStaff)
	case x.options.SignInURL != "" && x.r.Method != http.MethodPost:
		x.redirect(x.options.SignInURL, http.StatusSeeOther)
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

func (x *exchange) notFound() { x.problem(http.StatusNotFound, x.texts.NotFound) }

func (x *exchange) notAllowed(allow string) {
	x.w.Header().Set("Allow", allow)
	x.problem(http.StatusMethodNotAllowed, x.texts.NotAllowed)
}

// fail answers an error of the Manager that is about no field of a form. If the store failed,
// the page shows unavailable.
func (x *exchange) fail(err error, unavailable Problem) {
	if tokenauth.StatusCode(err) == http.StatusNotFound {
		x.notFound()
		return
	}
	x.unavailable(err, unavailable)
}

// unavailable answers a failure of the store or of a function of the service.
func (x *exchange) unavailable(err error, p Problem) {
	x.tell(err)
	x.w.Header().Set("Retry-After", retryAfter)
	x.problem(http.StatusServiceUnavailable, p)
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
		x.notFound()
		return t, false
	}
	return t, ok
}
