package tokenauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// This file tests mistakes of a service or its operator. A mistake must not make a valid token
// unusable, and must not make the service accept an invalid key.

// If an ErrorHandler modifies the ScopeError, RequireScopes must still check the original scopes in
// later requests.
func TestErrorHandlerCannotChangeScopes(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), nil)
	key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"read"}})
	h := must.Get(tokenauth.NewAuthenticator(m, anyUser, &tokenauth.AuthenticatorOptions{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(tokenauth.StatusCode(err))
			err.(*tokenauth.ScopeError).Need[0] = "read"
		},
	})).RequireScopes("write")(forbidden(t))
	require.Equal(t, 403, get(h, "Bearer "+key).Code)
	require.Equal(t, 403, get(h, "Bearer "+key).Code)
}

// A service may pass a wrong time to Prune, for example because of a wrong sign or an overflow.
// Prune must not delete valid tokens, even if the passed time is in the future.
func TestPruneInTheFuture(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := newClock()
		m := newManager(store, &tokenauth.Options{Now: clock.Now})
		key, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start.Add(time.Hour)})
		for _, before := range []time.Time{start.AddDate(0, 3, 0), time.Date(-300000, 1, 1, 0, 0, 0, 0, time.UTC)} { // the year -300000 overflows int64 microseconds
			n, err := m.Prune(ctx, before)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		require.Equal(t, []bool{true}, accepts(m, key))
	})
}

// If a service lowers MaxPerUser, 64 concurrent calls of Issue must not exceed the new limit. This
// must hold even if valid tokens have slot numbers above the new limit. Case S7.
func TestS7LimitLowered(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		for i := range 3 {
			require.NoError(t, store.Create(ctx, tokenauth.Record{Slot: 500 + i, Digest: tokenauth.DigestOf(fmt.Sprint(i)),
				Token: tokenauth.Token{ID: fmt.Sprint("OLD", i), UserID: "u", Name: fmt.Sprint("old", i), Generation: 1, CreatedAt: start}}))
		}
		m := newManager(store, &tokenauth.Options{MaxPerUser: 5})
		issued := together(64, func(i int) bool {
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
	issue(t, newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{MaxPerUser: 1 << 60}), tokenauth.Spec{UserID: "u", Name: "n"})
}

// If Options.Now returns the zero time, Revoke must still revoke the token.
func TestZeroClock(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := newManager(store, &tokenauth.Options{Now: func() time.Time { return time.Time{} }})
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		require.Equal(t, []bool{false}, accepts(m, key))
	})
}

// Issue must round an expiry down before it checks the expiry. Otherwise it could issue an
// expired token.
func TestExpiryRoundedToNow(t *testing.T) {
	t.Parallel()
	m := newManager(tokenauth.NewMemoryStore(), &tokenauth.Options{Now: newClock().Now})
	_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: start.Add(999)})
	require.ErrorIs(t, noted(err), tokenauth.ErrInvalidSpec)
}

// The JSON form of a Token must omit the fields of zero times. Case E4.
func TestE4TokenAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(tokenauth.Token{ID: "x", CreatedAt: start})
	require.NoError(t, err)
	require.NotContains(t, string(text), "0001-01-01")
}

// If the database is closed, every request must get 503, and no handler may run. Case F1.
func TestF1DatabaseClosed(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	m := newManager(sqlite.NewStore(t, db, nil), nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", Scopes: []string{"a"}})
	auth := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil))
	require.Equal(t, 200, get(auth.Require(whoami), "Bearer "+key).Code)
	require.NoError(t, db.Close())
	for _, protect := range []func(http.Handler) http.Handler{auth.Require, auth.Optional, auth.RequireScopes("a")} {
		w := get(protect(forbidden(t)), "Bearer "+key)
		require.Equal(t, 503, w.Code)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Values("WWW-Authenticate"))
	}
	require.Error(t, noted(m.Revoke(ctx, "u", token.ID)))
}

// docs/databases.md shows a table whose column user_id references the users table of the service.
// When the service deletes a user, the database must delete the user's tokens.
func TestUserIDRefersToUsers(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	const text, reference = "user_id        TEXT    NOT NULL", "user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE"
	require.Contains(t, store.Schema(), text)
	_, err = db.Exec("CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (7), (8);" + strings.Replace(store.Schema(), text, reference, 1))
	require.NoError(t, err)
	require.NoError(t, store.CheckSchema(ctx))

	m := newManager(store, nil)
	key, token := issue(t, m, tokenauth.Spec{UserID: "7", Name: "n"})
	other, _ := issue(t, m, tokenauth.Spec{UserID: "8", Name: "n"})
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "7", Name: "n"})
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	_, err = m.Update(ctx, "7", token.ID, tokenauth.Patch{Name: new("m")})
	require.NoError(t, err)
	got, err := m.Authenticate(ctx, key)
	require.NoError(t, err)
	require.Equal(t, "7", got.UserID)
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "9", Name: "n"})
	require.Error(t, noted(err))

	_, err = db.Exec("DELETE FROM users WHERE id = 7")
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, accepts(m, key, other))
}
