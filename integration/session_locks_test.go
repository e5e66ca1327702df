package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// In these tests other transactions hold locks that the store needs.

// A watchedDB records the errors of statements that change rows.
type watchedDB struct {
	*sql.DB
	errs chan error
}

func (w *watchedDB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := w.DB.ExecContext(ctx, query, args...)
	if err != nil {
		w.errs <- err
	}
	return result, err
}

func codeOf(err error) string { return sqlState(err) + errorNumber(err) }

// A conflict makes the database roll back a statement of the store, because another transaction
// conflicts with it. This other transaction is called the rival.
type conflict struct {
	name    string
	setup   setup
	code    string   // error code of the statement
	held    string   // rows that the rival updates before the call: fillers, a or b
	wants   string   // rows that the rival updates when the statement waits; may be empty
	patient bool     // whether the rival commits only after the statement has failed
	rival   []string // statements that change settings of the rival
	call    func(ctx context.Context, s tokenauth.Store, a, b tokenauth.Record) error
}

// fillers is the number of other rows that the rival changes. In a deadlock, MariaDB rolls back the
// transaction that has changed fewer rows.
const fillers = 20

func touchBoth(ctx context.Context, s tokenauth.Store, a, b tokenauth.Record) error {
	return s.Touch(ctx, tokenauth.Use{ID: b.Token.ID, At: time.Now()}, tokenauth.Use{ID: a.Token.ID, At: time.Now()})
}

func revokeBoth(ctx context.Context, s tokenauth.Store, a, _ tokenauth.Record) error {
	_, err := s.RevokeAll(ctx, a.Token.UserID, time.Now(), "", 1000)
	return err
}

func revokeFirst(ctx context.Context, s tokenauth.Store, a, _ tokenauth.Record) error {
	return s.Revoke(ctx, a.Token.UserID, a.Token.ID, time.Now(), "")
}

func conflicts() []conflict {
	serializable := postgresWith("pgx", "default_transaction_isolation=serializable")
	deadlock := postgresWith("pgx", "deadlock_timeout=10s")  // longer than the rival needs to start waiting
	later := []string{"SET LOCAL deadlock_timeout = '1min'"} // makes PostgreSQL roll back the call and not the rival
	pq := postgresWith("postgres", "default_transaction_isolation=serializable")
	impatient, interpolated := mariaDBWith("innodb_lock_wait_timeout=1"), mariaDBWith("interpolateParams=true")
	return []conflict{
		{name: "touch", setup: serializable, code: "40001", held: "a", call: touchBoth},
		{name: "revoke", setup: serializable, code: "40001", held: "a", call: revokeFirst},
		{name: "revoke all", setup: pq, code: "40001", held: "b", call: revokeBoth},
		{name: "touch", setup: deadlock, code: "40P01", held: "b", wants: "a", rival: later, call: touchBoth},
		{name: "revoke all", setup: deadlock, code: "40P01", held: "b", wants: "a", rival: later, call: revokeBoth},
		{name: "touch", setup: mariaDBWith(), code: "1213", held: "fillers b", wants: "a", call: touchBoth},
		{name: "touch, interpolated", setup: interpolated, code: "1213", held: "fillers b", wants: "a", call: touchBoth},
		{name: "revoke all", setup: mariaDBWith(), code: "1213", held: "fillers b", wants: "a", call: revokeBoth},
		{name: "touch", setup: impatient, code: "1205", held: "a", patient: true, call: touchBoth},
		{name: "revoke", setup: impatient, code: "1205", held: "a", patient: true, call: revokeFirst},
	}
}

// If the database rolls back a statement because of a deadlock or a conflict, the store must retry
// the statement, so that the caller sees no error. In the caller's own transaction, the store must
// return the error.
// Case S29.
func TestRolledBackStatementIsRetried(t *testing.T) {
	t.Parallel()
	for _, c := range conflicts() {
		for _, transaction := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s of %s, transaction %v", c.code, c.name, transaction), func(t *testing.T) {
				t.Parallel()
				opts := newTable()
				parameter := "application_name=" + opts.Table
				if c.setup.dialect == tokenauth.MySQL {
					parameter = ""
				}
				w := &watchedDB{open(t, c.setup.driver, c.setup.dsn(t)+"&"+parameter), make(chan error, 16)}
				store := newStore(t, w.DB, c.setup.dialect, opts)
				rival := open(t, c.setup.driver, c.rivals().dsn(t))
				if transaction {
					c.inTransaction(t, w, store, rival, opts.Table)
				} else {
					c.alone(t, w, store, rival, opts.Table)
				}
			})
		}
	}
}

// rivals returns the setup of the rival, which has the default settings.
func (c conflict) rivals() setup {
	if c.setup.dialect == tokenauth.MySQL {
		return mariaDBWith()
	}
	return postgresWith("pgx")
}

// alone makes the call outside a transaction.
func (c conflict) alone(t *testing.T, w *watchedDB, store *tokenauth.SQLStore, rival *sql.DB, table string) {
	a, b, tx := c.begin(t, store, rival, table)
	done := make(chan error, 1)
	go func() { done <- c.call(context.Background(), store.With(w), a, b) }()
	c.provoke(t, tx, w.DB, table)
	if c.patient {
		fixture.Await(t, "the statement fails", func() bool { return len(w.errs) > 0 })
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done, "the retried statement must succeed")
	require.NotEmpty(t, w.errs, "the database must have rolled back the statement")
	require.Equal(t, c.code, codeOf(<-w.errs))
}

// inTransaction makes the call in the caller's own transaction.
func (c conflict) inTransaction(t *testing.T, w *watchedDB, store *tokenauth.SQLStore, rival *sql.DB, table string) {
	a, b, tx := c.begin(t, store, rival, table)
	own, err := w.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- c.call(context.Background(), store.With(own), a, b) }()
	c.provoke(t, tx, w.DB, table)
	if !c.patient {
		require.NoError(t, tx.Commit())
	}
	err = <-done
	requireUnavailable(t, err, c.name)
	require.Equal(t, c.code, codeOf(err))
	require.NoError(t, own.Rollback())
	if c.patient {
		require.NoError(t, tx.Commit())
	}
	require.NoError(t, c.call(t.Context(), store, a, b), "the call must succeed after the transactions")
}

// begin creates the rows, begins the transaction of the rival and updates the rows in c.held.
func (c conflict) begin(t *testing.T, store tokenauth.Store, rival *sql.DB, table string) (a, b tokenauth.Record, tx *sql.Tx) {
	t.Helper()
	a, b = newRecord("anna", "first"), newRecord("anna", "second")
	a.Token.ID, b.Token.ID = "a", "b"
	b.Token.CreatedAt = a.Token.CreatedAt.Add(time.Second)
	require.NoError(t, store.Create(t.Context(), a))
	require.NoError(t, store.Create(t.Context(), b))
	for i := range fillers {
		r := newRecord("other", fmt.Sprint("token ", i))
		r.Token.ID = fmt.Sprint("filler", i)
		require.NoError(t, store.Create(t.Context(), r))
	}
	tx, err := rival.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	for _, setting := range c.rival {
		_, err := tx.Exec(setting)
		require.NoError(t, err)
	}
	c.update(t, tx, table, c.held)
	return a, b, tx
}

// update changes one row per statement, selected by its ID, because MariaDB would otherwise lock
// more rows.
func (c conflict) update(t *testing.T, tx *sql.Tx, table, rows string) {
	t.Helper()
	var ids []string
	for row := range strings.FieldsSeq(rows) {
		if row != "fillers" {
			ids = append(ids, row)
			continue
		}
		for i := range fillers {
			ids = append(ids, fmt.Sprint("filler", i))
		}
	}
	for _, id := range ids {
		_, err := tx.Exec("UPDATE " + table + " SET generation = generation + 1 WHERE id = '" + id + "'")
		require.NoError(t, err)
	}
}

// provoke waits until the call waits for the rival. Then the rival updates the rows in c.wants.
func (c conflict) provoke(t *testing.T, tx *sql.Tx, db *sql.DB, table string) {
	t.Helper()
	if c.patient {
		return
	}
	fixture.Await(t, "the call waits for the rival", func() bool {
		if c.setup.dialect == tokenauth.MySQL {
			return waitingOnMariaDB(t, db, table) > 0
		}
		var n int
		const query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1"
		require.NoError(t, db.QueryRow(query, table).Scan(&n))
		return n > 0
	})
	c.update(t, tx, table, c.wants)
}

// waitingOnMariaDB returns the number of transactions that wait for a lock on a table.
func waitingOnMariaDB(t *testing.T, db *sql.DB, table string) int {
	t.Helper()
	var kind, name, status string
	require.NoError(t, db.QueryRow("SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status))
	return len(regexp.MustCompile("of table `t`.`"+table+"` .* waiting").FindAllString(status, -1))
}

// A service calls Prune while it serves requests. Lookups must succeed, and Prune must delete only
// expired and revoked tokens.
// Case S23.
func TestPruneDoesNotBlockLookups(t *testing.T) {
	t.Parallel()
	dead, live := shortOrLong(10_000, 100_000), 1000
	for name, number := range map[string]string{
		"SQLite, modernc": "INTEGER", "SQLite, mattn": "INTEGER", "PostgreSQL, pgx": "bigint", "MariaDB": "unsigned",
	} {
		if name == "SQLite, modernc" && !long() { // takes half a minute under the race detector
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			opts := newTable()
			db := s.open(t)[0]
			store := newStore(t, db, s.dialect, opts)
			populate(t, db, s.dialect, opts.Table, live+dead)
			for change, which := range map[string]string{"expires_at = 1": "LIKE '%5'", "revoked_at = 1, live_name = NULL": "NOT LIKE '%5'"} {
				_, err := db.Exec(fmt.Sprintf("UPDATE %s SET %s WHERE CAST(name AS %s) >= %d AND name %s", opts.Table, change, number, live, which))
				require.NoError(t, err)
			}

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var workers sync.WaitGroup
			var slowest [4]time.Duration
			var looked [4]int
			var errs [4]error
			for i := range slowest {
				workers.Go(func() {
					for n := i; ctx.Err() == nil && errs[i] == nil; n += 7 {
						began := time.Now()
						r, err := store.Find(context.Background(), tokenauth.DigestOf(fmt.Sprint(n%(2*live))))
						slowest[i] = max(slowest[i], time.Since(began))
						looked[i]++
						if isDead := n%(2*live) >= live; err != nil && !(isDead && errors.Is(err, tokenauth.ErrNotFound)) || err == nil && r.Token.Name != fmt.Sprint(n%(2*live)) {
							errs[i] = fmt.Errorf("token %d: %w", n%(2*live), err)
						}
					}
				})
			}
			m := must.Get(tokenauth.New(store, "acme", nil))
			began := time.Now()
			var pruned [2]int
			var pruneErrs [2]error
			var pruners sync.WaitGroup
			for i := range pruned {
				pruners.Go(func() {
					// SQLite does not queue writers, so a writer may time out. Call Prune again then.
					for range 20 {
						var n int
						n, pruneErrs[i] = m.Prune(context.Background(), time.Now())
						pruned[i] += n
						if tokenauth.StatusCode(pruneErrs[i]) != http.StatusServiceUnavailable {
							return
						}
					}
				})
			}
			pruners.Wait()
			took := time.Since(began)
			cancel()
			workers.Wait()
			require.NoError(t, errors.Join(pruneErrs[:]...))
			require.NoError(t, errors.Join(errs[:]...))
			require.Equal(t, dead, pruned[0]+pruned[1])
			require.Len(t, everything(t, store), live)
			t.Logf("PRUNE %s: %d rows in %.1f s (%d + %d); %d lookups meanwhile, the slowest %v",
				name, dead, took.Seconds(), pruned[0], pruned[1], looked[0]+looked[1]+looked[2]+looked[3],
				max(slowest[0], slowest[1], slowest[2], slowest[3]).Round(time.Millisecond/10))
		})
	}
}

// SQLite allows one writer at a time. Concurrent writers must wait for each other, and no request
// may fail because of other writers.
// Case S26.
func TestSQLiteWritersWaitForEachOther(t *testing.T) {
	t.Parallel()
	s := setupNamed(t, "SQLite, mattn")
	store := newStore(t, s.open(t)[0], s.dialect, nil)
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1}))
	read, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "read all the time"})
	require.NoError(t, err)
	const writers, readers = 32, 32
	errs := make([]error, writers+readers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			ctx := context.Background()
			for n := range 10 {
				if i >= writers {
					_, err := m.Authenticate(ctx, revealed(read))
					_, listErr := m.List(ctx, tokenauth.Query{UserID: "u", Limit: 10})
					errs[i] = errors.Join(errs[i], err, listErr)
					continue
				}
				name := fmt.Sprint("token ", i, "-", n)
				_, token, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: name})
				_, _, rotateErr := m.Rotate(ctx, "u", token.ID, 0)
				_, updateErr := m.Update(ctx, "u", token.ID, tokenauth.Patch{Scopes: &[]string{"a"}})
				touchErr := store.Touch(ctx, tokenauth.Use{ID: token.ID, At: time.Now()})
				errs[i] = errors.Join(errs[i], err, rotateErr, updateErr, touchErr, m.Revoke(ctx, "u", token.ID))
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Len(t, everything(t, store), 1+10*writers)
}

// RevokeAll must lock tokens in the order of their IDs, as Touch does. Otherwise the two calls
// deadlock, and PostgreSQL detects a deadlock only after a second. If a service then writes
// last-used times of the user's tokens, RevokeAll reaches its timeout and revokes nothing.
func TestRevokeAllLocksInOrderOfTouch(t *testing.T) {
	t.Parallel()
	s := newShop(t, "PostgreSQL, pgx")
	first, last := newRecord("anna", "z"), newRecord("anna", "a") // the names have the opposite order
	first.Token.ID, last.Token.ID = "1", "2"
	require.NoError(t, s.store.Create(t.Context(), first, last))
	tx, _ := s.begin(t)
	lock := func(r tokenauth.Record) error {
		return tx.exec("SELECT id FROM "+s.orders[len("orders"):]+" WHERE id = $1 FOR NO KEY UPDATE NOWAIT", r.Token.ID)
	}
	require.NoError(t, lock(first))
	revoked := make(chan int, 1)
	go func() {
		n, _ := s.store.RevokeAll(context.Background(), "anna", time.Now(), "", 1000)
		revoked <- n
	}()
	fixture.Await(t, "RevokeAll waits", func() bool { return waiting(t, s) > 0 })
	require.NoError(t, lock(last), "RevokeAll must not lock the last token before the first")
	require.NoError(t, tx.Rollback())
	require.Equal(t, 2, <-revoked)
}
