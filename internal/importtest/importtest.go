// Package importtest imports a great many tokens of Django REST Framework, and
// measures that beside bare INSERTs of the same rows.
package importtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/killtest"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// Rows is how many rows are imported: a million in a long run, few with the race
// detector, which makes SQLite in Go twenty times as slow.
func Rows() int {
	info, _ := debug.ReadBuildInfo()
	switch {
	case info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}):
		return 2_000
	case os.Getenv("TOKENAUTH_LONG") != "":
		return 1_000_000
	}
	return 20_000
}

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // user 0's token was made then

// fills are the statements, for a number of rows, that make Django's tables with as many
// active users, and a token for each.
var fills = map[tokenauth.Dialect][]string{
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

// Fill makes the source.
func Fill(ctx context.Context, db *sql.DB, d tokenauth.Dialect, rows int) error {
	for _, statement := range fills[d] {
		if strings.Contains(statement, "%d") {
			statement = fmt.Sprintf(statement, rows)
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// PageSize is how many rows are imported at a time.
const PageSize = 500

// specs returns a page of the source, as it is to be imported, and its last key.
func specs(ctx context.Context, db *sql.DB, d tokenauth.Dialect, after string) (page []tokenauth.ImportSpec, last string, err error) {
	query := "SELECT key, user_id FROM authtoken_token WHERE key > " + placeholder(d, 1) + " ORDER BY key LIMIT " + fmt.Sprint(PageSize)
	rows, err := db.QueryContext(ctx, query, after)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
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

// Figures are how long it took to store the same rows, page by page in turn.
type Figures struct {
	Rows int
	Run  time.Duration // tokenimport.Run: reads the source, looks for earlier imports, stores
	Bare time.Duration // an INSERT of many rows
}

func (f Figures) String() string {
	rate := func(d time.Duration) float64 { return float64(f.Rows) / d.Seconds() }
	return fmt.Sprintf("%d rows: Run %.0f a second, bare INSERT %.0f: %.2f of it", f.Rows, rate(f.Run), rate(f.Bare), rate(f.Run)/rate(f.Bare))
}

// A Target is a table to import into, with the schema of a store.
type Target struct {
	DB    *sql.DB
	Table string
	Store tokenauth.Store
}

// Measure imports a source into run, and inserts the same rows into bare.
func Measure(ctx context.Context, source *sql.DB, d tokenauth.Dialect, run, bare Target) (Figures, error) {
	var f Figures
	var last string
	var failure error
	begin := time.Now()
	report, err := tokenimport.Run(ctx, tokenauth.New(run.Store, "acme", nil), tokenimport.DRF(source, d, nil), &tokenimport.Options{
		Progress: func(tokenimport.Report) {
			f.Run += time.Since(begin)
			failure = errors.Join(failure, func() (err error) {
				var page []tokenauth.ImportSpec
				if page, last, err = specs(ctx, source, d, last); err != nil {
					return err
				}
				query, args := insert(d, bare.Table, page)
				start := time.Now()
				_, err = bare.DB.ExecContext(ctx, query, args...)
				f.Bare += time.Since(start)
				return err
			}())
			begin = time.Now()
		},
	})
	f.Rows = report.Imported
	return f, errors.Join(err, failure)
}

// insert returns a bare INSERT of what a store would write.
func insert(d tokenauth.Dialect, table string, page []tokenauth.ImportSpec) (query string, args []any) {
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

// Child imports a source, again and again, until it is killed. It acknowledges each page
// with something new, and each end: see [killtest.Steps].
func Child(ctx context.Context, source *sql.DB, d tokenauth.Dialect, store tokenauth.Store) error {
	steps := make(chan error)
	go func() {
		for {
			imported := 0
			_, err := tokenimport.Run(ctx, tokenauth.New(store, "acme", nil), tokenimport.DRF(source, d, nil), &tokenimport.Options{
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
	return killtest.Steps(func(int) error { return <-steps })
}

// Whole returns an error unless a store has each token of the source once, and no other.
func Whole(ctx context.Context, source *sql.DB, d tokenauth.Dialect, store tokenauth.Store) error {
	missing := map[tokenauth.Digest]string{}
	for last := ""; ; {
		page, key, err := specs(ctx, source, d, last)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			missing[page[i].Digest] = page[i].UserID
		}
		last = key
	}
	const pageSize = 50_000 // a store may look at all its rows for each
	q := tokenauth.Query{AllUsers: true, IncludeRevoked: true, Limit: pageSize}
	for {
		records, err := store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range records {
			if user, ok := missing[r.Digest]; !ok || user != r.Token.UserID || !r.Token.RevokedAt.IsZero() {
				return fmt.Errorf("user %s has a token that is not the source's, or twice", r.Token.UserID)
			}
			delete(missing, r.Digest)
		}
		if len(records) < pageSize {
			break
		}
		q.After = records[len(records)-1].Token.Cursor()
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d tokens are missing", len(missing))
	}
	return nil
}

// Peak returns the most memory that this process had at once, in MiB; 0 where the
// system does not tell.
func Peak() int {
	status, _ := os.ReadFile("/proc/self/status") // Linux
	for line := range strings.SplitSeq(string(status), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	return 0
}
