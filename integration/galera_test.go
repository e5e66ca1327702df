package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// A Galera cluster accepts writes on every node. These tests check what clients see after the loss
// of a node or of the majority, and while a node has not yet applied the writes of another node.

// galeraNodes holds stores on the same table, each on a different node.
type galeraNodes struct {
	dbs    []*sql.DB
	stores []tokenauth.Store
	table  string
}

func onNodes(t *testing.T, c *servers.GaleraCluster, timeout time.Duration, parameters ...string) galeraNodes {
	t.Helper()
	opts := newTable()
	opts.Timeout = timeout
	n := galeraNodes{table: opts.Table}
	for _, node := range c.Nodes {
		db := open(t, "mysql", node.DSN("t", parameters...))
		n.dbs = append(n.dbs, db)
		n.stores = append(n.stores, newStore(t, db, tokenauth.MySQL, opts))
	}
	return n
}

// fragile is the cluster of the tests that kill nodes. Each test starts the killed nodes again. The
// cluster excludes a killed node after one second.
var fragile = sync.OnceValues(func() (*servers.GaleraCluster, error) {
	c, err := servers.Galera(time.Second)
	if err != nil {
		return nil, err
	}
	return c, c.Nodes[0].CreateDatabase("t")
})

// calm returns a calmStore for each node.
func (n galeraNodes) calm() (all []tokenauth.Store) {
	for _, store := range n.stores {
		all = append(all, newCalmStore(store))
	}
	return all
}

// requireSameRows fails unless all nodes have the same rows.
func (n galeraNodes) requireSameRows(t *testing.T) {
	t.Helper()
	var first []string
	for i, db := range n.dbs {
		rows := allRows(t, db, n.table)
		require.NotEmpty(t, rows)
		if i == 0 {
			first = rows
		}
		require.Equal(t, first, rows, "node %d", i+1)
	}
}

// allRows returns all rows of a table as texts, in the order of their IDs.
func allRows(t *testing.T, db *sql.DB, table string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY id")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		require.NoError(t, rows.Scan(into...))
		all = append(all, fmt.Sprint(values))
	}
	require.NoError(t, rows.Err())
	return all
}

// A prober issues one token after another, and records the time of each success.
type prober struct {
	stop      func()
	mu        sync.Mutex
	successes []time.Time
}

func startProber(t *testing.T, m *tokenauth.Manager) *prober {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &prober{successes: []time.Time{time.Now()}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			if _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "prober", Name: fmt.Sprint("token ", i)}); err == nil {
				p.mu.Lock()
				p.successes = append(p.successes, time.Now())
				p.mu.Unlock()
			}
		}
	}()
	p.stop = func() { cancel(); <-done }
	t.Cleanup(p.stop)
	return p
}

// last returns the time at which the last token was issued.
func (p *prober) last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.successes[len(p.successes)-1]
}

// longestGap returns the longest time between two successes, if the second success came after the
// given time. The time since the last success also counts as a gap.
func (p *prober) longestGap(after time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 1; i < len(p.successes); i++ {
		if p.successes[i].After(after) {
			longest = max(longest, p.successes[i].Sub(p.successes[i-1]))
		}
	}
	return max(longest, time.Since(p.successes[len(p.successes)-1]))
}

// await calls done repeatedly until done returns nil. It returns the time from since to this call.
func await(t *testing.T, since time.Time, what string, done func(context.Context) error) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // long enough for a busy machine
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		err := done(ctx)
		if err == nil {
			return time.Since(since)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("never: %s: %v", what, err)
		}
	}
}

// responds200 returns a function that sends a valid key to the service on node i, and returns an
// error unless the status is 200.
func (l *underLoad) responds200(i int) func(context.Context) error {
	return func(ctx context.Context) error {
		status, err := l.send(ctx, l.servers[i].URL, l.steady[0].key)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
			if status != http.StatusServiceUnavailable {
				l.violation(fmt.Sprintf("a valid key got %d", status))
			}
		}
		return err
	}
}

// A service writes to all nodes while one of them is killed and starts again. The service must lose
// no acknowledged change and refuse no valid key.
func TestGaleraNodeKilledLosesNothing(t *testing.T) {
	c := servers.Started(t, fragile)
	n := onNodes(t, c, 0, "wsrep_sync_wait=7")
	l := startLoad(t, 32, 16, n.calm()...)
	p := startProber(t, l.managers[0])
	elapse(t, 2*time.Second)

	refused, failed := l.refused.Load(), l.failed.Load()
	killed := time.Now()
	require.NoError(t, c.Nodes[2].Kill())
	elapse(t, 5*time.Second)
	require.Greater(t, l.refused.Load(), refused, "requests to the service on node 3 must get 503")
	require.Greater(t, l.failed.Load(), failed, "changes on node 3 must fail")
	now := time.Now()
	fixture.Await(t, "the other nodes accept writes", func() bool { return p.last().After(now) })
	stalled := p.longestGap(killed)
	started := time.Now()
	require.NoError(t, c.Nodes[2].Start())
	synced := time.Now()
	back := await(t, started, "node 3 serves requests again", l.responds200(2))
	require.Less(t, time.Since(synced), recovery, "the service on node 3 must recover by itself")
	elapse(t, 2*time.Second)
	p.stop()
	r := l.finish(t, n.table, n.dbs...)
	r.requireSound(t)
	n.requireSameRows(t)
	t.Logf("GALERA KILLED: requests=%d 503=%d changes=%d failed=%d write_gap_s=%.1f node3_back_s=%.1f",
		r.requests, r.refused, r.changes, r.failed, stalled.Seconds(), back.Seconds())
	require.Less(t, stalled, time.Second+recovery, "the other nodes must exclude node 3 after a second and continue")
}

// If a node has no majority, the service on this node must respond 503 to all keys. It must recover
// when the majority is back. Otherwise the service accepts revoked keys or refuses valid ones.
func TestGaleraWithoutQuorumReturns503(t *testing.T) {
	c := servers.Started(t, fragile)
	n := onNodes(t, c, 0, "wsrep_sync_wait=7")
	l := startLoad(t, 32, 16, n.calm()...)
	p := startProber(t, l.managers[0])
	elapse(t, 2*time.Second)

	lost := time.Now()
	require.NoError(t, c.Nodes[1].Kill())
	require.NoError(t, c.Nodes[2].Kill())
	digest := tokenauth.DigestOf(l.steady[0].key)
	noticed := await(t, lost, "node 1 reports that it has no majority", func(ctx context.Context) error {
		_, err := n.stores[0].Find(ctx, digest)
		// With wsrep_sync_wait, the error is 1205 in about one of five cases, because the wait failed.
		if number := errorNumber(err); number == "1047" || number == "1205" {
			return nil
		}
		return fmt.Errorf("find: %w", err)
	})
	for range 10 {
		status, err := l.send(t.Context(), l.servers[0].URL, l.steady[0].key)
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)
		err = n.stores[0].Touch(t.Context(), tokenauth.Use{ID: "unknown", At: time.Now()})
		require.Equal(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err))
	}
	elapse(t, time.Second)

	bootstrapped := time.Now()
	require.NoError(t, c.Bootstrap(c.Nodes[0]))
	found := await(t, bootstrapped, "node 1 serves requests", l.responds200(0))
	written := await(t, bootstrapped, "node 1 accepts writes", func(context.Context) error {
		if !p.last().After(bootstrapped) {
			return errors.New("not yet")
		}
		return nil
	})
	outage := p.longestGap(lost)
	started := time.Now()
	for _, node := range c.Nodes[1:] {
		require.NoError(t, node.Forget())
		require.NoError(t, node.Start())
	}
	back := max(await(t, started, "node 2 serves requests again", l.responds200(1)),
		await(t, started, "node 3 serves requests again", l.responds200(2)))
	elapse(t, 2*time.Second)
	p.stop()
	r := l.finish(t, n.table, n.dbs...)
	r.requireSound(t)
	n.requireSameRows(t)
	const format = "GALERA QUORUM: requests=%d 503=%d changes=%d failed=%d noticed_s=%.1f write_gap_s=%.1f " +
		"bootstrap_to_read_s=%.2f bootstrap_to_write_s=%.2f nodes_back_s=%.1f"
	t.Logf(format, r.requests, r.refused, r.changes, r.failed,
		noticed.Seconds(), outage.Seconds(), found.Seconds(), written.Seconds(), back.Seconds())
}

// errorNumber returns the number of an error of MariaDB.
func errorNumber(err error) string {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return fmt.Sprint(e.Number)
	}
	return ""
}

// A node may not have applied the last commits of another node. The setting that the docs name must
// prevent stale reads in every case. Otherwise a revoked key still works on another node.
func TestGaleraSyncWaitPreventsStaleReads(t *testing.T) {
	c := servers.Started(t, galera)
	const rounds = 200
	for _, s := range []struct {
		wait   string
		fresh  bool // whether reads are never stale
		writes bool // whether writes always find the rows that another node has committed
	}{{"0", false, false}, {"1", true, false}, {"7", true, true}} {
		t.Run("wsrep_sync_wait="+s.wait, func(t *testing.T) {
			t.Parallel() // in parallel with the other settings
			n := onNodes(t, c, time.Minute, "wsrep_sync_wait="+s.wait)
			missing, live := measure(t, n.stores[0], n.stores[1], rounds)
			update, revoke := writeElsewhere(t, n.stores[0], n.stores[1], shortOrLong(rounds/2, rounds))
			survived := revokeAllElsewhere(t, n.stores[0], n.stores[1], rounds)
			const format = "GALERA STALE wsrep_sync_wait=%s: fresh token missing: %v; revoked token live: %v; " +
				"update not found: %v; revoke not found: %v; RevokeAll missed a fresh token: %d of %d"
			t.Logf(format, s.wait, missing, live, update, revoke, survived, rounds)
			if s.fresh {
				require.Zero(t, missing.stale())
				require.Zero(t, live.stale())
			}
			if s.writes {
				require.Zero(t, update.stale())
				require.Zero(t, revoke.stale())
				require.Zero(t, survived)
			}
		})
	}
}

// writeElsewhere creates tokens on the node here and immediately changes them on the node there. It
// returns the times for which there returned ErrNotFound.
func writeElsewhere(t *testing.T, here, there tokenauth.Store, rounds int) (update, revoke delays) {
	t.Helper()
	name := "renamed"
	found := func(change func(tokenauth.Record) error) func() bool {
		r := newRecord("anna", "laptop")
		require.NoError(t, here.Create(t.Context(), r))
		return func() bool {
			err := change(r)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return false
			}
			require.NoError(t, err)
			require.NoError(t, there.Revoke(t.Context(), "anna", r.Token.ID, time.Now(), ""))
			// The name is now free on the node there. Wait until it is free on the node here too.
			fixture.Await(t, "the name is free", func() bool {
				list, err := here.List(t.Context(), tokenauth.Query{UserID: "anna"})
				require.NoError(t, err)
				return len(list) == 0
			})
			return true
		}
	}
	for range rounds {
		update.add(t, found(func(r tokenauth.Record) error {
			return there.Update(t.Context(), "anna", r.Token.ID, tokenauth.Patch{Name: &name}, time.Now())
		}))
		revoke.add(t, found(func(r tokenauth.Record) error {
			return there.Revoke(t.Context(), "anna", r.Token.ID, time.Now(), "")
		}))
	}
	return update, revoke
}

// revokeAllElsewhere creates tokens on the node here and immediately calls RevokeAll on the node
// there. It returns the number of tokens that RevokeAll did not find. These tokens stay live.
func revokeAllElsewhere(t *testing.T, here, there tokenauth.Store, rounds int) (survived int) {
	t.Helper()
	for i := range rounds {
		r := newRecord(fmt.Sprint("user ", i), "laptop")
		require.NoError(t, here.Create(t.Context(), r))
		n, err := there.RevokeAll(t.Context(), r.Token.UserID, time.Now(), "", 1000)
		require.NoError(t, err)
		survived += 1 - n
	}
	return survived
}

// After concurrent writes through all nodes, every node must have the same rows. Otherwise a key is
// valid on one node and unknown on another.
func TestGaleraNodesAgree(t *testing.T) {
	n := onNodes(t, servers.Started(t, galera), 0, "wsrep_sync_wait=7")
	l := startLoad(t, 32, 32, n.stores...)
	elapse(t, shortOrLong(2*time.Second, time.Minute))
	l.finish(t, n.table, n.dbs...).requireSound(t)
	n.requireSameRows(t)
}
