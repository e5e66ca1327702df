package bearer_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// An answer is the status and the error code that a response must have. RFC 6750 section 3.1
// defines the error codes.
type answer struct {
	status int
	code   string // value of the parameter "error" in WWW-Authenticate
}

var (
	served     = answer{200, ""}
	noKey      = answer{401, ""}
	badKey     = answer{401, "invalid_token"}
	badRequest = answer{400, "invalid_request"}
)

// A headerCase is a request with the given values of Authorization and X-API-Key. The field want is
// the response that the request must get.
type headerCase struct {
	name          string
	authorization []string
	apiKey        []string
	want          answer
}

// headerCases returns test cases for an Authenticator that accepts key in Authorization and does
// not read X-API-Key.
//
// For cases H11 and H12, the catalog of security cases expects status 401. The Authenticator
// returns status 400 instead. These credentials contain a byte that no key may contain, so the
// request is badRequest.
func headerCases(key string) []headerCase {
	one := func(name, value string, want answer) headerCase {
		return headerCase{name, []string{value}, nil, want}
	}
	return []headerCase{
		{"none", nil, nil, noKey},
		one("empty", "", noKey),
		one("only spaces", "   ", noKey),
		one("scheme alone", "Bearer", badRequest),
		one("scheme and spaces", "Bearer   ", badRequest),
		one("second scheme alone", "token", badRequest),
		one("as written in RFC 6750", "Bearer "+key, served),
		one("lower case", "bearer "+key, served),
		one("upper case", "BEARER "+key, served),
		one("mixed case", "BeArEr "+key, served),
		one("two spaces", "Bearer  "+key, served),
		one("trailing spaces", "Bearer "+key+"   ", served),
		one("leading spaces", "  Bearer "+key, served),
		one("tab", "Bearer\t"+key, badRequest),
		one("tab after a space", "Bearer \t"+key, badRequest),
		one("trailing tab", "Bearer "+key+"\t", badRequest),
		one("two keys, space", "Bearer "+key+" "+key, badRequest),
		one("two keys, comma", "Bearer "+key+","+key, badRequest),
		one("two credentials", "Bearer "+key+", Bearer "+key, badRequest),
		one("a b", "Bearer a b", badRequest),
		one("trailing comma", "Bearer "+key+",", badRequest),
		one("leading comma", "Bearer ,"+key, badRequest),
		one("after another scheme", "Basic x Bearer "+key, noKey),
		one("after another scheme, comma", "Basic x, Bearer "+key, badRequest),
		one("after another scheme, comma without space", "Basic x,bearer "+key, badRequest),
		one("after another scheme, comma and tab", "Basic x,\tToken "+key, badRequest),
		one("after two other schemes", "Basic x, Digest y, Bearer "+key, badRequest),
		one("after another scheme, longer scheme", "Basic x, xBearer "+key, noKey),
		one("after another scheme, scheme alone", "Basic x, Bearer", noKey),
		one("after another scheme, parameter", `Digest realm="a", token="b"`, noKey),
		one("letter before the scheme", "xBearer "+key, noKey),
		one("letters after the scheme", "BearerToken "+key, noKey),
		one("colon", "Bearer: "+key, noKey),
		one("equals sign", "Token="+key, noKey),
		one("no space", "Bearer"+key, noKey),
		one("key alone", key, noKey),
		{"two equal lines", []string{"Bearer " + key, "Bearer " + key}, nil, badRequest},
		{"two lines, good first", []string{"Bearer " + key, "Bearer x"}, nil, badRequest},
		{"two lines, good last", []string{"Bearer x", "Bearer " + key}, nil, badRequest},
		{"two lines, Basic first", []string{"Basic YTpi", "Bearer " + key}, nil, badRequest},
		{"two lines, empty first", []string{"", "Bearer " + key}, nil, badRequest},
		{"three lines", []string{"", "", ""}, nil, badRequest},
		one("Basic", "Basic YTpi", noKey),
		one("Digest", `Digest username="a", realm="b"`, noKey),
		one("Basic with odd bytes", "Basic \x00\xff", noKey),
		one("second scheme", "Token "+key, served),
		one("second scheme, lower case", "token "+key, served),
		one("non-ASCII character after the key", "Bearer "+key+"é", badRequest),
		one("invalid UTF-8", "Bearer \xff"+key, badRequest),
		one("no-break space", "Bearer\u00a0"+key, badRequest),
		one("NUL inside the key", "Bearer "+key[:9]+"\x00"+key[9:], badRequest),
		one("NUL after the key", "Bearer "+key+"\x00", badRequest),
		one("line break", "Bearer "+key+"\r\nX: y", badRequest),
		one("DEL", "Bearer "+key+"\x7f", badRequest),
		one("number and bar, but no legacy format", "Bearer 12|"+key, badKey),
		{"X-API-Key when not configured", nil, []string{key}, noKey},
		{"X-API-Key and a key in Authorization", []string{"Bearer " + key}, []string{"x", "y"}, served},
		one("quoted", `Bearer "`+key+`"`, badKey),
		one("one character", "Bearer x", badKey),
	}
}

// keyHeaderCases returns test cases for an Authenticator that accepts key in Authorization or in
// X-API-Key.
func keyHeaderCases(key string) []headerCase {
	return []headerCase{
		{"none", nil, nil, noKey},
		{"Authorization alone", []string{"Bearer " + key}, nil, served},
		{"key", nil, []string{key}, served},
		{"spaces around", nil, []string{"  " + key + " "}, served},
		{"empty", nil, []string{""}, noKey},
		{"only spaces", nil, []string{"  "}, noKey},
		{"empty, and a key in Authorization", []string{"Bearer " + key}, []string{""}, served},
		{"twice, both empty", nil, []string{"", ""}, badRequest},
		{"key, and two schemes in Authorization", []string{"Basic x, Bearer " + key}, []string{key}, badRequest},
		{"with a scheme", nil, []string{"Bearer " + key}, badRequest},
		{"two keys in one value", nil, []string{key + "," + key}, badRequest},
		{"non-ASCII character", nil, []string{key + "é"}, badRequest},
		{"twice", nil, []string{key, key}, badRequest},
		{"same key in both headers", []string{"Bearer " + key}, []string{key}, badRequest},
		{"invalid key in Authorization", []string{"Token x"}, []string{key}, badRequest},
		{"key, and Authorization with only a scheme", []string{"Bearer"}, []string{key}, badRequest},
		{"key, and two Authorization lines", []string{"Basic YTpi", "Basic YTpi"}, []string{key}, badRequest},
		{"key, and Basic in Authorization", []string{"Basic YTpi"}, []string{key}, served},
		{"key, and an empty Authorization", []string{""}, []string{key}, served},
		{"bad key and Basic in Authorization", []string{"Basic YTpi"}, []string{"x"}, badKey},
		{"too long", nil, []string{strings.Repeat("x", 1025)}, badKey},
		{"bad key", nil, []string{"x"}, badKey},
	}
}

func (c headerCase) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = c.authorization
	r.Header["X-Api-Key"] = c.apiKey
	return r
}

// A gate is an Authenticator that accepts one key. The field vary contains the values that the Vary
// header of a response must have.
type gate struct {
	auth  *tokenauth.Authenticator[*fixture.User]
	store *tokenauthtest.Store
	key   string
	vary  []string
}

func newGate(t testing.TB, opts *tokenauth.AuthenticatorOptions) *gate {
	t.Helper()
	store := fixture.NewStore()
	m := fixture.NewManager(store, nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	g := &gate{must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, opts)), store, key, []string{"Authorization"}}
	if opts != nil && opts.KeyHeader != "" {
		g.vary = append(g.vary, http.CanonicalHeaderKey(opts.KeyHeader))
	}
	return g
}

// check sends the request of c to Require, Authenticate and Optional, and requires that the
// responses match c.want.
func (g *gate) check(t *testing.T, c headerCase) {
	t.Helper()
	asked, asks := g.store.Count("Find"), 0
	if c.want == served {
		asks = 1
	}
	w := fixture.Serve(g.auth.Require(fixture.Whoami), c.request())
	require.Equal(t, asks, g.store.Count("Find")-asked, "number of Find calls")
	g.requireAnswer(t, c.want, w)
	if c.want != served || len(g.vary) > 1 {
		require.Equal(t, g.vary, w.Header().Values("Vary"))
	} else { // RFC 9110 section 12.5.5: a response need not list Authorization in Vary
		require.Empty(t, w.Header().Values("Vary"))
	}

	_, _, err := g.auth.Authenticate(t.Context(), c.request().Header, tokenauth.Need{})
	require.Equal(t, c.want.status, tokenauth.StatusCode(fixture.Noted(err)))

	w = fixture.Serve(g.auth.Optional(fixture.Whoami), c.request())
	require.Equal(t, g.vary, w.Header().Values("Vary"), "Vary header of the response from Optional")
	if c.want == noKey {
		require.Equal(t, "nobody", w.Body.String(), "body of the response from Optional")
		return
	}
	g.requireAnswer(t, c.want, w)
}

// requireAnswer requires that w has the status, the headers and the body that belong to want. It
// checks all headers that clients and HTTP caches rely on.
func (g *gate) requireAnswer(t *testing.T, want answer, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	require.Equal(t, want.status, w.Code)
	if want == served {
		require.Equal(t, "42", w.Body.String())
		require.Empty(t, h.Values("WWW-Authenticate"))
		return
	}
	attributes := ""
	if want.code != "" {
		attributes = `, error="` + want.code + `"`
	}
	require.Equal(t, []string{`Bearer realm="api"` + attributes, `Token realm="api"` + attributes}, h.Values("WWW-Authenticate"))
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Empty(t, h.Get("Retry-After"))
	require.NotEmpty(t, fixture.ProblemOf(t, w).Detail)
}

// The Authenticator must parse credentials strictly. If it parsed them less strictly than a reverse
// proxy, the two programs could see different credentials in the same request. Cases H1, H2, H3,
// H4, H5, H6, H7, H8, H9, H10, H11, H12, H15, and H16.
func TestCredentialsAreParsedStrictly(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for _, c := range headerCases(g.key) {
		t.Run(c.name, func(t *testing.T) { g.check(t, c) })
	}
}

// The Authenticator must parse the header that KeyHeader names as strictly as Authorization, and
// must refuse a request with two keys.
func TestKeyHeaderIsParsedStrictly(t *testing.T) {
	t.Parallel()
	g := newGate(t, &tokenauth.AuthenticatorOptions{KeyHeader: "x-api-key"})
	for _, c := range keyHeaderCases(g.key) {
		t.Run(c.name, func(t *testing.T) { g.check(t, c) })
	}
	// A request without X-API-Key must get the same response as from an Authenticator that does
	// not read X-API-Key.
	for _, c := range headerCases(g.key) {
		if c.apiKey == nil {
			t.Run(c.name, func(t *testing.T) { g.check(t, c) })
		}
	}
}

// The test inserts each of the 256 byte values into the Authorization header, at each position
// where a lenient parser might skip the byte. Cases H5, H11, H12.
func TestNoByteMakesKeyAcceptable(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for i := range 256 {
		b := string([]byte{byte(i)})
		visible := i > ' ' && i < 0x7f
		inside, between, before := badRequest, badRequest, noKey
		if visible {
			between = noKey // the byte belongs to the scheme, which is unknown
			if b != "," {
				inside = badKey
			}
		}
		switch b {
		case " ":
			between, before = served, served
		case ",":
			before = badRequest // the header is a list of credentials
		}
		for name, c := range map[string]headerCase{
			"inside":  {want: inside, authorization: []string{"Bearer " + g.key[:9] + b + g.key[9:]}},
			"between": {want: between, authorization: []string{"Bearer" + b + g.key}},
			"before":  {want: before, authorization: []string{b + "Bearer " + g.key}},
		} {
			require.Equal(t, c.want.status, fixture.Get(g.auth.Require(fixture.Whoami), c.authorization...).Code, "byte %#x, position: %s", i, name)
			g.check(t, c)
		}
	}
}

// The Authenticator must ignore keys in all other parts of a request, such as the URL, a cookie or
// a form. URLs appear in logs and in the browser history. Another website can make a browser send a
// cookie or a form. Cases H14, H16, and H18.
func TestKeysInOtherPlacesAreIgnored(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	form := "access_token=" + g.key + "&token=" + g.key
	for name, change := range map[string]func(r *http.Request){
		"query":                    func(r *http.Request) { r.URL.RawQuery = form },
		"user information":         func(r *http.Request) { r.URL.User = url.UserPassword("token", g.key) },
		"cookie":                   func(r *http.Request) { r.Header.Set("Cookie", "access_token="+g.key+"; Authorization="+g.key) },
		"form, parsed already":     func(r *http.Request) { r.Form = url.Values{"access_token": {g.key}}; r.PostForm = r.Form },
		"X-Auth-Token":             func(r *http.Request) { r.Header.Set("X-Auth-Token", g.key) },
		"Proxy-Authorization":      func(r *http.Request) { r.Header.Set("Proxy-Authorization", "Bearer "+g.key) },
		"X-Forwarded-Access-Token": func(r *http.Request) { r.Header.Set("X-Forwarded-Access-Token", g.key) },
		"trailer":                  func(r *http.Request) { r.Trailer = http.Header{"Authorization": {"Bearer " + g.key}} },
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		change(r)
		g.requireAnswer(t, noKey, fixture.Serve(g.auth.Require(fixture.Whoami), r))
		require.Zero(t, g.store.Count("Find"), name)
	}
}

// The Authenticator must ignore session cookies. A cookie must neither replace a token nor add
// scopes to a token. Case H17.
func TestCookieNeitherReplacesNorWidensToken(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for authorization, want := range map[string]answer{"Bearer " + g.key: served, "Bearer x": badKey, "": noKey} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "sessionid=of-an-administrator")
		r.Header.Set("Authorization", authorization)
		g.requireAnswer(t, want, fixture.Serve(g.auth.Require(fixture.Whoami), r))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "sessionid=of-an-administrator")
	r.Header.Set("Authorization", "Bearer "+g.key)
	require.Equal(t, 403, fixture.Serve(g.auth.RequireScopes("admin")(fixture.Forbidden(t)), r).Code)
}
