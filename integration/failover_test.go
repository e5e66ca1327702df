package integration

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// These tests kill a primary under load and promote its replica. They check what clients see, and
// which changes are lost.

const storeTimeout = 2 * time.Second // the default of SQLOptions.Timeout

// In a short run, other tests and the race detector share the machine.
var (
	// recovery is how long a service may take to recover once its database is there again.
	recovery = shortOrLong(15*time.Second, 5*time.Second)
	// slack is what a busy machine may add to a deadline.
	slack = shortOrLong(10*time.Second, 3*time.Second)
)

// A calmStore delays the next change of a client whose change failed. Otherwise the clients would
// only produce failures while a server is down.
type calmStore struct {
	*tokenauthtest.Store
	failures atomic.Int64
}

func newCalmStore(inner tokenauth.Store) *calmStore {
	s := &calmStore{Store: tokenauthtest.NewStore(inner)}
	s.Intercept(func(ctx context.Context, method string, next func() error) error {
		err := next()
		change := method == "Create" || method == "Rotate" || method == "Revoke"
		if change && tokenauth.StatusCode(err) == http.StatusServiceUnavailable {
			s.failures.Add(1)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return err
	})
	return s
}

// stockUp issues n tokens. While a server is down no token is issued, and the changes of the load
// need tokens that they can revoke.
func (l *underLoad) stockUp(t *testing.T, n int) {
	t.Helper()
	const clients = 16
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range n / clients {
				l.issue(t.Context(), l.managers[0])
			}
		})
	}
	all.Wait()
}

// recovers waits until a load has run for two seconds without a 503. It returns the time from since
// to the last 503.
func (l *underLoad) recovers(t *testing.T, store *calmStore, since time.Time) time.Duration {
	t.Helper()
	const quiet = 2 * time.Second
	done := func() int64 { return l.changes.Load() - l.failed.Load() }
	last := l.begin.Add(time.Duration(l.lastRefusal.Load()))
	failures, requests, changes := int64(-1), l.requests.Load(), done()
	defer func() {
		if t.Failed() { // Await has ended the test
			t.Logf("%d requests, %d of them 503; %d changes, %d of them failed, the last with: %v",
				l.requests.Load(), l.refused.Load(), l.changes.Load(), l.failed.Load(), l.lastFailure.Load())
		}
	}()
	fixture.Await(t, "no 503 for two seconds", func() bool {
		now := l.refused.Load() + store.failures.Load()
		if now != failures {
			if failures >= 0 {
				last = time.Now()
			}
			failures, requests, changes = now, l.requests.Load(), done()
		}
		return time.Since(last) >= quiet && l.requests.Load()-requests >= 100 && done()-changes >= 20
	})
	return max(0, last.Sub(since))
}

// A failover is the result of a load during a failover.
type failover struct {
	result
	promoted, back time.Duration // since the kill: the replica was promoted; the last failure
}

func (f failover) String() string {
	return fmt.Sprintf("%d requests, %d of them 503; %d changes, %d of them failed; promoted %.1f s after the kill, last 503 %.1f s after it; lost %d, undone %d",
		f.requests, f.refused, f.changes, f.failed, f.promoted.Seconds(), f.back.Seconds(), f.lost, f.undone)
}

// failOver kills the primary under load with SIGKILL, and promotes the replica. It calls beforeKill
// under load, before the kill.
func failOver(t *testing.T, primary, replica *servers.PostgresServer, beforeKill func()) failover {
	t.Helper()
	// The driver itself finds the server that takes writes.
	dsn := fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write", primary.Addr(), replica.Addr())
	opts := newTable()
	opts.Timeout = 0 // the default
	db := open(t, "pgx", dsn)
	store := newCalmStore(newStore(t, db, tokenauth.PostgreSQL, opts))
	l := startLoad(t, 32, 16, store)
	l.stockUp(t, 200)
	elapse(t, 2*time.Second)
	beforeKill()

	var f failover
	killed := time.Now()
	require.NoError(t, primary.Kill())
	// Before it takes writes: else the first ones wait for a standby that it doesn't have.
	require.NoError(t, replica.Set("synchronous_standby_names", ""))
	require.NoError(t, replica.Set("synchronous_commit", "on"))
	require.NoError(t, replica.Promote())
	f.promoted = time.Since(killed)
	f.back = l.recovers(t, store, killed)
	f.result = l.finish(t, opts.Table, db)
	require.Positive(t, f.refused, "requests while nobody took writes")
	require.Less(t, f.back-f.promoted, recovery, "the service recovers by itself")
	require.Less(t, f.slowest, storeTimeout+slack, "nobody waits for a primary that is gone")
	return f
}

// cutOff ends the connection of a replica to its primary. It returns when the primary has noticed.
func cutOff(t *testing.T, primary *sql.DB, replica *servers.PostgresServer) {
	t.Helper()
	require.NoError(t, replica.Set("primary_conninfo", ""))
	fixture.Await(t, "the standby is cut off", func() bool {
		var standbys int
		err := primary.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_replication").Scan(&standbys)
		return err == nil && standbys == 0
	})
}

// With a synchronous standby, every acknowledged change must survive the loss of the primary. A
// lost token locks its client out, and a lost revoke lets an attacker in again.
// Case F11.
func TestFailoverSynchronousLosesNothing(t *testing.T) {
	primary := closing(t, func() (*servers.PostgresServer, error) {
		return servers.Postgres("synchronous_standby_names='*'", "synchronous_commit=remote_apply")
	})
	replica := closing(t, primary.Replica)
	f := failOver(t, primary, replica, func() {})
	t.Log("failover, synchronous:", f)
	f.requireSound(t)
}

// An asynchronous standby may lack the last commits. The warning in the docs must be true:
// acknowledged changes are lost, and nothing worse happens.
//
// A standby on the same machine lags by a millisecond, and would lose nothing. Therefore the test
// cuts the standby off, as a broken network does, and kills the primary 300 ms later.
//
// Case F11.
func TestFailoverAsynchronousLosesLastChanges(t *testing.T) {
	primary := closing(t, func() (*servers.PostgresServer, error) { return servers.Postgres() })
	replica := closing(t, primary.Replica)
	db := open(t, "pgx", primary.DSN("postgres"))
	f := failOver(t, primary, replica, func() {
		cutOff(t, db, replica)
		elapse(t, 300*time.Millisecond)
	})
	kinds := map[string]int{}
	for _, what := range slices.Sorted(maps.Keys(f.wrong)) {
		kind := ""
		for _, allowed := range []string{
			"a key that should be answered 200 was answered 401", // it is lost
			"a key that should be answered 401 was answered 200", // its end is lost
			"revoke: 404", "rotate: 404", // of a token that is lost
			"rotate: 409", // the token was read with a rotation that is lost
		} {
			if strings.HasPrefix(what, allowed) {
				kind = allowed
			}
		}
		require.NotEmpty(t, kind, what)
		kinds[kind] += f.wrong[what]
	}
	t.Log("failover, asynchronous, standby cut off for 300 ms:", f)
	t.Log("failover, asynchronous, answers that break a promise:", kinds)
	require.Positive(t, f.lost, "issued tokens that are lost")
	require.Positive(t, f.undone, "ends of keys that came undone")
}

// A client repeats a revoke that timed out after the commit. If the repeated call succeeds, the
// revoke must survive the loss of the primary. Otherwise the revoked key works again after a
// failover.
// Case F11.
func TestRepeatedRevokeSurvivesPrimary(t *testing.T) {
	for name, repeat := range map[string]func(s tokenauth.Store, r tokenauth.Record) error{
		"revoke": func(s tokenauth.Store, r tokenauth.Record) error {
			return s.Revoke(t.Context(), r.Token.UserID, r.Token.ID, time.Now())
		},
		"revoke all": func(s tokenauth.Store, r tokenauth.Record) error {
			_, err := s.RevokeAll(t.Context(), r.Token.UserID, time.Now(), 1000)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			primary := closing(t, startPostgres)
			replica := closing(t, primary.Replica)
			onPrimary, on := onReplica(t, primary, replica, time.Second)
			r := newRecord("anna", "laptop")
			require.NoError(t, onPrimary.Create(t.Context(), r))
			require.NoError(t, primary.Set("synchronous_standby_names", "*"))
			require.NoError(t, primary.Set("synchronous_commit", "remote_apply"))
			fixture.Await(t, "the standby has the token", func() bool {
				_, err := on.Find(t.Context(), r.Digest)
				return err == nil
			})
			cutOff(t, open(t, "pgx", primary.DSN("postgres")), replica)
			requireNoAnswer(t, repeat(onPrimary, r), name)
			again := repeat(onPrimary, r)
			require.NoError(t, primary.Kill())
			require.NoError(t, replica.Promote())
			got, err := on.Find(t.Context(), r.Digest)
			require.NoError(t, err)
			if again == nil {
				require.NotZero(t, got.Token.RevokedAt, "an answered revoke is undone")
			}
		})
	}
}

// A change must not succeed while the synchronous standby is away, whichever driver waits for it.
// Otherwise a revoke that succeeded is undone with the loss of the primary.
// Case F11.
func TestRevokeWaitsForSynchronousStandby(t *testing.T) {
	primary := closing(t, startPostgres)
	standby := func(name string) { require.NoError(t, primary.Set("synchronous_standby_names", name)) }
	for _, driver := range []string{"pgx", "postgres"} {
		opts := newTable()
		db := open(t, driver, primary.DSN("postgres"))
		r := newRecord("anna", "laptop")
		require.NoError(t, newStore(t, db, tokenauth.PostgreSQL, opts).Create(t.Context(), r))
		opts.Timeout = time.Second
		store, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = store.Close() })
		t.Cleanup(func() { standby("") }) // or what cleans up waits for ever
		standby("nobody")
		requireUnknown(t, store.Create(t.Context(), newRecord("anna", "phone")))
		for range 2 { // changes the row, and finds it changed
			requireUnknown(t, store.Revoke(t.Context(), "anna", r.Token.ID, time.Now()))
		}
		standby("")
	}
}
