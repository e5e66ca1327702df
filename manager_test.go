package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

var ctx = context.Background()

// Issue must return and store a token with the requested fields.
func TestIssue(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		expiry := start.Add(time.Hour).Add(999 * time.Nanosecond)

		key, token := issue(t, m, tokenauth.Spec{UserID: "42", Name: " laptop ", Scopes: []string{"b", "a", "b"}, ExpiresAt: expiry})
		require.NotEmpty(t, token.ID)
		require.Equal(t, tokenauth.Token{
			ID: token.ID, UserID: "42", Name: "laptop", Scopes: []string{"a", "b"}, Hint: key[len(key)-4:],
			Generation: 1, CreatedAt: start, ExpiresAt: start.Add(time.Hour), // expiry rounded down to a microsecond
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
// whose text a service may show to the user.
func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	clock := newClock()
	max := &tokenauth.Options{Now: clock.Now, MaxTTL: 24 * time.Hour, Scopes: []string{"read"}}
	free := &tokenauth.Options{Now: clock.Now}
	for name, c := range map[string]struct {
		opts *tokenauth.Options
		spec tokenauth.Spec
	}{
		"empty user":             {free, tokenauth.Spec{Name: "n"}},
		"S22 user of 256 bytes":  {free, tokenauth.Spec{UserID: string(make([]byte, 256)), Name: "n"}},
		"user with NUL":          {free, tokenauth.Spec{UserID: "a\x00", Name: "n"}},
		"S4 empty name":          {free, tokenauth.Spec{UserID: "u", Name: "  "}},
		"S4 name with ESC":       {free, tokenauth.Spec{UserID: "u", Name: "a\x1b[2J"}},
		"P4 scope with a space":  {free, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a b"}}},
		"scope that is unknown":  {max, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"write"}}},
		"P3 a wildcard":          {max, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"*"}}},
		"E2 expiry in the past":  {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start.Add(-1)}},
		"E2 expiry now":          {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start}},
		"S12 year 10000":         {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"S12 year 300000":        {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(300000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"expiry and none":        {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start.Add(1), NoExpiry: true}},
		"E2 none under MaxTTL":   {max, tokenauth.Spec{UserID: "u", Name: "n", NoExpiry: true}},
		"E2 more than MaxTTL":    {max, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start.Add(24*time.Hour + time.Microsecond)}},
		"E2 microseconds wrap":   {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Unix(18446744073709+start.Unix()+3600, 551_616_000)}},
		"E2 they wrap backwards": {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Date(-300000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"E2 the first instant":   {free, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Time{}.Add(1)}},
		"E2 the largest instant": {max, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Unix(1<<62, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := tokenauth.NewMemoryStore()
			_, _, err := newManager(store, c.opts).Issue(ctx, c.spec)
			require.ErrorIs(t, noted(err), tokenauth.ErrInvalidSpec)
			all, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			require.Empty(t, all)
		})
	}
}

// If the Spec has no expiry, Issue must set the expiry from DefaultTTL or MaxTTL. No token may live
// longer than MaxTTL. Case E2.
func TestE2ExpiryByPolicy(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		opts tokenauth.Options
		spec tokenauth.Spec
		want time.Time
	}{
		"no policy":           {tokenauth.Options{}, tokenauth.Spec{}, time.Time{}},
		"default":             {tokenauth.Options{DefaultTTL: day}, tokenauth.Spec{}, start.Add(day)},
		"default, but none":   {tokenauth.Options{DefaultTTL: day}, tokenauth.Spec{NoExpiry: true}, time.Time{}},
		"only a maximum":      {tokenauth.Options{MaxTTL: 2 * day}, tokenauth.Spec{}, start.Add(2 * day)},
		"default and maximum": {tokenauth.Options{DefaultTTL: day, MaxTTL: 2 * day}, tokenauth.Spec{}, start.Add(day)},
		"asked for":           {tokenauth.Options{DefaultTTL: day, MaxTTL: 2 * day}, tokenauth.Spec{ExpiresAt: start.Add(2 * day)}, start.Add(2 * day)},
		"S12 in another zone": {tokenauth.Options{}, tokenauth.Spec{ExpiresAt: start.Add(day).In(time.FixedZone("", 14*3600))}, start.Add(day)},
		"S12 the last year":   {tokenauth.Options{}, tokenauth.Spec{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.opts.Now = newClock().Now
			c.spec.UserID, c.spec.Name = "u", "n"
			_, token := issue(t, newManager(tokenauth.NewMemoryStore(), &c.opts), c.spec)
			require.Equal(t, c.want, token.ExpiresAt)
		})
	}
}

// From the instant ExpiresAt on, Authenticate must reject the token's key. This must hold for every
// kind of store. Case E1.
func TestE1Expiry(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		expiry := start.Add(time.Hour)
		key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: expiry})

		clock.Set(expiry.Add(-time.Nanosecond))
		_, err := m.Authenticate(ctx, key)
		require.NoError(t, err)
		for _, now := range []time.Time{expiry, expiry.Add(time.Nanosecond), expiry.AddDate(100, 0, 0)} {
			clock.Set(now)
			_, err = m.Authenticate(ctx, key)
			require.ErrorIs(t, noted(err), tokenauth.ErrExpired)
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		// A leap day must not shift the expiry. Case S16.
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "leap", ExpiresAt: time.Date(2128, 2, 29, 1, 30, 0, 0, time.UTC)})
		clock.Set(token.ExpiresAt.Add(-1))
		_, err = m.Authenticate(ctx, key)
		require.NoError(t, err)
		clock.Set(token.ExpiresAt)
		_, err = m.Authenticate(ctx, key)
		require.ErrorIs(t, err, tokenauth.ErrExpired)
	})
}

// If a service lowers MaxTTL, existing tokens keep their expiry until it is changed with Update.
// Authenticate checks only the stored expiry. This design differs from case E3 of the security
// catalog.
func TestE3StricterPolicyLater(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := tokenauth.NewMemoryStore()
	key, token := issue(t, newManager(store, &tokenauth.Options{Now: clock.Now}), tokenauth.Spec{UserID: "u", Name: "n"})

	m := newManager(store, &tokenauth.Options{Now: clock.Now, MaxTTL: time.Hour})
	clock.Set(start.Add(2 * time.Hour))
	_, err := m.Authenticate(ctx, key)
	require.NoError(t, err)
	_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(time.Time{})})
	require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	updated, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(clock.Now().Add(time.Hour))})
	require.NoError(t, err)
	require.Equal(t, start.Add(3*time.Hour), updated.ExpiresAt) // MaxTTL counts from the call of Update
}

// Rotate, Authenticate, Prune and Revoke must work on a token that never expires. Case E4.
func TestE4NeverExpiring(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		_, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", NoExpiry: true})
		clock.Set(start.AddDate(7000, 0, 0))
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
			eachStore(t, func(t *testing.T, store tokenauth.Store) {
				clock := newClock()
				m := newManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: limit})
				_, stale := issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: start.Add(time.Hour)})
				kept, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop", ExpiresAt: start.Add(3 * time.Hour)})

				_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci"})
				require.ErrorIs(t, noted(err), tokenauth.ErrNameTaken)
				clock.Set(start.Add(time.Hour))
				issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})

				old, err := m.Get(ctx, "u", stale.ID)
				require.NoError(t, err)
				require.Equal(t, clock.Now(), old.RevokedAt)
				_, err = m.Authenticate(ctx, kept)
				require.NoError(t, err)
			})
		})
	}
}

// Issue must enforce MaxPerUser. A token that expires or is revoked must not count toward the
// limit. Case S7.
func TestMaxPerUser(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 3})
		var tokens []tokenauth.Token
		for i := range 3 {
			_, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), ExpiresAt: start.Add(time.Duration(i+1) * time.Hour)})
			tokens = append(tokens, token)
		}
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "more"})
		require.ErrorIs(t, noted(err), tokenauth.ErrTooManyTokens)
		issue(t, m, tokenauth.Spec{UserID: "other", Name: "0"})

		require.NoError(t, m.Revoke(ctx, "u", tokens[1].ID))
		issue(t, m, tokenauth.Spec{UserID: "u", Name: "more"})
		clock.Set(start.Add(time.Hour)) // now the first token expires
		issue(t, m, tokenauth.Spec{UserID: "u", Name: "and more"})
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "too many"})
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)

		lower := newManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: 1})
		_, _, err = lower.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "under a lower limit"}) // the user has three valid tokens
		require.ErrorIs(t, err, tokenauth.ErrTooManyTokens)
		noLimit := newManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: -1})
		issue(t, noLimit, tokenauth.Spec{UserID: "u", Name: "without a limit"})
	})
}

// 64 concurrent calls of Issue must not create more tokens than MaxPerUser allows. Case S7.
func TestS7LimitUnderConcurrency(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		const limit = 5
		m := newManager(store, &tokenauth.Options{MaxPerUser: limit})
		issued := together(64, func(i int) bool {
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
func TestS5OneNameOnce(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		issued := together(64, func(int) bool {
			_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci"})
			if err != nil && !errors.Is(err, tokenauth.ErrNameTaken) {
				t.Errorf("Issue returned an unexpected error: %v", err)
			}
			return err == nil
		})
		require.Equal(t, 1, issued)
	})
}

// If the key generator returns a key that a token already has, Issue must not give that key to a
// second token. Case S8.
func TestS8RepeatedKey(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		first, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "1"})
		require.NoError(t, err)
		repeats := 3
		tokenauth.OnNewKey(m, func(k tokenauth.Key) tokenauth.Key {
			if repeats--; repeats >= 0 {
				return first
			}
			return k
		})
		second, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "2"})
		require.NotEqual(t, first.Reveal(), second)
		repeats = 1000
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "3"})
		require.ErrorIs(t, noted(err), tokenauth.ErrConflict)
		token, err := m.Authenticate(ctx, first.Reveal())
		require.NoError(t, err)
		require.Equal(t, "1", token.Name)
	})
}

// together calls f concurrently in n goroutines. It returns the number of calls that
// returned true.
func together(n int, f func(i int) bool) int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := 0
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			if f(i) {
				mu.Lock()
				count++
				mu.Unlock()
			}
		})
	}
	close(begin)
	wg.Wait()
	return count
}

// Manager.MaxTTL must return the option MaxTTL, so that a page can offer only expiries that Issue
// accepts.
func TestMaxTTL(t *testing.T) {
	t.Parallel()
	require.Equal(t, 48*time.Hour, newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{MaxTTL: 48 * time.Hour}).MaxTTL())
	require.Zero(t, newManager(tokenauth.NewMemoryStore(), nil).MaxTTL())
}
