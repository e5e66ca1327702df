package tokenpage_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenpage"
)

// Whatever a client sends, the pages must not panic, must not respond with a 5xx status, and must
// change nothing without a right. The test sends 10,000 random requests, and a million if
// TOKENAUTH_LONG is set.
// Cases W4, W7.
func TestRandomRequestsDoNothingWithoutRight(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 10,000 requests")
	}
	t.Parallel()
	requests := 10_000
	if os.Getenv("TOKENAUTH_LONG") != "" {
		requests = 1_000_000
	}
	const perWorld = 500
	made := 0
	for i := range requests / perWorld {
		w := newWorld(t, uint64(i))
		for range perWorld {
			w.step()
		}
		made += w.changes
	}
	require.Greater(t, made, requests/50, "too few of the requests changed a token for the test to mean anything")
}

// A world is a service that gets random requests. The names of its tokens contain their owners.
type world struct {
	*site
	rand     *rand.Rand
	auth     *tokenauth.Authenticator[string]
	signedIn string // the signed-in user now
	tokens   map[string]tokenauth.Token
	keys     []string
	changes  int // number of changed tokens
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), tokens: map[string]tokenauth.Token{}}
	w.site = newSite(t, &tokenauth.Options{Scopes: []string{"a", "b"}, MaxPerUser: 9, IdleTimeout: 9 * day, MaxTTL: time.Duration(seed%2) * 60 * day, Resources: ownResources},
		&tokenpage.Options{FindUser: func(_ *http.Request, typed string) (string, error) { return strings.TrimPrefix(typed, "Ms "), nil }})
	w.userID = func(*http.Request) (string, error) { return w.signedIn, nil }
	w.auth = newAuth(w.Manager)
	for _, user := range []string{"anna", "ben", "root"} {
		for i := range 3 {
			key, token := w.issue(tokenauth.Spec{UserID: user, Name: fmt.Sprint("owner ", user, i), Scopes: []string{"a"}, ExpiresAt: w.Clock.Now().Add(time.Duration(i+1) * 5 * day)})
			w.keys = append(w.keys, key)
			w.tokens[token.ID] = token
		}
	}
	return w
}

// ownResources returns the resources of a user. Their labels contain the owner.
func ownResources(_ context.Context, userID string) (all []tokenauth.Resource, err error) {
	for i := range 12 {
		all = append(all, tokenauth.Resource{ID: fmt.Sprint(userID, i), Label: fmt.Sprint("owner ", userID, " project ", i)})
	}
	return all, nil
}

// oneOf returns the first value in more than three of four calls, and otherwise any value.
func oneOf[T any](w *world, values ...T) T {
	if w.rand.IntN(4) != 0 {
		return values[0]
	}
	return values[w.rand.IntN(len(values))]
}

// An attempt is a random request and the facts that decide whether it may change something.
type attempt struct {
	*http.Request
	actor string     // the signed-in user when the request arrives
	staff bool       // true for the staff page
	other bool       // true if another user, or none, is signed in before the page acts
	late  bool       // true if the user signs out after a token was created
	ended bool       // true if late has happened
	sent  url.Values // the body as a form
}

// mayChange reports whether the request has the right to change tokens of the actor, or, on the
// staff page, of all users.
func (a *attempt) mayChange() bool {
	site, origin := a.Header.Get("Sec-Fetch-Site"), a.Header.Get("Origin")
	sameOrigin := site == "same-origin" || site == "none" || site == "" && (origin == "" || origin == "https://example.com")
	return a.Method == http.MethodPost && sameOrigin && a.actor != "" && a.Header.Get("Authorization") == "" && !a.other &&
		(!a.staff || a.actor == "root")
}

// step sends one random request and checks its effects.
func (w *world) step() {
	if w.rand.IntN(40) == 0 {
		w.Clock.Advance(time.Duration(w.rand.IntN(3*24)) * time.Hour)
	}
	a := w.attempt()
	w.signedIn = a.actor
	w.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "Create" && a.late {
			w.signedIn, a.ended = "", true
		}
		return err
	})
	response := httptest.NewRecorder()
	w.auth.Optional(w.Handler).ServeHTTP(response, a.Request)
	what := fmt.Sprintf("%s %q %q as %q: %d", a.Method, a.URL.String(), a.Header, a.actor, response.Code)
	require.Less(w.t, response.Code, http.StatusInternalServerError, what)
	w.Store.Intercept(nil)
	w.checkTokens(a, what)
	w.checkPage(a, response.Body.String(), what)
}

// checkTokens compares the tokens of the store with those before the request.
func (w *world) checkTokens(a *attempt, what string) {
	all, err := w.Manager.List(context.Background(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(w.t, err)
	require.GreaterOrEqual(w.t, len(all), len(w.tokens), what)
	for _, now := range all {
		before, known := w.tokens[now.ID]
		before.LastUsedAt = now.LastUsedAt // the middleware records it
		if known && fmt.Sprint(before) == fmt.Sprint(now) {
			continue
		}
		w.changes++
		w.tokens[now.ID] = now
		require.True(w.t, a.mayChange(), what)
		if a.staff {
			require.True(w.t, known, what)
			before.RevokedAt, before.RevokedBy, before.PreviousKeyUntil = now.RevokedAt, "staff", time.Time{}
			require.Equal(w.t, before, now, "staff may only revoke")
			continue
		}
		require.Equal(w.t, a.actor, now.UserID, what)
		if !known {
			w.checkCreated(a, &now, what)
		}
	}
}

// checkCreated checks a new token. Only an explicit choice may give it all resources.
func (w *world) checkCreated(a *attempt, now *tokenauth.Token, what string) {
	require.Equal(w.t, "user:"+a.actor, now.CreatedBy, what)
	require.False(w.t, a.sent.Has("find"), what)
	if now.Resources == nil {
		require.Equal(w.t, "all", a.sent.Get("access"), what)
	} else {
		require.Equal(w.t, "these", a.sent.Get("access"), what)
		require.Subset(w.t, a.sent["resource"], now.Resources, what)
		require.True(w.t, strings.HasPrefix(now.Resources[0], a.actor), what)
	}
	if a.ended {
		require.NotZero(w.t, now.RevokedAt, what)
	}
}

// checkPage checks that the response shows no key and no token without a right.
func (w *world) checkPage(a *attempt, html, what string) {
	if strings.Contains(html, "<textarea") {
		require.True(w.t, a.mayChange() && !a.staff && !a.ended, what)
	}
	for _, user := range []string{"anna", "ben", "root"} {
		if user != a.actor && !(a.staff && a.actor == "root") {
			require.NotContains(w.t, html, "owner "+user, what)
		}
	}
}

func (w *world) attempt() *attempt {
	a := &attempt{staff: w.rand.IntN(3) == 0, actor: oneOf(w, "anna", "ben", "root", ""), other: w.rand.IntN(9) == 0, late: w.rand.IntN(9) == 0}
	path := prefix
	if a.staff {
		path, a.actor = "/staff/", oneOf(w, "root", "anna", "")
	}
	id, action := w.anyID(a)+"/", []string{"revoke", "rename", "rotate", "new", "new"}[w.rand.IntN(5)]
	if action == "new" {
		id = ""
	}
	path += oneOf(w, id, "") + oneOf(w, action, "new", "rename", "rotate", "revoke", "history", "", "tokens.css", "copy.js", "nothing")
	if w.rand.IntN(20) == 0 {
		at := w.rand.IntN(len(path))
		path = path[:at] + oneOf(w, "/", ".", "..", "%", "%2e", "\x00", "é", "?", ";") + path[at:]
	}
	a.Request = httptest.NewRequest(oneOf(w, http.MethodPost, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "X"), "/", nil)
	a.URL = &url.URL{Path: path, RawQuery: oneOf(w, "", w.form(a).Encode(), "a=%zz;b", w.junk())}
	a.RequestURI = a.URL.RequestURI()
	a.Body = w.body(a)
	for name, value := range map[string]string{
		"Content-Type":   oneOf(w, "application/x-www-form-urlencoded", "", "text/plain", "multipart/form-data; boundary=x", "application/json", w.junk()),
		"Sec-Fetch-Site": oneOf(w, "same-origin", "none", "", "cross-site", "same-site", w.junk()),
		"Origin":         oneOf(w, "", "https://example.com", "null", "https://evil.example", w.junk()),
		"Authorization":  oneOf(w, "", "", "", "Bearer "+w.keys[w.rand.IntN(len(w.keys))], "Bearer "+w.junk()),
	} {
		if value != "" {
			a.Header.Set(name, value)
		}
	}
	return a
}

// body returns the body of a request. If a.other is true, the signed-in user changes while the page
// reads the body.
func (w *world) body(a *attempt) io.ReadCloser {
	text := oneOf(w, w.form(a).Encode(), "", w.junk(), "name=%zz")
	if w.rand.IntN(200) == 0 {
		text = strings.Repeat("name=a&", 10_000)
	}
	a.sent, _ = url.ParseQuery(text)
	half := w.rand.IntN(len(text) + 1)
	change := pause(func() {
		if a.other {
			w.signedIn = map[string]string{"anna": "ben", "ben": ""}[a.actor]
		}
	})
	return bodyOf(io.MultiReader(strings.NewReader(text[:half]), change, strings.NewReader(text[half:])))
}

// form returns a form for any of the pages. Most of its values are valid.
func (w *world) form(a *attempt) url.Values {
	return url.Values{
		"user":       {oneOf(w, a.actor, "anna", "ben", w.junk())},
		"id":         {oneOf(w, w.newID(), w.newID(), w.newID(), w.anyID(a), w.junk(), "")},
		"name":       {oneOf(w, fmt.Sprint("owner ", a.actor, w.rand.IntN(20)), "", w.junk())},
		"scope":      oneOf(w, []string{"a"}, nil, []string{"a", "b"}, []string{"c"}, []string{w.junk()}),
		"access":     {oneOf(w, "these", "all", "all", "", w.junk())},
		"resource":   oneOf(w, []string{a.actor + "1"}, nil, []string{a.actor + "3", a.actor + "2"}, []string{a.actor + "1", "ben1"}, []string{w.junk()}),
		"find":       oneOf(w, nil, nil, []string{"1"}, []string{w.junk()}),
		"expires":    {oneOf(w, "7", "30", "90", "date", "never", "longest", w.junk())},
		"date":       {oneOf(w, "2026-03-20", "", "2020-01-01", "9999-12-31", w.junk())},
		"generation": {oneOf(w, "1", "2", "3", "0", "-1", w.junk())},
		"grace":      {oneOf(w, "0", "3600", "86400", "604800", "1", "-1", w.junk())},
		"search":     {oneOf(w, "", "anna", "Ms anna", "root", w.junk())},
		"after":      {oneOf(w, "", "MS5B", w.junk())},
		"done":       {oneOf(w, "", "revoke", "rename", w.junk())},
	}
}

// anyID returns the ID of a token, usually one of the actor.
func (w *world) anyID(a *attempt) string {
	var own, all []string
	for id, token := range w.tokens {
		all = append(all, id)
		if token.UserID == a.actor {
			own = append(own, id)
		}
	}
	slices.Sort(all)
	slices.Sort(own)
	all = append(all, w.newID(), w.junk(), "")
	if len(own) == 0 {
		own = all
	}
	return oneOf(w, own[w.rand.IntN(len(own))], all[w.rand.IntN(len(all))])
}

// newID returns an ID that no token has.
func (w *world) newID() string { return w.text(26, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") }

func (w *world) junk() string {
	return w.text(w.rand.IntN(40), "aZ09 \x00\xff\u202e<>&\"'=%;/.\\-_~éß漢")
}

func (w *world) text(n int, alphabet string) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[w.rand.IntN(len(alphabet))])
	}
	return b.String()
}
