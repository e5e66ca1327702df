package tokenauth_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// accepts reports for each key whether the Manager m accepts it.
func accepts(m *tokenauth.Manager, keys ...string) []bool {
	good := make([]bool, len(keys))
	for i, key := range keys {
		_, err := m.Authenticate(ctx, key)
		good[i] = noted(err) == nil
	}
	return good
}

// After Rotate, the previous key must work until the grace period ends. From then on, the Manager
// must reject the previous key. Case E9.
func TestE9RotateWithGrace(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		old, before := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})

		clock.Set(start.Add(time.Minute))
		key, after, err := m.Rotate(ctx, "u", before.ID, time.Hour)
		require.NoError(t, err)
		fresh := key.Reveal()

		want := before // Rotate changes only the key, Generation and Hint. Case E12.
		want.Generation, want.Hint = 2, fresh[len(fresh)-4:]
		require.Equal(t, want, after)
		read, err := m.Get(ctx, "u", before.ID)
		require.NoError(t, err)
		require.Equal(t, want, read)

		require.Equal(t, []bool{true, true}, accepts(m, old, fresh))
		clock.Set(start.Add(time.Minute + time.Hour - 1))
		require.Equal(t, []bool{true, true}, accepts(m, old, fresh))
		clock.Set(start.Add(time.Minute + time.Hour))
		require.Equal(t, []bool{false, true}, accepts(m, old, fresh))

		_, _, err = m.Rotate(ctx, "u", before.ID, 0) // no grace period
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, accepts(m, old, fresh))
	})
}

// If a token is rotated twice within the grace period, the key from before the first rotation must
// stop working. Case E11.
func TestE11RotateWithinGrace(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		first, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		second, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		third, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true, true}, accepts(m, first, second.Reveal(), third.Reveal()))
	})
}

// If two concurrent calls of Rotate replace the same generation, one must succeed and the other
// must return ErrConflict. Each success must increase Generation by one. At most two keys of the
// token may be valid at any time. Case E10.
func TestE10RotationsAtOnce(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		first, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		keys := []string{first}
		var mu sync.Mutex
		for round := range 8 {
			won := together(2, func(int) bool {
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
				for _, ok := range accepts(m, keys...) {
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
// Case E12.
func TestE12S11RotateRefuses(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		_, revoked := issue(t, m, tokenauth.Spec{UserID: "u", Name: "revoked"})
		require.NoError(t, m.Revoke(ctx, "u", revoked.ID))
		old, short := issue(t, m, tokenauth.Spec{UserID: "u", Name: "short", ExpiresAt: start.Add(time.Hour)})

		for name, c := range map[string]struct {
			userID, id string
			grace      time.Duration
			want       error
		}{
			"unknown":          {"u", "UNKNOWN", 0, tokenauth.ErrNotFound},
			"no ID at all":     {"u", "a b", 0, tokenauth.ErrNotFound},
			"another user's":   {"v", short.ID, 0, tokenauth.ErrNotFound},
			"revoked":          {"u", revoked.ID, 0, tokenauth.ErrNotFound},
			"no user":          {"", short.ID, 0, tokenauth.ErrInvalidSpec},
			"E2 negative":      {"u", short.ID, -1, tokenauth.ErrInvalidSpec},
			"S11 odd bytes":    {"u", "１\x00;--", 0, tokenauth.ErrNotFound},
			"S11 a long ID":    {"u", string(make([]byte, 1<<20)), 0, tokenauth.ErrNotFound},
			"S11 empty string": {"u", "", 0, tokenauth.ErrNotFound},
		} {
			_, _, err := m.Rotate(ctx, c.userID, c.id, c.grace)
			require.ErrorIs(t, noted(err), c.want, name)
			require.NotErrorIs(t, err, tokenauth.ErrInvalidKey, name)
		}

		_, rotated, err := m.Rotate(ctx, "u", short.ID, 290*365*24*time.Hour) // the grace period exceeds the token's expiry
		require.NoError(t, err)
		require.Equal(t, short.ExpiresAt, rotated.ExpiresAt)
		clock.Set(short.ExpiresAt)
		require.Equal(t, []bool{false}, accepts(m, old))
		_, _, err = m.Rotate(ctx, "u", short.ID, 0)
		require.ErrorIs(t, err, tokenauth.ErrConflict)

		clock.Set(time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC))
		_, _, err = m.Rotate(ctx, "u", short.ID, 2*time.Hour)
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	})
}

// Revoke must invalidate the current and the previous key of a token immediately, even during a
// grace period. A second call of Revoke must succeed. Cases E5, E6, E13.
func TestE5E6E13Revoke(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		old, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		fresh, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 8, together(8, func(int) bool { return m.Revoke(ctx, "u", token.ID) == nil }))
		for _, key := range []string{old, fresh.Reveal()} {
			_, err := m.Authenticate(ctx, key)
			require.ErrorIs(t, noted(err), tokenauth.ErrRevoked)
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		clock.Set(start.Add(time.Minute))
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		revoked, err := m.Get(ctx, "u", token.ID)
		require.NoError(t, err)
		require.Equal(t, start, revoked.RevokedAt) // the second call does not change RevokedAt

		for id, want := range map[string]error{"UNKNOWN": tokenauth.ErrNotFound, "a/b": tokenauth.ErrNotFound} {
			require.ErrorIs(t, m.Revoke(ctx, "u", id), want)
		}
		require.ErrorIs(t, m.Revoke(ctx, "v", token.ID), tokenauth.ErrNotFound)
		issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"}) // a new token may take the name of a revoked token. Case S6.
	})
}

// If the store fails, Revoke and RevokeAll must return an error. Otherwise the caller would believe
// that the keys no longer work. Case E7.
func TestE7RevokeFails(t *testing.T) {
	t.Parallel()
	m := newManager(newFailingStore(errors.New("connection refused")), nil)
	err := noted(m.Revoke(ctx, "u", "ID"))
	require.Error(t, err)
	require.Equal(t, 503, tokenauth.StatusCode(err))
	n, err := m.RevokeAll(ctx, "u")
	require.Error(t, err)
	require.Zero(t, n)
}

// If the response with a new key is lost, the user must be able to find the token by its name and
// to rotate it. Case E14.
func TestE14AnswerLost(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		lost, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "ci"})
		tokens, err := m.List(ctx, tokenauth.Query{UserID: "u"})
		require.NoError(t, err)
		require.Equal(t, "ci", tokens[0].Name)
		require.Equal(t, lost[len(lost)-4:], tokens[0].Hint)
		key, _, err := m.Rotate(ctx, "u", tokens[0].ID, 0)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true}, accepts(m, lost, key.Reveal()))
	})
}

// RevokeAll must revoke all tokens that the user had when the call started, even if other calls
// issue tokens at the same time. Cases E15, E17.
func TestE15E17RevokeAll(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		var keys []string
		for i := range 5 {
			key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
			keys = append(keys, key)
		}
		other, _ := issue(t, m, tokenauth.Spec{UserID: "v", Name: "0"})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: fmt.Sprint("new", i)}); err != nil {
					t.Errorf("Issue returned an unexpected error: %v", err)
				}
			})
		}
		n, err := m.RevokeAll(ctx, "u")
		wg.Wait()
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, 5)
		require.Equal(t, make([]bool, 5), accepts(m, keys...))
		require.Equal(t, []bool{true}, accepts(m, other))

		rest, err := m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		require.Equal(t, 25, n+rest)
		_, err = m.RevokeAll(ctx, "")
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	})
}

// A user may submit the form that rotates a token twice. If several calls of RotateFrom have the
// same generation, only one may succeed. Otherwise a second call would replace a key that the user
// has not seen yet.
func TestRotateFrom(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, nil)
		old, token := issue(t, m, tokenauth.Spec{UserID: "42", Name: "laptop"})
		var key tokenauth.Key
		won := together(8, func(int) bool {
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
