package tokenauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// An answer is the expected response to a request. RFC 6750 section 3.1 defines the codes.
type answer struct {
	status int
	code   string // value of error in the challenge
}

var (
	served    = answer{200, ""}
	noKey     = answer{401, ""}
	badKey    = answer{401, "invalid_token"}
	malformed = answer{400, "invalid_request"}
)

// A headerCase holds the values of Authorization and X-API-Key in one request.
type headerCase struct {
	name          string
	authorization []string
	apiKey        []string
	want          answer
}

// headerCases returns cases for an Authenticator that accepts key and ignores X-API-Key.
// In cases H11 and H12, the catalog of security cases expects 401. The Authenticator
// returns 400, because a request with a byte that no key may contain is malformed.
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
		one("H5 tab behind a space", "Bearer \t"+key, malformed),
		one("H5 trailing tab", "Bearer "+key+"\t", malformed),
		one("H6 two keys, space", "Bearer "+key+" "+key, malformed),
		one("H6 two keys, comma", "Bearer "+key+","+key, malformed),
		one("H6 two credentials", "Bearer "+key+", Bearer "+key, malformed),
		one("H6 a b", "Bearer a b", malformed),
		one("H6 trailing comma", "Bearer "+key+",", malformed),
		one("H6 leading comma", "Bearer ,"+key, malformed),
		one("H7 behind another scheme", "Basic x Bearer "+key, noKey),
		one("H7 behind another scheme, comma", "Basic x, Bearer "+key, noKey),
		one("H7 longer scheme", "xBearer "+key, noKey),
		one("H7 scheme that goes on", "BearerToken "+key, noKey),
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
		one("H11 not ASCII behind the key", "Bearer "+key+"é", malformed),
		one("H11 invalid UTF-8", "Bearer \xff"+key, malformed),
		one("H11 no-break space", "Bearer\u00a0"+key, malformed),
		one("H12 NUL inside", "Bearer "+key[:9]+"\x00"+key[9:], malformed),
		one("H12 NUL behind", "Bearer "+key+"\x00", malformed),
		one("H12 line break", "Bearer "+key+"\r\nX: y", malformed),
		one("H12 DEL", "Bearer "+key+"\x7f", malformed),
		one("H15 bar without a format for it", "Bearer 12|"+key, badKey),
		{"H16 X-API-Key when not configured", nil, []string{key}, noKey},
		{"H16 X-API-Key beside a key", []string{"Bearer " + key}, []string{"x", "y"}, served},
		one("quoted", `Bearer "`+key+`"`, badKey),
		one("one character", "Bearer x", badKey),
	}
}

// keyHeaderCases returns cases for an Authenticator that also reads X-API-Key.
func keyHeaderCases(key string) []headerCase {
	return []headerCase{
		{"none", nil, nil, noKey},
		{"Authorization alone", []string{"Bearer " + key}, nil, served},
		{"key", nil, []string{key}, served},
		{"spaces around", nil, []string{"  " + key + " "}, served},
		{"empty", nil, []string{""}, malformed},
		{"only spaces", nil, []string{"  "}, malformed},
		{"with a scheme", nil, []string{"Bearer " + key}, malformed},
		{"two in one", nil, []string{key + "," + key}, malformed},
		{"not ASCII", nil, []string{key + "é"}, malformed},
		{"twice", nil, []string{key, key}, malformed},
		{"in both places, equal", []string{"Bearer " + key}, []string{key}, malformed},
		{"in both places, Authorization bad", []string{"Token x"}, []string{key}, malformed},
		{"beside a scheme of ours without a key", []string{"Bearer"}, []string{key}, malformed},
		{"beside two Authorization lines", []string{"Basic YTpi", "Basic YTpi"}, []string{key}, malformed},
		{"beside Basic", []string{"Basic YTpi"}, []string{key}, served},
		{"beside an empty Authorization", []string{""}, []string{key}, served},
		{"bad key beside Basic", []string{"Basic YTpi"}, []string{"x"}, badKey},
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

// A gate is an Authenticator that accepts one key.
type gate struct {
	auth  *tokenauth.Authenticator[*user]
	store *counting
	key   string
	vary  []string
}

func newGate(t testing.TB, opts *tokenauth.AuthenticatorOptions) *gate {
	t.Helper()
	store := newCounting()
	m := newManager(store, nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
	g := &gate{tokenauth.NewAuthenticator(m, anyUser, opts), store, key, []string{"Authorization"}}
	if opts != nil && opts.KeyHeader != "" {
		g.vary = append(g.vary, http.CanonicalHeaderKey(opts.KeyHeader))
	}
	return g
}

// check tests c with Require, Authenticate and Optional.
func (g *gate) check(t *testing.T, c headerCase) {
	t.Helper()
	asked, asks := g.store.finds.Load(), int32(0)
	if c.want == served {
		asks = 1
	}
	w := serve(g.auth.Require(whoami), c.request())
	require.Equal(t, asks, g.store.finds.Load()-asked, "lookups")
	g.requireAnswer(t, c.want, w)
	if c.want != served || len(g.vary) > 1 {
		require.Equal(t, g.vary, w.Header().Values("Vary"))
	} else { // RFC 9110 section 12.5.5 exempts Authorization
		require.Empty(t, w.Header().Values("Vary"))
	}

	_, _, err := g.auth.Authenticate(t.Context(), c.request().Header)
	require.Equal(t, c.want.status, tokenauth.StatusCode(noted(err)))

	w = serve(g.auth.Optional(whoami), c.request())
	require.Equal(t, g.vary, w.Header().Values("Vary"), "Optional")
	if c.want == noKey {
		require.Equal(t, "nobody", w.Body.String(), "Optional")
		return
	}
	g.requireAnswer(t, c.want, w)
}

// requireAnswer checks everything in the response that clients and HTTP caches rely on.
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

// The Authenticator must parse credentials strictly. If it parsed them less strictly than
// a reverse proxy, the two could see different credentials in the same request.
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
	for _, c := range headerCases(g.key) { // requests with only Authorization get the same response
		if c.apiKey == nil {
			t.Run(c.name, func(t *testing.T) { g.check(t, c) })
		}
	}
}

// Cases H5, H11, H12. The test puts every byte at every position where a parser might
// ignore it.
func TestH11H12EveryByte(t *testing.T) {
	t.Parallel()
	g := newGate(t, nil)
	for i := range 256 {
		b := string([]byte{byte(i)})
		visible := i > ' ' && i < 0x7f
		inside, between, before := malformed, malformed, noKey
		if visible {
			between = noKey // another scheme
			if b != "," {
				inside = badKey
			}
		}
		if b == " " {
			between, before = served, served
		}
		for name, c := range map[string]headerCase{
			"inside":  {want: inside, authorization: []string{"Bearer " + g.key[:9] + b + g.key[9:]}},
			"between": {want: between, authorization: []string{"Bearer" + b + g.key}},
			"before":  {want: before, authorization: []string{b + "Bearer " + g.key}},
		} {
			require.Equal(t, c.want.status, get(g.auth.Require(whoami), c.authorization...).Code, "%#x %s", i, name)
			g.check(t, c)
		}
	}
}

// Cases H14, H16, H18. The Authenticator must ignore keys in other parts of a request. A
// URL appears in logs and browser histories, and another site can make a browser send a
// cookie or a form.
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
		require.Zero(t, g.store.finds.Load(), name)
	}
}

// Case H17. The Authenticator ignores session cookies. A cookie neither replaces a token
// nor extends the rights of a token.
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
