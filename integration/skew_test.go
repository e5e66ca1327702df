package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// PostgreSQL chooses an index by its estimate of the tokens per user. For a user with far more
// tokens than other users, the statement in the docs must make PostgreSQL choose the unique key of
// names.
func TestStatisticsMakeRenamesOfManyTokensFast(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fills a large table")
	}
	s := setupNamed(t, "PostgreSQL, pgx")
	db := s.open(t)[0]
	db.SetMaxOpenConns(1) // all statements use the plans that this connection has cached
	opts := newTable()
	store := newStore(t, db, s.dialect, opts)
	exec := func(statement string) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec(fmt.Sprintf(`INSERT INTO %s (id, user_id, name, live_name, scopes, hint, generation, origin, digest, created_at, revoked_at)
		SELECT 'i' || n, CASE WHEN n > 10000 THEN 'u' || n ELSE 'bot' END, 'n' || n, CASE WHEN n > 10000 THEN 'n' || n END, '', '', 1, '',
			sha256(CAST(CAST(n AS text) AS bytea)), n, CASE WHEN n > 10000 THEN NULL ELSE n END
		FROM generate_series(1, %d) n`, opts.Table, shortOrLong(50_000, 410_000)))
	exec("ANALYZE " + opts.Table)
	r := newRecord("bot", "live")
	require.NoError(t, store.Create(t.Context(), r))
	rename := func() time.Duration {
		var took []time.Duration
		for i := range 25 { // PostgreSQL caches a generic plan only after the first executions
			name, began := fmt.Sprint("name ", i), time.Now()
			require.NoError(t, store.Update(t.Context(), "bot", r.Token.ID, tokenauth.Patch{Name: &name}, r.Token.CreatedAt))
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	before := rename()
	fixture.ExecAll(t, db, strings.ReplaceAll(pageSQL(t, "databases/postgresql", "ALTER TABLE"), "tokenauth_tokens", opts.Table))
	after := rename()
	t.Logf("the median of renames took %v before the statement, and %v after it", before, after)
	plan, err := explainGeneric(t.Context(), db, fmt.Sprintf("SELECT id FROM %s WHERE user_id = $1 AND live_name = $2", opts.Table), []any{"bot", "x"})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(plan), "_live_name_key")
}

// If most tokens belong to one user, or most tokens are revoked, a database may expect that a scan
// of the table soon finds a row. It must not scan the table, because the rows may be at its end.
func TestUserWithMostTokensCausesNoScan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, setup string
		explain     func(context.Context, tokenauth.DB, string, []any) ([]string, error)
		scans       func(table string, plan []string) []string
		index       string // see requireIndexes
	}{
		{"SQLite", "SQLite, mattn", explainOnSQLite, scansOnSQLite, indexOnSQLite},
		{"PostgreSQL", "PostgreSQL, pgx", explain, scansOnPostgres, indexOnPostgres},
		{"PostgreSQL, generic plans", "PostgreSQL, pgx", explainGeneric, scansOnPostgres, indexOnPostgres},
		{"MariaDB", "MariaDB", explain, scansOnMariaDB, indexOnMariaDB},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, opts := setupNamed(t, c.setup), newTable()
			db := s.open(t)[0]
			store := newStore(t, db, s.dialect, opts)
			populate(t, db, s.dialect, opts.Table, 20_000)
			for _, change := range []string{
				"user_id = 'crowd' WHERE id >= 'T%025d'",
				"revoked_at = 1, live_name = NULL WHERE id >= 'T%025d' AND name NOT LIKE '%%55'",
			} {
				_, err := db.Exec("UPDATE " + opts.Table + " SET " + fmt.Sprintf(change, 5000))
				require.NoError(t, err)
			}
			age(t, db, s.dialect, opts.Table) // also updates the statistics
			conn := must.Get(db.Conn(t.Context()))
			e := &explainer{DB: conn, t: t, explain: c.explain}
			explained := store.With(connExplainer{e})
			revokeAll := storeCall{name: "RevokeAll", do: func(ctx context.Context, s tokenauth.Store) error {
				_, err := s.RevokeAll(ctx, "crowd", time.Now(), "", 100)
				return err
			}}
			again := storeCall{name: "Revoke again", do: func(ctx context.Context, s tokenauth.Store) error {
				return s.Revoke(ctx, "crowd", fmt.Sprintf("T%025d", 19_999), time.Now(), "")
			}}
			prune := storeCall{name: "Prune", do: func(ctx context.Context, s tokenauth.Store) error {
				_, err := s.Prune(ctx, time.Now(), time.UnixMicro(1), 10)
				return err
			}}
			for _, call := range append(crowdCalls(), revokeAll, revokeAll, revokeAll, again, prune) {
				e.plans = nil
				require.NoError(t, call.do(t.Context(), explained), call.name)
				require.Empty(t, c.scans(opts.Table, e.plans), "%s:\n%s", call.name, strings.Join(e.plans, "\n"))
				call.requireIndexes(t, c.index, strings.Join(e.plans, "\n"))
			}
			require.NoError(t, explained.Close())
			require.NoError(t, conn.Close())
		})
	}
}

// The statistics of SQLite may say that a user has one token, although one user has many. To find
// the tokens with a few slots or IDs, SQLite must still not read all tokens of this user.
func TestStatisticsOfSQLiteDoNotMislead(t *testing.T) {
	t.Parallel()
	s := setupNamed(t, "SQLite, mattn")
	db := s.open(t)[0]
	opts := newTable()
	store := newStore(t, db, s.dialect, opts)
	_, err := db.Exec(fmt.Sprintf(`WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
		INSERT INTO %s (id, user_id, name, live_name, scopes, hint, generation, origin, digest, created_at)
		SELECT 'i' || n, iif(n %% 20 = 0, 'bot', 'u' || n), 'n' || n, 'n' || n, '', '', 1, '', randomblob(32), n FROM numbers`, opts.Table))
	require.NoError(t, err)
	_, err = db.Exec("ANALYZE")
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	e := &explainer{DB: conn, t: t, explain: explainOnSQLite}
	explained := store.With(connExplainer{e})
	for _, q := range []tokenauth.Query{
		{UserID: "bot", MinSlot: 1, MaxSlot: 100},
		{UserID: "bot", IDs: []string{"i20", "i21", "i40"}},
		{UserID: "bot", IDs: []string{"i20", "i21", "i40"}, Limit: 1, IncludeRevoked: true},
		{UserID: "bot", Name: "n20"},
	} {
		e.plans = nil
		records, err := explained.List(t.Context(), q)
		require.NoError(t, err)
		require.NotContains(t, strings.Join(e.plans, "\n"), "(user_id=?)", "%+v", q)
		for _, r := range records {
			require.Equal(t, "bot", r.Token.UserID)
		}
		if q.IDs != nil && q.Limit == 0 {
			require.Len(t, records, 2)
		}
	}
	require.NoError(t, explained.Close())
	require.NoError(t, conn.Close())
}
