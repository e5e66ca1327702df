package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// In these tests a service uses a read-only replica, which applies the changes of the primary with
// a delay.

// onReplica returns two stores on the same table, one on the primary and one on its replica.
func onReplica(t *testing.T, primary, replica *servers.PostgresServer, timeout time.Duration) (onPrimary, on *tokenauth.SQLStore) {
	t.Helper()
	opts := newTable()
	opts.Timeout = timeout
	onPrimary = newStore(t, open(t, "pgx", primary.DSN("postgres")), tokenauth.PostgreSQL, opts)
	on, err := tokenauth.NewSQLStore(open(t, "pgx", replica.DSN("postgres")), tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	fixture.Await(t, "the replica has the table", func() bool { return on.CheckSchema(t.Context()) == nil })
	return onPrimary, on
}

// delays are the times for which a replica returned an old state, one for each write.
type delays []time.Duration

// add calls shown until the replica shows the last write, and records the delay.
func (d *delays) add(t *testing.T, shown func() bool) {
	t.Helper()
	begin, stale := time.Now(), time.Duration(0)
	for !shown() {
		stale = time.Since(begin)
		require.Less(t, stale, time.Minute, "the replica must show the write")
	}
	*d = append(*d, stale)
}

// stale returns the number of writes that the replica did not show immediately.
func (d delays) stale() int {
	return len(slices.DeleteFunc(slices.Clone(d), func(delay time.Duration) bool { return delay == 0 }))
}

func (d delays) String() string {
	all := slices.Sorted(slices.Values(d))
	return fmt.Sprintf("%d of %d, median %.1f ms, at most %.1f ms", d.stale(), len(d),
		float64(all[len(all)/2].Microseconds())/1000, float64(all[len(all)-1].Microseconds())/1000)
}

// measure creates and revokes tokens on the primary, and immediately reads them from the replica.
// It returns the times for which the replica did not find a new token, and for which it showed a
// revoked token as live.
func measure(t *testing.T, primary, replica tokenauth.Store, rounds int) (missing, live delays) {
	t.Helper()
	for range rounds {
		r := newRecord("anna", "laptop")
		require.NoError(t, primary.Create(t.Context(), r))
		missing.add(t, func() bool {
			found, err := replica.Find(t.Context(), r.Digest)
			if errors.Is(err, tokenauth.ErrNotFound) {
				return false
			}
			require.NoError(t, err)
			require.Equal(t, r, *found)
			return true
		})
		require.NoError(t, primary.Revoke(t.Context(), "anna", r.Token.ID, time.Now(), ""))
		live.add(t, func() bool {
			found, err := replica.Find(t.Context(), r.Digest)
			require.NoError(t, err)
			require.Equal(t, r.Token.ID, found.Token.ID)
			return !found.Token.RevokedAt.IsZero()
		})
	}
	return missing, live
}

// Until a replica has replayed a change, a service on the replica accepts revoked keys and refuses
// new keys. The setting that the docs name must prevent both in every case.
// Case C13.
func TestStaleReadsEndWithRemoteApply(t *testing.T) {
	// Commits wait for the disk, because the test measures figures of the docs.
	primary := closing(t, func() (*servers.PostgresServer, error) { return servers.Postgres() })
	replica := closing(t, primary.Replica)
	for _, s := range []struct{ standbys, commit, name string }{
		{"", "on", "asynchronous"},
		{"*", "on", "synchronous"},
		{"*", "remote_apply", "synchronous, remote_apply"},
	} {
		require.NoError(t, primary.Set("synchronous_standby_names", s.standbys))
		require.NoError(t, primary.Set("synchronous_commit", s.commit))
		onPrimary, on := onReplica(t, primary, replica, time.Minute)
		missing, live := measure(t, onPrimary, on, shortOrLong(200, 2000))
		t.Logf("stale reads, %s: a new token is missing in %s; a revoked token is accepted in %s", s.name, missing, live)
		if s.commit == "remote_apply" {
			require.Zero(t, missing.stale())
			require.Zero(t, live.stale())
		}
	}
}

// A service on a lagging replica accepts a revoked key for an unlimited time. Therefore the docs
// require a handle of the primary. With remote_apply, a Revoke must not succeed before the replica
// has replayed it.
// Case C13.
func TestLaggingReplicaAcceptsRevokedKey(t *testing.T) {
	primary := closing(t, startPostgres)
	replica := closing(t, primary.Replica)
	onPrimary, on := onReplica(t, primary, replica, time.Minute)
	db := open(t, "pgx", replica.DSN("postgres"))
	do := func(statement string) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	key, token := issued(t, onPrimary, "laptop")
	fixture.Await(t, "the replica has the token", func() bool { return statusOf(on, key) == http.StatusOK })

	do("SELECT pg_wal_replay_pause()")
	fixture.Await(t, "the replica has paused its replay", func() bool {
		var state string
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT pg_get_wal_replay_pause_state()").Scan(&state))
		return state == "paused"
	})
	fresh := requireStale(t, onPrimary, on, key, token)
	do("SELECT pg_wal_replay_resume()")
	fixture.Await(t, "the replica has caught up", func() bool {
		return statusOf(on, key) == http.StatusUnauthorized && statusOf(on, fresh) == http.StatusOK
	})

	// Without this setting, other cleanup functions could wait for the replica forever.
	t.Cleanup(func() { _ = primary.Set("synchronous_standby_names", "") })
	require.NoError(t, primary.Set("synchronous_standby_names", "*"))
	require.NoError(t, primary.Set("synchronous_commit", "remote_apply"))
	_, token = issued(t, onPrimary, "tablet")
	do("SELECT pg_wal_replay_pause()")
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	requireUnknown(t, onPrimary.Revoke(soon, token.UserID, token.ID, time.Now(), ""))
	do("SELECT pg_wal_replay_resume()")
	require.NoError(t, onPrimary.Revoke(t.Context(), token.UserID, token.ID, time.Now(), ""))
}

// If no standby is connected, no change may succeed, even if the change needs a transaction.
// Otherwise a failover could lose an acknowledged change. lib/pq reports a commit as successful if
// its context ends while the commit waits for the standby.
// Case C13.
func TestChangeWithoutStandbyIsUnknown(t *testing.T) {
	primary := closing(t, startPostgres)
	for _, driver := range []string{"pgx", "postgres"} {
		opts := newTable()
		db := open(t, driver, primary.DSN("postgres"))
		newStore(t, db, tokenauth.PostgreSQL, opts)
		opts.Timeout = time.Second
		store, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = store.Close() })
		require.NoError(t, primary.Set("synchronous_standby_names", "*"))
		for _, n := range []int{1, 2, 600} {
			records := make([]tokenauth.Record, n)
			for i := range records {
				records[i] = newRecord("anna", fmt.Sprint(driver, n, i))
			}
			requireUnknown(t, store.Create(t.Context(), records...))
		}
		require.NoError(t, primary.Set("synchronous_standby_names", ""))
	}
}

// requireRefusesWrites requires that each write fails with the error of a read-only server, and
// that lookups succeed.
func requireRefusesWrites(t *testing.T, store tokenauth.Store, key string, token tokenauth.Token, isReadOnly func(error) bool) {
	t.Helper()
	ctx, now, name := t.Context(), time.Now(), "new name"
	before, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	require.NotEmpty(t, before)
	rotation := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("another"), Hint: "abcd", GraceUntil: now}
	for what, change := range map[string]func() error{
		"create":         func() error { return store.Create(ctx, newRecord("anna", "new")) },
		"create several": func() error { return store.Create(ctx, newRecord("anna", "new"), newRecord("anna", "newer")) },
		"update":         func() error { return store.Update(ctx, "anna", token.ID, tokenauth.Patch{Name: &name}, now) },
		"rotate":         func() error { return store.Rotate(ctx, "anna", token.ID, rotation, now) },
		"revoke":         func() error { return store.Revoke(ctx, "anna", token.ID, now, "") },
		"revoke all":     func() error { _, err := store.RevokeAll(ctx, "anna", now, "", 1000); return err },
		"touch":          func() error { return store.Touch(ctx, tokenauth.Use{ID: token.ID, At: now}) },
		"prune":          func() error { _, err := store.Prune(ctx, now, time.Time{}, 10); return err },
		// A read-only server may lag, so it must not report ErrNameTaken or ErrNotFound.
		"create a name that is taken": func() error { return store.Create(ctx, newRecord("anna", token.Name)) },
		"revoke an unknown token":     func() error { return store.Revoke(ctx, "anna", "unknown", now, "") },
	} {
		err := change()
		requireUnavailable(t, err, what)
		require.True(t, isReadOnly(err), "%s: %v", what, err)
		require.NotContains(t, err.Error(), "outcome unknown", what)
	}
	require.Equal(t, http.StatusOK, statusOf(store, key), "lookups must succeed")
	after, err := store.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// After a failover, a service may be connected to a read-only server. Then writes must cause 503,
// and neither "not found" nor a conflict. Valid keys must still work.
// Case F6.
func TestPostgresReadOnlyKeepsLookups(t *testing.T) {
	primary := closing(t, startPostgres)
	replica := closing(t, primary.Replica)
	onPrimary, on := onReplica(t, primary, replica, time.Minute)
	key, token := issued(t, onPrimary, "laptop")
	fixture.Await(t, "the replica has the token", func() bool { return statusOf(on, key) == http.StatusOK })
	isReadOnly := func(err error) bool { return sqlState(err) == "25006" }
	requireRefusesWrites(t, on, key, token, isReadOnly)

	require.NoError(t, primary.Set("default_transaction_read_only", "on"))
	requireRefusesWrites(t, onPrimary, key, token, isReadOnly)
	require.NoError(t, primary.Set("default_transaction_read_only", "off"))
	err := onPrimary.Revoke(t.Context(), "anna", token.ID, time.Now(), "")
	require.NoError(t, err, "writes must succeed again with the same pool")
}

func isMariaDBReadOnly(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == 1290
}

// With the setting read_only of MariaDB, writes must cause 503, and valid keys must still work. The
// setting does not apply to administrators, so the test creates another user.
// Case F6.
func TestMariaDBReadOnlyKeepsLookups(t *testing.T) {
	m := closing(t, func() (*servers.MariaDBServer, error) { return servers.MariaDB() })
	require.NoError(t, m.CreateDatabase("t"))
	admin := open(t, "mysql", m.DSN("t"))
	opts := newTable()
	asAdmin := newStore(t, admin, tokenauth.MySQL, opts)
	key, token := issued(t, asAdmin, "laptop")
	for _, statement := range []string{
		"CREATE USER app@'%', app@localhost",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON t.* TO app@'%', app@localhost",
		"SET GLOBAL read_only = ON",
	} {
		_, err := admin.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	store, err := tokenauth.NewSQLStore(open(t, "mysql", "app@tcp("+m.Addr()+")/t"), tokenauth.MySQL, opts)
	require.NoError(t, err)
	requireRefusesWrites(t, store, key, token, isMariaDBReadOnly)
	_, err = admin.ExecContext(t.Context(), "SET GLOBAL read_only = OFF")
	require.NoError(t, err)
	err = store.Revoke(t.Context(), "anna", token.ID, time.Now(), "")
	require.NoError(t, err, "writes must succeed again with the same pool")
}

// mariaDBReplica starts a primary and an asynchronous replica. Both have the database t and the
// user app, who is no administrator, so that read_only applies.
func mariaDBReplica(t *testing.T) (primary, replica *servers.MariaDBServer, admin *sql.DB) {
	t.Helper()
	primary = closing(t, func() (*servers.MariaDBServer, error) { return servers.MariaDB("server_id=1", "log_bin=log") })
	replica = closing(t, func() (*servers.MariaDBServer, error) { return servers.MariaDB("server_id=2", "read_only=ON") })
	do := func(db *sql.DB, statements ...string) {
		for _, statement := range statements {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
	}
	admin = open(t, "mysql", replica.DSN(""))
	const follow = "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %d, MASTER_USER = 'root', " +
		"MASTER_USE_GTID = slave_pos"
	do(admin, fmt.Sprintf(follow, primary.Port()), "START SLAVE")
	require.NoError(t, primary.CreateDatabase("t"))
	do(open(t, "mysql", primary.DSN("")), "CREATE USER app@'%', app@localhost", "GRANT ALL ON t.* TO app@'%', app@localhost")
	return primary, replica, admin
}

// A service on a MariaDB replica cannot write. It accepts revoked keys until the replica has
// applied the change. The test measures the delay for the docs.
// Cases C13, F6.
func TestMariaDBReplicaAcceptsRevokedKey(t *testing.T) {
	primary, replica, admin := mariaDBReplica(t)
	appAt := func(m *servers.MariaDBServer, parameters string) *sql.DB {
		return open(t, "mysql", "app@tcp("+m.Addr()+")/t"+parameters)
	}
	opts := newTable()
	onPrimary := newStore(t, open(t, "mysql", primary.DSN("t")), tokenauth.MySQL, opts)
	storeOn := func(db *sql.DB) *tokenauth.SQLStore {
		store, err := tokenauth.NewSQLStore(db, tokenauth.MySQL, opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	on := storeOn(appAt(replica, ""))
	key, token := issued(t, onPrimary, "tablet")
	fixture.Await(t, "the replica has the token", func() bool { return statusOf(on, key) == http.StatusOK })
	requireRefusesWrites(t, on, key, token, isMariaDBReadOnly)
	rejecting := storeOn(appAt(replica, "?rejectReadOnly=true"))
	err := rejecting.Revoke(t.Context(), token.UserID, token.ID, time.Now(), "")
	requireUnavailable(t, err, "with rejectReadOnly, the driver closes the connection")

	missing, live := measure(t, onPrimary, on, shortOrLong(200, 2000))
	const format = "stale reads, MariaDB, asynchronous: a new token is missing in %s; a revoked token is accepted in %s"
	t.Logf(format, missing, live)

	thread := func(do string) {
		_, err := admin.ExecContext(t.Context(), do+" SLAVE SQL_THREAD")
		require.NoError(t, err)
	}
	thread("STOP")
	fresh := requireStale(t, onPrimary, on, key, token)
	thread("START")
	began := time.Now()
	fixture.Await(t, "the replica has caught up", func() bool {
		return statusOf(on, key) == http.StatusUnauthorized && statusOf(on, fresh) == http.StatusOK
	})
	t.Logf("MariaDB replica: caught up after %v", time.Since(began).Round(time.Millisecond))
}

// requireStale revokes a token and issues another token while the replica applies no changes. It
// requires that a service on the replica accepts the revoked key and refuses the new key. It
// returns the new key.
func requireStale(t *testing.T, onPrimary, on *tokenauth.SQLStore, key string, token tokenauth.Token) (fresh string) {
	t.Helper()
	fresh, _ = issued(t, onPrimary, "phone")
	require.NoError(t, onPrimary.Revoke(t.Context(), token.UserID, token.ID, time.Now(), ""))
	for range 100 {
		require.Equal(t, http.StatusOK, statusOf(on, key), "the replica must accept a revoked key")
		require.Equal(t, http.StatusUnauthorized, statusOf(on, fresh), "the replica must refuse the new key")
		require.Equal(t, http.StatusUnauthorized, statusOf(onPrimary, key), "the primary must refuse a revoked key")
		require.Equal(t, http.StatusOK, statusOf(onPrimary, fresh))
	}
	return fresh
}
