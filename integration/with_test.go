package integration

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A withUser uses the stores and the Managers that With and WithStore return.
type withUser struct {
	*testing.T
	db      *sql.DB
	store   *tokenauth.SQLStore
	manager *tokenauth.Manager
	key     string
	dialect tokenauth.Dialect
	uses    int
}

// handles maps each kind of handle that With accepts to a function that uses such handles.
var handles = map[string]func(w *withUser, uses int){
	"db": func(w *withUser, uses int) {
		for range uses {
			w.use(w.db)
		}
	},
	"conn": func(w *withUser, uses int) {
		conn, err := w.db.Conn(w.Context())
		require.NoError(w, err)
		defer func() { require.NoError(w, conn.Close()) }()
		for range uses {
			w.use(conn)
		}
	},
	"transaction": func(w *withUser, uses int) {
		for done := 0; done < uses; done += 50 {
			tx, err := w.db.BeginTx(w.Context(), nil)
			require.NoError(w, err)
			for range min(50, uses-done) {
				w.use(tx)
			}
			end := tx.Commit
			if done%100 == 50 {
				end = tx.Rollback
			}
			require.NoError(w, end())
		}
	},
}

// use calls methods of a store on a handle. Most calls authenticate a request.
func (w *withUser) use(handle tokenauth.DB) {
	ctx, store := w.Context(), w.store.With(handle)
	w.uses++
	if w.uses%10 != 0 {
		_, err := store.Find(ctx, tokenauth.DigestOf(w.key))
		require.NoError(w, err)
		return
	}
	m := w.manager.WithStore(store, nil)
	_, err := m.Authenticate(ctx, w.key)
	require.NoError(w, err)
	if handle == tokenauth.DB(w.db) { // a sql.Conn or a transaction holds the connection that w.store would wait for
		_, err = w.store.Find(ctx, tokenauth.DigestOf(w.key))
		require.NoError(w, err)
	}
	if w.uses%100 == 0 {
		w.change(m, store)
	}
	require.NoError(w, m.Close(ctx))
}

// change makes changes. Some of them return a sentinel error.
func (w *withUser) change(m *tokenauth.Manager, store *tokenauth.SQLStore) {
	ctx := w.Context()
	spec := tokenauth.Spec{UserID: "bob", Name: "laptop"}
	key, token, err := m.Issue(ctx, spec)
	require.NoError(w, err)
	leak.Default.Secret(key.Reveal())
	_, _, err = m.Issue(ctx, spec)
	require.ErrorIs(w, err, tokenauth.ErrNameTaken)
	key, _, err = m.Rotate(ctx, "bob", token.ID, time.Hour)
	require.NoError(w, err)
	leak.Default.Secret(key.Reveal())
	require.NoError(w, store.Touch(ctx, tokenauth.Use{ID: token.ID, At: time.Now()}))
	require.Len(w, must.Get(store.List(ctx, tokenauth.Query{UserID: "bob"})), 1)
	require.Equal(w, 1, must.Get(m.RevokeAll(ctx, "bob")))
	require.Equal(w, 1, must.Get(store.Prune(ctx, time.Now().Add(time.Hour), time.Time{}, 10)))
	_, err = store.Find(ctx, tokenauth.DigestOf(key.Reveal()))
	require.ErrorIs(w, err, tokenauth.ErrNotFound)
}

// held counts the resources that a pool and its server hold.
type held struct {
	statements, sessions int // number on the server, including those of other pools
	pool                 pool
}

// pool holds the numbers of connections of a pool.
type pool struct{ open, inUse int }

// held counts prepared statements and sessions. PostgreSQL counts the statements of one connection,
// which is the only connection of the pool.
func (w *withUser) held() (h held) {
	count := func(query string) (n int) {
		require.NoError(w, w.db.QueryRowContext(w.Context(), query).Scan(&n))
		return n
	}
	switch w.dialect {
	case tokenauth.PostgreSQL:
		h.statements = count("SELECT count(*) FROM pg_prepared_statements")
		h.sessions = count("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
	case tokenauth.MySQL:
		h.statements = count("SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Prepared_stmt_count'")
		h.sessions = count("SELECT count(*) FROM information_schema.processlist WHERE user = 'root'")
	}
	stats := w.db.Stats()
	h.pool = pool{stats.OpenConnections, stats.InUse}
	return h
}

// heap returns the size of the heap in bytes after garbage collections.
func heap() int {
	runtime.GC()
	runtime.GC() // a sync.Pool drops its items only at the second garbage collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A service may call With for each request and for each transaction. If a call left a prepared
// statement, a connection or a goroutine behind, the database server would refuse connections after
// some hours. This test must not run in parallel with other tests, because it counts all statements
// and goroutines.
func TestWithLeaksNothing(t *testing.T) {
	for _, name := range []string{
		"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL, lib-pq", "MariaDB", "MariaDB, interpolateParams",
	} {
		for kind, run := range handles {
			t.Run(name+"/"+kind, func(t *testing.T) {
				s := setupNamed(t, name)
				s.dsn(t) // starts the server
				leak.NothingLeft(t)
				w := newWithUser(t, s)
				run(w, 200) // pgx prepares its statements
				w.held()
				before, bytes, stock := w.held(), heap(), leak.TakeStock()
				uses := shortOrLong(500, 20_000)
				run(w, uses)
				require.Empty(t, stock.Left())
				after, grown := w.held(), heap()-bytes
				require.LessOrEqual(t, after.statements, before.statements, "number of prepared statements on the server")
				require.LessOrEqual(t, after.sessions, before.sessions, "number of sessions on the server")
				require.Equal(t, pool{open: 1}, after.pool)
				require.Less(t, grown, 1<<20+50*uses, "growth of the heap in bytes")
				t.Logf("%d uses: %+v, heap %+d bytes", uses, before, grown)
			})
		}
	}
}

func newWithUser(t *testing.T, s setup) *withUser {
	t.Helper()
	db := s.open(t)[0]
	db.SetMaxOpenConns(1)
	store := newStore(t, db, s.dialect, nil)
	m := must.Get(tokenauth.New(store, "acme", nil))
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	key, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "laptop"})
	require.NoError(t, err)
	return &withUser{T: t, db: db, store: store, manager: m, key: revealed(key), dialect: s.dialect}
}

// PostgreSQL and pgx keep the text of each prepared statement per connection. Prune deletes a
// different number of idle tokens each time. If each number had its own statement, the server would
// use much memory.
func TestPruneOfIdleTokensHasFewTexts(t *testing.T) {
	t.Parallel()
	s := setupNamed(t, "PostgreSQL, pgx")
	db := s.open(t)[0]
	db.SetMaxOpenConns(1)
	store := newStore(t, db, s.dialect, nil)
	for n := 17; n <= 32; n++ {
		var records []tokenauth.Record
		for i := range n {
			records = append(records, newRecord("anna", fmt.Sprint(i)))
		}
		require.NoError(t, store.Create(t.Context(), records...))
		deleted, err := store.Prune(t.Context(), time.UnixMicro(1), time.Now(), 1000)
		require.NoError(t, err)
		require.Equal(t, n, deleted)
	}
	texts := 0
	require.NoError(t, db.QueryRow("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'DELETE%IN (%last_used_at%'").Scan(&texts))
	require.Equal(t, 1, texts)
}
