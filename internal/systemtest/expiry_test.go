package systemtest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A warning must come early enough to act, and not for the whole life of a token that lives only an
// hour.
func TestExpiresSoon(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now})
	for name, c := range map[string]struct {
		lives, left time.Duration
		revoked     bool
		want        bool
	}{
		"a year, 8 days left":      {365 * day, 8 * day, false, false},
		"a year, 7 days left":      {365 * day, 7 * day, false, true},
		"a year, 1 µs left":        {365 * day, time.Microsecond, false, true},
		"expired":                  {365 * day, 0, false, false},
		"long expired":             {365 * day, -day, false, false},
		"revoked":                  {365 * day, day, true, false},
		"8 days, 3 left":           {8 * day, 3 * day, false, false},
		"8 days, 2 left":           {8 * day, 2 * day, false, true},
		"an hour, 16 minutes left": {time.Hour, 16 * time.Minute, false, false},
		"an hour, 15 minutes left": {time.Hour, 15 * time.Minute, false, true},
	} {
		token := tokenauth.Token{ExpiresAt: clock.Now().Add(c.left)}
		token.CreatedAt = token.ExpiresAt.Add(-c.lives)
		if c.revoked {
			token.RevokedAt = clock.Now()
		}
		require.Equal(t, c.want, m.ExpiresSoon(&token), name)
	}
	require.False(t, m.ExpiresSoon(&tokenauth.Token{CreatedAt: clock.Now()}), "never expires")
}

// A client must be able to learn from a response that its key stops working soon.
func TestExpiryHeader(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: clock.Now})
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{ExpiryHeader: "token-expires"})
	header := func(h http.Handler, key string) []string {
		return fixture.Get(h, "Bearer "+key).Header().Values("Token-Expires")
	}
	rotate := func(id string, grace time.Duration) string {
		key, _, err := m.Rotate(ctx, "u", id, grace)
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		return key.Reveal()
	}
	forever, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "forever"})
	month, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "month", ExpiresAt: fixture.Start.Add(30 * day)})
	for _, h := range []http.Handler{auth.Require(fixture.Whoami), auth.Optional(fixture.Whoami), auth.Require(auth.Require(fixture.Whoami))} {
		require.Empty(t, header(h, forever))
		require.Empty(t, header(h, month))
	}
	clock.Set(fixture.Start.Add(23 * day))
	want := []string{"Tue, 31 Mar 2026 12:00:00 GMT"}
	for _, h := range []http.Handler{auth.Require(fixture.Whoami), auth.Optional(fixture.Whoami), auth.Require(auth.Require(fixture.Whoami))} {
		require.Equal(t, want, header(h, month))
		require.Empty(t, header(h, forever))
	}
	require.Empty(t, header(auth.RequireScopes("missing")(fixture.Whoami), month), "a refused request needs no advice")
	require.Empty(t, fixture.Get(auth.Optional(fixture.Whoami)).Header().Values("Token-Expires"))
	outer := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{KeyHeader: "X-API-Key", KeyHeaderOnly: true})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-API-Key", month)
	nested := fixture.Serve(outer.Require(auth.Optional(fixture.Whoami)), r)
	require.Equal(t, 200, nested.Code, "an inner Optional without a key has no expiry to announce")
	require.Empty(t, nested.Header().Values("Token-Expires"))
	require.Empty(t, header(fixture.NewAuthenticator(m, nil).Require(fixture.Whoami), month), "off unless named")

	fresh := rotate(token.ID, day)
	h := auth.Require(fixture.Whoami)
	require.Equal(t, []string{"Wed, 25 Mar 2026 12:00:00 GMT"}, header(h, month), "the end of the grace")
	require.Equal(t, want, header(h, fresh))
	_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(clock.Now().Add(time.Hour))})
	require.NoError(t, err)
	require.Equal(t, []string{"Tue, 24 Mar 2026 13:00:00 GMT"}, header(h, month), "the token expires before the grace ends")

	for _, name := range []string{"Token Expires", "a:b", "ü"} {
		_, err := tokenauth.NewAuthenticator(m, fixture.AnyUser, &tokenauth.AuthenticatorOptions{ExpiryHeader: name})
		require.ErrorContains(t, err, "ExpiryHeader", name)
	}
}

// A handler of the service must be able to replace the header, because it runs after the middleware
// has set it.
func TestHandlerMayReplaceExpiryHeader(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), nil)
	auth := fixture.NewAuthenticator(m, &tokenauth.AuthenticatorOptions{ExpiryHeader: "Token-Expires"})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	_, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
	require.NoError(t, err)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := fixture.Serve(auth.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		require.NotEmpty(t, w.Header().Get("Token-Expires"))
		w.Header().Del("Token-Expires")
	})), r)
	require.Empty(t, w.Header().Values("Token-Expires"))
}

// Whoever sees a token must see until when its previous key works, and never a time at which that
// key is refused already for another reason.
func TestPreviousKeyUntil(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
		old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		require.Zero(t, token.PreviousKeyUntil)
		key, rotated, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		leak.Default.Secret(key.Reveal())
		end := fixture.Start.Add(time.Hour)
		seen := func() (all []time.Time) {
			for _, got := range []tokenauth.Token{
				must.Get(m.Get(ctx, "u", token.ID)), must.Get(m.List(ctx, tokenauth.Query{UserID: "u", IncludeRevoked: true}))[0],
			} {
				all = append(all, got.PreviousKeyUntil)
			}
			return all
		}
		require.Equal(t, end, rotated.PreviousKeyUntil)
		require.Equal(t, []time.Time{end, end}, seen())
		auth := fixture.NewAuthenticator(m, nil)
		headers := http.Header{"Authorization": {"Bearer " + old}}
		_, got, err := auth.Authenticate(ctx, headers, tokenauth.Need{})
		require.NoError(t, err)
		all := []tokenauth.Token{must.Get(m.Authenticate(ctx, old)), got}
		fixture.Get(auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			known, _ := auth.Token(r.Context())
			inner, _ := tokenauth.TokenFrom(r.Context())
			_, confirmed, err := auth.Confirm(r.Context(), tokenauth.Need{})
			require.NoError(t, err)
			all = append(all, known, inner, confirmed)
		})), "Bearer "+old)
		require.Len(t, all, 5)
		for i, token := range all {
			require.Equal(t, end, token.PreviousKeyUntil, i)
		}
		require.Equal(t, 403, fixture.Get(auth.RequireScopes("missing")(fixture.Whoami), "Bearer "+old).Code)
		for _, e := range events.Take()[1:] { // after EventIssued
			require.Equal(t, end, e.Token.PreviousKeyUntil, e.Kind)
		}
		earlier := fixture.Start.Add(time.Minute)
		narrowed, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: &earlier})
		require.NoError(t, err)
		require.Equal(t, earlier, narrowed.PreviousKeyUntil)
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []time.Time{{}, {}}, seen())
	})
}
