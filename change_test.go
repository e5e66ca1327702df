package tokenauth_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A change of one token must not change any other token, whether of the same user or of another
// user. Otherwise a user who rotates the key of one device would lock out other devices. The test
// compares the stored records and the responses of the middleware before and after each change.
func TestOneTokenNeverTouchesAnother(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
		handler := auth.RequireScopes("read")(fixture.Whoami)

		changed, foo := fixture.Issue(t, m, tokenauth.Spec{UserID: "anna", Name: "Foo", Scopes: []string{"read"}})
		bar, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "anna", Name: "Bar", Scopes: []string{"read"}, ExpiresAt: fixture.Start.Add(24 * time.Hour)})
		other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "ben", Name: "Foo", Scopes: []string{"read"}})
		others := func() (records []tokenauth.Record) {
			all, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
			require.NoError(t, err)
			for _, r := range all {
				if r.Token.ID != foo.ID {
					records = append(records, r)
				}
			}
			return records
		}
		before := others()
		require.Len(t, before, 2)
		require.Equal(t, 200, fixture.Get(handler, "Bearer "+changed).Code)

		for _, step := range []struct {
			name string
			do   func() error
			code int // status of a request with the first key of the token named Foo
		}{
			{"rotate", func() error { _, _, err := m.Rotate(ctx, "anna", foo.ID, 10*time.Minute); return err }, 200},
			{"rename", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{Name: new("Baz")})
				return err
			}, 200},
			{"re-scope", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{Scopes: &[]string{"write"}})
				return err
			}, 403},
			{"expire", func() error {
				_, err := m.Update(ctx, "anna", foo.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(time.Minute))})
				clock.Set(fixture.Start.Add(time.Minute))
				return err
			}, 401},
			{"revoke", func() error { return m.Revoke(ctx, "anna", foo.ID) }, 401},
			{"prune", func() error {
				clock.Set(fixture.Start.Add(time.Hour))
				_, err := m.Prune(ctx, clock.Now())
				return err
			}, 401},
		} {
			require.NoError(t, step.do(), step.name)
			require.Equal(t, before, others(), step.name)
			require.Equal(t, step.code, fixture.Get(handler, "Bearer "+changed).Code, step.name)
			require.Equal(t, "anna", fixture.Get(handler, "Bearer "+bar).Body.String(), step.name)
			require.Equal(t, "ben", fixture.Get(handler, "Bearer "+other).Body.String(), step.name)
		}
		_, err := m.Get(ctx, "anna", foo.ID)
		require.ErrorIs(t, err, tokenauth.ErrNotFound)
	})
}

// Update must change only those fields of a token that the Patch sets. It must return an error if
// the token does not exist, or if the Patch contains an invalid value. Cases S9, S10, and P4.
func TestUpdateChangesOnlyPatchedFields(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, Scopes: []string{"a", "b"}})
		_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}, ExpiresAt: fixture.Start.Add(time.Hour)})
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "taken"})
		_, revoked := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", revoked.ID))

		for name, c := range map[string]struct {
			userID, id string
			patch      tokenauth.Patch
			want       error
		}{
			"another user's": {"v", token.ID, tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"unknown":        {"u", "UNKNOWN", tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"revoked":        {"u", revoked.ID, tokenauth.Patch{Name: new("x")}, tokenauth.ErrNotFound},
			"name taken":     {"u", token.ID, tokenauth.Patch{Name: new("taken")}, tokenauth.ErrNameTaken},
			"name malformed": {"u", token.ID, tokenauth.Patch{Name: new("\u200b")}, tokenauth.ErrInvalidSpec},
			"scope unknown":  {"u", token.ID, tokenauth.Patch{Scopes: &[]string{"c"}}, tokenauth.ErrInvalidSpec},
			"expiry past":    {"u", token.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start)}, tokenauth.ErrInvalidSpec},
			"no user":        {"", token.ID, tokenauth.Patch{}, tokenauth.ErrInvalidSpec},
		} {
			_, err := m.Update(ctx, c.userID, c.id, c.patch)
			require.ErrorIs(t, fixture.Noted(err), c.want, name)
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
		}

		want := token
		for name, c := range map[string]struct {
			patch tokenauth.Patch
			apply func()
		}{
			"nothing":    {tokenauth.Patch{}, func() {}},
			"name":       {tokenauth.Patch{Name: new(" renamed ")}, func() { want.Name = "renamed" }},
			"same name":  {tokenauth.Patch{Name: new("renamed")}, func() { want.Name = "renamed" }},
			"scopes":     {tokenauth.Patch{Scopes: &[]string{"b", "a"}}, func() { want.Scopes = []string{"a", "b"} }},
			"no scopes":  {tokenauth.Patch{Scopes: &[]string{}}, func() { want.Scopes = nil }},
			"expiry":     {tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(2 * time.Hour))}, func() { want.ExpiresAt = fixture.Start.Add(2 * time.Hour) }},
			"expiry off": {tokenauth.Patch{ExpiresAt: new(time.Time{})}, func() { want.ExpiresAt = time.Time{} }},
		} {
			got, err := m.Update(ctx, "u", token.ID, c.patch)
			require.NoError(t, err, name)
			c.apply()
			require.Equal(t, want, got, name)
		}

		_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(time.Minute))})
		require.NoError(t, err)
		clock.Set(fixture.Start.Add(time.Minute)) // the token expires, so Update must refuse to change it
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.Add(time.Hour))})
		require.ErrorIs(t, err, tokenauth.ErrConflict)
	})
}

// After Rotate, the previous key must work until the grace period ends. From then on, the Manager
// must reject the previous key. Case E9.
func TestPreviousKeyWorksUntilGraceEnds(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		old, before := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})

		clock.Set(fixture.Start.Add(time.Minute))
		key, after, err := m.Rotate(ctx, "u", before.ID, time.Hour)
		require.NoError(t, err)
		fresh := key.Reveal()

		want := before // Rotate changes only the key, Generation and Hint. Case E12.
		want.Generation, want.Hint = 2, fresh[len(fresh)-4:]
		want.PreviousKeyUntil = fixture.Start.Add(time.Minute + time.Hour)
		require.Equal(t, want, after)
		read, err := m.Get(ctx, "u", before.ID)
		require.NoError(t, err)
		require.Equal(t, want, read)

		require.Equal(t, []bool{true, true}, fixture.Accepts(m, old, fresh))
		clock.Set(fixture.Start.Add(time.Minute + time.Hour - 1))
		require.Equal(t, []bool{true, true}, fixture.Accepts(m, old, fresh))
		clock.Set(fixture.Start.Add(time.Minute + time.Hour))
		require.Equal(t, []bool{false, true}, fixture.Accepts(m, old, fresh))

		_, _, err = m.Rotate(ctx, "u", before.ID, 0) // no grace period
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, fixture.Accepts(m, old, fresh))
	})
}

// The grace period must end with the expiry that the token has at the rotation. If the expiry is
// later extended, the replaced key must not become valid again. Case E12.
func TestGraceEndsWithExpiryAtRotation(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(time.Hour)})
		fresh, _, err := m.Rotate(ctx, "u", token.ID, 7*24*time.Hour)
		require.NoError(t, err)
		_, err = m.Update(ctx, "u", token.ID, tokenauth.Patch{ExpiresAt: new(fixture.Start.AddDate(0, 1, 0))})
		require.NoError(t, err)
		clock.Advance(2 * time.Hour)
		require.Equal(t, []bool{false, true}, fixture.Accepts(m, old, fresh.Reveal()))
	})
}

// If a token is rotated twice within the grace period, the key from before the first rotation must
// stop working. Case E11.
func TestSecondRotationEndsFirstKey(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		first, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		second, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		third, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true, true}, fixture.Accepts(m, first, second.Reveal(), third.Reveal()))
	})
}

// If two concurrent calls of Rotate replace the same generation, one must succeed and the other
// must return ErrConflict. Each success must increase Generation by one. At most two keys of the
// token may be valid at any time. Case E10.
func TestOneOfConcurrentRotationsWins(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		first, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		keys := []string{first}
		var mu sync.Mutex
		for round := range 8 {
			won := fixture.Together(2, func(int) bool {
				key, rotated, err := m.Rotate(ctx, "u", token.ID, time.Hour)
				if err != nil {
					if !errors.Is(err, tokenauth.ErrConflict) {
						t.Errorf("Rotate returned an unexpected error: %v", err)
					}
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, key.Reveal())
				good := 0
				for _, ok := range fixture.Accepts(m, keys...) {
					if ok {
						good++
					}
				}
				if good > 2 {
					t.Errorf("round %d: %d keys of one token are valid (generation %d), want at most 2", round, good, rotated.Generation)
				}
				return true
			})
			require.NotZero(t, won) // both calls may succeed if they do not overlap
		}
		now, err := m.Get(ctx, "u", token.ID)
		require.NoError(t, err)
		require.Equal(t, len(keys), now.Generation)
	})
}

// Rotate must not make an expired or revoked token valid again, and must not change other tokens.
// Cases E2, E12, and S11.
func TestRotateRefusesExpiredAndRevokedTokens(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		_, revoked := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", revoked.ID))
		old, short := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "short", ExpiresAt: fixture.Start.Add(time.Hour)})

		for name, c := range map[string]struct {
			userID, id string
			grace      time.Duration
			want       error
		}{
			"unknown":        {"u", "UNKNOWN", 0, tokenauth.ErrNotFound},
			"no ID at all":   {"u", "a b", 0, tokenauth.ErrNotFound},
			"another user's": {"v", short.ID, 0, tokenauth.ErrNotFound},
			"revoked":        {"u", revoked.ID, 0, tokenauth.ErrNotFound},
			"no user":        {"", short.ID, 0, tokenauth.ErrInvalidSpec},
			"negative":       {"u", short.ID, -1, tokenauth.ErrInvalidSpec},
			"too long":       {"u", short.ID, 30*24*time.Hour + 1, tokenauth.ErrInvalidSpec},
			"odd bytes":      {"u", "１\x00;--", 0, tokenauth.ErrNotFound},
			"a long ID":      {"u", string(make([]byte, 1<<20)), 0, tokenauth.ErrNotFound},
			"empty string":   {"u", "", 0, tokenauth.ErrNotFound},
		} {
			_, _, err := m.Rotate(ctx, c.userID, c.id, c.grace)
			require.ErrorIs(t, fixture.Noted(err), c.want, name)
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
		}

		_, rotated, err := m.Rotate(ctx, "u", short.ID, 30*24*time.Hour) // the grace period exceeds the token's expiry
		require.NoError(t, err)
		require.Equal(t, short.ExpiresAt, rotated.ExpiresAt)
		clock.Set(short.ExpiresAt)
		require.Equal(t, []bool{false}, fixture.Accepts(m, old))
		_, _, err = m.Rotate(ctx, "u", short.ID, 0)
		require.ErrorIs(t, err, tokenauth.ErrConflict)

		clock.Set(time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC))
		_, _, err = m.Rotate(ctx, "u", short.ID, 2*time.Hour)
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	})
}

// If the response with a new key is lost, the user must be able to find the token by its name and
// to rotate it. Case E14.
func TestTokenWithLostKeyCanBeRotated(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		lost, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})
		tokens, err := m.List(ctx, tokenauth.Query{UserID: "u"})
		require.NoError(t, err)
		require.Equal(t, "ci", tokens[0].Name)
		require.Equal(t, lost[len(lost)-4:], tokens[0].Hint)
		key, _, err := m.Rotate(ctx, "u", tokens[0].ID, 0)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true}, fixture.Accepts(m, lost, key.Reveal()))
	})
}

// A user may submit the form that rotates a token twice. If several calls of RotateFrom have the
// same generation, only one may succeed. Otherwise a second call would replace a key that the user
// has not seen yet.
func TestRotateFromReplacesKeyOnce(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
		var key tokenauth.Key
		won := fixture.Together(8, func(int) bool {
			k, rotated, err := m.RotateFrom(ctx, "42", token.ID, token.Generation, time.Hour)
			if err != nil {
				require.ErrorIs(t, err, tokenauth.ErrConflict)
				return false
			}
			require.Equal(t, 2, rotated.Generation)
			key = k
			return true
		})
		require.Equal(t, 1, won)
		for _, presented := range []string{old, key.Reveal()} {
			_, err := m.Authenticate(ctx, presented)
			require.NoError(t, err)
		}
		_, _, err := m.RotateFrom(ctx, "42", token.ID, 2, 0)
		require.NoError(t, err)
	})
}

// A handler that requires the current key must refuse the previous key of a rotation, even within
// its grace. Otherwise a leaked key could create tokens during the whole grace.
func TestCurrentKeyIsRequiredOnRequest(t *testing.T) {
	t.Parallel()
	events := &fixture.Recorder{}
	m := fixture.NewManager(tokenauth.NewMemoryStore(), &tokenauth.Options{OnEvent: events.Record})
	auth := fixture.NewAuthenticator(m, nil)
	need := tokenauth.Need{CurrentKey: true}
	old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	serve := func(key string) (status int, confirmed error) {
		confirm := auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _, confirmed = auth.Confirm(r.Context(), need)
		}))
		fixture.Get(confirm, "Bearer "+key)
		require := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) { return need, nil })
		return fixture.Get(require(fixture.Whoami), "Bearer "+key).Code, confirmed
	}
	status, err := serve(old)
	require.NoError(t, err)
	require.Equal(t, 200, status)

	key, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
	require.NoError(t, err)
	events.Take()
	status, err = serve(old)
	require.ErrorIs(t, err, tokenauth.ErrPreviousKey)
	require.Equal(t, 403, tokenauth.StatusCode(err))
	require.Equal(t, 403, status)
	rejected := events.Take()
	require.Equal(t, tokenauth.ReasonPreviousKey, rejected[len(rejected)-1].Reason)
	status, err = serve(key.Reveal())
	require.NoError(t, err)
	require.Equal(t, 200, status)
}
