package tokenauth_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// TestConformance tests the contract of Store on every store. This file tests the behavior that
// only SQLStore has, and uses SQLite.

// NewSQLStore must return an error for an invalid option, so that the mistake shows when the
// service starts. No statement may contain a malformed table name.
func TestNewSQLStoreRefuses(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	for name, opts := range map[string]*tokenauth.SQLOptions{
		"negative timeout": {Timeout: -1},
		"too long a wait":  {Timeout: math.MaxInt64}, // PostgreSQL refuses such a lock_timeout, and a multiple overflows
		"digit first":      {Table: "1tokens"},
		"space":            {Table: "my tokens"},
		"statement":        {Table: "t; DROP TABLE users; --"},
		"quote":            {Table: `"tokens"`},
		"schema":           {Table: "auth.tokens"}, // a schema is allowed on servers
		"letter of Latin1": {Table: "schlüssel"},
		"placeholder":      {Table: "{columns}"},
		"too long":         {Table: strings.Repeat("t", 41)},
	} {
		_, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, opts)
		require.Error(t, err, name)
	}
	for _, dialect := range []tokenauth.Dialect{"", "SQLite", "oracle"} {
		_, err := tokenauth.NewSQLStore(db, dialect, nil)
		require.Error(t, err, "dialect %q", dialect)
	}

	for _, table := range []string{".tokens", "auth.", "a.b.c", "auth.1tokens", strings.Repeat("s", 41) + ".tokens", `auth"."tokens`} {
		_, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: table})
		require.Error(t, err, table)
	}
	for _, dialect := range []tokenauth.Dialect{tokenauth.PostgreSQL, tokenauth.MySQL} {
		_, err := tokenauth.NewSQLStore(db, dialect, &tokenauth.SQLOptions{Table: "auth.tokens"})
		require.NoError(t, err)
	}

	for _, table := range []string{"", "t", "_", "Tokens_2", strings.Repeat("t", 40)} {
		sqlite.NewStore(t, db, &tokenauth.SQLOptions{Table: table, Timeout: time.Minute})
	}
}

// Every statement must use the table that SQLOptions.Table names. The database has no other table,
// so a statement that uses another name fails.
func TestEveryStatementUsesNamedTable(t *testing.T) {
	t.Parallel()
	store := sqlite.NewPooledStore(t, "Acme_api_tokens2")
	require.NoError(t, store.CheckSchema(ctx))
	for _, call := range fixture.Calls(fixture.NewRecord("laptop")) {
		if err := call.Do(ctx, store); err != nil {
			require.NotEqual(t, 503, tokenauth.StatusCode(err), "%s: %v", call.Name, err)
		}
	}
}

// All instances of a service may start at the same time, and each instance calls CreateSchema. All
// these calls must succeed.
//
// Case S24.
func TestCreateSchemaIsRepeatable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	const instances = 8
	created := fixture.Together(instances, func(int) bool {
		store, err := tokenauth.NewSQLStore(sqlite.Open(t, path), tokenauth.SQLite, sqlite.Patient())
		return err == nil && store.CreateSchema(ctx) == nil && store.CreateSchema(ctx) == nil && store.CheckSchema(ctx) == nil
	})
	require.Equal(t, instances, created)
}

// Create must accept 500 records in one call, because an import of many tokens uses large batches.
func TestCreateAccepts500Records(t *testing.T) {
	t.Parallel()
	store := sqlite.NewStore(t, sqlite.New(t), nil)
	records := make([]tokenauth.Record, 500)
	for i := range records {
		records[i] = fixture.NewRecord(fmt.Sprint("token ", i))
	}
	require.NoError(t, store.Create(ctx, records...))
	require.NoError(t, store.Create(ctx, records[:100]...), "Create must succeed for records that are already stored")

	rest := []tokenauth.Record{fixture.NewRecord("one more"), fixture.NewRecord("and one")}
	rest[1].Token.Name = "token 499"
	require.ErrorIs(t, store.Create(ctx, append(records[:100:100], rest...)...), tokenauth.ErrNameTaken)
	got, err := store.List(ctx, tokenauth.Query{UserID: "u"})
	require.NoError(t, err)
	require.Len(t, got, 500)
}

// A countingHandle counts the calls of PrepareContext.
type countingHandle struct {
	*sql.DB
	prepared atomic.Int32
}

func (h *countingHandle) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	h.prepared.Add(1)
	return h.DB.PrepareContext(ctx, query)
}

// Find must prepare its statement only once. If preparing fails, for example before the first
// migration, a later Find must prepare the statement again.
func TestFindIsPreparedOnce(t *testing.T) {
	t.Parallel()
	h := &countingHandle{DB: sqlite.New(t)}
	store, err := tokenauth.NewSQLStore(h, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	r := fixture.NewRecord("laptop")
	for range 3 {
		_, err = store.Find(ctx, r.Digest)
		fixture.RequireStoreFailure(t, err)
	}
	require.NoError(t, store.CreateSchema(ctx))
	require.NoError(t, store.Create(ctx, r))

	found := func() {
		t.Helper()
		for range 5 {
			got, err := store.Find(ctx, r.Digest)
			require.NoError(t, err)
			require.Equal(t, r, *got)
		}
	}
	h.prepared.Store(0)
	found()
	require.EqualValues(t, 1, h.prepared.Load())
	_, err = h.Exec("ALTER TABLE tokenauth_tokens ADD COLUMN note TEXT") // after a schema change, SQLite recompiles prepared statements
	require.NoError(t, err)
	found()
	require.NoError(t, store.Close())
	require.NoError(t, store.Close(), "a second Close must succeed")
	found()
	require.EqualValues(t, 2, h.prepared.Load())

	require.Equal(t, 16, fixture.Together(16, func(int) bool {
		_, err := store.With(h).Find(ctx, r.Digest)
		return err == nil
	}))
	require.EqualValues(t, 2, h.prepared.Load(), "a store returned by With must not prepare statements, because nothing would close them")
	require.NoError(t, store.Close())
	require.Equal(t, 16, fixture.Together(16, func(int) bool {
		_, err := store.Find(ctx, r.Digest)
		return err == nil
	}), "concurrent calls of Find after Close must succeed")
}

// An explainingHandle records SQLite's query plan of each statement.
type explainingHandle struct {
	tokenauth.DB
	fixture.Transaction
	t     *testing.T
	plans []string
}

func (h *explainingHandle) explain(query string, args []any) {
	rows, err := h.DB.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	require.NoError(h.t, err)
	defer func() { require.NoError(h.t, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(h.t, rows.Scan(&id, &parent, &unused, &detail))
		h.plans = append(h.plans, detail)
	}
	require.NoError(h.t, rows.Err())
}

func (h *explainingHandle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	h.explain(query, args)
	return h.DB.ExecContext(ctx, query, args...)
}

func (h *explainingHandle) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	h.explain(query, args)
	return h.DB.QueryContext(ctx, query, args...)
}

// No statement may scan the token table. A scan is fast in a table with ten tokens, but too slow in
// a table with a million.
func TestNoStatementScansTheTable(t *testing.T) {
	t.Parallel()
	h := &explainingHandle{DB: sqlite.New(t), t: t}
	store := sqlite.NewStore(t, h.DB.(*sql.DB), nil).With(h)
	r := fixture.NewRecord("laptop")
	for _, call := range fixture.Calls(r) {
		h.plans = nil
		_ = call.Do(ctx, store)
		require.NotEmpty(t, h.plans, call.Name)
		plan := strings.Join(h.plans, "\n")
		require.NotContains(t, plan, "SCAN "+"tokenauth_tokens", call.Name)
		require.NotContains(t, plan, "SCAN other", call.Name)
		require.NotContains(t, plan, "TEMP B-TREE", call.Name)
	}
	h.plans = nil
	_, _ = store.Find(ctx, r.Digest)
	plan := strings.Join(h.plans, "\n")
	require.Contains(t, plan, "(digest=?)")
	require.Contains(t, plan, "(retired_digest=?)")
	require.Equal(t, 2, strings.Count(plan, "SEARCH "))
	require.NotContains(t, plan, "SCAN")
}

// Many people can read logs. Therefore the text of a store error must not contain digests, user
// IDs, names, scopes or hints.
func TestSQLErrorsContainNoValues(t *testing.T) {
	t.Parallel()
	r := fixture.NewRecord("laptop")
	r.Token.UserID, r.Token.Name, r.Token.Scopes, r.Token.Hint = "anna@example.org", "Annas laptop", []string{"patients:read"}, "hInT"
	r.Token.Resources, r.Token.CreatedBy = []string{"patients-of-anna"}, "anna"
	secrets := []string{"anna", "Annas", "patients", "hInT", "poison", "secret", "new1"}
	for _, d := range []tokenauth.Digest{r.Digest, tokenauth.DigestOf("poison")} {
		secrets = append(secrets, hex.EncodeToString(d[:]), strings.ToUpper(hex.EncodeToString(d[:])),
			base64.StdEncoding.EncodeToString(d[:]), string(d[:]), strings.Trim(fmt.Sprint([32]byte(d)), "[]"))
	}
	for name, spoiling := range map[string]string{
		"no table": "DROP TABLE tokenauth_tokens",
		"triggers of the service's own": `CREATE TRIGGER i BEFORE INSERT ON tokenauth_tokens BEGIN SELECT RAISE(ABORT, 'no'); END;
			CREATE TRIGGER u BEFORE UPDATE ON tokenauth_tokens BEGIN SELECT RAISE(ABORT, 'no'); END;`,
		"closed": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite.New(t)
			store := sqlite.NewStore(t, db, nil)
			require.NoError(t, store.Create(ctx, r))
			_, err := db.Exec(spoiling)
			require.NoError(t, err)
			if name == "closed" {
				require.NoError(t, db.Close())
			}
			failed := 0
			for _, call := range fixture.Calls(r) {
				if err := call.Do(ctx, store); err != nil {
					failed++
					require.False(t, shows(fixture.Noted(err).Error(), secrets), "%s: %v", call.Name, err)
				}
			}
			require.Greater(t, failed, 3)
		})
	}
}

// A deadlockConn fails with the error of a deadlock when the context ends.
type deadlockConn struct{ tokenauth.SQLConn }

func (deadlockConn) Exec(ctx context.Context, _ string, _ ...any) (int64, error) {
	<-ctx.Done()
	return 0, errors.New("Error 1213 (40001): Deadlock found when trying to get lock")
}

func (deadlockConn) InTransaction() bool { return false }

// If the database rolled the statement back, the change was not made, even if the timeout has
// passed meanwhile. Otherwise a service looks for a change that it only needs to repeat.
func TestRolledBackChangeIsNotUnknown(t *testing.T) {
	t.Parallel()
	store, err := tokenauth.NewSQLStoreOn(deadlockConn{}, tokenauth.MySQL, &tokenauth.SQLOptions{Timeout: time.Millisecond})
	require.NoError(t, err)
	err = store.Touch(t.Context(), tokenauth.Use{ID: "id", At: time.Now()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "Error 1213")
	require.NotContains(t, err.Error(), "unknown")
}

// A gapDB measures the time between two changes.
type gapDB struct {
	*sql.DB
	ended time.Time // end of the latest change
	gaps  time.Duration
}

func (db *gapDB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if !db.ended.IsZero() {
		db.gaps += time.Since(db.ended)
	}
	defer func() { db.ended = time.Now() }()
	return db.DB.ExecContext(ctx, query, args...)
}

// RevokeAll and Prune of many tokens must let other writers take the lock of the file between two
// batches. SQLite does not queue writers, so without a pause many other changes would reach their
// timeout.
func TestBatchesLetOtherWritersIn(t *testing.T) {
	t.Parallel()
	db := &gapDB{DB: sqlite.New(t)}
	store := sqlite.NewStore(t, db.DB, &tokenauth.SQLOptions{Timeout: time.Minute}).With(db)
	var records []tokenauth.Record
	for i := range 5000 {
		records = append(records, fixture.NewRecord(fmt.Sprint(i)))
	}
	require.NoError(t, store.Create(t.Context(), records...))
	db.ended, db.gaps = time.Time{}, 0
	n, err := fixture.NewManager(store, nil).RevokeAll(t.Context(), records[0].Token.UserID)
	require.NoError(t, err)
	require.Equal(t, 5000, n)
	require.Greater(t, db.gaps, time.Millisecond) // five pauses, each a random part of 10 ms

	db.ended, db.gaps = time.Time{}, 0
	n, err = store.Prune(t.Context(), time.Now().Add(time.Hour), time.Time{}, 10_000)
	require.NoError(t, err)
	require.Equal(t, 5000, n)
	require.Greater(t, db.gaps, 3*time.Millisecond)
}
