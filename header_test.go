package tokenauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
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
	served    = answer{200, ""}
	noKey     = answer{401, ""}
	badKey    = answer{401, "invalid_token"}
	malformed = answer{400, "invalid_request"}
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
// request is malformed.
func headerCases(key string) []headerCase {
	one := func(name, value string, want answer) headerCase {
		return headerCase{name, []string{value}, nil, want}
	}
	return []headerCase{
		{"H1 none", nil, nil, noKey},
		one("H2 empty", "", noKey),
		one("H2 only spaces", "   ", noKey),
		one("H2 scheme alone", "Bearer", malformed),
		one("H2 scheme and spaces", "Bearer   ", malformed),
		one("H2 second scheme alone", "token", malformed),
		one("H3 as written in RFC 6750", "Bearer "+key, served),
		one("H3 lower case", "bearer "+key, served),
		one("H3 upper case", "BEARER "+key, served),
		one("H3 mixed case", "BeArEr "+key, served),
		one("H4 two spaces", "Bearer  "+key, served),
		one("H4 trailing spaces", "Bearer "+key+"   ", served),
		one("H4 leading spaces", "  Bearer "+key, served),
		one("H5 tab", "Bearer\t"+key, malformed),
		one("H5 tab after a space", "Bearer \t"+key, malformed),
		one("H5 trailing tab", "Bearer "+key+"\t", malformed),
		one("H6 two keys, space", "Bearer "+key+" "+key, malformed),
		one("H6 two keys, comma", "Bearer "+key+","+key, malformed),
		one("H6 two credentials", "Bearer "+key+", Bearer "+key, malformed),
		one("H6 a b", "Bearer a b", malformed),
		one("H6 trailing comma", "Bearer "+key+",", malformed),
		one("H6 leading comma", "Bearer ,"+key, malformed),
		one("H7 after another scheme", "Basic x Bearer "+key, noKey),
		one("H7 after another scheme, comma", "Basic x, Bearer "+key, malformed),
		one("H7 after another scheme, comma without space", "Basic x,bearer "+key, malformed),
		one("H7 after another scheme, comma and tab", "Basic x,\tToken "+key, malformed),
		one("H7 after two other schemes", "Basic x, Digest y, Bearer "+key, malformed),
		one("H7 after another scheme, longer scheme", "Basic x, xBearer "+key, noKey),
		one("H7 after another scheme, scheme alone", "Basic x, Bearer", noKey),
		one("H7 after another scheme, parameter", `Digest realm="a", token="b"`, noKey),
		one("H7 letter before the scheme", "xBearer "+key, noKey),
		one("H7 letters after the scheme", "BearerToken "+key, noKey),
		one("H7 colon", "Bearer: "+key, noKey),
		one("H7 equals sign", "Token="+key, noKey),
		one("H7 no space", "Bearer"+key, noKey),
		one("H7 key alone", key, noKey),
		{"H8 two equal lines", []string{"Bearer " + key, "Bearer " + key}, nil, malformed},
		{"H8 two lines, good first", []string{"Bearer " + key, "Bearer x"}, nil, malformed},
		{"H8 two lines, good last", []string{"Bearer x", "Bearer " + key}, nil, malformed},
		{"H8 two lines, Basic first", []string{"Basic YTpi", "Bearer " + key}, nil, malformed},
		{"H8 two lines, empty first", []string{"", "Bearer " + key}, nil, malformed},
		{"H8 three lines", []string{"", "", ""}, nil, malformed},
		one("H9 Basic", "Basic YTpi", noKey),
		one("H9 Digest", `Digest username="a", realm="b"`, noKey),
		one("H9 Basic with odd bytes", "Basic \x00\xff", noKey),
		one("H10 second scheme", "Token "+key, served),
		one("H10 second scheme, lower case", "token "+key, served),
		one("H11 non-ASCII character after the key", "Bearer "+key+"é", malformed),
		one("H11 invalid UTF-8", "Bearer \xff"+key, malformed),
		one("H11 no-break space", "Bearer\u00a0"+key, malformed),
		one("H12 NUL inside the key", "Bearer "+key[:9]+"\x00"+key[9:], malformed),
		one("H12 NUL after the key", "Bearer "+key+"\x00", malformed),
		one("H12 line break", "Bearer "+key+"\r\nX: y", malformed),
		one("H12 DEL", "Bearer "+key+"\x7f", malformed),
		one("H15 number and bar, but no legacy format", "Bearer 12|"+key, badKey),
		{"H16 X-API-Key when not configured", nil, []string{key}, noKey},
		{"H16 X-API-Key and a key in Authorization", []string{"Bearer " + key}, []string{"x", "y"}, served},
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
		{"twice, both empty", nil, []string{"", ""}, malformed},
		{"key, and two schemes in Authorization", []string{"Basic x, Bearer " + key}, []string{key}, malformed},
		{"with a scheme", nil, []string{"Bearer " + key}, malformed},
		{"two keys in one value", nil, []string{key + "," + key}, malformed},
		{"non-ASCII character", nil, []string{key + "é"}, malformed},
		{"twice", nil, []string{key, key}, malformed},
		{"same key in both headers", []string{"Bearer " + key}, []string{key}, malformed},
		{"invalid key in Authorization", []string{"Token x"}, []string{key}, malformed},
		{"key, and Authorization with only a scheme", []string{"Bearer"}, []string{key}, malformed},
		{"key, and two Authorization lines", []string{"Basic YTpi", "Basic YTpi"}, []string{key}, malformed},
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
	auth  *tokenauth.Authenticator[*user]
	store *tokenauthtest.Store
	key   string
	vary  []string
}

func newGate(t testing.TB, opts *tokenauth.AuthenticatorOptions) *gate {
	t.Helper()
	store := newStore()
	m := newManager(store, nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	g := &gate{must.Get(tokenauth.NewAuthenticator(m, anyUser, opts)), store, key, []string{"Authorization"}}
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
	w := serve(g.auth.Require(whoami), c.request())
	require.Equal(t, asks, g.store.Count("Find")-asked, "number of Find calls")
	g.requireAnswer(t, c.want, w)
	if c.want != served || len(g.vary) > 1 {
		require.Equal(t, g.vary, w.Header().Values("Vary"))
	} else { // RFC 9110 section 12.5.5: a response need not list Authorization in Vary
		require.Empty(t, w.Header().Values("Vary"))
	}

	_, _, err := g.auth.Authenticate(t.Context(), c.request().Header, tokenauth.Need{})
	require.Equal(t, c.want.status, tokenauth.StatusCode(noted(err)))

	w = serve(g.auth.Optional(whoami), c.request())
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
	require.NotEmpty(t, problemOf(t, w).Detail)
}

// The Authenticator must parse credentials strictly. If it parsed them less strictly than a reverse
// proxy, the two programs could see different credentials in the same request.
func TestH1ToH16Credentials(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for _, c := range headerCases(g.key) {
		t.Run(c.name, func(t *testing.T) { g.check(t, c) })
	}
}

func TestKeyHeader(t *testing.T) {
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
func TestH11H12EveryByte(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for i := range 256 {
		b := string([]byte{byte(i)})
		visible := i > ' ' && i < 0x7f
		inside, between, before := malformed, malformed, noKey
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
			before = malformed // the header is a list of credentials
		}
		for name, c := range map[string]headerCase{
			"inside":  {want: inside, authorization: []string{"Bearer " + g.key[:9] + b + g.key[9:]}},
			"between": {want: between, authorization: []string{"Bearer" + b + g.key}},
			"before":  {want: before, authorization: []string{b + "Bearer " + g.key}},
		} {
			require.Equal(t, c.want.status, get(g.auth.Require(whoami), c.authorization...).Code, "byte %#x, position: %s", i, name)
			g.check(t, c)
		}
	}
}

// The Authenticator must ignore keys in all other parts of a request, such as the URL, a cookie or
// a form. URLs appear in logs and in the browser history. Another website can make a browser send a
// cookie or a form. Cases H14, H16, H18.
func TestH14H18OtherPlaces(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	form := "access_token=" + g.key + "&token=" + g.key
	for name, change := range map[string]func(r *http.Request){
		"H14 query":                    func(r *http.Request) { r.URL.RawQuery = form },
		"H14 user information":         func(r *http.Request) { r.URL.User = url.UserPassword("token", g.key) },
		"H14 cookie":                   func(r *http.Request) { r.Header.Set("Cookie", "access_token="+g.key+"; Authorization="+g.key) },
		"H14 form, parsed already":     func(r *http.Request) { r.Form = url.Values{"access_token": {g.key}}; r.PostForm = r.Form },
		"H16 X-Auth-Token":             func(r *http.Request) { r.Header.Set("X-Auth-Token", g.key) },
		"H18 Proxy-Authorization":      func(r *http.Request) { r.Header.Set("Proxy-Authorization", "Bearer "+g.key) },
		"H18 X-Forwarded-Access-Token": func(r *http.Request) { r.Header.Set("X-Forwarded-Access-Token", g.key) },
		"trailer":                      func(r *http.Request) { r.Trailer = http.Header{"Authorization": {"Bearer " + g.key}} },
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		change(r)
		g.requireAnswer(t, noKey, serve(g.auth.Require(whoami), r))
		require.Zero(t, g.store.Count("Find"), name)
	}
}

// The Authenticator must ignore session cookies. A cookie must neither replace a token nor add
// scopes to a token. Case H17.
func TestH17TokenDecides(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for authorization, want := range map[string]answer{"Bearer " + g.key: served, "Bearer x": badKey, "": noKey} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "sessionid=of-an-administrator")
		r.Header.Set("Authorization", authorization)
		g.requireAnswer(t, want, serve(g.auth.Require(whoami), r))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "sessionid=of-an-administrator")
	r.Header.Set("Authorization", "Bearer "+g.key)
	require.Equal(t, 403, serve(g.auth.RequireScopes("admin")(forbidden(t)), r).Code)
}
