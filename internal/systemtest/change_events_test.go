package systemtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// managerCalls are calls of each method that changes tokens, with the kind of its event and the
// method of the Store that makes the change.
var managerCalls = []struct {
	name   string
	kind   tokenauth.EventKind
	method string
	call   func(m *tokenauth.Manager, key string, token tokenauth.Token) error
}{
	{"Issue", tokenauth.EventIssued, "Create", func(m *tokenauth.Manager, _ string, token tokenauth.Token) error {
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "new"})
		return err
	}},
	{"Issue in place of an expired token", tokenauth.EventRevoked, "RevokeExpired", func(m *tokenauth.Manager, _ string, token tokenauth.Token) error {
		_, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "expired"})
		return err
	}},
	{"Update", tokenauth.EventUpdated, "Update", func(m *tokenauth.Manager, _ string, token tokenauth.Token) error {
		_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Name: new("renamed")})
		return err
	}},
	{"Rotate", tokenauth.EventRotated, "Rotate", func(m *tokenauth.Manager, _ string, token tokenauth.Token) error {
		_, _, err := m.Rotate(ctx, "u", token.ID, 0)
		return err
	}},
	{"Revoke", tokenauth.EventRevoked, "Revoke", func(m *tokenauth.Manager, _ string, token tokenauth.Token) error {
		return m.Revoke(ctx, "u", token.ID)
	}},
	{"RevokeKey", tokenauth.EventRevoked, "Revoke", func(m *tokenauth.Manager, key string, _ tokenauth.Token) error {
		_, err := m.RevokeKey(ctx, key)
		return err
	}},
	{"RevokeAll", tokenauth.EventRevoked, "RevokeAll", func(m *tokenauth.Manager, _ string, _ tokenauth.Token) error {
		_, err := m.RevokeAll(ctx, "u")
		return err
	}},
	{"Import", tokenauth.EventImported, "Create", func(m *tokenauth.Manager, _ string, _ tokenauth.Token) error {
		_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf("old")})
		return err
	}},
	{"Prune", tokenauth.EventPruned, "Prune", func(m *tokenauth.Manager, _ string, _ tokenauth.Token) error {
		_, err := m.Prune(ctx, fixture.Start.Add(2*time.Hour))
		return err
	}},
}

// If the response of the database is lost, a change may have been made. An event must report it, so
// that nobody misses a change in the audit log. If the caller repeats the call, the repeated call
// may find nothing to change.
func TestChangeWithLostResponseCausesEvent(t *testing.T) {
	t.Parallel()
	lost := errors.New("connection lost")
	for _, c := range managerCalls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, store, events, key, token := newChangeService(t)
			store.Intercept(func(_ context.Context, method string, next func() error) error {
				err := next()
				if method == c.method {
					return errors.Join(err, lost)
				}
				return err
			})
			require.ErrorIs(t, c.call(m, key, token), lost)
			told := events.Take()
			require.Len(t, told, 1)
			require.Equal(t, c.kind, told[0].Kind)
			require.ErrorIs(t, told[0].Err, lost)
			if c.kind != tokenauth.EventPruned && c.kind != tokenauth.EventImported {
				require.Equal(t, "u", told[0].Token.UserID)
			}
		})
	}
}

// A later read that fails must not hide the change that was made before it.
func TestChangeWithFailedReadCausesEvent(t *testing.T) {
	t.Parallel()
	for _, c := range managerCalls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, store, events, key, token := newChangeService(t)
			changed := false
			store.Intercept(func(_ context.Context, method string, next func() error) error {
				if changed && (method == "List" || method == "Find") {
					return errors.New("connection lost")
				}
				changed = changed || method == c.method
				return next()
			})
			err := c.call(m, key, token)
			told := events.Take()
			require.NotEmpty(t, told)
			require.Equal(t, c.kind, told[0].Kind)
			require.NoError(t, told[0].Err, "the change was made")
			if c.name == "Rotate" {
				require.NoError(t, err, "the new key must reach the caller")
				require.Equal(t, tokenauth.Token{ID: token.ID, UserID: "u", Hint: told[0].Token.Hint, Generation: 2}, told[0].Token, "a value that was read before the rotation may be outdated")
			}
		})
	}
}

// A call whose client has disconnected before changes nothing. It must not fill the log with
// changes that may have been made.
func TestEndedContextCausesNoEvent(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	m, store, events, key, token := newChangeService(t)
	store.ResetCalls()
	_, _, err := m.Issue(ended, tokenauth.Spec{UserID: "u", Name: "new"})
	errs := []error{err}
	_, err = m.Update(ended, "u", token.ID, tokenauth.Patch{Name: new("renamed")})
	errs = append(errs, err, m.Revoke(ended, "u", token.ID))
	_, _, err = m.Rotate(ended, "u", token.ID, 0)
	errs = append(errs, err)
	_, err = m.RevokeAll(ended, "u")
	errs = append(errs, err)
	_, err = m.Prune(ended, fixture.Start)
	errs = append(errs, err)
	_, err = m.Import(ended, tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf("old")})
	for _, err := range append(errs, err) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Empty(t, events.Take())
	require.Empty(t, store.Calls())
	require.Equal(t, []bool{true}, fixture.Accepts(m, key))
}

// The token that Rotate returns and reports must have the values after the rotation. Otherwise a
// client would show scopes that the token no longer has.
func TestRotateReturnsCurrentToken(t *testing.T) {
	t.Parallel()
	m, store, events, _, token := newChangeService(t)
	inner := store.inner
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Rotate" { // another caller changes the token between the read and the rotation
			p := tokenauth.Patch{Name: new("renamed"), Scopes: &[]string{"a"}, ExpiresAt: new(fixture.Start.Add(9 * time.Hour))}
			require.NoError(t, inner.Update(ctx, "u", token.ID, p, fixture.Start))
		}
		return next()
	})
	key, rotated, err := m.Rotate(ctx, "u", token.ID, time.Hour)
	require.NoError(t, err)
	want := token
	want.Name, want.Scopes, want.ExpiresAt = "renamed", []string{"a"}, fixture.Start.Add(9*time.Hour)
	want.Generation, want.Hint = 2, key.Reveal()[len(key.Reveal())-4:]
	want.PreviousKeyUntil = m.Now().Add(time.Hour)
	require.Equal(t, want, rotated)
	require.Equal(t, want, events.Take()[0].Token)

	// Another rotation comes before the read. The token must still belong to the returned key.
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		err := next()
		if method == "Rotate" {
			other := fixture.NewRotation("other")
			other.Replaces = 3
			require.NoError(t, inner.Rotate(ctx, "u", token.ID, other, fixture.Start))
		}
		return err
	})
	key, rotated, err = m.Rotate(ctx, "u", token.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 3, rotated.Generation)
	require.Equal(t, key.Reveal()[len(key.Reveal())-4:], rotated.Hint)
}

// The events of a transaction must reach the audit log only after the commit. Otherwise the log
// would report tokens that do not exist.
func TestEventsOfTransactionCanWait(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	var events, collected fixture.Recorder
	m := fixture.NewManager(store, &tokenauth.Options{OnEvent: events.Record})
	tx, err := db.Begin()
	require.NoError(t, err)
	in := m.WithStore(store.With(tx), collected.Record)
	key, token := fixture.Issue(t, in, tokenauth.Spec{UserID: "u", Name: "n"})
	_, err = in.Authenticate(ctx, "tokenauth_wrong")
	require.Error(t, err)
	require.Empty(t, events.Take())
	told := collected.Take()
	require.Len(t, told, 2)
	require.Equal(t, token.ID, told[0].Token.ID)
	require.NoError(t, tx.Rollback())
	require.Equal(t, []bool{false}, fixture.Accepts(m, key))
	events.Take()

	tx, err = db.Begin()
	require.NoError(t, err)
	_, token = fixture.Issue(t, m.WithStore(store.With(tx), nil), tokenauth.Spec{UserID: "u", Name: "n"})
	require.Equal(t, token.ID, events.Take()[0].Token.ID, "without a function, events go to OnEvent")
	require.NoError(t, tx.Commit())
}

// A Manager in a transaction must not write last-used times after the transaction has ended, and
// must not wait for the lock that the transaction holds.
func TestTransactionRecordsNoLastUse(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	for name, in := range map[string]func(tx *sql.Tx) tokenauth.Store{
		"store": func(tx *sql.Tx) tokenauth.Store { return store.With(tx) },
		"cache": func(tx *sql.Tx) tokenauth.Store { return must.Get(storecache.New(store.With(tx), nil)) },
	} {
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour})
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: name})
		clock.Advance(40 * time.Minute)
		require.Equal(t, []bool{true}, fixture.Accepts(m, key)) // this use is not written yet
		clock.Advance(40 * time.Minute)
		tx, err := db.Begin()
		require.NoError(t, err)
		inside := m.WithStore(in(tx), nil)
		require.Equal(t, []bool{true}, fixture.Accepts(inside, key), "a use that the other Manager has not written yet counts")
		_, _, err = inside.Issue(ctx, tokenauth.Spec{UserID: "u", Name: name})
		require.ErrorIs(t, err, tokenauth.ErrNameTaken)
		require.NoError(t, inside.Flush(ctx))
		require.NoError(t, inside.Close(ctx))
		require.NoError(t, tx.Commit())
		require.Zero(t, fixture.LastUse(t, store, token.ID))
		require.NoError(t, m.Flush(ctx))
		require.Equal(t, fixture.Start.Add(40*time.Minute), fixture.LastUse(t, store, token.ID), "the use inside the transaction is not recorded")
		clock.Set(fixture.Start)
	}
}

// A Manager in a transaction cannot write the last-used times of the process, so it does not know
// which tokens are in use. It must neither revoke nor delete idle tokens.
func TestTransactionEndsNoIdleToken(t *testing.T) {
	t.Parallel()
	clock := fixture.NewClock()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, IdleTimeout: time.Hour})
	_, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "idle"})
	clock.Advance(10 * time.Hour)
	tx, err := db.Begin()
	require.NoError(t, err)
	inside := m.WithStore(store.With(tx), nil)
	_, _, err = inside.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "idle"})
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	n, err := inside.Prune(ctx, clock.Now())
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, tx.Commit())
	fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "idle"})
	token, err = m.Get(ctx, "u", token.ID)
	require.NoError(t, err)
	require.NotZero(t, token.RevokedAt, "outside of the transaction, the idle token makes room")
}

// newChangeService returns a Manager with the store and the events of the Manager. The user u has a
// live token, which is returned with its key, and an expired token.
func newChangeService(t *testing.T) (*tokenauth.Manager, *changeStore, *fixture.Recorder, string, tokenauth.Token) {
	t.Helper()
	clock := fixture.NewClock()
	inner := tokenauth.NewMemoryStore()
	store, events := &changeStore{tokenauthtest.NewStore(inner), inner}, &fixture.Recorder{}
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
	fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: fixture.Start.Add(time.Minute)})
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "live"})
	clock.Advance(time.Hour)
	events.Take()
	return m, store, events, key, token
}

// A changeStore is a store that fails on demand, together with the store behind it.
type changeStore struct {
	*tokenauthtest.Store
	inner tokenauth.Store
}
