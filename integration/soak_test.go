package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
)

// Every engine must work under more contention than services have. A request may fail only with
// 503, and no token may be lost or created twice.
func TestLoadKeepsTokensConsistent(t *testing.T) {
	for _, s := range setups {
		if !s.load {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			dbs := s.open(t)
			opts := newTable()
			opts.Timeout = 0 // the default
			var stores []tokenauth.Store
			for _, db := range dbs {
				stores = append(stores, newStore(t, db, s.dialect, opts))
			}
			l := startLoad(t, 64, 64, stores...)
			elapse(t, shortOrLong(2*time.Second, time.Minute))
			fixture.Await(t, "enough requests and changes", func() bool {
				return l.requests.Load()-l.refused.Load() > 100 && l.changes.Load()-l.failed.Load() > 50
			})
			r := l.finish(t, opts.Table, dbs...)
			r.requireSound(t)
		})
	}
}

// requireOnce requires that the table contains each token of the lists once, and no other rows
// except those of a prober. It returns the number of rows of each ID.
func requireOnce(t *testing.T, m *tokenauth.Manager, db *sql.DB, table string) (rows map[string]int) {
	t.Helper()
	var names, digests map[string]int
	agree := func() bool {
		rows, names, digests = map[string]int{}, map[string]int{}, map[string]int{}
		all, err := db.QueryContext(t.Context(), "SELECT id, user_id, name, digest FROM "+table+" WHERE user_id <> 'prober'")
		require.NoError(t, err)
		defer func() { require.NoError(t, all.Close()) }()
		for all.Next() {
			var id, userID, name string
			var digest []byte
			require.NoError(t, all.Scan(&id, &userID, &name, &digest))
			rows[id]++
			names[userID+"/"+name]++
			digests[string(digest)]++
		}
		require.NoError(t, all.Err())
		listed := map[string]int{}
		for user := range users {
			tokens, err := m.List(t.Context(), tokenauth.Query{UserID: fmt.Sprint("user ", user), IncludeRevoked: true})
			require.NoError(t, err)
			for _, token := range tokens {
				listed[token.ID]++
			}
		}
		return maps.Equal(rows, listed)
	}
	// A server may still execute calls whose clients have stopped.
	fixture.Await(t, "the table contains the tokens of the lists and no others", agree)
	for id, n := range rows {
		require.Equal(t, 1, n, "rows of %s", id)
	}
	for name, n := range names { // a client uses a name again only to repeat a call
		require.Equal(t, 1, n, "live and revoked tokens with the name %s", name)
	}
	require.Len(t, digests, len(rows), "each token must have a different key")
	return rows
}

// The memory of a service that runs for days must not grow without limit. The service must never
// refuse a valid key.
// Case Q1.
func TestLoadSustainedServesEveryValidKey(t *testing.T) {
	for _, name := range []string{"PostgreSQL, pgx", "MariaDB"} {
		t.Run(name, func(t *testing.T) {
			s := setupNamed(t, name)
			store := newStore(t, s.open(t)[0], s.dialect, nil)
			keys := createMany(t, store, shortOrLong(200, 100_000))
			load.Sustain(t, store, keys, shortOrLong(time.Second/2, 5*time.Minute))
		})
	}
}

// createMany creates n tokens, ten per user, and returns their keys.
func createMany(t testing.TB, store tokenauth.Store, n int) (keys []string) {
	t.Helper()
	for batch := range slices.Chunk(make([]tokenauth.Record, n), 500) {
		for i := range batch {
			key := keyform.Generate("acme")
			batch[i] = tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: tokenauth.Token{
				ID: rand.Text(), UserID: fmt.Sprint(len(keys) / 10), Name: fmt.Sprint(len(keys)), Generation: 1, CreatedAt: time.Now(),
			}}
			if keys = append(keys, key); len(keys) <= 500 { // a search for all keys needs too much memory
				leak.Default.Secret(key)
			}
		}
		require.NoError(t, store.Create(t.Context(), batch...))
	}
	return keys
}

// The number of clients suddenly grows by a factor of fifty while the cache is cold. A request may
// fail only if it waited for the database until the timeout.
// Case Q2.
func TestLoadSpikeRefusesNoValidKey(t *testing.T) {
	for _, name := range []string{"PostgreSQL, pgx", "MariaDB"} {
		t.Run(name, func(t *testing.T) {
			s := setupNamed(t, name)
			opts := newTable()
			opts.Timeout = 10 * time.Second
			cache := must.Get(storecache.New(newStore(t, s.open(t)[0], s.dialect, opts), &storecache.Options{MaxStale: 50 * time.Millisecond}))
			m := must.Get(tokenauth.New(cache, "acme", &tokenauth.Options{TouchEvery: -1, MaxPerUser: -1}))
			var keys []string
			for i := range 100 {
				key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
				require.NoError(t, err)
				leak.Default.Secret(key.Reveal())
				keys = append(keys, key.Reveal())
			}
			user := func(_ context.Context, id string) (string, error) { return id, nil }
			h := must.Get(tokenauth.NewAuthenticator(m, user, nil)).Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			load.Spike(t, h, keys, shortOrLong(time.Second/2, 10*time.Second), opts.Timeout)
		})
	}
}

// elapse waits while a load runs.
func elapse(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
