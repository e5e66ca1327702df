package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// importRows returns the number of rows to import. The number is one million if TOKENAUTH_LONG is
// set, and 20,000 otherwise. With the race detector, it is 2,000, because the race detector makes
// the SQLite driver twenty times slower.
func importRows() int {
	info, _ := debug.ReadBuildInfo()
	if info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 2_000
	}
	return shortOrLong(20_000, 1_000_000)
}

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // creation time of the token of user 0

// djangoTables contains SQL statements for each dialect. They create the tables of Django, the
// given number of active users, and one token for each user.
var djangoTables = map[tokenauth.Dialect][]string{
	tokenauth.SQLite: {
		"CREATE TABLE auth_user (id integer PRIMARY KEY, is_active bool NOT NULL)",
		"CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created datetime NOT NULL, user_id integer NOT NULL UNIQUE)",
		"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO auth_user SELECT i, 1 FROM n",
		"INSERT INTO authtoken_token SELECT lower(hex(randomblob(20))), datetime('2024-01-01', id || ' seconds'), id FROM auth_user",
	},
	tokenauth.PostgreSQL: {
		"CREATE TABLE auth_user (id integer PRIMARY KEY, is_active bool NOT NULL)",
		"CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz NOT NULL, user_id integer NOT NULL UNIQUE)",
		"INSERT INTO auth_user SELECT i, true FROM generate_series(1, %d) i",
		`INSERT INTO authtoken_token SELECT substr(encode(sha256(convert_to(random()::text || id, 'UTF8')), 'hex'), 1, 40),
			timestamptz '2024-01-01 00:00:00+00' + id * interval '1 second', id FROM auth_user`,
	},
}

// fillDjango creates the tables of Django in db, with the given number of users and tokens. It does
// not run ANALYZE, because PostgreSQL must import without statistics too.
func fillDjango(t testing.TB, db *sql.DB, d tokenauth.Dialect, rows int) {
	t.Helper()
	for _, statement := range djangoTables[d] {
		if strings.Contains(statement, "%d") {
			statement = fmt.Sprintf(statement, rows)
		}
		execute(t, db, statement)
	}
}

// importPage is the number of rows that the import stores with one statement.
const importPage = 500

// importSpecs reads the page of source rows whose keys follow after. It returns an ImportSpec for
// each row, and the last key of the page.
func importSpecs(ctx context.Context, db *sql.DB, d tokenauth.Dialect, after string) (page []tokenauth.ImportSpec, last string, err error) {
	query := "SELECT key, user_id FROM authtoken_token WHERE key > " + placeholder(d, 1) + " ORDER BY key LIMIT " + fmt.Sprint(importPage)
	rows, err := db.QueryContext(ctx, query, after)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = rows.Close() }() // rows.Err reports read errors
	for rows.Next() {
		var user int
		if err := rows.Scan(&last, &user); err != nil {
			return nil, "", err
		}
		page = append(page, tokenauth.ImportSpec{
			UserID: fmt.Sprint(user), Name: "drf", Origin: "drf", Digest: tokenauth.DigestOf(last), Hint: last[36:],
			CreatedAt: epoch.Add(time.Duration(user) * time.Second),
		})
	}
	return page, last, rows.Err()
}

func placeholder(d tokenauth.Dialect, n int) string {
	if d == tokenauth.PostgreSQL {
		return fmt.Sprint("$", n)
	}
	return "?"
}

// importFigures holds the times that tokenimport.Run and plain INSERT statements take to store the
// same rows. measureImport runs them alternately, one page at a time.
type importFigures struct {
	rows int
	run  time.Duration // time of tokenimport.Run, which also reads the source and detects tokens that are already imported
	bare time.Duration // time of the plain INSERT statements, one per page
}

func (f importFigures) String() string {
	rate := func(d time.Duration) float64 { return float64(f.rows) / d.Seconds() }
	return fmt.Sprintf("%d rows: Run stores %.0f per second, plain INSERT %.0f; ratio %.2f", f.rows, rate(f.run), rate(f.bare), rate(f.run)/rate(f.bare))
}

// An importTarget is a table to import into. The table has the schema that store requires.
type importTarget struct {
	db    *sql.DB
	table string
	store tokenauth.Store
}

// measureImport imports the tokens of source into run, and inserts the same rows into bare with
// plain INSERT statements. It returns the times that both take.
func measureImport(ctx context.Context, source *sql.DB, d tokenauth.Dialect, run, bare importTarget) (importFigures, error) {
	var f importFigures
	var last string
	var failure error
	begin := time.Now()
	report, err := tokenimport.Run(ctx, must.Get(tokenauth.New(run.store, "acme", nil)), tokenimport.DRF(source, d, nil), &tokenimport.Options{
		Progress: func(tokenimport.Report) {
			f.run += time.Since(begin)
			failure = errors.Join(failure, func() (err error) {
				var page []tokenauth.ImportSpec
				if page, last, err = importSpecs(ctx, source, d, last); err != nil {
					return err
				}
				query, args := bareInsert(d, bare.table, page)
				start := time.Now()
				_, err = bare.db.ExecContext(ctx, query, args...)
				f.bare += time.Since(start)
				return err
			}())
			begin = time.Now()
		},
	})
	f.rows = report.Imported
	return f, errors.Join(err, failure)
}

// bareInsert returns an INSERT statement and its arguments. The statement inserts the rows that a
// store would write for page.
func bareInsert(d tokenauth.Dialect, table string, page []tokenauth.ImportSpec) (query string, args []any) {
	const columns = "id, user_id, name, live_name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until, created_at, expires_at, last_used_at, revoked_at"
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + columns + ") VALUES ")
	for i, s := range page {
		row := []any{s.ID(), s.UserID, s.Name, s.Name, nil, "", s.Hint, 0, s.Origin, s.Digest[:], nil, nil, s.CreatedAt.UnixMicro(), nil, nil, nil}
		if i > 0 {
			b.WriteString(", ")
		}
		for j, value := range row {
			b.WriteString([]string{"(", ", "}[min(j, 1)])
			args = append(args, value)
			b.WriteString(placeholder(d, len(args)))
		}
		b.WriteString(")")
	}
	return b.String(), args
}

// importUntilKilled imports the tokens of source repeatedly until the process is killed. It uses
// [kill.Steps] to acknowledge each page with new tokens and each completed import.
func importUntilKilled(ctx context.Context, source *sql.DB, d tokenauth.Dialect, store tokenauth.Store) error {
	steps := make(chan error)
	go func() {
		for {
			imported := 0
			_, err := tokenimport.Run(ctx, must.Get(tokenauth.New(store, "acme", nil)), tokenimport.DRF(source, d, nil), &tokenimport.Options{
				Progress: func(r tokenimport.Report) {
					if r.Imported > imported {
						steps <- nil
					}
					imported = r.Imported
				},
			})
			steps <- err
		}
	}()
	return kill.Steps(func(int) error { return <-steps })
}

// requireWhole requires that store contains exactly the tokens of source, and that none of them is
// revoked.
func requireWhole(t testing.TB, source *sql.DB, d tokenauth.Dialect, store tokenauth.Store) {
	t.Helper()
	missing := map[tokenauth.Digest]string{}
	for last := ""; ; {
		page, key, err := importSpecs(t.Context(), source, d, last)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for i := range page {
			missing[page[i].Digest] = page[i].UserID
		}
		last = key
	}
	const pageSize = 50_000 // large, because a store may scan all rows for each page
	q := tokenauth.Query{AllUsers: true, IncludeRevoked: true, Limit: pageSize}
	for {
		records, err := store.List(t.Context(), q)
		require.NoError(t, err)
		for _, r := range records {
			if user, ok := missing[r.Digest]; !ok || user != r.Token.UserID || !r.Token.RevokedAt.IsZero() {
				require.FailNow(t, "a token is duplicate, revoked, or not in the source", "user %s", r.Token.UserID)
			}
			delete(missing, r.Digest)
		}
		if len(records) < pageSize {
			break
		}
		q.After = records[len(records)-1].Token.Cursor()
	}
	require.Empty(t, missing, "tokens of the source that the store does not contain")
}

// peakMemory returns the peak resident memory of this process in MiB, which it reads from /proc on
// Linux. On other systems, peakMemory returns 0.
func peakMemory() int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.SplitSeq(string(status), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	return 0
}
