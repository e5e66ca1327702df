package storecache_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/storetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// A watched store counts and may hold up calls of Find.
type watched struct {
	tokenauth.Store
	finds atomic.Int64
	find  atomic.Pointer[finder] // nil: the store's
}

type finder func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error)

func (s *watched) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	s.finds.Add(1)
	if f := s.find.Load(); f != nil {
		return (*f)(ctx, d)
	}
	return s.Store.Find(ctx, d)
}

// findBy replaces Find; nil restores it.
func (s *watched) findBy(f finder) {
	if f == nil {
		s.find.Store(nil)
		return
	}
	s.find.Store(&f)
}

func newCache(opts *storecache.Options) (*storecache.Cache, *watched) {
	s := &watched{Store: tokenauth.NewMemoryStore()}
	return storecache.New(s, opts), s
}

func record(name string) tokenauth.Record {
	return tokenauth.Record{Digest: tokenauth.DigestOf("key of " + name), Token: tokenauth.Token{
		ID: name, UserID: "u", Name: name, Hint: "x7Qf", Generation: 1, CreatedAt: start,
	}}
}

// What holds for a store must hold for it behind a cache, or a service can't put one in.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*storecache.Options{
		"default": nil, "one entry": {MaxEntries: 1}, "off": {MaxStale: -1}, "short": {MaxStale: time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(*testing.T) tokenauth.Store { return storecache.New(tokenauth.NewMemoryStore(), opts) })
		})
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) tokenauth.Store {
			return storecache.New(openSQLite(t, filepath.Join(t.TempDir(), "t.db")), nil)
		})
	})
}

func openSQLite(t testing.TB, path string) *tokenauth.SQLStore {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: time.Minute})
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(ctx))
	return store
}

// C2: what this process changes is seen at once, whatever the change.
func TestC2EveryChangeIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	at := start.Add(time.Minute)
	for name, change := range map[string]func(s tokenauth.Store) error{
		"Update": func(s tokenauth.Store) error {
			return s.Update(ctx, "u", "laptop", tokenauth.Patch{Name: new("desktop")}, at)
		},
		"Rotate": func(s tokenauth.Store) error {
			return s.Rotate(ctx, "u", "laptop", tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new"), GraceUntil: at}, at)
		},
		"Revoke":        func(s tokenauth.Store) error { return s.Revoke(ctx, "u", "laptop", at) },
		"RevokeExpired": func(s tokenauth.Store) error { return s.RevokeExpired(ctx, "u", "laptop", at.AddDate(1, 0, 0)) },
		"RevokeAll":     func(s tokenauth.Store) error { _, err := s.RevokeAll(ctx, "u", at); return err },
		"Touch":         func(s tokenauth.Store) error { return s.Touch(ctx, tokenauth.Use{ID: "laptop", At: at}) },
		"Prune":         func(s tokenauth.Store) error { _, err := s.Prune(ctx, at.AddDate(1, 0, 0), 10); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := newCache(nil)
			r := record("laptop")
			r.Token.ExpiresAt = start.Add(time.Hour)
			require.NoError(t, c.Create(ctx, r))
			for range 3 {
				_, err := c.Find(ctx, r.Digest)
				require.NoError(t, err)
			}
			require.EqualValues(t, 1, s.finds.Load(), "queries of three lookups")
			require.NoError(t, change(c))
			want, wantErr := s.Store.Find(ctx, r.Digest)
			got, err := c.Find(ctx, r.Digest)
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
		})
	}
}

// A lookup while a change is on its way may see what was before; it must not be kept,
// whether the change is answered or not.
func TestLookupsDuringAWrite(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{nil, errors.New("no answer, outcome unknown")} {
		inner := &slowRevoke{Store: tokenauth.NewMemoryStore(), failure: failure}
		c := storecache.New(inner, nil)
		inner.meanwhile = func(d tokenauth.Digest) { _, _ = c.Find(ctx, d) }
		r := record("laptop")
		require.NoError(t, c.Create(ctx, r))
		require.ErrorIs(t, c.Revoke(ctx, "u", "laptop", start), failure)
		got, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
	}
}

// A slowRevoke lets a lookup come before it revokes, and then answers as it is told.
type slowRevoke struct {
	tokenauth.Store
	meanwhile func(tokenauth.Digest)
	failure   error
}

func (s *slowRevoke) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	s.meanwhile(record(id).Digest)
	return errors.Join(s.Store.Revoke(ctx, userID, id, at), s.failure)
}

// C2, C9, C14: what others change is seen after MaxStale, which counts from the start
// of the query; the store's being down changes nothing of that.
func TestC2ChangesElsewhereAreSeenWithinMaxStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newCache(&storecache.Options{MaxStale: 10 * time.Second})
		r := record("laptop")
		require.NoError(t, s.Create(ctx, r))
		s.findBy(func(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
			found, err := s.Store.Find(ctx, d)
			time.Sleep(4 * time.Second) // the answer is on its way
			return found, err
		})
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NoError(t, s.Revoke(ctx, "u", "laptop", start)) // by another process
		down := errors.New("down")
		s.findBy(func(context.Context, tokenauth.Digest) (*tokenauth.Record, error) { return nil, down })

		time.Sleep(6*time.Second - time.Nanosecond)
		got, err := c.Find(ctx, r.Digest)
		require.NoError(t, err, "fresh, so served")
		require.Zero(t, got.Token.RevokedAt)
		time.Sleep(time.Nanosecond)
		_, err = c.Find(ctx, r.Digest)
		require.ErrorIs(t, err, down, "stale, so not served, though the store is down")

		s.findBy(nil)
		got, err = c.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.NotZero(t, got.Token.RevokedAt)
	})
}

// C4, C12: a key that is unknown now may be issued the next moment, and a store that
// was down may be up.
func TestC4OnlyWhatIsFoundIsKept(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	r := record("laptop")
	_, err := c.Find(ctx, r.Digest)
	require.ErrorIs(t, err, tokenauth.ErrNotFound)
	require.NoError(t, s.Create(ctx, r)) // by another process
	_, err = c.Find(ctx, r.Digest)
	require.NoError(t, err)

	c.Invalidate("laptop")
	down := errors.New("down")
	s.findBy(func(context.Context, tokenauth.Digest) (*tokenauth.Record, error) { return nil, down })
	_, err = c.Find(ctx, r.Digest)
	require.ErrorIs(t, err, down)
	s.findBy(nil)
	_, err = c.Find(ctx, r.Digest)
	require.NoError(t, err)
}

// A service that prunes every minute must not send all its requests to the store for it.
func TestPruneKeepsGoodEntries(t *testing.T) {
	t.Parallel()
	c, s := newCache(nil)
	good, expired, revoked := record("good"), record("expired"), record("revoked")
	good.Token.ExpiresAt, expired.Token.ExpiresAt = start.Add(time.Hour), start
	all := []tokenauth.Record{good, expired, revoked}
	require.NoError(t, c.Create(ctx, all...))
	require.NoError(t, c.Revoke(ctx, "u", "revoked", start))
	for _, r := range all {
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
	}
	require.Equal(t, 3, c.Len())
	n, err := c.Prune(ctx, start.Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, 1, c.Len(), "what ended is forgotten")
	before := s.finds.Load()
	_, err = c.Find(ctx, good.Digest)
	require.NoError(t, err)
	require.Equal(t, before, s.finds.Load(), "queries for a good key")
}

// C5: a negative MaxStale keeps nothing; it is not "for ever".
func TestC5Off(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxStale: -1})
	r := record("laptop")
	require.NoError(t, s.Create(ctx, r))
	for range 3 {
		_, err := c.Find(ctx, r.Digest)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, s.finds.Load())
}

// C6: more good keys than there is room for must not grow the memory; those fetched last
// are kept.
func TestC6Bounded(t *testing.T) {
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
	before := s.finds.Load()
	for i := range room {
		find(9*room + i)
	}
	require.Equal(t, before, s.finds.Load())
}

// C6: a token that is changed, and fetched again, over and over must push out no other.
func TestC6ChangesPushOutNobody(t *testing.T) {
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
	before := s.finds.Load()
	findAll()
	require.Equal(t, before, s.finds.Load())
}

// C6: whoever wants no bound says so by the largest number. To go through the whole queue at
// each key that is fetched would then hold up all requests, longer with each key.
func TestC6Unbounded(t *testing.T) {
	t.Parallel()
	c, s := newCache(&storecache.Options{MaxEntries: math.MaxInt, MaxStale: time.Hour})
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, s.Create(ctx, record(name)))
		_, err := c.Find(ctx, record(name).Digest)
		require.NoError(t, err)
		c.Invalidate("a")
	}
	require.Equal(t, 2, c.Len())
	require.Equal(t, 3, c.Queued(), "what was forgotten is looked for while there is room")
}

// C11, under -race: lookups, changes and evictions all at once.
func TestC11ManyGoroutines(t *testing.T) {
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

// C1, C3: what is kept is a record, judged anew at each request by the Manager.
func TestC1ExpiryIsJudgedOnEachHit(t *testing.T) {
	t.Parallel()
	now := start
	c, _ := newCache(nil)
	m := tokenauth.New(c, "acme", &tokenauth.Options{Now: func() time.Time { return now }})
	key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "ci", ExpiresAt: start.Add(time.Second)})
	require.NoError(t, err)
	leaktest.Default.Secret(key.Reveal())
	_, err = m.Authenticate(ctx, key.Reveal())
	require.NoError(t, err)
	other, _, err := m.Rotate(ctx, "u", token.ID, 0)
	require.NoError(t, err)
	_, err = m.Authenticate(ctx, key.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrInvalidKey, "of the same token, and replaced")
	_, err = m.Authenticate(ctx, other.Reveal())
	require.NoError(t, err)
	now = start.Add(time.Second)
	_, err = m.Authenticate(ctx, other.Reveal())
	require.ErrorIs(t, err, tokenauth.ErrExpired)
	// C10: what a debugger or a careless log shows of a cache holds no key.
	_, _ = fmt.Fprintf(&leaktest.Default, "%s", other)
	require.NotContains(t, fmt.Sprintf("%+v", c), key.Reveal())
}

func TestNewPanicsWithoutStore(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { storecache.New(nil, nil) })
}
