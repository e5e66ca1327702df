package tokenapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/pipe"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

// A site serves the API by a Manager behind a cache. The owner of the tokens changes them by
// another Manager of the same store, as in another process.
type site struct {
	owner  *tokenauth.Manager
	server *pipe.Server
	key    string
	token  tokenauth.Token // token of key; it may manage tokens

	mu       sync.Mutex
	signedIn string // user ID of the session
	failed   error  // error of the session
	disabled bool   // whether the user of the token is disabled
}

func newSite(t *testing.T) *site {
	store := tokenauth.NewMemoryStore()
	s := &site{owner: must.Get(tokenauth.New(store, "acme", nil)), signedIn: "ada"}
	key, made, err := s.owner.Issue(t.Context(), tokenauth.Spec{UserID: "ada", Name: "own", Scopes: []string{manageScope, "orders"}})
	require.NoError(t, err)
	s.key, s.token = key.Reveal(), made
	leak.Default.Secret(s.key)
	cached := must.Get(tokenauth.New(must.Get(storecache.New(store, nil)), "acme", &tokenauth.Options{TouchEvery: -1}))
	auth := must.Get(tokenauth.NewAuthenticator(cached, s.findUser, nil))
	api := must.Get(tokenapi.New(auth, s.session, &tokenapi.Options{ManageScope: manageScope}))
	staff := must.Get(tokenapi.NewStaff(auth, func(r *http.Request) (bool, error) {
		id, err := s.session(r)
		return id != "", err
	}, nil))
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/staff/", http.StripPrefix("/staff", staff))
	s.server = pipe.Serve(t, mux)
	return s
}

func (s *site) session(*http.Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signedIn, s.failed
}

func (s *site) findUser(_ context.Context, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disabled {
		return "", tokenauth.ErrNoUser
	}
	return id, nil
}

func (s *site) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// all returns all tokens in the store.
func (s *site) all(t *testing.T) []tokenauth.Token {
	all, err := s.owner.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	return all
}

// held are requests whose bodies a client can hold open. In the targets and the bodies, ID stands
// for the ID of the presented token.
var held = []struct{ name, method, target, body string }{
	{"create", "POST", "/tokens", `{"name":"evil","scopes":["orders"]}`},
	{"create without scopes", "POST", "/tokens", `{"name":"evil"}`},
	{"rename", "PATCH", "/tokens/ID", `{"name":"evil"}`},
	{"keep scopes", "PATCH", "/tokens/ID", `{"scopes":["orders","tokens:manage"],"expires_at":null}`},
	{"rotate", "POST", "/tokens/ID/rotate", `{"generation":1}`},
	{"rotate from the next generation", "POST", "/tokens/ID/rotate", `{"generation":2}`},
	{"revoke", "DELETE", "/tokens/ID", `{}`},
	{"revoke all", "DELETE", "/tokens", `{}`},
}

// tried sends the request as two clients, each of which holds its body open. When both requests
// have been routed, tried calls change. Then the first client sends the rest in pieces, and the
// second client sends the rest at the same time as one text. tried returns the statuses and bodies
// of both.
func (s *site) tried(t *testing.T, method, target, body, sender string, change func()) (responses [2]string) {
	target, body = strings.Replace(target, "ID", s.token.ID, 1), strings.Replace(body, "ID", s.token.ID, 1)
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
		method, target, len(body), sender, body[:1])
	var conns [2]*pipe.Conn
	for i := range conns {
		conns[i] = s.server.Dial(t)
		conns[i].Send(head)
	}
	synctest.Wait()
	change()
	var clients sync.WaitGroup
	for i, c := range conns {
		clients.Go(func() {
			pieces := []string{body[1:]}
			if i == 0 {
				pieces = strings.Split(body[1:], "")
			}
			for _, piece := range pieces {
				c.Send(piece)
				time.Sleep(time.Millisecond)
			}
			w, text := c.Receive(t)
			responses[i] = fmt.Sprint(w.StatusCode, " ", text)
		})
	}
	clients.Wait()
	return responses
}

// A client may hold its request open while its token ends. What counts is the token when the client
// has sent everything, as the store has it. Otherwise a revoked key could create a token that lives
// on, a narrowed token could act with its former rights, and a replaced key could take the token
// over.
// Cases A5, A6.
func TestKeyThatEndsBeforeBodyDoesNothing(t *testing.T) {
	t.Parallel()
	changes := map[string]struct {
		change func(t *testing.T, s *site) error
		status string
	}{
		"revocation": {func(t *testing.T, s *site) error { return s.owner.Revoke(t.Context(), "ada", s.token.ID) }, "401"},
		"revocation of all": {func(t *testing.T, s *site) error {
			_, err := s.owner.RevokeAll(t.Context(), "ada")
			return err
		}, "401"},
		"rotation": {func(t *testing.T, s *site) error {
			_, _, err := s.owner.Rotate(t.Context(), "ada", s.token.ID, 0)
			return err
		}, "401"},
		"expiry": {func(t *testing.T, s *site) error {
			_, err := s.owner.Update(t.Context(), "ada", s.token.ID, tokenauth.Patch{ExpiresAt: new(time.Now().Add(time.Second))})
			time.Sleep(2 * time.Second)
			return err
		}, "401"},
		"narrowing": {func(t *testing.T, s *site) error {
			_, err := s.owner.Update(t.Context(), "ada", s.token.ID, tokenauth.Patch{Scopes: &[]string{"orders"}})
			return err
		}, "403"},
		"disabled user": {func(_ *testing.T, s *site) error { s.set(func() { s.disabled = true }); return nil }, "401"},
	}
	for name, c := range changes {
		for _, r := range held {
			t.Run(name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					var want []tokenauth.Token
					got := s.tried(t, r.method, r.target, r.body, "Authorization: Bearer "+s.key+"\r\n", func() {
						require.NoError(t, c.change(t, s))
						want = s.all(t)
					})
					for _, response := range got {
						require.Equal(t, c.status, response[:3], response)
						require.NotContains(t, response, `"key"`)
					}
					require.Equal(t, want, s.all(t))
				})
			})
		}
	}
}

// Every token may log out, so a narrowed token may do so too. A key that has ended must not end the
// other tokens of its user.
func TestKeyThatEndsBeforeBodyDoesNotLogOut(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/logout", "/logout-all"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			var want []tokenauth.Token
			got := s.tried(t, "POST", target, `{}`, "Authorization: Bearer "+s.key+"\r\n", func() {
				_, _, err := s.owner.Rotate(t.Context(), "ada", s.token.ID, 0)
				require.NoError(t, err)
				want = s.all(t)
			})
			for _, response := range got {
				require.Equal(t, "401", response[:3], response)
			}
			require.Equal(t, want, s.all(t))
		})
	}
}

// A browser may hold its request open while the user signs out, or while the user's session is
// stolen and ended elsewhere.
// Case A6.
func TestSessionThatEndsBeforeBodyDoesNothing(t *testing.T) {
	t.Parallel()
	requests := held
	for _, r := range held[len(held)-2:] {
		r.name, r.target = "staff: "+r.name, "/staff"+r.target+"?user_id=ada"
		requests = append(requests, r)
	}
	for _, r := range requests {
		for status, err := range map[string]error{"401": nil, "503": errInternal} {
			t.Run(r.name+"/"+status, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					want := s.all(t)
					got := s.tried(t, r.method, r.target, r.body, "", func() { s.set(func() { s.signedIn, s.failed = "", err }) })
					for _, response := range got {
						if strings.HasPrefix(r.target, "/staff") && err == nil {
							require.Equal(t, "403", response[:3], response)
							continue
						}
						require.Equal(t, status, response[:3], response)
					}
					require.Equal(t, want, s.all(t))
				})
			})
		}
	}
}

// A session without a change must still be able to act, however slowly its body arrives.
func TestSlowBodyIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		got := s.tried(t, "POST", "/tokens", `{"name":"laptop"}`, "", func() { time.Sleep(9 * time.Second) })
		require.ElementsMatch(t, []string{"201", "409"}, []string{got[0][:3], got[1][:3]}, "one name, two requests")
		got = s.tried(t, "PATCH", "/tokens/ID", `{"name":"renamed"}`, "Authorization: Bearer "+s.key+"\r\n", func() { time.Sleep(9 * time.Second) })
		require.Equal(t, []string{"200", "200"}, []string{got[0][:3], got[1][:3]})
	})
}

// No client may hold a connection open with a body, however its request is answered. A service may
// have set no timeouts.
// Case A6.
func TestBodyHeldOpenEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request, sender string
		status          int
	}{
		"session":      {"POST /tokens", "", 408},
		"key":          {"POST /tokens", "Authorization: Bearer KEY\r\n", 408},
		"no body read": {"GET /openapi.json", "", 200},
		"wrong key":    {"POST /tokens", "Authorization: Bearer x\r\n", 401},
		"two keys":     {"POST /tokens", "Authorization: Bearer x\r\nAuthorization: Bearer y\r\n", 400},
		"wrong path":   {"POST /x", "", 404},
		"wrong method": {"PUT /tokens", "", 405},
		"cross-origin": {"POST /tokens", "Sec-Fetch-Site: cross-site\r\n", 403},
		"not by token": {"GET /staff/tokens", "Authorization: Bearer KEY\r\n", 403},
		"log out":      {"POST /logout", "Authorization: Bearer KEY\r\n", 408},
		"no key":       {"POST /logout", "", 401},
		"list":         {"GET /tokens", "", 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				conn, begin := s.server.Dial(t), time.Now()
				conn.Send(c.request + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n" +
					strings.Replace(c.sender, "KEY", s.key, 1) + "\r\n{")
				w, _ := conn.Receive(t)
				require.Equal(t, c.status, w.StatusCode)
				conn.RequireClosed(t)
				require.Less(t, time.Since(begin), 11*time.Second)
			})
		})
	}
}
