package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
)

// BenchmarkFind compares Find with its baseline. The baseline is a prepared SELECT of the same
// columns by one digest, on the same connection, with a context that can be canceled. The budget is
// 1.15 times the baseline, and 1.5 times on MariaDB.
func BenchmarkFind(b *testing.B) {
	for _, name := range []string{
		"SQLite, modernc", "SQLite, mattn", "PostgreSQL, pgx", "PostgreSQL, lib-pq", "PgBouncer, pgx", "MariaDB", "MariaDB, interpolateParams",
	} {
		for _, rows := range []int{1_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", name, rows), func(b *testing.B) {
				if rows > 100_000 && (!long() || name == "MariaDB, interpolateParams" || strings.HasPrefix(name, "PgB")) {
					b.Skip("takes long: set TOKENAUTH_LONG")
				}
				benchmarkFind(b, setupNamed(b, name), rows)
			})
		}
	}
}

func setupNamed(t testing.TB, name string) setup {
	t.Helper()
	for _, s := range setups {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no setup %q", name)
	return setup{}
}

func benchmarkFind(b *testing.B, s setup, rows int) {
	opts := newTable()
	db := s.open(b)[0]
	store := newStore(b, db, s.dialect, opts)
	populate(b, db, s.dialect, opts.Table, rows)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	placeholder := "?"
	if s.dialect == tokenauth.PostgreSQL {
		placeholder = "$1"
	}
	const columns = "id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until, created_at, expires_at, last_used_at, revoked_at"
	bare := func(d tokenauth.Digest) (*sql.Rows, error) {
		return db.QueryContext(ctx, "SELECT "+columns+" FROM "+opts.Table+" WHERE digest = "+placeholder, d[:])
	}
	if !strings.HasPrefix(s.name, "PgBouncer") { // PgBouncer keeps no prepared statement
		stmt, err := db.PrepareContext(ctx, "SELECT "+columns+" FROM "+opts.Table+" WHERE digest = "+placeholder)
		require.NoError(b, err)
		defer stmt.Close()
		bare = func(d tokenauth.Digest) (*sql.Rows, error) { return stmt.QueryContext(ctx, d[:]) }
	}
	i := 0
	next := func() tokenauth.Digest {
		i = (i + 7919) % rows
		return tokenauth.DigestOf(fmt.Sprint(i))
	}
	limit.Compare(b, func() { readBare(bare(next())) }, func() {
		if _, err := store.Find(ctx, next()); err != nil {
			panic(err)
		}
	})
}

// readBare reads the only row of rows.
func readBare(rows *sql.Rows, err error) {
	if err != nil {
		panic(err)
	}
	defer rows.Close()
	var text [6]string
	var number [7]sql.NullInt64
	var digest, retired []byte
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(&text[0], &text[1], &text[2], &number[0], &text[3], &text[4], &number[1], &text[5], &digest,
			&retired, &number[2], &number[3], &number[4], &number[5], &number[6]); err != nil {
			panic(err)
		}
	}
	if n != 1 {
		panic(fmt.Sprint(n, " rows"))
	}
}

// populate inserts rows into a table. The digest of row n is the digest of the decimal text of n.
// Each user has ten tokens. The creation times are one second apart. One row in a hundred has a
// previous key.
func populate(b testing.TB, db *sql.DB, d tokenauth.Dialect, table string, rows int) {
	b.Helper()
	const into = " (id, user_id, name, live_name, scopes, hint, generation, origin, digest, retired_digest, retired_until, created_at, expires_at, created_by) "
	ctx := context.Background()
	var fill string
	switch d {
	case tokenauth.PostgreSQL:
		fill = `INSERT INTO %s` + into + `SELECT 'T' || lpad(i::text, 25, '0'), (i/10)::text, i::text, i::text, 'a b', 'abcd', 1, '',
			sha256(convert_to(i::text, 'UTF8')), CASE WHEN i %% 100 = 0 THEN sha256(convert_to('r' || i, 'UTF8')) END, CASE WHEN i %% 100 = 0 THEN 1 END,
			1772366400000000 + 1000000::bigint * i, 4102444800000000, CASE WHEN i %% 10 = 9 THEN 'token:' || i ELSE 'login' END FROM generate_series(0, %d) i`
	case tokenauth.MySQL:
		fill = `INSERT INTO %s` + into + `SELECT concat('T', lpad(seq, 25, '0')), floor(seq/10), seq, seq, 'a b', 'abcd', 1, '',
			unhex(sha2(seq, 256)), IF(seq %% 100 = 0, unhex(sha2(concat('r', seq), 256)), NULL), IF(seq %% 100 = 0, 1, NULL),
			1772366400000000 + 1000000 * seq, 4102444800000000, IF(seq %% 10 = 9, concat('token:', seq), 'login') FROM seq_0_to_%d`
	default:
		populateSQLite(b, db, table, into, rows)
		_, err := db.ExecContext(ctx, "ANALYZE")
		require.NoError(b, err)
		return
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf(fill, table, rows-1))
	require.NoError(b, err)
	analyze := "ANALYZE "
	if d == tokenauth.MySQL {
		analyze = "ANALYZE TABLE "
	}
	_, err = db.ExecContext(ctx, analyze+table)
	require.NoError(b, err)
}

func populateSQLite(b testing.TB, db *sql.DB, table, into string, rows int) {
	b.Helper()
	conn, err := db.Conn(context.Background())
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close()) }()
	cache := func(kib int) { // without a large cache, ten million rows take half an hour
		_, err := conn.ExecContext(context.Background(), fmt.Sprint("PRAGMA cache_size = -", kib))
		require.NoError(b, err)
	}
	cache(4 << 20)
	defer cache(2000) // the default
	tx, err := conn.BeginTx(context.Background(), nil)
	require.NoError(b, err)
	stmt, err := tx.Prepare("INSERT INTO " + table + into + "VALUES (?, ?, ?, ?, 'a b', 'abcd', 1, '', ?, ?, ?, ?, 4102444800000000, ?)")
	require.NoError(b, err)
	for i := range rows {
		digest, name := tokenauth.DigestOf(fmt.Sprint(i)), fmt.Sprint(i)
		var retired, until any
		if i%100 == 0 {
			r := tokenauth.DigestOf("r" + name)
			retired, until = r[:], 1
		}
		by := "login"
		if i%10 == 9 {
			by = "token:" + name
		}
		_, err := stmt.Exec(fmt.Sprintf("T%025d", i), fmt.Sprint(i/10), name, name, digest[:], retired, until, 1772366400000000+1000000*int64(i), by)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
}
