package integration

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// An explainer reads the plan of each statement from the database before it runs the statement.
type explainer struct {
	tokenauth.DB // a single connection
	t            *testing.T
	explain      func(ctx context.Context, db tokenauth.DB, query string, args []any) ([]string, error)
	plans        []string
}

func (e *explainer) note(ctx context.Context, query string, args []any) {
	plan, err := e.explain(ctx, e.DB, query, args)
	require.NoError(e.t, err, query)
	require.NotEmpty(e.t, plan, query)
	e.plans = append(e.plans, plan...)
}

func (e *explainer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	e.note(ctx, query, args)
	return e.DB.ExecContext(ctx, query, args...)
}

func (e *explainer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	e.note(ctx, query, args)
	return e.DB.QueryContext(ctx, query, args...)
}

// A connExplainer has the BeginTx method of *sql.Conn, so that the store does not treat it as a
// transaction.
type connExplainer struct{ *explainer }

func (e connExplainer) BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error) {
	panic("not called")
}

// A txExplainer is an explainer that the store treats as a transaction.
type txExplainer struct {
	*explainer
	fixture.Transaction
}

// lines returns each row of a query as one text.
func lines(ctx context.Context, db tokenauth.DB, query string, args ...any) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		var fields []string
		for _, v := range values {
			fields = append(fields, v.String)
		}
		all = append(all, strings.Join(fields, " | "))
	}
	return all, rows.Err()
}

func explain(ctx context.Context, db tokenauth.DB, query string, args []any) ([]string, error) {
	return lines(ctx, db, "EXPLAIN "+query, args...)
}

// explainGeneric returns the generic plan of a statement. PostgreSQL may choose this plan after a
// few executions of a prepared statement.
func explainGeneric(ctx context.Context, db tokenauth.DB, query string, args []any) ([]string, error) {
	var values []string
	for _, arg := range args {
		switch v := arg.(type) {
		case nil:
			values = append(values, "NULL")
		case []byte:
			values = append(values, `'\x`+hex.EncodeToString(v)+"'")
		default:
			values = append(values, "'"+fmt.Sprint(v)+"'")
		}
	}
	for _, statement := range []string{"SET plan_cache_mode = force_generic_plan", "PREPARE generic AS " + query} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	plan, err := lines(ctx, db, "EXPLAIN EXECUTE generic ("+strings.Join(values, ", ")+")")
	if err == nil {
		_, err = db.ExecContext(ctx, "DEALLOCATE generic")
	}
	return plan, err
}

// scansOnPostgres returns the lines of a plan that scan a table.
func scansOnPostgres(table string, plan []string) []string {
	return slices.DeleteFunc(slices.Clone(plan), func(line string) bool {
		return !strings.Contains(line, "Seq Scan on "+table)
	})
}

// scansOnMariaDB returns the lines of a plan that scan a table or an index, or that merge the
// results of two indexes. It omits a scan of the index in the order of the list, because this scan
// ends at the limit.
func scansOnMariaDB(table string, plan []string) []string {
	return slices.DeleteFunc(slices.Clone(plan), func(line string) bool {
		const selectType, name, how, key, rows = 1, 2, 3, 5, 8
		f := strings.Split(line, " | ")
		limited := f[how] == "index" && f[key] == "created" && len(f[rows]) < 3
		return f[selectType] == "INSERT" || !slices.Contains([]string{table, "t", "other"}, f[name]) ||
			!slices.Contains([]string{"ALL", "index", "index_merge"}, f[how]) || limited
	})
}

// scansOnTiDB returns the lines of a plan that scan a table or an index, or that merge the results
// of two indexes. It omits a scan of the index in the order of the list, because this scan ends at
// the limit.
func scansOnTiDB(_ string, plan []string) []string {
	return slices.DeleteFunc(slices.Clone(plan), func(line string) bool {
		const operator, rows, object = 0, 1, 3
		f := strings.Split(line, " | ")
		limited := strings.HasSuffix(f[object], "index:created(created_at, id)") && len(f[rows]) < len("100.00")
		return !strings.Contains(f[operator], "FullScan") && !strings.Contains(f[operator], "IndexMerge") || limited
	})
}

// createSequence creates the table of numbers that populate reads. MariaDB has such a table for
// each length.
func createSequence(t *testing.T, db *sql.DB, length int) {
	t.Helper()
	values := make([]string, length)
	for i := range values {
		values[i] = fmt.Sprintf("(%d)", i)
	}
	fixture.ExecAll(t, db, fmt.Sprintf("CREATE TABLE IF NOT EXISTS seq_0_to_%d (seq INTEGER NOT NULL PRIMARY KEY);"+
		"INSERT IGNORE INTO seq_0_to_%[1]d VALUES %[2]s", length-1, strings.Join(values, ", ")))
}

// Each statement must use an index. A table scan is fast with ten tokens, but too slow for a
// service with a million tokens.
func TestNoStatementScansTheTable(t *testing.T) {
	t.Parallel()
	postgresProbes := []string{"_digest_key on", "Index Cond: (digest = ", "_retired_digest_key on", "Index Cond: (retired_digest = "}
	// MariaDB reads unique keys while it plans the statement. Here it finds no retired digest.
	mariaDBProbes := []string{" | const | digest | digest | ", "Impossible WHERE noticed after reading const tables"}
	tiDBProbes := []string{"Point_Get", ", index:digest(digest) | ", ", index:retired_digest(retired_digest) | "}
	sqliteProbes := []string{"(digest=?)", "(retired_digest=?)"}
	for _, c := range []struct {
		name, setup string
		explain     func(context.Context, tokenauth.DB, string, []any) ([]string, error)
		scans       func(table string, plan []string) []string
		index       string   // see requireIndexes
		probes      []string // texts that the plan of Find must contain
	}{
		{"SQLite without statistics", "SQLite, modernc", explainOnSQLite, scansOnSQLite, indexOnSQLite, sqliteProbes},
		{"PostgreSQL", "PostgreSQL, pgx", explain, scansOnPostgres, indexOnPostgres, postgresProbes},
		{"PostgreSQL, generic plans", "PostgreSQL, pgx", explainGeneric, scansOnPostgres, indexOnPostgres, postgresProbes},
		{"MariaDB", "MariaDB", explain, scansOnMariaDB, indexOnMariaDB, mariaDBProbes},
		{"MariaDB, interpolateParams", "MariaDB, interpolateParams", explain, scansOnMariaDB, indexOnMariaDB, mariaDBProbes},
		{"TiDB", "TiDB", explain, scansOnTiDB, indexOnTiDB, tiDBProbes},
		{"TiDB, interpolateParams", "TiDB, interpolateParams", explain, scansOnTiDB, indexOnTiDB, tiDBProbes},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, c.setup)
			opts := newTable()
			db := s.open(t)[0]
			plain := newStore(t, db, s.dialect, opts)
			if strings.HasPrefix(c.name, "TiDB") {
				createSequence(t, db, 20_000)
			}
			populate(t, db, s.dialect, opts.Table, 20_000)
			age(t, db, s.dialect, opts.Table)
			if s.dialect == tokenauth.SQLite { // most services never run ANALYZE
				fixture.ExecAll(t, db, "DELETE FROM sqlite_stat1")
			}

			for _, transaction := range []bool{false, true} {
				conn, err := db.Conn(t.Context())
				require.NoError(t, err)
				if s.dialect == tokenauth.SQLite {
					_, err := conn.ExecContext(t.Context(), "ANALYZE sqlite_schema") // reads the statistics again
					require.NoError(t, err)
				}
				e := &explainer{DB: conn, t: t, explain: c.explain}
				store := plain.With(connExplainer{e})
				if transaction {
					store = plain.With(txExplainer{explainer: e})
				}
				for _, call := range calls(transaction) {
					e.plans = nil
					require.NoError(t, call.do(t.Context(), store), call.name)
					require.Empty(t, c.scans(opts.Table, e.plans), "%s:\n%s", call.name, strings.Join(e.plans, "\n"))
					plan := strings.Join(e.plans, "\n")
					call.requireIndexes(t, c.index, plan)
					if call.name == "Find" {
						for _, probe := range c.probes {
							require.Contains(t, plan, probe)
						}
						t.Logf("Find:\n%s", plan)
					}
				}
				require.NoError(t, store.Close())
				require.NoError(t, conn.Close())
			}
		})
	}
}

// age makes a few rows of a table expired or revoked.
func age(t *testing.T, db *sql.DB, d tokenauth.Dialect, table string) {
	t.Helper()
	analyze := "ANALYZE "
	if d == tokenauth.MySQL {
		analyze = "ANALYZE TABLE "
	}
	for _, statement := range []string{
		"UPDATE " + table + " SET expires_at = 1 WHERE name LIKE '%555'",
		"UPDATE " + table + " SET revoked_at = 1, live_name = NULL WHERE name LIKE '%666'",
		analyze + table,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

type storeCall struct {
	name          string
	do            func(context.Context, tokenauth.Store) error
	uses, ignores string // names of indexes that the plan must or must not use
}

// These are formats of the text that a plan contains if it uses an index.
const (
	indexOnSQLite   = ".%s ("
	indexOnPostgres = `.%s" on`
	indexOnMariaDB  = " | %s | "
	indexOnTiDB     = "index:%s("
)

// requireIndexes requires that a plan of the call uses the right indexes.
func (c storeCall) requireIndexes(t *testing.T, format, plan string) {
	t.Helper()
	if c.uses != "" {
		require.Contains(t, plan, fmt.Sprintf(format, c.uses), c.name)
	}
	if c.ignores != "" {
		require.NotContains(t, plan, fmt.Sprintf(format, c.ignores), c.name)
	}
}

// calls returns a successful call of each method, for rows that populate has inserted. If again is
// true, the calls concern other rows, because the first calls have already changed the first rows.
func calls(again bool) []storeCall {
	n, now := 7, time.Now()
	if again {
		n = 1007
	}
	user, id := rowOf(n)
	halfway := tokenauth.Cursor{CreatedAt: time.UnixMicro(1772366400000000 + 10_000*1e6), ID: "T"}
	list := func(q tokenauth.Query) func(context.Context, tokenauth.Store) error {
		return func(ctx context.Context, s tokenauth.Store) error { _, err := s.List(ctx, q); return err }
	}
	record := func(name string) tokenauth.Record {
		r := newRecord("of "+name, name+fmt.Sprint(n))
		r.Token.ID, r.Digest, r.Slot = r.Token.Name, tokenauth.DigestOf(r.Token.Name), 1
		return r
	}
	create := func(names ...string) func(context.Context, tokenauth.Store) error {
		var all []tokenauth.Record
		for _, name := range names {
			all = append(all, record(name+fmt.Sprint(n)))
		}
		return func(ctx context.Context, s tokenauth.Store) error { return s.Create(ctx, all...) }
	}
	soon := now.Add(14 * 24 * time.Hour) // a few of the tokens expire before
	ids := []string{id}
	for i := range 200 {
		_, other := rowOf(n + i)
		ids = append(ids, other)
	}
	return append([]storeCall{
		{name: "Find", do: func(ctx context.Context, s tokenauth.Store) error {
			_, err := s.Find(ctx, tokenauth.DigestOf(fmt.Sprint(n)))
			return err
		}},
		{name: "Create", do: create("a")},
		{name: "Create again", do: create("a")},
		{name: "Create of several", do: create("a", "b", "c")},
		{name: "List", do: list(tokenauth.Query{UserID: user})},
		{name: "List of a page of live tokens", do: list(tokenauth.Query{UserID: user, Limit: 10, After: halfway})},
		{name: "List by name", do: list(tokenauth.Query{UserID: user, Name: fmt.Sprint(n)})},
		{name: "List of slots", do: list(tokenauth.Query{UserID: user, MinSlot: 1, MaxSlot: 100})},
		{name: "List of a page", do: list(tokenauth.Query{UserID: user, IncludeRevoked: true, Limit: 10, After: halfway})},
		{name: "List of one", do: list(tokenauth.Query{UserID: user, IDs: []string{id}, IncludeRevoked: true, Limit: 1})},
		{name: "List of all, first page", do: list(tokenauth.Query{AllUsers: true, Limit: 10})},
		{name: "List of all, with the revoked", do: list(tokenauth.Query{AllUsers: true, IncludeRevoked: true, Limit: 10})},
		{name: "List of all, a page", do: list(tokenauth.Query{AllUsers: true, Limit: 10, After: halfway})},
		{name: "List of all of a common creator", do: list(tokenauth.Query{AllUsers: true, CreatedBy: "login", IncludeRevoked: true, Limit: 10})},
		{name: "List of all of a rare creator", uses: "created_by", do: list(tokenauth.Query{AllUsers: true, CreatedBy: "token:9", Limit: 10})},
		{name: "List of a user's tokens of a common creator", ignores: "created_by", do: list(tokenauth.Query{UserID: user, CreatedBy: "login", Limit: 10})},
		{name: "List of a user's tokens of a rare creator", ignores: "created_by", do: list(tokenauth.Query{UserID: user, CreatedBy: "token:9", IncludeRevoked: true})},
		{name: "List of IDs, of a common creator", ignores: "created_by", do: list(tokenauth.Query{AllUsers: true, IDs: ids, CreatedBy: "login"})},
		{name: "List of IDs that expire soon", ignores: "expires", do: list(tokenauth.Query{AllUsers: true, IDs: ids, ExpiresBefore: soon})},
		{name: "List of all that expire soon", uses: "expires", do: list(tokenauth.Query{AllUsers: true, ExpiresBefore: soon, Limit: 10})},
		{name: "List of a user's tokens that expire soon", ignores: "expires", do: list(tokenauth.Query{UserID: user, ExpiresBefore: soon, Limit: 10})},
	}, changes(n, now)...)
}

// rowOf returns the user ID and the token ID of row i of populate.
func rowOf(i int) (user, id string) { return fmt.Sprint(i / 10), fmt.Sprintf("T%025d", i) }

// changes returns calls that change row n of populate, and a few other rows.
func changes(n int, now time.Time) []storeCall {
	user, id := rowOf(n)
	expiredUser, expiredID := rowOf(n - 7 + 18_555)
	name, later := fmt.Sprint("renamed ", n), now.Add(time.Hour)
	rotation := tokenauth.Rotation{Replaces: 1, Digest: tokenauth.DigestOf("new" + id), Hint: "new1", GraceUntil: now}
	var uses []tokenauth.Use
	for i := range 16 {
		_, id := rowOf(n + 100*i)
		uses = append(uses, tokenauth.Use{ID: id, At: now})
	}
	patch := tokenauth.Patch{Name: &name, Scopes: &[]string{"x"}, Resources: &[]string{"p"}, ExpiresAt: &later}
	revoke := func(ctx context.Context, s tokenauth.Store) error { return s.Revoke(ctx, user, id, now, "staff") }
	return []storeCall{
		{name: "Update", do: func(ctx context.Context, s tokenauth.Store) error { return s.Update(ctx, user, id, patch, now) }},
		{name: "Update again", do: func(ctx context.Context, s tokenauth.Store) error { return s.Update(ctx, user, id, patch, now) }},
		{name: "Rotate", do: func(ctx context.Context, s tokenauth.Store) error { return s.Rotate(ctx, user, id, rotation, now) }},
		{name: "Rotate again", do: func(ctx context.Context, s tokenauth.Store) error { return s.Rotate(ctx, user, id, rotation, now) }},
		{name: "Touch", do: func(ctx context.Context, s tokenauth.Store) error { return s.Touch(ctx, uses...) }},
		{name: "RevokeExpired", do: func(ctx context.Context, s tokenauth.Store) error {
			return s.RevokeExpired(ctx, expiredUser, expiredID, now, "staff", time.Time{})
		}},
		{name: "Revoke", do: revoke},
		{name: "Revoke again", do: revoke},
		{name: "RevokeAll", do: func(ctx context.Context, s tokenauth.Store) error {
			_, err := s.RevokeAll(ctx, user, now, "staff", 1000)
			return err
		}},
		{name: "Prune", do: func(ctx context.Context, s tokenauth.Store) error {
			_, err := s.Prune(ctx, now.Add(-time.Hour), time.Time{}, 5)
			return err
		}},
	}
}
