package storecache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/storetest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

func TestMain(m *testing.M) { leak.Main(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// newCache returns a cache on a store in memory, and that store.
func newCache(opts *storecache.Options) (*storecache.Cache, *tokenauthtest.Store) {
	s := tokenauthtest.NewStore(tokenauth.NewMemoryStore())
	return must.Get(storecache.New(s, opts)), s
}

// interceptFind makes calls of Find run f.
func interceptFind(s *tokenauthtest.Store, f func(ctx context.Context, next func() error) error) {
	s.Intercept(func(ctx context.Context, method string, next func() error) error {
		if method == "Find" {
			return f(ctx, next)
		}
		return next()
	})
}

func record(name string) tokenauth.Record {
	return tokenauth.Record{Digest: tokenauth.DigestOf("key of " + name), Token: tokenauth.Token{
		ID: name, UserID: "u", Name: name, Hint: "x7Qf", Generation: 1, CreatedAt: start,
	}}
}

// A store must still satisfy the Store contract if it is behind a cache. The options other than the
// default, and the SQLite store, are for long runs. They fail only on defects of the cache on which
// the default options fail too.
func TestConformance(t *testing.T) {
	t.Parallel()
	conform := func(t *testing.T, opts *storecache.Options, newStore func(*testing.T) tokenauth.Store) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) tokenauth.Store { return must.Get(storecache.New(newStore(t), opts)) })
	}
	inMemory := func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() }
	t.Run("default", func(t *testing.T) { conform(t, nil, inMemory) })
	if !load.Long() {
		return
	}
	for name, opts := range map[string]*storecache.Options{
		"one entry": {MaxEntries: 1}, "off": {MaxStale: -1}, "short": {MaxStale: time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) { conform(t, opts, inMemory) })
	}
	t.Run("SQLite", func(t *testing.T) {
		conform(t, nil, func(t *testing.T) tokenauth.Store { return sqlite.NewStore(t, sqlite.New(t), nil) })
	})
}

// A change made by another process is visible after MaxStale, which counts from the start of the
// query. This holds even if the store fails.
// Cases C2, C9, C14, P8.
func TestChangeElsewhereIsVisibleWithinMaxStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: 10 * time.Second})
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		interceptFind(s, func(_ context.Context, next func() error) error {
			err := next()
			time.Sleep(4 * time.Second) // the result takes four seconds to arrive
			return err
		})
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NoError(t, s.Revoke(ctx, "u", "laptop", start, "")) // as another process would
		down := errors.New("down")
		interceptFind(s, func(context.Context, func() error) error { return down })

		time.Sleep(6*time.Second - time.Nanosecond)
		got, err := c.Find(ctx, r.Digest)
		require.NoError(t, err, "a fresh record is served")
		require.Zero(t, got.Token.RevokedAt)
		time.Sleep(time.Nanosecond)
		_, err = c.Find(ctx, r.Digest)
		require.ErrorIs(t, err, down, "a stale record is not served, even if the store fails")

		s.Intercept(nil)
		got, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
	})
}

// The cache must not store errors. An unknown key may be issued later, and a failed store may
// recover.
// Cases C4, C12.
func TestErrorsAreNotCached(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	r := record("laptop")
	_, err := c.Find(ctx, r.Digest)
	require.ErrorIs(t, err, tokenauth.ErrNotFound)
	require.NoError(t, s.Create(ctx, r)) // as another process would
	_, err = c.Find(ctx, r.Digest)
	require.NoError(t, err)

	c.Invalidate("laptop")
	down := errors.New("down")
	s.Fail(down)
	_, err = c.Find(ctx, r.Digest)
	require.ErrorIs(t, err, down)
	s.Fail(nil)
	_, err = c.Find(ctx, r.Digest)
	require.NoError(t, err)
}

// A call of Prune must not evict the entries of live, unexpired tokens.
func TestPruneKeepsEntriesOfLiveTokens(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	good, expired, revoked := record("good"), record("expired"), record("revoked")
	good.Token.ExpiresAt, expired.Token.ExpiresAt = start.Add(time.Hour), start
	all := []tokenauth.Record{good, expired, revoked}
	require.NoError(t, c.Create(ctx, all...))
	require.NoError(t, c.Revoke(ctx, "u", "revoked", start, ""))
	for _, r := range all {
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
	}
	require.Equal(t, 3, c.Len())
	n, err := c.Prune(ctx, start.Add(time.Hour), time.Time{}, 10)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	before := s.Count("Find")
	_, err = c.Find(ctx, good.Digest)
	require.NoError(t, err)
	require.Equal(t, before, s.Count("Find"), "queries for a valid key")
	for _, deleted := range []tokenauth.Record{expired, revoked} {
		_, err = c.Find(ctx, deleted.Digest)
		require.ErrorIs(t, err, tokenauth.ErrNotFound)
	}
}

// A negative MaxStale disables the cache. It does not mean "no limit".
// Case C5.
func TestNegativeMaxStaleDisablesCache(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxStale: -1})
	r := record("laptop")
	require.NoError(t, s.Create(ctx, r))
	for range 3 {
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
	}
	require.Equal(t, 3, s.Count("Find"))
}

// The cache must hold at most MaxEntries keys. It keeps the keys fetched last.
// Case C6.
func TestCacheHoldsAtMostMaxEntries(t *testing.T) {
	t.Parallel()
	const room = 100
	c, s := newCache(&storecache.Options{MaxEntries: room, MaxStale: time.Hour})
	find := func(i int) {
		_, err := c.Find(ctx, record(fmt.Sprint("token ", i)).Digest)
		require.NoError(t, err)
	}
	for i := range 10 * room {
		require.NoError(t, s.Create(ctx, record(fmt.Sprint("token ", i))))
		find(i)
	}
	require.Equal(t, room, c.Len())
	before := s.Count("Find")
	for i := range room {
		find(9*room + i)
	}
	require.Equal(t, before, s.Count("Find"))
}

// A token that is repeatedly changed and fetched must not evict other tokens.
// Case C6.
func TestChangedTokenEvictsNoOtherTokens(t *testing.T) {
	t.Parallel()
	const room = 10
	c, s := newCache(&storecache.Options{MaxEntries: room, MaxStale: time.Hour})
	findAll := func() {
		for i := range room {
			_, err := c.Find(ctx, record(fmt.Sprint("token ", i)).Digest)
			require.NoError(t, err)
		}
	}
	for i := range room {
		require.NoError(t, s.Create(ctx, record(fmt.Sprint("token ", i))))
	}
	findAll()
	for range 10 * room {
		c.Invalidate("token 3")
		_, err := c.Find(ctx, record("token 3").Digest)
		require.NoError(t, err)
		require.Equal(t, room, c.Len())
	}
	before := s.Count("Find")
	findAll()
	require.Equal(t, before, s.Count("Find"))
}

// Each write of a last-used time must cost one query, not two. The cache evicts the entry of the
// token, and the next request fetches it again.
// Case C6.
func TestTouchCostsOneQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const maxStale = 10 * time.Second
		c, s := newCache(&storecache.Options{MaxStale: maxStale})
		find := func(name string) {
			_, err := c.Find(ctx, record(name).Digest)
			require.NoError(t, err)
		}
		require.NoError(t, s.Create(ctx, record("laptop"), record("phone")))
		find("laptop")
		time.Sleep(maxStale / 2)
		require.NoError(t, c.Touch(ctx, tokenauth.Use{ID: "laptop", At: start.Add(time.Minute)}))
		find("laptop")
		time.Sleep(maxStale / 2) // the evicted entry would be stale, and the new one is not
		find("phone")            // evicts stale entries
		s.ResetCalls()
		find("laptop")
		require.Zero(t, s.Count("Find"), "queries for a fresh record")
	})
}

// If no key was fetched for a while, all entries are stale. The next fetched key must not evict all
// of them, because all requests would wait. The entries must disappear gradually.
// Case C6.
func TestStaleEntriesAreEvictedGradually(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxEntries: math.MaxInt, MaxStale: time.Hour})
		find := func(i int) {
			name := fmt.Sprint("token ", i)
			require.NoError(t, s.Create(ctx, record(name)))
			_, err := c.Find(ctx, record(name).Digest)
			require.NoError(t, err)
		}
		for i := range 1000 {
			find(i)
		}
		time.Sleep(time.Hour)
		find(1000)
		require.Equal(t, 901, c.Len())
		for i := range 20 {
			find(1001 + i)
		}
		require.Equal(t, 21, c.Len())
	})
}

// Lookups, changes and evictions run concurrently, for the race detector. A lookup must never
// return the record of another key.
// Case C11.
func TestConcurrentCallsAreRaceFree(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxEntries: 8, MaxStale: time.Millisecond})
	for i := range 32 {
		require.NoError(t, s.Create(ctx, record(fmt.Sprint("token ", i))))
	}
	var calls sync.WaitGroup
	for g := range 256 {
		calls.Go(func() {
			for i := range 50 {
				r := record(fmt.Sprint("token ", (g+i)%32))
				got, err := c.Find(ctx, r.Digest)
				if err != nil || got.Digest != r.Digest {
					t.Errorf("%v, %v", got, err)
				}
				if i%10 == 0 {
					_ = c.Touch(ctx, tokenauth.Use{ID: r.Token.ID, At: start.Add(time.Duration(i))})
				}
			}
		})
	}
	calls.Wait()
	require.LessOrEqual(t, c.Len(), 8)
}

// A store that returns neither a record nor an error is broken. The cache must pass this result on,
// so that the Manager responds with 503. Otherwise a panic would end the process.
func TestMissingRecordIsNotCached(t *testing.T) {
	t.Parallel()
	c := must.Get(storecache.New(fixture.FixedFind{}, nil))
	for range 2 {
		r, err := c.Find(ctx, tokenauth.DigestOf("key"))
		require.NoError(t, err)
		require.Nil(t, r)
	}
	require.Zero(t, c.Len())
	_, err := fixture.NewManager(c, nil).Authenticate(ctx, keyform.Generate("acme"))
	require.Equal(t, 503, tokenauth.StatusCode(err))
}

// The Manager checks a cached record on every request. It must refuse the key of an expired token,
// and a key that a rotation has replaced, although the cache has the record. A printed Cache must
// not contain a key.
// Cases C1, C3, E1, C10.
func TestManagerChecksCachedRecordOnEveryRequest(t *testing.T) {
	t.Parallel()
	now := start
	c, _ := newCache(nil)
	m := must.Get(tokenauth.New(c, "acme", &tokenauth.Options{Now: func() time.Time { return now }}))
	key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: start.Add(time.Second)})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	_, err = m.Authenticate(ctx, key.Reveal())
	require.NoError(t, err)
	other, _, err := m.Rotate(ctx, "u", token.ID, 0)
	require.NoError(t, err)
	_, err = m.Authenticate(ctx, key.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey, "the previous key of the token")
	_, err = m.Authenticate(ctx, other.Reveal())
	require.NoError(t, err)
	now = start.Add(time.Second)
	_, err = m.Authenticate(ctx, other.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrExpired)
	_, _ = fmt.Fprintf(&leak.Default, "%s", other)
	require.NotContains(t, fmt.Sprintf("%+v", c), key.Reveal())
}

func TestNewPanicsWithoutStore(t *testing.T) {
	t.Parallel()
	var none *tokenauth.MemoryStore
	for _, store := range []tokenauth.Store{nil, none} {
		require.Panics(t, func() { _, _ = storecache.New(store, nil) })
	}
}

func TestNewRefusesNegativeMaxEntries(t *testing.T) {
	t.Parallel()
	_, err := storecache.New(tokenauth.NewMemoryStore(), &storecache.Options{MaxEntries: -1})
	require.EqualError(t, err, "storecache: New: Options.MaxEntries must not be negative")
}
