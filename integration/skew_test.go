package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// PostgreSQL chooses an index by its estimate of the tokens per user. The statement in the docs must
// make it choose the unique key of names for a user with far more tokens than the others.
func TestUserWithManyTokens(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fills a large table")
	}
	s := setupNamed(t, "PostgreSQL, pgx")
	db := s.open(t)[0]
	db.SetMaxOpenConns(1) // all statements have cached plans
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
		for i := range 25 { // the first have plans of their own
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
