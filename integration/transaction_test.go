package integration

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// In these tests the store runs inside a transaction of the service.

// transactional lists the setups on which the transaction tests run.
var transactional = []string{
	"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL, lib-pq", "PostgreSQL serializable, pgx", "PgBouncer, pgx",
	"pgxstore", "pgxstore, serializable", "pgxstore, PgBouncer",
	"MariaDB", "MariaDB, interpolateParams", "MariaDB, read committed", "MariaDB, serializable", "MariaDB, snapshot isolation",
	"TiDB", "TiDB, read committed", "TiDB, optimistic",
}

// A shop is a service with a store and a table of orders in the same database.
type shop struct {
	setup
	db     *sql.DB
	store  *tokenauth.SQLStore
	orders string
}

func newShop(t *testing.T, name string) shop {
	t.Helper()
	s := setupNamed(t, name)
	opts := newTable()
	db := s.open(t)[0]
	shop := shop{s, db, newStore(t, db, s.dialect, opts), "orders" + opts.Table}
	_, err := db.Exec("CREATE TABLE " + shop.orders + " (id INTEGER NOT NULL PRIMARY KEY)")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = db.ExecContext(context.Background(), "DROP TABLE "+shop.orders) })
	return shop
}

func (s shop) begin(t *testing.T) (transaction, *tokenauth.SQLStore) {
	t.Helper()
	return beginOn(t, s.db, s.store)
}

// order inserts a row into the table of orders. The insert fails if an earlier error of the store
// has aborted the transaction.
func (s shop) order(t *testing.T, tx transaction, id int) {
	t.Helper()
	err := tx.exec(fmt.Sprintf("INSERT INTO %s VALUES (%d)", s.orders, id))
	require.NoError(t, err, "the transaction must continue")
}

func (s shop) countOrders(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, s.db.QueryRow("SELECT count(*) FROM "+s.orders).Scan(&n))
	return n
}

// liveNames returns the names of the live tokens in the order of their creation.
func liveNames(t *testing.T, s tokenauth.Store) (names []string) {
	t.Helper()
	for _, r := range everything(t, s) {
		if r.Token.RevokedAt.IsZero() {
			names = append(names, r.Token.Name)
		}
	}
	return names
}

// A transaction must commit a token and a row of the service together. A rollback must remove both.
func TestTransactionCommitsTokenWithOwnRows(t *testing.T) {
	t.Parallel()
	for _, name := range transactional {
		for end, commit := range map[string]bool{"commit": true, "rollback": false} {
			t.Run(name+"/"+end, func(t *testing.T) {
				t.Parallel()
				s := newShop(t, name)
				m := must.Get(tokenauth.New(s.store, "acme", nil))
				before, token, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "before"})
				require.NoError(t, err)
				tx, in := s.begin(t)
				key, _, err := m.WithStore(in, nil).Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "laptop"})
				require.NoError(t, err)
				require.NoError(t, m.WithStore(in, nil).Revoke(t.Context(), "anna", token.ID))
				s.order(t, tx, 1)
				_, err = m.WithStore(in, nil).Authenticate(t.Context(), revealed(key))
				require.NoError(t, err, "in the transaction")
				_, err = m.WithStore(in, nil).Authenticate(t.Context(), revealed(before))
				require.ErrorIs(t, err, tokenauth.ErrRevoked, "in the transaction")

				want, orders := []string{"before"}, 0
				if commit {
					require.NoError(t, tx.Commit())
					want, orders = []string{"laptop"}, 1
				} else {
					require.NoError(t, tx.Rollback())
				}
				require.Equal(t, want, liveNames(t, s.store))
				require.Equal(t, orders, s.countOrders(t))
				_, err = in.Find(t.Context(), tokenauth.DigestOf(revealed(key)))
				requireUnavailable(t, err, "the transaction has ended")
			})
		}
	}
}

// conflictingRecords returns two records of anna, and other records that conflict with the first of
// them. The key of the map says what they have in common with the first record.
func conflictingRecords() (rival, mine tokenauth.Record, others map[string]tokenauth.Record) {
	rival, mine = newRecord("anna", "taken"), newRecord("anna", "mine")
	rival.Slot, mine.Slot = 1, 2
	others = map[string]tokenauth.Record{}
	for _, what := range []string{"name", "digest", "slot"} {
		others[what] = newRecord("anna", "another "+what)
	}
	change := func(what string, f func(*tokenauth.Record)) { r := others[what]; f(&r); others[what] = r }
	change("name", func(r *tokenauth.Record) { r.Token.Name = rival.Token.Name })
	change("digest", func(r *tokenauth.Record) { r.Digest = rival.Digest })
	change("slot", func(r *tokenauth.Record) { r.Slot = rival.Slot })
	return rival, mine, others
}

// refusals returns calls that conflict with an existing token, and the error that each must return.
func refusals(ctx context.Context) (rival, mine tokenauth.Record, calls []refusal) {
	rival, mine, others := conflictingRecords()
	third, taken := newRecord("anna", "third"), rival.Token.Name
	rotation := tokenauth.Rotation{Replaces: 1, Digest: rival.Digest, Hint: "new1", GraceUntil: time.Now()}
	return rival, mine, []refusal{
		{"name", tokenauth.ErrNameTaken, func(s tokenauth.Store) error { return s.Create(ctx, others["name"]) }},
		{"digest", tokenauth.ErrKeyTaken, func(s tokenauth.Store) error { return s.Create(ctx, others["digest"]) }},
		{"slot", tokenauth.ErrSlotTaken, func(s tokenauth.Store) error { return s.Create(ctx, others["slot"]) }},
		{"one of several", tokenauth.ErrNameTaken, func(s tokenauth.Store) error {
			return s.Create(ctx, third, others["name"])
		}},
		{"rename", tokenauth.ErrNameTaken, func(s tokenauth.Store) error {
			return s.Update(ctx, "anna", mine.Token.ID, tokenauth.Patch{Name: &taken}, time.Now())
		}},
		{"rotation", tokenauth.ErrKeyTaken, func(s tokenauth.Store) error {
			return s.Rotate(ctx, "anna", mine.Token.ID, rotation, time.Now())
		}},
	}
}

type refusal struct {
	name string
	want error
	call func(tokenauth.Store) error
}

// After the store has reported a conflict, such as a taken name, the service must be able to
// continue its transaction.
func TestTransactionContinuesAfterConflict(t *testing.T) {
	t.Parallel()
	for _, name := range transactional {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, name)
			rival, mine, calls := refusals(t.Context())
			require.NoError(t, s.store.Create(t.Context(), rival))
			require.NoError(t, s.store.Create(t.Context(), mine))
			tx, in := s.begin(t)
			for i, c := range calls {
				require.ErrorIs(t, c.call(in), c.want, c.name)
				s.order(t, tx, i)
			}
			require.ErrorIs(t, in.Revoke(t.Context(), "anna", "unknown", time.Now(), ""), tokenauth.ErrNotFound)
			err := in.RevokeExpired(t.Context(), "anna", mine.Token.ID, time.Now(), "", time.Time{})
			require.ErrorIs(t, err, tokenauth.ErrConflict)
			require.NoError(t, in.Create(t.Context(), newRecord("anna", "good")))
			require.NoError(t, tx.Commit())
			require.Equal(t, len(calls), s.countOrders(t))
			require.ElementsMatch(t, []string{"taken", "mine", "good"}, liveNames(t, s.store))
		})
	}
}

// A conflicting token may be committed after the transaction has taken its snapshot, which does not
// show the token. The store must report the conflict, or an error that means that the service must
// repeat the transaction.
func TestTransactionReportsConflictAfterSnapshot(t *testing.T) {
	t.Parallel()
	for name, reported := range map[string]bool{
		"PostgreSQL, pgx": true, "PostgreSQL, lib-pq": true, "pgxstore": true, "pgxstore, serializable": false, "PostgreSQL repeatable read, pgx": false, "PostgreSQL serializable, pgx": false,
		"MariaDB": true, "MariaDB, interpolateParams": true, "MariaDB, read committed": true,
		"MariaDB, snapshot isolation": false,
		"TiDB":                        true, "TiDB, read committed": true,
	} {
		_, _, calls := refusals(t.Context())
		for i := range calls {
			t.Run(name+"/"+calls[i].name, func(t *testing.T) {
				t.Parallel()
				s := newShop(t, name)
				rival, mine, calls := refusals(t.Context())
				c := calls[i]
				require.NoError(t, s.store.Create(t.Context(), mine))
				tx, in := s.begin(t)
				require.Equal(t, []string{"mine"}, liveNames(t, in))
				require.NoError(t, s.store.Create(t.Context(), rival))

				err := c.call(in)
				if reported {
					require.ErrorIs(t, err, c.want)
					s.order(t, tx, 1)
					require.NoError(t, in.Create(t.Context(), newRecord("anna", "good")))
					require.NoError(t, tx.Commit())
					require.Equal(t, 1, s.countOrders(t))
					require.ElementsMatch(t, []string{"taken", "mine", "good"}, liveNames(t, s.store))
					return
				}
				t.Log(err)
				requireUnavailable(t, err, c.name)
				require.NoError(t, tx.Rollback())
				_, in = s.begin(t)
				require.ErrorIs(t, c.call(in), c.want, "in a new transaction")
			})
		}
	}
}

// The snapshot of a transaction may not show the last token that the user may have. Issue must
// still keep the limit of tokens per user, and must return an error with status 409 and not 503.
func TestTransactionKeepsLimit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "pgxstore", "MariaDB", "MariaDB, read committed", "TiDB", "TiDB, read committed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, name)
			m := must.Get(tokenauth.New(s.store, "acme", &tokenauth.Options{MaxPerUser: 1}))
			tx, in := s.begin(t)
			require.Empty(t, liveNames(t, in))
			_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "laptop"})
			require.NoError(t, err)
			_, _, err = m.WithStore(in, nil).Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "phone"})
			require.Equal(t, 409, tokenauth.StatusCode(err), "%v", err)
			t.Log(err)
			s.order(t, tx, 1)
			require.NoError(t, tx.Commit())
			require.Equal(t, []string{"laptop"}, liveNames(t, s.store))
		})
	}
}

// A transaction waits for a conflicting transaction that is not committed yet. On PostgreSQL, a
// rename then aborts the waiting transaction, and the store must return the error of the driver.
func TestTransactionWaitsForConflictingTransaction(t *testing.T) {
	t.Parallel()
	for name, renames := range map[string]bool{"PostgreSQL, pgx": false, "PostgreSQL, lib-pq": false, "pgxstore": false, "MariaDB": true, "TiDB": true} {
		for what, rename := range map[string]bool{"create": false, "rename": true} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				s := newShop(t, name)
				rival, mine, calls := refusals(t.Context())
				require.NoError(t, s.store.Create(t.Context(), mine))
				other, theirs := s.begin(t)
				require.NoError(t, theirs.Create(t.Context(), rival))
				tx, in := s.begin(t)
				call := calls[0].call
				if rename {
					call = calls[4].call
				}
				done := make(chan error, 1)
				go func() { done <- call(in) }()
				fixture.Await(t, "the call waits", func() bool { return waiting(t, s) > 0 })
				require.NoError(t, other.Commit())
				err := <-done
				if rename && !renames {
					requireUnavailable(t, err, what)
					require.Equal(t, "23505", sqlState(err))
					require.Error(t, tx.Commit())
					return
				}
				require.ErrorIs(t, err, tokenauth.ErrNameTaken)
				s.order(t, tx, 1)
				require.NoError(t, tx.Commit())
				require.Equal(t, 1, s.countOrders(t))
			})
		}
	}
}

// Several transactions may wait for one transaction that takes the name which they want. If it
// commits, each of them must find the name taken, and none of them may deadlock: a service would
// answer 503 instead of 409. On TiDB, which has no shared locks, the transactions wait for each
// other.
func TestTransactionsThatWaitFindNameTaken(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "MariaDB", "MariaDB, read committed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, name)
			rival, mine, _ := refusals(t.Context())
			require.NoError(t, s.store.Create(t.Context(), mine))
			other, theirs := s.begin(t)
			require.NoError(t, theirs.Create(t.Context(), rival))
			done := make(chan error, 3)
			var txs []transaction
			for range cap(done) {
				tx, in := s.begin(t)
				require.Equal(t, []string{"mine"}, liveNames(t, in))
				txs = append(txs, tx)
				wanted := newRecord("anna", rival.Token.Name)
				go func() { done <- in.Create(t.Context(), wanted) }()
			}
			// Commit only when all calls wait. On MariaDB, a later call could wait for the locks of the
			// refused transactions, which end after all calls have returned.
			fixture.Await(t, "all calls wait", func() bool { return waiting(t, s) == cap(done) })
			require.NoError(t, other.Commit())
			for range cap(done) {
				require.ErrorIs(t, <-done, tokenauth.ErrNameTaken)
			}
			for i, tx := range txs {
				s.order(t, tx, i)
				require.NoError(t, tx.Commit())
			}
			require.Equal(t, cap(done), s.countOrders(t))
		})
	}
}

// waiting returns the number of statements on the table of tokens that wait for a lock.
func waiting(t *testing.T, s shop) int {
	t.Helper()
	table := s.orders[len("orders"):]
	var n int
	if s.dialect == tokenauth.PostgreSQL {
		const query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
		require.NoError(t, s.db.QueryRow(query, `%"`+table+`"%`).Scan(&n))
		return n
	}
	if s.name == "TiDB" {
		const query = `SELECT count(*) FROM information_schema.tidb_trx x JOIN information_schema.tables t
			ON x.related_table_ids = t.tidb_table_id WHERE x.state = 'LockWaiting' AND t.table_name = ?`
		require.NoError(t, s.db.QueryRow(query, table).Scan(&n))
		return n
	}
	return waitingOnMariaDB(t, s.db, table)
}

// If two transactions on different nodes change one token, Galera rolls one of them back. The store
// or the commit must return an error. Otherwise a Revoke that was rolled back seems to succeed.
func TestGaleraTransactionReportsConflict(t *testing.T) {
	n := onNodes(t, servers.Started(t, galera), time.Minute, "wsrep_sync_wait=7")
	digest := tokenauth.DigestOf("new")
	name, at, reported := "renamed", time.Now(), map[string]int{}
	for what, call := range map[string]func(context.Context, tokenauth.Store, tokenauth.Record) error{
		"commit": func(context.Context, tokenauth.Store, tokenauth.Record) error { return nil },
		"create": func(ctx context.Context, s tokenauth.Store, _ tokenauth.Record) error {
			return s.Create(ctx, newRecord("anna", "another"))
		},
		"create again": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error { return s.Create(ctx, r) },
		"create of several": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			return s.Create(ctx, newRecord("anna", "b"), newRecord("anna", "c"))
		},
		"find": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			_, err := s.Find(ctx, r.Digest)
			return err
		},
		"list": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			_, err := s.List(ctx, tokenauth.Query{UserID: "anna"})
			return err
		},
		"update": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			return s.Update(ctx, "anna", r.Token.ID, tokenauth.Patch{Name: &name}, at)
		},
		"rotate": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			return s.Rotate(ctx, "anna", r.Token.ID, tokenauth.Rotation{Replaces: 1, Digest: digest, Hint: "new1", GraceUntil: at}, at)
		},
		"revoke": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			return s.Revoke(ctx, "anna", r.Token.ID, at, "")
		},
		"revoke all": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			_, err := s.RevokeAll(ctx, "anna", at, "", 1000)
			return err
		},
		"touch": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			return s.Touch(ctx, tokenauth.Use{ID: r.Token.ID, At: at})
		},
		"prune": func(ctx context.Context, s tokenauth.Store, r tokenauth.Record) error {
			_, err := s.Prune(ctx, at, time.Time{}, 10)
			return err
		},
	} {
		for range shortOrLong(3, 30) {
			where := loseTo(t, n, call)
			reported[what+": "+where]++
		}
	}
	t.Log("GALERA CONFLICT REPORTED BY:", reported)
	n.requireSameRows(t)
}

// loseTo makes Galera roll back a transaction on one node because of a transaction on another node.
// Then it makes a call in the first transaction and commits it. It returns "call" or "commit",
// depending on which of them failed.
func loseTo(t *testing.T, n galeraNodes, call func(context.Context, tokenauth.Store, tokenauth.Record) error) (where string) {
	t.Helper()
	ctx := t.Context()
	r := newRecord("anna", "laptop")
	require.NoError(t, n.stores[0].Create(ctx, r))
	winner, err := n.dbs[0].BeginTx(ctx, nil)
	require.NoError(t, err)
	loser, err := n.dbs[1].BeginTx(ctx, nil)
	require.NoError(t, err)
	in := n.stores[1].(*tokenauth.SQLStore).With(loser)
	require.NoError(t, in.Touch(ctx, tokenauth.Use{ID: r.Token.ID, At: r.Token.CreatedAt.Add(time.Hour)}))
	require.NoError(t, n.stores[0].(*tokenauth.SQLStore).With(winner).Revoke(ctx, "anna", r.Token.ID, r.Token.CreatedAt, ""))
	require.NoError(t, winner.Commit())
	// Find waits until the node has applied the revocation, which rolls the other transaction back.
	found, err := n.stores[1].Find(ctx, r.Digest)
	require.NoError(t, err)
	require.False(t, found.Token.RevokedAt.IsZero())

	if err := call(ctx, in, r); err != nil {
		requireUnavailable(t, err, "first statement after the rollback")
		require.Equal(t, "1213", errorNumber(err))
		require.NoError(t, loser.Rollback())
		where = "call"
	} else {
		require.Equal(t, "1213", errorNumber(loser.Commit()))
		where = "commit"
	}
	for _, store := range n.stores {
		found, err := store.Find(ctx, r.Digest)
		require.NoError(t, err)
		require.Equal(t, r.Token.CreatedAt, found.Token.RevokedAt)
		require.Zero(t, found.Token.LastUsedAt)
	}
	return where
}
