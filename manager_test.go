package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// Issue must return and store a token with the requested fields.
func TestIssueStoresRequestedFields(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		expiry := fixture.Start.Add(time.Hour).Add(999 * time.Nanosecond)

		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: " laptop ", Scopes: []string{"b", "a", "b"}, ExpiresAt: expiry})
		require.NotEmpty(t, token.ID)
		require.Equal(t, tokenauth.Token{
			ID: token.ID, UserID: "42", Name: "laptop", Scopes: []string{"a", "b"}, Hint: key[len(key)-4:],
			Generation: 1, CreatedAt: fixture.Start, ExpiresAt: fixture.Start.Add(time.Hour), // expiry rounded down to a microsecond
		}, token)

		for name, read := range map[string]func() (tokenauth.Token, error){
			"Get":          func() (tokenauth.Token, error) { return m.Get(ctx, "42", token.ID) },
			"Authenticate": func() (tokenauth.Token, error) { return m.Authenticate(ctx, key) },
		} {
			got, err := read()
			require.NoError(t, err, name)
			require.Equal(t, token, got, name)
		}
		tokens, err := m.List(ctx, tokenauth.Query{UserID: "42"})
		require.NoError(t, err)
		require.Equal(t, []tokenauth.Token{token}, tokens)
	})
}

// Issue must refuse an invalid Spec and store nothing. The error must be ErrInvalidSpec,
// whose text a service may show to the user. Cases E2, S4, S12, S22, P3, and P4.
func TestIssueRefusesInvalidSpec(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	max := &tokenauth.Options{Now: clock.Now, MaxTTL: 24 * time.Hour, Scopes: []string{"read"}}
	free := &tokenauth.Options{Now: clock.Now}
	for name, c := range map[string]struct {
		opts *tokenauth.Options
		spec tokenauth.Spec
	}{
		"empty user":            {free, tokenauth.Spec{Name: "n"}},
		"user of 256 bytes":     {free, tokenauth.Spec{UserID: string(make([]byte, 256)), Name: "n"}},
		"user with NUL":         {free, tokenauth.Spec{UserID: "a\x00", Name: "n"}},
		"empty name":            {free, tokenauth.Spec{UserID: "u", Name: "  "}},
		"name with ESC":         {free, tokenauth.Spec{UserID: "u", Name: "a\x1b[2J"}},
		"scope with a space":    {free, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a b"}}},
		"scope that is unknown": {max, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write"}}},
		"a wildcard":            {max, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"*"}}},
		"expiry in the past":    {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(-1)}},
		"expiry now":            {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start}},
		"year 10000":            {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"year 300000":           {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(300000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"expiry and none":       {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(time.Hour), NoExpiry: true}},
		"none under MaxTTL":     {max, tokenauth.Spec{UserID: "u", Name: "n", NoExpiry: true}},
		"more than MaxTTL":      {max, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(24*time.Hour + time.Microsecond)}},
		"microseconds wrap":     {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Unix(18446744073709+fixture.Start.Unix()+3600, 551_616_000)}},
		"they wrap backwards":   {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(-300000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"the first instant":     {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Time{}.Add(1)}},
		"the largest instant":   {max, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Unix(1<<62, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := tokenauth.NewMemoryStore()
			_, _, err := fixture.NewManager(store, c.opts).Issue(ctx, c.spec)
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidSpec)
			all, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

// If the Spec has no expiry, Issue must set the expiry from DefaultTTL or MaxTTL. No token may live
// longer than MaxTTL. Case E2.
func TestExpiryFollowsPolicy(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		opts tokenauth.Options
		spec tokenauth.Spec
		want time.Time
	}{
		"no policy":           {tokenauth.Options{}, tokenauth.Spec{}, time.Time{}},
		"default":             {tokenauth.Options{DefaultTTL: day}, tokenauth.Spec{}, fixture.Start.Add(day)},
		"default, but none":   {tokenauth.Options{DefaultTTL: day}, tokenauth.Spec{NoExpiry: true}, time.Time{}},
		"only a maximum":      {tokenauth.Options{MaxTTL: 2 * day}, tokenauth.Spec{}, fixture.Start.Add(2 * day)},
		"default and maximum": {tokenauth.Options{DefaultTTL: day, MaxTTL: 2 * day}, tokenauth.Spec{}, fixture.Start.Add(day)},
		"asked for":           {tokenauth.Options{DefaultTTL: day, MaxTTL: 2 * day}, tokenauth.Spec{ExpiresAt: fixture.Start.Add(2 * day)}, fixture.Start.Add(2 * day)},
		"in another zone":     {tokenauth.Options{}, tokenauth.Spec{ExpiresAt: fixture.Start.Add(day).In(time.FixedZone("", 14*3600))}, fixture.Start.Add(day)},
		"the last year":       {tokenauth.Options{}, tokenauth.Spec{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.opts.Now = fixture.NewClock().Now
			c.spec.UserID, c.spec.Name = "u", "n"
			_, token := fixture.Issue(t, fixture.NewManager(tokenauth.NewMemoryStore(), &c.opts), c.spec)
			require.Equal(t, c.want, token.ExpiresAt)
		})
	}
}

// From the instant ExpiresAt on, Authenticate must reject the token's key. This must hold for every
// kind of store. Case E1.
func TestExpiryIsExact(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		expiry := fixture.Start.Add(time.Hour)
		key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: expiry})

		clock.Set(expiry.Add(-time.Nanosecond))
		_, err := m.Authenticate(ctx, key)
		require.NoError(t, err)
		for _, now := range []time.Time{expiry, expiry.Add(time.Nanosecond), expiry.AddDate(100, 0, 0)} {
			clock.Set(now)
			_, err = m.Authenticate(ctx, key)
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrExpired)
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		// A leap day must not shift the expiry. Case S16.
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "leap", ExpiresAt: time.Date(2128, 2, 29, 1, 30, 0, 0, time.UTC)})
		clock.Set(token.ExpiresAt.Add(-1))
		_, err = m.Authenticate(ctx, key)
		require.NoError(t, err)
		clock.Set(token.ExpiresAt)
		_, err = m.Authenticate(ctx, key)
		require.ErrorIs(t, err, tokenauth.ErrExpired)
	})
}

// If a service lowers MaxTTL, existing tokens keep their expiry until Update changes it.
// Authenticate checks only the stored expiry. Case E3.
func TestLoweredMaxTTLKeepsExpiry(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	store := tokenauth.NewMemoryStore()
	key, token := fixture.Issue(t, fixture.NewManager(store, &tokenauth.Options{Now: clock.Now}), tokenauth.Spec{UserID: "u", Name: "n"})

	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxTTL: time.Hour})
	clock.Set(fixture.Start.Add(2 * time.Hour))
	_, err := m.Authenticate(ctx, key)
	require.NoError(t, err)
	_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(time.Time{})})
	require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	updated, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(clock.Now().Add(time.Hour))})
	require.NoError(t, err)
	require.Equal(t, fixture.Start.Add(3*time.Hour), updated.ExpiresAt) // MaxTTL counts from the call of Update
}

// Rotate, Authenticate, Prune and Revoke must work on a token that never expires. Case E4.
func TestTokenCanNeverExpire(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", NoExpiry: true})
		clock.Set(fixture.Start.AddDate(7000, 0, 0))
		key, rotated, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		require.True(t, rotated.ExpiresAt.IsZero())
		_, err = m.Authenticate(ctx, key.Reveal())
		require.NoError(t, err)
		n, err := m.Prune(ctx, clock.Now())
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		_, err = m.Authenticate(ctx, key.Reveal())
		require.ErrorIs(t, err, tokenauth.ErrRevoked)
	})
}

// Issue must revoke an expired token that holds the requested name or the last slot. It must
// never revoke a valid token.
func TestIssueTakesThePlaceOfExpired(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"with a limit": 2, "without": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
				clock := fixture.NewClock()
				m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: limit})
				_, stale := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: fixture.Start.Add(time.Hour)})
				kept, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", ExpiresAt: fixture.Start.Add(3 * time.Hour)})

				_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci"})
				require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrNameTaken)
				clock.Set(fixture.Start.Add(time.Hour))
				fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})

				old, err := m.Get(ctx, "u", stale.ID)
				require.NoError(t, err)
				require.Equal(t, clock.Now(), old.RevokedAt)
				_, err = m.Authenticate(ctx, kept)
				require.NoError(t, err)
			})
		})
	}
}

// If another call revokes or renews the expired token meanwhile, Issue must go on. Otherwise a user
// who submits a form twice would get an error instead of a token.
func TestIssueWhenExpiredTokenIsGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []error{tokenauth.ErrNotFound, tokenauth.ErrConflict} {
		clock := fixture.NewClock()
		store := fixture.NewStore()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: fixture.Start.Add(time.Hour)})
		clock.Set(fixture.Start.Add(time.Hour))
		store.Intercept(func(_ context.Context, method string, next func() error) error {
			if err := next(); err != nil || method != "RevokeExpired" {
				return err
			}
			return gone // the other call came first
		})
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})
	}
}

// If a service has lowered MaxPerUser, Issue must revoke as many expired tokens as needed to free a
// slot. Otherwise a user with many expired tokens could not create a token.
func TestIssueRevokesSeveralExpiredTokens(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 4})
		for i := range 4 {
			fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), ExpiresAt: fixture.Start.Add(time.Hour)})
		}
		clock.Advance(time.Hour)
		lowered := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 2})
		fixture.Issue(t, lowered, tokenauth.Spec{UserID: "u", Name: "new"})
		live, err := lowered.List(ctx, tokenauth.Query{UserID: "u"})
		require.NoError(t, err)
		require.Len(t, live, 2)
	})
}

// New must copy Options.Scopes and sort the copy. Otherwise a later change of the caller's slice
// would change which scopes a token can have.
func TestManagerCopiesScopes(t *testing.T) {
	t.Parallel()
	scopes := []string{"write", "admin", "write", "read"}
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Scopes: scopes})
	require.Equal(t, []string{"write", "admin", "write", "read"}, scopes, "New must not sort the caller's slice")
	scopes[0] = "changed"
	require.Equal(t, []string{"admin", "read", "write"}, m.Scopes())
	fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write", "admin"}})
}

// Issue must enforce MaxPerUser. A token that expires or is revoked must not count toward the
// limit. Case S7.
func TestMaxPerUserCountsLiveTokensOnly(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 3})
		var tokens []tokenauth.Token
		for i := range 3 {
			_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), ExpiresAt: fixture.Start.Add(time.Duration(i+1) * time.Hour)})
			tokens = append(tokens, token)
		}
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "more"})
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrTooManyTokens)
		fixture.Issue(t, m, tokenauth.Spec{UserID: "other", Name: "0"})

		require.NoError(t, m.Revoke(ctx, "u", tokens[1].ID))
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "more"})
		clock.Set(fixture.Start.Add(time.Hour)) // now the first token expires
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "and more"})
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "too many"})
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)

		lower := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 1})
		_, _, err = lower.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "under a lower limit"}) // the user has three valid tokens
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
		noLimit := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: -1})
		fixture.Issue(t, noLimit, tokenauth.Spec{UserID: "u", Name: "without a limit"})
	})
}

// 64 concurrent calls of Issue must not create more tokens than MaxPerUser allows. Case S7.
func TestLimitHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		const limit = 5
		m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: limit})
		issued := fixture.Together(64, func(i int) bool {
			for range 20 { // Issue may return ErrConflict several times
				_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
				switch {
				case err == nil:
					return true
				case errors.Is(err, tokenauth.ErrTooManyTokens):
					return false
				}
				if !errors.Is(err, tokenauth.ErrConflict) {
					t.Errorf("Issue returned an unexpected error: %v", err)
				}
			}
			return false
		})
		require.Equal(t, limit, issued)
		tokens, err := m.List(ctx, tokenauth.Query{UserID: "u"})
		require.NoError(t, err)
		require.Len(t, tokens, limit)
	})
}

// If 64 concurrent calls of Issue request the same name, exactly one call must succeed. Case S5.
func TestConcurrentIssueGivesNameOnce(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		issued := fixture.Together(64, func(int) bool {
			_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci"})
			if err != nil && !errors.Is(err, tokenauth.ErrNameTaken) {
				t.Errorf("Issue returned an unexpected error: %v", err)
			}
			return err == nil
		})
		require.Equal(t, 1, issued)
	})
}

// If a new key is taken, Issue must try other keys, and must never give one key to two tokens.
// Case S8.
func TestRepeatedKeyIsNotIssued(t *testing.T) {
	t.Parallel()
	store := &takenKeys{Store: tokenauth.NewMemoryStore(), taken: 3}
	m := fixture.NewManager(store, nil)
	key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "1"})
	require.Len(t, store.tried, 4, "number of different keys that Issue tried")
	require.True(t, store.tried[tokenauth.DigestOf(key)])
	store.taken = 1000
	_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "2"})
	require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrConflict)
	require.Greater(t, len(store.tried), 10)
}

// takenKeys is a Store that already has the next keys that the Manager generates. taken is the
// number of these keys.
type takenKeys struct {
	tokenauth.Store
	taken int
	tried map[tokenauth.Digest]bool
}

func (s *takenKeys) Create(ctx context.Context, records ...tokenauth.Record) error {
	if s.tried == nil {
		s.tried = map[tokenauth.Digest]bool{}
	}
	s.tried[records[0].Digest] = true
	if s.taken--; s.taken >= 0 {
		return tokenauth.ErrKeyTaken
	}
	return s.Store.Create(ctx, records...)
}

// If a service lowers MaxPerUser, 64 concurrent calls of Issue must not exceed the new limit. This
// must hold even if valid tokens have slot numbers above the new limit. Case S7.
func TestLoweredLimitHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		for i := range 3 {
			require.NoError(t, store.Create(ctx, tokenauth.Record{Slot: 500 + i, Digest: tokenauth.DigestOf(fmt.Sprint(i)),
				Token: tokenauth.Token{ID: fmt.Sprint("OLD", i), UserID: "u", Name: fmt.Sprint("old", i), Generation: 1, CreatedAt: fixture.Start}}))
		}
		m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: 5})
		issued := fixture.Together(64, func(i int) bool {
			for range 20 {
				_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
				if err == nil || tokenauth.StatusCode(err) == 409 && strings.Contains(err.Error(), "too many") {
					return err == nil
				}
			}
			return false
		})
		require.Equal(t, 2, issued)
	})
	// Issue must not use time or memory in proportion to MaxPerUser.
	fixture.Issue(t, fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{MaxPerUser: 1_000_000_000}), tokenauth.Spec{UserID: "u", Name: "n"})
}

// Issue must round an expiry down before it checks the expiry. Otherwise it could issue an
// expired token.
func TestIssueRefusesExpiryThatRoundsToNow(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: fixture.NewClock().Now})
	_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(999)})
	require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidSpec)
}
