package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// largeRows returns the number of rows of TestLargeTable.
func largeRows(t *testing.T) int {
	if text := os.Getenv("TOKENAUTH_ROWS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		return n
	}
	return shortOrLong(20_000, 10_000_000)
}

// scansOnSQLite returns the lines of a plan that scan a table, or that sort an unlimited number of
// rows. It omits a scan of an index in the order of a list, because this scan ends at the limit. It
// also omits a sort after the search of an index that List chooses for its other conditions.
func scansOnSQLite(table string, plan []string) (scans []string) {
	text := strings.Join(plan, "\n")
	few := slices.ContainsFunc([]string{"(user_id=? AND slot>? AND slot<?)", "(user_id=? AND live_name>?)", "_1 (id=?)", ".expires (expires_at>? AND expires_at<?)"}, func(index string) bool {
		return strings.Contains(text, index)
	})
	for _, line := range plan {
		ordered := strings.HasSuffix(line, ".created") || strings.HasSuffix(line, ".live")
		scan := strings.Contains(line, "SCAN "+table) && !ordered
		if scan || strings.Contains(line, "SCAN other") || strings.Contains(line, "TEMP B-TREE") && !few {
			scans = append(scans, line)
		}
	}
	return scans
}

func explainOnSQLite(ctx context.Context, db tokenauth.DB, query string, args []any) ([]string, error) {
	return lines(ctx, db, "EXPLAIN QUERY PLAN "+query, args...)
}

// The duration of a call must depend neither on the size of the table nor on the number of tokens
// of the user. Otherwise a service becomes slow over the years, or because of a single user.
func TestLargeTable(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fills large tables")
	}
	for _, c := range []struct {
		setup   string
		explain func(context.Context, tokenauth.DB, string, []any) ([]string, error)
		scans   func(table string, plan []string) []string
		index   string // see requireIndexes
	}{
		{"SQLite, mattn", explainOnSQLite, scansOnSQLite, indexOnSQLite},
		{"PostgreSQL, pgx", explain, scansOnPostgres, indexOnPostgres},
	} {
		t.Run(c.setup, func(t *testing.T) { // one after the other, to limit the use of memory and disk
			s, opts, rows := setupNamed(t, c.setup), newTable(), largeRows(t)
			db := s.open(t)[0]
			store := newStore(t, db, s.dialect, opts)
			begin := time.Now()
			populate(t, db, s.dialect, opts.Table, rows)
			t.Logf("%d rows in %.0f s", rows, time.Since(begin).Seconds())
			age(t, db, s.dialect, opts.Table)
			crowd := rows / 50
			for _, statement := range []string{ // the user "crowd" gets many revoked and many live tokens
				"UPDATE %s SET user_id = 'crowd' WHERE id >= 'T%025d' AND id < 'T%025d'",
				"UPDATE %s SET revoked_at = created_at, live_name = NULL WHERE id >= 'T%025d' AND id < 'T%025d' AND name LIKE '%%5'",
			} {
				_, err := db.Exec(fmt.Sprintf(statement, opts.Table, rows/2, rows/2+crowd))
				require.NoError(t, err)
			}
			_, err := db.Exec("ANALYZE " + opts.Table)
			require.NoError(t, err)

			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			e := &explainer{DB: conn, t: t, explain: c.explain}
			explained := store.With(connExplainer{e})
			for _, call := range append(calls(false), crowdCalls()...) {
				e.plans = nil
				begin := time.Now()
				require.NoError(t, call.do(t.Context(), explained), call.name)
				require.Less(t, time.Since(begin), callLimit, call.name)
				t.Logf("%-32s %8.2f ms with EXPLAIN", call.name, time.Since(begin).Seconds()*1000)
				plan := strings.Join(e.plans, "\n")
				require.Empty(t, c.scans(opts.Table, e.plans), "%s:\n%s", call.name, plan)
				call.requireIndexes(t, c.index, plan)
				if long() {
					t.Logf("the plan of %s:\n%s", call.name, plan)
				}
			}
			require.NoError(t, explained.Close())
			require.NoError(t, conn.Close())
			requireCrowdIsFast(t, store, crowd)
		})
	}
}

// crowdCalls returns calls of List for the user "crowd", who has many tokens.
func crowdCalls() (all []storeCall) {
	for name, q := range map[string]tokenauth.Query{
		"crowd: List of a page":         {UserID: "crowd", Limit: 50},
		"crowd: List with revoked ones": {UserID: "crowd", Limit: 50, IncludeRevoked: true},
		"crowd: List by name":           {UserID: "crowd", Name: "none"},
		"crowd: List of a creator":      {UserID: "crowd", CreatedBy: "token:9", Limit: 50},
		"crowd: List that expires soon": {UserID: "crowd", ExpiresBefore: time.Now(), Limit: 50},
		"crowd: List of slots":          {UserID: "crowd", MinSlot: 1, MaxSlot: 256},
	} {
		ignored := "" // name of the index in the order of all users' tokens, for conditions that few tokens meet
		if q.CreatedBy != "" || !q.ExpiresBefore.IsZero() {
			ignored = "created"
		}
		all = append(all, storeCall{name: name, ignores: ignored, do: func(ctx context.Context, s tokenauth.Store) error {
			_, err := s.List(ctx, q)
			return err
		}})
	}
	return all
}

// callLimit is the longest duration of a call. It is longer in a short run, because other tests
// then use the same machine.
var callLimit = shortOrLong(10*time.Second, time.Second)

// requireCrowdIsFast requires that a Manager issues, revokes and prunes tokens of the user "crowd",
// and that no call of RevokeAll takes longer than callLimit.
func requireCrowdIsFast(t *testing.T, store tokenauth.Store, crowd int) {
	slow := &slowestStore{Store: store}
	m := must.Get(tokenauth.New(slow, "acme", nil))
	begin := time.Now()
	_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "crowd", Name: "new"})
	require.NoError(t, err)
	t.Logf("Issue %.2f ms", time.Since(begin).Seconds()*1000)
	begin = time.Now()
	n, err := m.RevokeAll(t.Context(), "crowd")
	require.NoError(t, err)
	require.Greater(t, n, crowd/2)
	left, err := m.List(t.Context(), tokenauth.Query{UserID: "crowd", Limit: 1})
	require.NoError(t, err)
	require.Empty(t, left)
	t.Logf("RevokeAll of %d tokens %.1f s, the slowest batch %.3f s", n, time.Since(begin).Seconds(), slow.slowest.Seconds())
	require.Less(t, slow.slowest, callLimit)
	begin = time.Now()
	n, err = m.Prune(t.Context(), time.Now())
	require.NoError(t, err)
	require.Greater(t, n, crowd)
	t.Logf("Prune of %d tokens %.1f s", n, time.Since(begin).Seconds())
}

// A slowestStore records the duration of the slowest call of RevokeAll.
type slowestStore struct {
	tokenauth.Store
	slowest time.Duration
}

func (s *slowestStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	begin := time.Now()
	n, err := s.Store.RevokeAll(ctx, userID, at, by, limit)
	s.slowest = max(s.slowest, time.Since(begin))
	return n, err
}
