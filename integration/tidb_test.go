package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// These tests concern only TiDB. Many other tests also have a case for TiDB.

// newTiDBDatabase returns the DSN of an empty database on TiDB.
func newTiDBDatabase(t *testing.T, parameters ...string) string {
	t.Helper()
	onTiDB()(t) // skips the test in a short run
	name := fmt.Sprint("d", tables.Add(1))
	require.NoError(t, servers.Started(t, tiDB).CreateDatabase(name))
	return servers.Started(t, tiDB).DSN(name, parameters...)
}

// An optimistic transaction takes no locks, so only Commit can report a conflict. Commit must then
// fail, and no row of the transaction may stay. Otherwise two tokens could have the same name or
// key.
func TestTiDBCommitReportsOptimisticConflict(t *testing.T) {
	t.Parallel()
	_, _, calls := refusals(t.Context())
	for i := range calls {
		t.Run("TiDB/"+calls[i].name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "TiDB, optimistic")
			rival, mine, calls := refusals(t.Context())
			require.NoError(t, s.store.Create(t.Context(), mine))
			tx, in := s.begin(t)
			require.Equal(t, []string{"mine"}, liveNames(t, in))
			require.NoError(t, s.store.Create(t.Context(), rival))
			require.NoError(t, calls[i].call(in))
			s.order(t, tx, 1)
			require.Equal(t, "9007", errorNumber(tx.Commit()))
			require.Zero(t, s.countOrders(t))
			require.ElementsMatch(t, []string{"taken", "mine"}, liveNames(t, s.store))
			_, in = s.begin(t)
			require.ErrorIs(t, calls[i].call(in), calls[i].want, "in a new transaction")
		})
	}
}

// A countingDB counts, for each error number, how many of its statements failed with that error.
type countingDB struct {
	*sql.DB
	mu     sync.Mutex
	errors map[string]int
}

func (c *countingDB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := c.DB.ExecContext(ctx, query, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors[errorNumber(err)]++
	return result, err
}

func (c *countingDB) count(number string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errors[number]
}

// TiDB may roll a statement back because of a concurrent statement, and report one of its own error
// numbers. The store must then retry the statement. TiDB writes the digest of a key into its error
// message. The errors of the store must not contain this digest. With tidb_retry_limit=0, the
// server does not retry statements itself.
func TestTiDBConflictsAreRetried(t *testing.T) {
	t.Parallel()
	t.Run("TiDB", func(t *testing.T) {
		t.Parallel()
		db := &countingDB{DB: open(t, "mysql", newTiDBDatabase(t, "tidb_retry_limit=0")), errors: map[string]int{}}
		opts := newTable()
		newStore(t, db.DB, tokenauth.MySQL, opts)
		store := must.Get(tokenauth.NewSQLStore(db, tokenauth.MySQL, opts))
		defer func() { require.NoError(t, store.Close()) }()
		m := must.Get(tokenauth.New(store, "acme", nil))
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		var changes, failures atomic.Int64
		for i := range 8 {
			workers.Go(func() {
				for ctx.Err() == nil {
					err := conflictWithOthers(ctx, m, i)
					changes.Add(1)
					if ctx.Err() == nil && err != nil {
						failures.Add(1)
						requireUnavailable(t, err, "change")
					}
				}
			})
		}
		fixture.Await(t, "conflicts", func() bool { return db.count("9007") >= 100 })
		cancel()
		workers.Wait()
		t.Logf("%d changes, %d failures, statements by error number: %v", changes.Load(), failures.Load(), db.errors)
		require.Less(t, failures.Load(), int64(db.count("9007"))/2, "most conflicts must be retried")
	})
}

// conflictWithOthers changes the tokens of a user whose tokens other clients change too.
func conflictWithOthers(ctx context.Context, m *tokenauth.Manager, client int) error {
	key, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "anna", Name: fmt.Sprint("client ", client)})
	if err != nil {
		return ignore(err, tokenauth.ErrNameTaken)
	}
	revealed(key)
	if client%2 == 0 {
		_, err = m.RevokeAll(ctx, "anna")
		return err
	}
	if key, _, err = m.Rotate(ctx, "anna", token.ID, 0); err == nil {
		revealed(key)
	}
	return ignore(ignore(err, tokenauth.ErrNotFound), tokenauth.ErrConflict)
}

// Migration tools must be able to run the files of the schema on TiDB, in an empty database and in
// a database of an older version of the library. Otherwise a service on TiDB cannot use such a
// tool.
func TestTiDBMigrationToolsRunFiles(t *testing.T) {
	t.Parallel()
	for name, tool := range migrationTools {
		for from, old := range map[string]bool{"empty": false, "old library": true} {
			t.Run("TiDB/"+name+"/"+from, func(t *testing.T) {
				t.Parallel()
				var parameters []string
				if name == "golang-migrate" { // uses the isolation level SERIALIZABLE, which TiDB does not have
					parameters = []string{"tidb_skip_isolation_level_check=1"}
				}
				dsn := newTiDBDatabase(t, parameters...)
				db := open(t, "mysql", dsn)
				store := must.Get(tokenauth.NewSQLStore(db, tokenauth.MySQL, &tokenauth.SQLOptions{Timeout: time.Minute}))
				defer func() { require.NoError(t, store.Close()) }()
				if old {
					fixture.ExecAll(t, db, fixture.OldSchema(t, tokenauth.MySQL, "tokenauth_tokens"))
					require.NoError(t, tool.baseline(t.Context(), tokenauth.MySQL, open(t, "mysql", dsn), store, 1))
				}
				for range 2 { // the second time, no file is left
					require.NoError(t, tool.up(t.Context(), tokenauth.MySQL, open(t, "mysql", dsn), store))
					require.NoError(t, store.CheckSchema(t.Context()))
				}
				useAll(t, must.Get(tokenauth.New(store, "acme", nil)), "42")
			})
		}
	}
}

// On TiDB, a change of the schema waits for open transactions, and does not block requests while it
// waits. CreateSchema must succeed after the transaction has ended.
func TestTiDBCreateSchemaDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	t.Run("TiDB", func(t *testing.T) {
		t.Parallel()
		db := open(t, "mysql", newTiDBDatabase(t))
		opts := newTable()
		store := newStore(t, db, tokenauth.MySQL, opts)
		fixture.ExecAll(t, db, "DROP INDEX user_live ON "+opts.Table)
		r := newRecord("anna", "laptop")
		require.NoError(t, store.Create(t.Context(), r))
		transaction := must.Get(db.BeginTx(t.Context(), nil))
		defer func() { _ = transaction.Rollback() }()
		_, err := transaction.Exec("UPDATE " + opts.Table + " SET hint = hint WHERE id = 'unknown'")
		require.NoError(t, err)
		upgraded := make(chan error, 1)
		go func() { upgraded <- store.CreateSchema(context.Background()) }()
		fixture.Await(t, "the change of the schema waits", func() bool {
			return strings.Contains(fmt.Sprint(must.Get(lines(t.Context(), db, "ADMIN SHOW DDL JOBS"))), "running")
		})
		_, err = store.Find(t.Context(), r.Digest)
		require.NoError(t, err)
		require.NoError(t, store.Touch(t.Context(), tokenauth.Use{ID: r.Token.ID, At: time.Now()}))
		require.Empty(t, upgraded, "CreateSchema waits for the transaction")
		require.NoError(t, transaction.Rollback())
		require.NoError(t, <-upgraded)
		require.NoError(t, store.CheckSchema(t.Context()))
	})
}
