package redisstore

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// newManager returns a Manager that writes no last-used times.
func newManager(store tokenauth.Store) *tokenauth.Manager {
	return fixture.NewManager(store, &tokenauth.Options{TouchEvery: -1})
}

// issue issues n tokens of a user, and returns their keys.
func issue(t *testing.T, m *tokenauth.Manager, userID string, n int) (keys []string) {
	t.Helper()
	for i := range n {
		key, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: userID, Name: fmt.Sprint("token ", i)})
		keys = append(keys, key)
	}
	return keys
}

var ids atomic.Int64

// recordsOf returns n live records of a user. The test knows no keys of these records.
func recordsOf(userID string, n int) []tokenauth.Record {
	records := make([]tokenauth.Record, n)
	for i := range records {
		id := fmt.Sprintf("%026d", ids.Add(1))
		records[i] = tokenauth.Record{
			Digest: tokenauth.DigestOf("key of " + id),
			Token:  tokenauth.Token{ID: id, UserID: userID, Name: id, Generation: 1, CreatedAt: fixture.Start},
		}
	}
	return records
}

// If a revoked key works again after a crash of the server, a thief can continue to use the key.
func TestKilledServerKeepsRevocations(t *testing.T) {
	t.Parallel()
	server := startOwn(t)
	m := newManager(newStore(t, server))
	keys := append(issue(t, m, "anna", 3), issue(t, m, "bob", 1)...)
	n, err := m.RevokeAll(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, 3, n)

	require.NoError(t, server.Kill())
	require.NoError(t, server.Start())
	require.Equal(t, []bool{false, false, false, true}, fixture.Accepts(m, keys...))
}

// If the server is killed during many revocations, each acknowledged revocation must survive.
func TestKilledServerKeepsAcknowledgedRevocations(t *testing.T) {
	t.Parallel()
	server := startOwn(t)
	store := newStore(t, server)
	records := recordsOf("anna", 3000)
	require.NoError(t, store.Create(t.Context(), records...))

	var acknowledged atomic.Int64
	var revoking sync.WaitGroup
	revoking.Go(func() {
		for _, r := range records {
			if store.Revoke(t.Context(), "anna", r.Token.ID, fixture.Start, "") != nil {
				return
			}
			acknowledged.Add(1)
		}
	})
	fixture.Await(t, "some revocations", func() bool { return acknowledged.Load() >= 100 })
	require.NoError(t, server.Kill())
	revoking.Wait()
	require.NoError(t, server.Start())
	n := int(acknowledged.Load())
	require.Less(t, n, len(records), "revocations before the server was killed")
	for i, r := range records[:n] {
		found, err := store.Find(t.Context(), r.Digest)
		require.NoError(t, err)
		require.False(t, found.Token.RevokedAt.IsZero(), "number %d of %d acknowledged revocations", i+1, n)
	}
}

// While the server is down, requests must get 503 and not 401, because clients discard a key after
// a 401. The service must recover by itself.
func TestStoppedServerReturns503(t *testing.T) {
	t.Parallel()
	server := startOwn(t)
	m := newManager(newStore(t, server))
	service := fixture.NewAuthenticator(m, nil).Require(fixture.Whoami)
	request := "Bearer " + issue(t, m, "anna", 1)[0]
	require.Equal(t, http.StatusOK, fixture.Get(service, request).Code)
	require.NoError(t, server.Stop())
	require.Equal(t, http.StatusServiceUnavailable, fixture.Get(service, request).Code)
	require.NoError(t, server.Start())
	require.Equal(t, http.StatusOK, fixture.Get(service, request).Code)
}

// A server that hangs must not make the service hang. A call must end with its context or at the
// timeout of the store. The call must then return its connection to the pool.
func TestFrozenServerReturns503InTime(t *testing.T) {
	t.Parallel()
	server := startOwn(t)
	options := ClientOptions(server.Addr())
	options.ReadTimeout = 2 * time.Minute // the context alone must end the calls
	client := redis.NewClient(options)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	store := New(client, "tokens", time.Minute)
	m := newManager(store)
	key := issue(t, m, "anna", 1)[0]
	impatient := New(client, "tokens", time.Second)

	require.NoError(t, server.Freeze())
	t.Cleanup(func() { require.NoError(t, server.Thaw()) })
	storetest.RunStalled(t, New(client, "tokens", 10*time.Second)) // a canceled call keeps its connection until the timeout
	soon, cancelSoon := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelSoon()
	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	for name, c := range map[string]struct {
		ctx   context.Context
		store *Store
		want  error
	}{
		"deadline":     {soon, store, context.DeadlineExceeded},
		"cancellation": {canceled, impatient, context.Canceled},
		"no deadline":  {t.Context(), impatient, context.DeadlineExceeded},
	} {
		began := time.Now()
		_, err := c.store.Find(c.ctx, tokenauth.DigestOf(key))
		require.ErrorIs(t, fixture.Noted(err), c.want, name)
		require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err), name)
		require.Less(t, time.Since(began), 30*time.Second, name)
	}
	_, err := newManager(impatient).RevokeAll(t.Context(), "anna")
	require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(fixture.Noted(err)))
	fixture.Await(t, "all calls have closed their connections", func() bool { return client.PoolStats().TotalConns == 0 })

	require.NoError(t, server.Thaw())
	_, err = m.Authenticate(t.Context(), key)
	require.NoError(t, err)
}

// A server without free memory must not prevent the revocation of a stolen key.
func TestFullServerStillFindsAndRevokes(t *testing.T) {
	t.Parallel()
	server := startOwn(t)
	store := newStore(t, server)
	m := newManager(store)
	keys := issue(t, m, "anna", 2)
	require.NoError(t, store.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "new"})
	require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(fixture.Noted(err)))
	require.Equal(t, []bool{true, true}, fixture.Accepts(m, keys...))
	n, err := m.RevokeAll(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []bool{false, false}, fixture.Accepts(m, keys...))
}

// A service must not start on a server that can lose a revocation.
func TestCheckServerRefusesUnsafeSettings(t *testing.T) {
	t.Parallel()
	store := newStore(t, startOwn(t))
	require.NoError(t, store.CheckServer(t.Context()))
	for _, unsafe := range []string{"appendonly no", "appendfsync everysec", "maxmemory-policy allkeys-lru"} {
		name, value, _ := strings.Cut(unsafe, " ")
		before := must.Get(store.client.ConfigGet(t.Context(), name).Result())[name]
		require.NoError(t, store.client.ConfigSet(t.Context(), name, value).Err())
		require.ErrorContains(t, store.CheckServer(t.Context()), name)
		require.NoError(t, store.client.ConfigSet(t.Context(), name, before).Err())
	}
}

// The guide says that snapshots are not enough for revocations. With snapshots, a revoked key works
// again after a crash.
func TestSnapshotsLoseRevocations(t *testing.T) {
	t.Parallel()
	server := startOwn(t, "appendonly no", "save 3600 1")
	store := newStore(t, server)
	m := newManager(store)
	keys := issue(t, m, "anna", 1)
	require.NoError(t, store.client.Save(t.Context()).Err())
	n, err := m.RevokeAll(t.Context(), "anna")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []bool{false}, fixture.Accepts(m, keys...))

	require.NoError(t, server.Kill())
	require.NoError(t, server.Start())
	require.Equal(t, []bool{true}, fixture.Accepts(m, keys...))
}

// The guide says that a server that evicts keys can lose the index by which RevokeAll finds tokens.
// RevokeAll then returns no error, and the tokens stay live.
func TestEvictionHidesTokensFromRevokeAll(t *testing.T) {
	t.Parallel()
	server := startOwn(t, "appendonly no", "maxmemory-policy allkeys-random")
	for range 20 { // several rounds, because no token is found after Redis has evicted the index of digests
		if missed := missedAfterEviction(t, server); missed > 0 {
			t.Logf("of 1000 tokens, %d were still live after RevokeAll had succeeded", missed)
			return
		}
	}
	t.Fatal("RevokeAll missed no token")
}

// missedAfterEviction creates 1,000 tokens, makes the server evict keys until it has freed a fifth
// of its memory, and revokes the tokens of all users. It returns the number of tokens that are
// still live although RevokeAll succeeded for their user.
func missedAfterEviction(t *testing.T, server *servers.RedisServer) (missed int) {
	store := newStore(t, server)
	require.NoError(t, store.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.NoError(t, store.client.FlushAll(t.Context()).Err())
	users := map[string][]tokenauth.Record{}
	for i := range 100 {
		userID := fmt.Sprint("user ", i)
		users[userID] = recordsOf(userID, 10)
		require.NoError(t, store.Create(t.Context(), users[userID]...))
	}
	var used int64
	info := must.Get(store.client.InfoMap(t.Context(), "memory").Result())
	_, err := fmt.Sscan(info["Memory"]["used_memory"], &used)
	require.NoError(t, err)
	require.NoError(t, store.client.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used*4/5)).Err())
	for userID, records := range users {
		if _, err := store.RevokeAll(t.Context(), userID, fixture.Start, "", 1000); err != nil {
			continue
		}
		for _, r := range records {
			if found, err := store.Find(t.Context(), r.Digest); err == nil && found.Token.RevokedAt.IsZero() {
				missed++
			}
		}
	}
	return missed
}
