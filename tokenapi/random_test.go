package tokenapi_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A world is a service behind a cache, with tokens that have ended or lost rights since the cache
// read them.
type world struct {
	owner *tokenauth.Manager // without the cache
	mux   *http.ServeMux
	keys  map[string]string // by what their tokens may do
	ids   map[string]string // IDs of the tokens by the same names
	all   map[string]tokenauth.Token
}

func newWorld(t *testing.T) *world {
	clock := fixture.NewClock()
	opts := &tokenauth.Options{Now: clock.Now, TouchEvery: -1, MaxPerUser: -1, Resources: projects}
	store := tokenauth.NewMemoryStore()
	w := &world{owner: must.Get(tokenauth.New(store, "acme", opts)), mux: http.NewServeMux(), keys: map[string]string{"unknown": "acme_x"}, ids: map[string]string{}}
	service := must.Get(tokenauth.New(must.Get(storecache.New(store, nil)), "acme", opts))
	for _, name := range names {
		spec := tokenauth.Spec{UserID: "ada", Name: name, Scopes: []string{manageScope, selfScope, "read"}, ExpiresAt: fixture.Start.Add(time.Hour)}
		switch name {
		case "p1 and p2":
			spec.Resources = []string{"p1", "p2"}
		case "reads":
			spec.Scopes = []string{"read"}
		case "expired":
			spec.ExpiresAt = fixture.Start.Add(time.Minute)
		case "eve's":
			spec.UserID = "eve"
		}
		key, made, err := w.owner.Issue(t.Context(), spec)
		require.NoError(t, err)
		w.keys[name], w.ids[name] = key.Reveal(), made.ID
		_, err = service.Authenticate(t.Context(), key.Reveal()) // fill the cache
		require.NoError(t, err)
	}
	_, err1 := w.owner.Update(t.Context(), "ada", w.ids["narrowed"], tokenauth.Patch{Scopes: &[]string{"read"}})
	_, err5 := w.owner.Update(t.Context(), "ada", w.ids["restricted"], tokenauth.Patch{Resources: &[]string{"p1"}})
	err2 := w.owner.Revoke(t.Context(), "ada", w.ids["revoked"])
	_, _, err3 := w.owner.Rotate(t.Context(), "ada", w.ids["replaced"], 0)
	_, _, err4 := w.owner.Rotate(t.Context(), "ada", w.ids["previous"], time.Hour)
	require.NoError(t, errors.Join(err1, err2, err3, err4, err5))
	clock.Advance(time.Minute)
	auth := newAuth(service, nil)
	w.mux.Handle("/api/", http.StripPrefix("/api", must.Get(tokenapi.New(auth, signedIn, &tokenapi.Options{ManageScope: manageScope, SelfScope: selfScope}))))
	staff := func(r *http.Request) (bool, error) { return r.Header.Get("X-User") == "root", nil }
	w.mux.Handle("/staff/", http.StripPrefix("/staff", must.Get(tokenapi.NewStaff(auth, staff, nil))))
	w.all = w.tokens(t)
	return w
}

// tokens returns all tokens in the store by ID.
func (w *world) tokens(t *testing.T) map[string]tokenauth.Token {
	list, err := w.owner.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	all := map[string]tokenauth.Token{}
	for _, token := range list {
		all[token.ID] = token
	}
	return all
}

// A sender chooses parts of requests at random.
type sender struct{ *rand.Rand }

// pick returns good in three of four cases, and one of the other values otherwise.
func (s sender) pick(good string, others ...string) string {
	if s.IntN(4) != 0 {
		return good
	}
	return others[s.IntN(len(others))]
}

// names are the names of the tokens in a world.
var names = []string{"manages", "reads", "narrowed", "p1 and p2", "restricted", "revoked", "replaced", "previous", "expired", "eve's"}

var routes = []string{
	"GET /tokens", "POST /tokens", "POST /tokens", "DELETE /tokens", "GET /tokens/ID", "PATCH /tokens/ID", "PATCH /tokens/ID",
	"DELETE /tokens/ID", "POST /tokens/ID/rotate", "POST /tokens/ID/rotate", "POST /logout", "POST /logout-all",
	"GET /tokens/self", "POST /tokens/self/rotate", "POST /tokens/self/rotate",
}

// A sent is a request and what it claims.
type sent struct {
	*http.Request
	credentials string // name of the only presented key; "" if there is none, "?" if there are several
	body        string
}

// String describes the request for the log.
func (v sent) String() string {
	return fmt.Sprintf("%s %s?%s by key %q and session %q, from %q %q: %.200q", v.Method, v.URL.Path, v.URL.RawQuery, v.credentials,
		v.Header.Get("X-User"), v.Header.Get("Origin"), v.Header.Get("Sec-Fetch-Site"), v.body)
}

func (s sender) request(w *world) sent {
	id := w.ids[names[s.IntN(len(names))]]
	route := strings.Fields(routes[s.IntN(len(routes))])
	path := s.pick("/api", "/staff", "/staff", "") + s.pick(strings.Replace(route[1], "ID", id, 1), "/tokens/", "/tokens/x/y", "//tokens",
		"/../tokens", "/tokens/%2e", "/tokens/\x00", "", "/", "/openapi.json", "/tokens/self")
	user := ""
	if strings.HasPrefix(path, "/staff") {
		user = "user_id=ada"
	}
	query := s.pick(user, "user_id=ada", "user_id=eve", "user_id=", "limit=2", "limit=0", "limit=x", "cursor=", "cursor=x", "revoked=true",
		"revoked=x", "created_by=user:ada", "created_by=", "expires_before=2026-03-01T13:00:01Z", "expires_before=x", "x=1", "limit=1&limit=2", "%", "user_id=ada&user_id=eve", "user_id=%0a", "revoked=true&user_id=ada")
	r := &http.Request{
		Method: s.pick(route[0], "GET", "POST", "PATCH", "DELETE", "HEAD", "PUT", "OPTIONS", "", "post", "X Y"),
		URL:    &url.URL{Path: path, RawQuery: query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Host: "example.com",
	}
	v := sent{Request: r}
	v.credentials = s.authorize(r, w)
	r.Header.Set("Content-Type", s.pick("application/json", "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", ";", ""))
	for name, values := range map[string][]string{
		"Content-Encoding": {"gzip", "identity"}, "Origin": {"https://example.com", "https://evil.example", "null", "x"},
		"Sec-Fetch-Site": {"same-origin", "cross-site", "same-site", "none", "x"}, "Expect": {"100-continue"}, "X-Http-Method-Override": {"DELETE"},
	} {
		if s.IntN(8) == 0 {
			r.Header.Set(name, values[s.IntN(len(values))])
		}
	}
	text := s.json(path)
	v.body = text
	r.ContentLength = int64(len(text))
	r.Body = io.NopCloser(s.reader(text))
	switch {
	case s.IntN(16) == 0:
		r.Body, r.ContentLength = http.NoBody, 0
	case s.IntN(16) == 0:
		r.Body, r.ContentLength = nil, 0
	case s.IntN(4) == 0:
		r.ContentLength = -1
	}
	return v
}

// authorize adds a session, a key, both or neither.
func (s sender) authorize(r *http.Request, w *world) (credentials string) {
	if s.IntN(2) == 0 {
		r.Header.Set("X-User", s.pick("ada", "eve", "root"))
	}
	if strings.HasPrefix(r.URL.Path, "/staff") && s.IntN(4) != 0 {
		r.Header.Set("X-User", "root")
		return ""
	}
	if s.IntN(3) == 0 {
		return ""
	}
	credentials = s.pick("manages", append([]string{"unknown"}, names...)...)
	r.Header.Set("Authorization", s.pick("Bearer ", "Token ", "bearer ", "Bearer  ")+w.keys[credentials])
	switch s.IntN(16) {
	case 0:
		r.Header.Add("Authorization", "Bearer "+w.keys["manages"])
		return "?"
	case 1:
		r.Header.Set("Authorization", s.pick("Bearer", "Bearer a b", "Bearer \x00", "Basic x, Bearer "+w.keys["manages"]))
		return "?"
	case 2:
		r.Header.Set("Authorization", "Basic eDp4") // not of this API
		return ""
	}
	return credentials
}

func (s sender) json(path string) string {
	switch s.IntN(12) {
	case 0:
		return s.pick("", "null", "[]", "{", `{"name":"x"}{}`, "\xff", strings.Repeat(" ", 70<<10), `{"name":"`+strings.Repeat("x", 65)+`"}`, "name=x")
	case 1:
		return "{}"
	}
	members := map[string]string{
		"name":          s.pick(`"new"`, `"reads"`, `" "`, `null`, `1`, `"\u202e"`),
		"scopes":        s.pick(`["read"]`, `["tokens:manage","read"]`, `["admin"]`, `["a b"]`, `[]`, `null`, `"read"`),
		"resources":     s.pick(`["p1"]`, `["p2","p1"]`, `["p3"]`, `null`, `null`, `[]`, `["p9"]`, `"p1"`, `[null]`),
		"expires_at":    s.pick(`"2026-03-01T12:30:00Z"`, `"2026-03-01T13:00:00Z"`, `"2026-03-02T00:00:00Z"`, `"2020-01-01T00:00:00Z"`, `null`, `"x"`, `1`),
		"grace_seconds": s.pick(`60`, `0`, `-1`, `1e99`, `9223372036854775807`, `"x"`),
		"generation":    s.pick(`1`, `2`, `2`, `0`, `3`, `-1`, `1e99`, `null`),
		"user_id":       `"eve"`,
		"x":             `1`,
	}
	usual := []string{"name", "name", "scopes", "resources", "expires_at"}
	if strings.HasSuffix(path, "/rotate") {
		usual = []string{"generation", "generation", "grace_seconds"}
	}
	var parts []string
	for i, name := range usual {
		if i == 0 || i > 1 && s.IntN(2) == 0 || s.IntN(16) == 0 { // seldom twice
			parts = append(parts, fmt.Sprintf("%q:%s", name, members[name]))
		}
	}
	if s.IntN(16) == 0 {
		name := s.pick("x", "user_id", "name", "generation")
		parts = append(parts, fmt.Sprintf("%q:%s", name, members[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (s sender) reader(text string) io.Reader {
	switch s.IntN(8) {
	case 0:
		return iotest.OneByteReader(strings.NewReader(text))
	case 1:
		return io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("connection reset by peer")))
	}
	return strings.NewReader(text)
}

// mayChange reports whether a request may change tokens of a user at all.
func (v sent) mayChange(user string) bool {
	path, session := v.URL.Path, v.Header.Get("X-User")
	switch {
	case v.credentials == "" && strings.HasPrefix(path, "/staff/"):
		return session == "root" && v.Method == "DELETE" && v.URL.Query().Get("user_id") == user
	case v.credentials == "":
		return session == user
	case user != "ada" && v.credentials != "eve's" || strings.HasPrefix(path, "/staff/"):
		return false
	case path == "/api/logout", path == "/api/tokens/self/rotate" && !slices.Contains([]string{"reads", "narrowed"}, v.credentials):
		return slices.Contains([]string{"manages", "reads", "narrowed", "p1 and p2", "restricted", "previous", "eve's"}, v.credentials)
	case path == "/api/logout-all":
		return slices.Contains([]string{"manages", "reads", "narrowed", "previous", "eve's"}, v.credentials)
	case strings.HasSuffix(path, "/rotate") && path != "/api/tokens/self/rotate":
		return slices.Contains([]string{"manages", "previous", "eve's"}, v.credentials)
	}
	return v.credentials == "manages" || v.credentials == "eve's" && user == "eve"
}

// check requires that a request made only changes for which the client has the right.
func (w *world) check(t *testing.T, v sent, code int, key string, now map[string]tokenauth.Token) {
	maker := w.all[w.ids[v.credentials]]
	itself := v.URL.Path == "/api/logout" || v.URL.Path == "/api/tokens/self/rotate"
	for id, token := range now {
		before, existed := w.all[id]
		if existed && same(before, token) {
			continue
		}
		require.True(t, v.mayChange(token.UserID), "%s: %d: changed %s from %+v to %+v", v, code, id, before, token)
		require.Less(t, code, 300, v)
		if v.credentials == "" {
			continue
		}
		limit := before
		if !existed {
			limit = maker
		}
		require.True(t, limit.HasScopes(token.Scopes...), "%s: scopes %v, was %v", v, token.Scopes, limit.Scopes)
		require.True(t, slices.Equal(limit.Resources, token.Resources) || narrows(&limit, token.Resources), "%s: resources %v, was %v", v, token.Resources, limit.Resources)
		require.True(t, id == maker.ID || !itself, "%s: changed %s", v, id)
		require.False(t, token.ExpiresAt.After(limit.ExpiresAt), "%s: expires %v, was %v", v, token.ExpiresAt, limit.ExpiresAt)
		require.True(t, token.Generation == limit.Generation || !existed || id == maker.ID, "%s: rotated another token", v)
	}
	for id := range w.all {
		require.Contains(t, now, id, v)
	}
	if key != "" {
		require.NotEqual(t, w.all, now, v)
	}
}

// narrows reports whether the resources are a part of those of t.
func narrows(t *tokenauth.Token, resources []string) bool {
	return resources != nil && !slices.ContainsFunc(resources, func(r string) bool { return !t.Allows(r) })
}

// same reports whether two tokens are equal.
func same(a, b tokenauth.Token) bool { return reflect.DeepEqual(a, b) }

// No request, however strange, may crash the API, get a 5xx, or make a change for which the client
// has no right. Keys that have ended since the cache read them have no right.
// Cases A5, A6.
func TestRandomRequestsGainNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 10,000 requests")
	}
	t.Parallel()
	n := 10_000
	if load.Long() {
		n = 1_000_000
	}
	s, w := sender{rand.New(rand.NewPCG(1, 2))}, newWorld(t)
	statuses, changes := map[int]int{}, 0
	for range n {
		v := s.request(w)
		recorder := httptest.NewRecorder()
		w.mux.ServeHTTP(recorder, v.Request)
		statuses[recorder.Code]++
		require.Less(t, recorder.Code, 500, "%s: %s", v, recorder.Body)
		now := w.tokens(t)
		w.check(t, v, recorder.Code, apitest.KeyIn(recorder), now)
		if !maps.EqualFunc(w.all, now, same) {
			changes++
			w = newWorld(t)
		}
	}
	t.Logf("%d requests, %d changes, statuses %v", n, changes, statuses)
	require.Greater(t, changes, n/100, "the requests must be valid often enough")
}
