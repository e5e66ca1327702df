package tokenlogin_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// A generator makes random requests for the login endpoint.
type generator struct{ *rand.Rand }

func pick[T any](g generator, values ...T) T { return values[g.IntN(len(values))] }

// one reports true once in n calls.
func (g generator) one(n int) bool { return g.IntN(n) == 0 }

// text returns a text of random characters, among them invalid UTF-8 and characters with a meaning
// in JSON and forms.
func (g generator) text() string {
	var b strings.Builder
	for range g.IntN(12) {
		b.WriteString(pick(g, "a", "A", " ", "\x00", "\xff", "\"", "\\", "&", "=", "%", "%41", "+", "{", "}", "[", "]", ",", ":", "\n", "é", "\u200b", "\u202e", "🂡", "1"))
	}
	return b.String()
}

// value returns the JSON text of a member.
func (g generator) value(name string) string {
	switch {
	case name == "username" && !g.one(10):
		return fmt.Sprintf("%q", pick(g, "ada", "bob", "ADA", "oscar", fmt.Sprint("user", g.IntN(1000))))
	case name == "password" && !g.one(3):
		return `"right"`
	case name == "name" && !g.one(4):
		return `"phone"` // often taken
	case name == "scopes" && !g.one(4):
		return pick(g, `["a"]`, `["a","b"]`, `[]`, `["c"]`, `[1]`)
	case name == "expires_at" && !g.one(4):
		return pick(g, `"2026-04-01T00:00:00Z"`, `"2020-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"0001-01-01T00:00:00Z"`, `null`)
	}
	return pick(g, fmt.Sprintf("%q", g.text()), `"`+g.text()+`"`, `null`, `true`, `1e999`, `-1`, `{}`, `[]`, `[[[]]]`, `"x"`, ``)
}

// body returns a body and its media type.
func (g generator) body() (text, mediaType string) {
	names := []string{"username", "password"}
	for _, more := range []string{"name", "scopes", "expires_at", "username", "password", "token", "user_id", "Password", g.text()} {
		if g.one(8) {
			names = append(names, more)
		}
	}
	if g.one(15) {
		names = names[1:]
	}
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var parts []string
	form := g.one(2)
	for _, name := range names {
		value := g.value(name)
		if form {
			parts = append(parts, name+"="+pick(g, url.QueryEscape, strings.Clone)(strings.Trim(value, `"`)))
		} else {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	text, mediaType = "{"+strings.Join(parts, ",")+"}", "application/json"
	if form {
		text, mediaType = strings.Join(parts, "&"), "application/x-www-form-urlencoded"
	}
	switch g.IntN(30) {
	case 0:
		text = text[:g.IntN(len(text)+1)]
	case 1:
		text += g.text()
	case 2:
		text += strings.Repeat(" ", 64<<10)
	}
	return text, mediaType
}

// request returns a random request.
func (g generator) request() *http.Request {
	text, mediaType := g.body()
	method, target := "POST", "/api/login"
	if g.one(20) {
		method = pick(g, "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "X")
	}
	if g.one(20) {
		target += pick(g, "?", "?x", "?username=ada&password=right", "/", "/..", "?%ff")
	}
	r := httptest.NewRequest(method, target, strings.NewReader(text))
	r.RemoteAddr = pick(g, home, elsewhere, "127.0.0.1:1", "@", "", "[::1]:1", "[2001:db8::1]:1", fmt.Sprintf("203.0.%d.%d:1", g.IntN(256), g.IntN(256)))
	r.Header.Set("Content-Type", mediaType)
	for range g.IntN(3) {
		name := pick(g, "Content-Type", "Content-Encoding", "Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "User-Agent", "User-Agent", "X-Forwarded-For", "Expect")
		if g.one(10) || name == "User-Agent" {
			r.Header.Add(name, g.text())
		}
	}
	return r
}

// Whatever a client sends, the endpoint must not panic, must not fail, and must create no token
// without a right password. A long run sends a million requests.
// Case L8.
func TestRandomRequestsCreateNothingWithoutPassword(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	n := 10_000
	if load.Long() {
		n = 1_000_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bubble(t, func(t *testing.T) { requireNothingWithoutPassword(t, generator{rand.New(rand.NewPCG(seed, 0))}, n) })
}

func requireNothingWithoutPassword(t *testing.T, g generator, n int) {
	created, right := 0, false
	m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", &tokenauth.Options{
		MaxPerUser: -1, Scopes: []string{"a", "b"}, TouchEvery: -1,
		OnEvent: func(_ context.Context, e tokenauth.Event) {
			if e.Kind == tokenauth.EventIssued {
				created++
			}
		},
	}))
	h := newLogin(m, func(_ context.Context, username, password string) (userID, stamp string, err error) {
		if username == "oscar" {
			return "", "", tokenauth.ErrNoUser
		}
		if right = password == "right"; right {
			userID = "42"
		}
		return userID, "stamp", nil
	}, &tokenlogin.Options{Stamp: func(context.Context, string) (string, error) { return "stamp", nil }})
	statuses := map[int]int{}
	for i := range n {
		created, right = 0, false
		w := httptest.NewRecorder()
		h.ServeHTTP(w, g.request())
		statuses[w.Code]++
		require.Less(t, w.Code, 500, i)
		require.Equal(t, w.Code == http.StatusOK, created == 1, i)
		require.True(t, right || created == 0, i)
		if i%100 == 0 { // the names of new tokens are compared with those of all live tokens
			must.Get(m.RevokeAll(t.Context(), "42"))
			must.Get(m.Prune(t.Context(), time.Now()))
		}
		time.Sleep(time.Duration(g.IntN(10)) * time.Minute)
	}
	for _, status := range []int{200, 400, 405, 409, 413, 415, 429} {
		require.Positive(t, statuses[status], "the requests must reach status %d: %v", status, statuses)
	}
}
