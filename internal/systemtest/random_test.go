package systemtest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// A knownKey is a key of a random request, with what it allows.
type knownKey struct {
	key      string
	scopes   []string
	accepted bool
}

// Whatever headers a client sends, the middleware must neither panic nor fail, and the handler must
// run only for a key that is accepted and has the required scopes. The test sends 10,000 random
// requests, or a million if TOKENAUTH_LONG is set.
func TestRandomRequestsPassOnlyWithRight(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(must.Get(storecache.New(tokenauth.NewMemoryStore(), nil)), &tokenauth.Options{Now: clock.Now})
	keys := randomKeys(t, m, clock)
	find := func(_ context.Context, id string) (*fixture.User, error) {
		if id == "disabled" {
			return nil, tokenauth.ErrNoUser
		}
		return &fixture.User{ID: id}, nil
	}
	auth := must.Get(tokenauth.NewAuthenticator(m, find, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"}))
	var ran, signedIn bool
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran = true
		_, signedIn = auth.User(r.Context())
		_, hasToken := auth.Token(r.Context())
		require.Equal(t, signedIn, hasToken)
		if _, _, err := auth.Confirm(r.Context(), tokenauth.Need{}); err != nil {
			require.ErrorIs(t, err, tokenauth.ErrNoKey)
			require.False(t, signedIn)
		}
	})
	needs := func(scopes ...string) func(*http.Request) (tokenauth.Need, error) {
		return func(*http.Request) (tokenauth.Need, error) { return tokenauth.Need{Scopes: scopes}, nil }
	}
	handlers := []struct {
		h        http.Handler
		scopes   []string
		optional bool
	}{
		{auth.Require(next), nil, false},
		{auth.RequireScopes("a", "b")(next), []string{"a", "b"}, false},
		{auth.RequireFunc(needs("b"))(next), []string{"b"}, false},
		{auth.Optional(next), nil, true},
		{auth.Optional(auth.RequireScopes("a")(next)), []string{"a"}, false},
		{auth.Require(auth.Optional(next)), nil, false},
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	passed := 0
	for range shortOrLong(10_000, 1_000_000) {
		c := handlers[random.IntN(len(handlers))]
		r := randomRequest(random, keys)
		ran = false
		w := fixture.Serve(c.h, r)
		require.Contains(t, []int{200, 400, 401, 403}, w.Code, "%v", len(r.Header))
		require.Equal(t, w.Code == http.StatusOK, ran)
		if !ran {
			continue
		}
		passed++
		require.True(t, c.optional && !signedIn || slices.ContainsFunc(keys, func(k knownKey) bool {
			return k.accepted && presents(r, k.key) && !slices.ContainsFunc(c.scopes, func(s string) bool { return !slices.Contains(k.scopes, s) })
		}))
	}
	require.Positive(t, passed)
}

// presents reports whether a header of r contains a key.
func presents(r *http.Request, key string) bool {
	return strings.Contains(fmt.Sprint(r.Header["Authorization"], r.Header["X-Api-Key"]), key)
}

func randomKeys(t *testing.T, m *tokenauth.Manager, clock interface{ Advance(time.Duration) }) (keys []knownKey) {
	t.Helper()
	add := func(userID, name string, accepted bool, scopes ...string) tokenauth.Token {
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: userID, Name: name, Scopes: scopes})
		keys = append(keys, knownKey{key, scopes, accepted})
		return token
	}
	add("u", "plain", true)
	add("u", "a", true, "a")
	add("u", "a b", true, "a", "b")
	add("disabled", "disabled", false, "a", "b")
	require.NoError(t, m.Revoke(ctx, "u", add("u", "revoked", false, "a", "b").ID))
	for name, grace := range map[string]time.Duration{"replaced": 0, "in its grace": time.Hour} {
		key, _, err := m.Rotate(ctx, "u", add("u", name, grace > 0, "b").ID, grace)
		require.NoError(t, err)
		keys = append(keys, knownKey{key.Reveal(), []string{"b"}, true})
	}
	short := add("u", "expired", false, "a", "b")
	_, err := m.Update(ctx, "u", short.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(time.Minute))})
	require.NoError(t, err)
	clock.Advance(2 * time.Minute)
	return keys
}

func randomRequest(random *rand.Rand, keys []knownKey) *http.Request {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	r := httptest.NewRequest(pick("GET", "POST", "HEAD", "OPTIONS", "DELETE", "BREW"), "/", nil)
	value := func() string {
		text := pick("Bearer ", "bearer\t", "Token  ", "Basic ", "", " ", "Bearer", "Bearer,", "Bearer a, Token ")
		if random.IntN(8) > 0 {
			key := keys[random.IntN(len(keys))].key
			if random.IntN(8) == 0 {
				i := random.IntN(len(key))
				key = key[:i] + pick("", "x", "\x00", "é", " ", ",") + key[i+1:]
			}
			text += key
		}
		return text + pick("", "", "", "", " ", ",", "\r\n", "=", strings.Repeat("x", random.IntN(2000)))
	}
	for range random.IntN(3) {
		name := pick("Authorization", "Authorization", "X-Api-Key", "Proxy-Authorization", "Cookie")
		text := value()
		if name == "X-Api-Key" && random.IntN(2) == 0 {
			text = keys[random.IntN(len(keys))].key
		}
		r.Header.Add(name, text)
	}
	return r
}
