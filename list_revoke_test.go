package tokenauth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// The pages that List returns must neither repeat nor skip a token. List must return an error for a
// Query without a user ID. Otherwise a service that forgets the user ID would show one user the
// tokens of all users.
func TestListPagesNeitherRepeatNorSkip(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		// The clock stands still, so all tokens have the same CreatedAt.
		m := fixture.NewManager(store, &tokenauth.Options{Now: fixture.NewClock().Now})
		for i := range 7 {
			fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
		}
		_, other := fixture.Issue(t, m, tokenauth.Spec{UserID: "v", Name: "0"})
		seen := map[string]bool{}
		query := tokenauth.Query{UserID: "u", Limit: 3}
		for pages := 1; ; pages++ {
			page, err := m.List(ctx, query)
			require.NoError(t, err)
			for _, token := range page {
				require.False(t, seen[token.ID])
				seen[token.ID] = true
			}
			if len(page) < query.Limit {
				require.Equal(t, 3, pages)
				break
			}
			last := page[len(page)-1]
			query.After = last.Cursor()
			// List must find the next page even if the token of the cursor is revoked. Case S21.
			require.NoError(t, m.Revoke(ctx, "u", last.ID))
		}
		require.Len(t, seen, 7)

		for name, c := range map[string]struct {
			query tokenauth.Query
			want  int
		}{
			"live tokens":             {tokenauth.Query{UserID: "u"}, 5},
			"live and revoked tokens": {tokenauth.Query{UserID: "u", IncludeRevoked: true}, 7},
			"all users":               {tokenauth.Query{AllUsers: true, IncludeRevoked: true}, 8},
			"ID of a token":           {tokenauth.Query{AllUsers: true, IDs: []string{other.ID}}, 1},
			"ID of another user":      {tokenauth.Query{UserID: "u", IDs: []string{other.ID}}, 0},
			"malformed ID":            {tokenauth.Query{UserID: "u", IDs: []string{"a b"}}, 0},
			"unknown user":            {tokenauth.Query{UserID: "nobody"}, 0},
		} {
			tokens, err := m.List(ctx, c.query)
			require.NoError(t, err, name)
			require.Len(t, tokens, c.want, name)
		}
		_, err := m.List(ctx, tokenauth.Query{})
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidSpec)
		_, err = m.List(ctx, tokenauth.Query{UserID: "u", AllUsers: true})
		require.Error(t, err)
		_, err = m.Get(ctx, "u", other.ID)
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrNotFound)
	})
}

// A choosyStore is a database that returns an error for text with a NUL, and executes every Query.
type choosyStore struct{ tokenauth.Store }

var errInvalidByte = errors.New("invalid byte sequence")

func (s choosyStore) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	if slices.Contains(q.IDs, "a\x00b") {
		return nil, errInvalidByte
	}
	if q.AllUsers {
		q.UserID = ""
	}
	q.Limit = max(0, q.Limit)
	return s.Store.List(ctx, q)
}

func (s choosyStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	if id == "a\x00b" {
		return errInvalidByte
	}
	return s.Store.Revoke(ctx, userID, id, at, by)
}

// The Manager must not pass a malformed ID or an invalid Query to the store. Otherwise a forged ID
// in a URL would cause a database error, and the client would get 503 instead of 404. Case S11.
func TestMalformedIDsDoNotReachTheStore(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(choosyStore{tokenauth.NewMemoryStore()}, nil)
	_, err := m.Get(ctx, "u", "a\x00b")
	require.ErrorIs(t, err, tokenauth.ErrNotFound)
	require.ErrorIs(t, m.Revoke(ctx, "u", "a\x00b"), tokenauth.ErrNotFound)
	ids := []string{"a\x00b", "c"}
	all, err := m.List(ctx, tokenauth.Query{UserID: "u", IDs: ids})
	require.NoError(t, err)
	require.Empty(t, all)
	require.Equal(t, []string{"a\x00b", "c"}, ids, "List must not change the slice of the caller")
	for _, q := range []tokenauth.Query{{UserID: "u", AllUsers: true}, {UserID: "u", Limit: -1}, {UserID: "a\x00b"}} {
		_, err = m.List(ctx, q)
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	}
}

// Prune must delete all tokens that expired before the given time, even thousands of tokens. Prune
// must keep imported tokens, because a deleted token could be imported again.
func TestPruneDeletesExpiredTokensOnly(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, MaxPerUser: -1})
		var records []tokenauth.Record
		for i := range 2500 {
			records = append(records, tokenauth.Record{
				Digest: tokenauth.DigestOf(fmt.Sprint(i)),
				Token: tokenauth.Token{ID: fmt.Sprint("T", i), UserID: fmt.Sprint(i % 50), Name: fmt.Sprint(i), Generation: 1,
					CreatedAt: fixture.Start, ExpiresAt: fixture.Start.Add(time.Hour)},
			})
		}
		for len(records) > 0 {
			n := min(500, len(records))
			require.NoError(t, store.Create(ctx, records[:n]...))
			records = records[n:]
		}
		kept, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "kept"})
		_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "imported", Origin: "drf", Digest: tokenauth.DigestOf("x"), ExpiresAt: fixture.Start.Add(1)})
		require.NoError(t, err)

		clock.Set(fixture.Start.Add(24 * time.Hour))
		// The tokens expire exactly at this time, so Prune must not delete them yet.
		n, err := m.Prune(ctx, fixture.Start.Add(time.Hour))
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = m.Prune(ctx, fixture.Start.Add(time.Hour+time.Microsecond))
		require.NoError(t, err)
		require.Equal(t, 2500, n)
		require.Equal(t, []bool{true}, fixture.Accepts(m, kept))
		tokens, err := m.List(ctx, tokenauth.Query{AllUsers: true})
		require.NoError(t, err)
		require.Len(t, tokens, 2)
	})
	_, err := fixture.NewManager(fixture.NewFailingStore(errors.New("down")), nil).Prune(ctx, fixture.Start)
	require.Error(t, err)
}

// A person who finds a leaked key must be able to revoke its token with RevokeKey, even if the
// token has expired. After the grace period, a previous key must not revoke the token, because
// users do not keep replaced keys secret. Case E16.
func TestRevokeKeyRevokesLeakedKey(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		var events fixture.Recorder
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
		revoked := func(token tokenauth.Token) bool {
			got, err := m.Get(ctx, "u", token.ID)
			require.NoError(t, err)
			return !got.RevokedAt.IsZero()
		}
		current, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "current"})
		events.Take()
		got, err := m.RevokeKey(ctx, current)
		require.NoError(t, err)
		want, err := m.Get(ctx, "u", token.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.True(t, revoked(token))
		all := events.Take()
		require.Len(t, all, 1)
		require.Equal(t, tokenauth.EventRevoked, all[0].Kind)
		require.Equal(t, token.ID, all[0].Token.ID)

		clock.Advance(time.Minute)
		again, err := m.RevokeKey(ctx, current)
		require.NoError(t, err)
		require.Equal(t, got, again, "a second call of RevokeKey must not change RevokedAt")
		require.Empty(t, events.Take())

		expired, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "expired", ExpiresAt: clock.Now().Add(time.Second)})
		clock.Advance(time.Hour)
		_, err = m.RevokeKey(ctx, expired)
		require.NoError(t, err)
		require.True(t, revoked(token))

		previous, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "rotated"})
		_, _, err = m.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		clock.Advance(time.Minute)
		_, err = m.RevokeKey(ctx, previous)
		require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidKey, "RevokeKey must refuse the previous key after its grace period")
		require.False(t, revoked(token))

		inGrace, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "in grace"})
		_, _, err = m.Rotate(ctx, "u", token.ID, time.Minute)
		require.NoError(t, err)
		_, err = m.RevokeKey(ctx, inGrace)
		require.NoError(t, err)
		require.True(t, revoked(token))

		for _, wrong := range []string{"", "x", "acme_", keyform.Generate("acme"), keyform.Generate("other")} {
			_, err := m.RevokeKey(ctx, wrong)
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidKey)
			require.Equal(t, 401, tokenauth.StatusCode(err))
		}
	})
}

// RevokeKey must look up the key in the store, not in a cache. Otherwise a key that another process
// has replaced could still revoke the token. Case E16.
func TestRevokeKeyReadsTheStore(t *testing.T) {
	t.Parallel()
	store := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	m := fixture.NewManager(must.Get(storecache.New(store, nil)), nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
	_, err := m.Authenticate(ctx, key) // now the cache holds the token
	require.NoError(t, err)
	fresh, _, err := fixture.NewManager(store, nil).Rotate(ctx, "u", token.ID, 0)
	require.NoError(t, err)
	_, err = m.RevokeKey(ctx, key)
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
	require.Equal(t, []bool{true}, fixture.Accepts(m, fresh.Reveal()))
	store.Fail(errors.New("down"))
	_, err = m.RevokeKey(ctx, fresh.Reveal())
	require.Equal(t, 503, tokenauth.StatusCode(err))
}

// Revoke must invalidate the current and the previous key of a token immediately, even during a
// grace period. A second call of Revoke must succeed. Cases E5, E6, E13.
func TestRevokeEndsBothKeys(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		old, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"})
		fresh, _, err := m.Rotate(ctx, "u", token.ID, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 8, fixture.Together(8, func(int) bool { return m.Revoke(ctx, "u", token.ID) == nil }))
		for _, key := range []string{old, fresh.Reveal()} {
			_, err := m.Authenticate(ctx, key)
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrRevoked)
			require.ErrorIs(t, err, tokenauth.ErrInvalidKey)
		}
		clock.Set(fixture.Start.Add(time.Minute))
		require.NoError(t, m.Revoke(ctx, "u", token.ID))
		revoked, err := m.Get(ctx, "u", token.ID)
		require.NoError(t, err)
		require.Equal(t, fixture.Start, revoked.RevokedAt) // the second call does not change RevokedAt

		for id, want := range map[string]error{"UNKNOWN": tokenauth.ErrNotFound, "a/b": tokenauth.ErrNotFound} {
			require.ErrorIs(t, m.Revoke(ctx, "u", id), want)
		}
		require.ErrorIs(t, m.Revoke(ctx, "v", token.ID), tokenauth.ErrNotFound)
		fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n"}) // a new token may take the name of a revoked token. Case S6.
	})
}

// If the store fails, Revoke and RevokeAll must return an error. Otherwise the caller would believe
// that the keys no longer work. Case E7.
func TestRevokeReportsFailure(t *testing.T) {
	t.Parallel()
	m := fixture.NewManager(fixture.NewFailingStore(errors.New("connection refused")), nil)
	err := fixture.Noted(m.Revoke(ctx, "u", "ID"))
	require.Error(t, err)
	require.Equal(t, 503, tokenauth.StatusCode(err))
	n, err := m.RevokeAll(ctx, "u")
	require.Error(t, err)
	require.Zero(t, n)
}

// RevokeAll must revoke all tokens that the user had when the call started, even if other calls
// issue tokens at the same time. Cases E15, E17.
func TestRevokeAllRevokesTokensOfUser(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		m := fixture.NewManager(store, nil)
		var keys []string
		for i := range 5 {
			key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
			keys = append(keys, key)
		}
		other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "v", Name: "0"})
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
		require.Equal(t, make([]bool, 5), fixture.Accepts(m, keys...))
		require.Equal(t, []bool{true}, fixture.Accepts(m, other))

		rest, err := m.RevokeAll(ctx, "u")
		require.NoError(t, err)
		require.Equal(t, 25, n+rest)
		_, err = m.RevokeAll(ctx, "")
		require.ErrorIs(t, err, tokenauth.ErrInvalidSpec)
	})
}

// A service may pass a wrong time to Prune, for example because of a wrong sign or an overflow.
// Prune must not delete valid tokens, even if the passed time is in the future.
func TestPruneInTheFutureDeletesNoValidToken(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		clock := fixture.NewClock()
		m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now})
		key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: fixture.Start.Add(time.Hour)})
		for _, before := range []time.Time{fixture.Start.AddDate(0, 3, 0), time.Date(-300000, 1, 1, 0, 0, 0, 0, time.UTC)} { // the year -300000 overflows int64 microseconds
			n, err := m.Prune(ctx, before)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		require.Equal(t, []bool{true}, fixture.Accepts(m, key))
	})
}
