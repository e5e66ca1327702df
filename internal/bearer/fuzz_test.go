package bearer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// For any values of Authorization and X-API-Key that a client sends, the status must be 200, 400 or
// 401. The store must get at most one Find call per request. The handler may see user 42 only if
// the request contains the valid key. Case H19.
func FuzzCredentials(f *testing.F) {
	// The key is the same in every run, because saved fuzz inputs contain it.
	key := fixture.Vectors(f)[0].Key
	store := fixture.NewStore()
	record := fixture.RecordOf(tokenauth.DigestOf(key))
	record.Token.Name = "laptop"
	require.NoError(f, store.Create(context.Background(), *record))
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{fixture.DRF}}))
	plain := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	withHeader := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key"}))

	for _, c := range append(headerCases(key), keyHeaderCases(key)...) {
		values := append(append([]string{}, c.authorization...), "", "")
		apiKeys := append(append([]string{}, c.apiKey...), "", "")
		f.Add(values[0], values[1], uint8(len(c.authorization)), apiKeys[0], apiKeys[1], uint8(len(c.apiKey)))
	}
	f.Fuzz(func(t *testing.T, a, b string, lines uint8, x, y string, apiKeys uint8) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{a, b}[:lines%3]
		r.Header["X-Api-Key"] = []string{x, y}[:apiKeys%3]
		sent := strings.Join([]string{a, b, x, y}, " ")
		for _, h := range []http.Handler{
			plain.Require(fixture.Whoami), withHeader.Require(fixture.Whoami), plain.Optional(fixture.Whoami), withHeader.Optional(fixture.Whoami),
		} {
			store.ResetCalls()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Contains(t, []int{200, 400, 401}, w.Code)
			require.LessOrEqual(t, store.Count("Find"), 1)
			challenges := w.Header().Values("WWW-Authenticate")
			for _, c := range challenges {
				fixture.Challenge(t, c)
			}
			switch body := w.Body.String(); {
			case w.Code != 200:
				require.Len(t, challenges, 2)
				require.NotContains(t, body, "42")
			case body == "42":
				require.Contains(t, sent, key, "the Authenticator accepted a request that does not contain the valid key")
			default:
				require.Equal(t, "nobody", body)
			}
		}
	})
}
