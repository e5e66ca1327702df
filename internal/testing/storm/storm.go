// Package storm lets the tokens of a user create, rotate and narrow tokens by package tokenapi
// while the user revokes all tokens.
package storm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
)

const (
	goroutines = 8
	steps      = 6 // requests of each goroutine that creates tokens
)

// A storm is a service whose user revokes all tokens by another Manager, as in another process.
type storm struct {
	testing.TB
	owner   *tokenauth.Manager // without a cache
	service *tokenauth.Manager
	api     http.Handler

	mu       sync.Mutex
	keys     []string      // every key that a client has received
	arrivals chan struct{} // has a value for each key of the present round
}

// Run runs the given number of rounds on a store. In each round, seven goroutines use tokens that
// can manage tokens, and an eighth revokes all tokens of their user. After the round, the user must
// have no live token.
//
// If maxStale is not zero, the service reads the store through a cache with that MaxStale. After
// the last round and after maxStale, the service must accept none of the keys.
func Run(t testing.TB, store tokenauth.Store, rounds int, maxStale time.Duration) {
	s := &storm{TB: t, owner: must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: -1}))}
	if maxStale != 0 {
		store = must.Get(storecache.New(store, &storecache.Options{MaxStale: maxStale}))
	}
	s.service = must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: -1}))
	nobody := func(*http.Request) (string, error) { return "", nil }
	s.api = must.Get(tokenapi.New(fixture.NewAuthenticator(s.service, nil), nobody, &tokenapi.Options{ManageScope: "manage"}))
	for i := range rounds {
		s.round(i)
	}
	t.Logf("%d rounds, %d keys", rounds, len(s.keys))
	end := time.Now()
	fixture.Await(t, "MaxStale has passed", func() bool { return time.Since(end) >= maxStale })
	for _, good := range fixture.Accepts(s.service, s.keys...) {
		require.False(t, good, "a key is accepted after RevokeAll and MaxStale")
	}
}

func (s *storm) round(n int) {
	user := fmt.Sprint("user ", n)
	s.arrivals = make(chan struct{}, goroutines*steps)
	key, first, err := s.owner.Issue(s.Context(), tokenauth.Spec{UserID: user, Name: "first", Scopes: []string{"manage", "read"}})
	require.NoError(s, err)
	s.received(key.Reveal())
	rotated := reply{first.ID, key.Reveal(), first.Generation}
	wait := 1 + n%7 // keys that arrive before RevokeAll; all rotations together make seven
	if n%2 == 0 {   // rotate another token, so that the first key remains current
		rotated = s.send(key.Reveal(), "POST", "/tokens", `{"name":"rotated","scopes":["manage","read"]}`)
		wait *= 4
	}
	fixture.Together(goroutines, func(i int) bool {
		name := fmt.Sprint(i)
		switch i {
		case 0:
			for range wait {
				<-s.arrivals
			}
			if _, err := s.owner.RevokeAll(s.Context(), user); err != nil {
				s.Errorf("RevokeAll: %v", err)
			}
		case 1:
			s.rotate(rotated)
		case 2:
			s.narrow(key.Reveal(), name)
		default:
			s.create(key.Reveal(), name)
		}
		return true
	})
	live, err := s.owner.List(s.Context(), tokenauth.Query{UserID: user})
	require.NoError(s, err)
	require.Empty(s, live, "tokens are live after RevokeAll")
}

// create creates a chain of tokens, each by the key of the one before.
func (s *storm) create(key, name string) {
	for i := range steps {
		made := s.send(key, "POST", "/tokens", fmt.Sprintf(`{"name":"%s %d","scopes":["manage","read"]}`, name, i))
		if made.Key != "" {
			key = made.Key
		}
	}
}

// rotate rotates a token by its own keys.
func (s *storm) rotate(t reply) {
	for range steps {
		next := s.send(t.Key, "POST", "/tokens/"+t.ID+"/rotate", fmt.Sprintf(`{"generation":%d,"grace_seconds":3600}`, t.Generation))
		if next.Key == "" {
			return
		}
		t = next
	}
}

// narrow creates tokens, takes a scope from each and tries to give it back.
func (s *storm) narrow(key, name string) {
	for i := range steps / 2 {
		made := s.send(key, "POST", "/tokens", fmt.Sprintf(`{"name":"%s %d","scopes":["manage","read"]}`, name, i))
		if made.Key == "" {
			continue
		}
		narrowed := s.send(key, "PATCH", "/tokens/"+made.ID, `{"scopes":["manage"]}`)
		widened := s.send(key, "PATCH", "/tokens/"+made.ID, `{"scopes":["manage","read"]}`)
		if narrowed.ID != "" && widened.ID != "" {
			s.Error("a token got a scope back")
		}
	}
}

// A reply is a part of the body of a response.
type reply struct {
	ID, Key    string
	Generation int
}

func (s *storm) send(key, method, target, body string) (v reply) {
	r := httptest.NewRequestWithContext(s.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	if w.Code >= 500 {
		s.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	_ = json.Unmarshal(w.Body.Bytes(), &v) // every body is a JSON object
	if v.Key != "" {
		s.received(v.Key)
	}
	return v
}

func (s *storm) received(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	s.arrivals <- struct{}{}
}
