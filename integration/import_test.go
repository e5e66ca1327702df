package integration

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/importtest"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

const (
	importDSN    = "TOKENAUTH_TEST_IMPORT_DSN"    // of source and targets
	importKilled = "TOKENAUTH_TEST_IMPORT_KILLED" // set if the process is to be killed
)

// newSource makes a database with a source of many rows in it. PostgreSQL is not told to
// gather statistics: a service that moves in has no time to wait for those.
func newSource(t testing.TB, name string, rows int) (dsn string) {
	t.Helper()
	server := started(t, postgres)
	require.NoError(t, server.CreateDatabase(name))
	dsn = server.DSN(name)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, importtest.Fill(t.Context(), db, tokenauth.PostgreSQL, rows))
	return dsn
}

// target returns the i-th table to import into. It stays when the process ends.
func target(t testing.TB, db *sql.DB, i int) importtest.Target {
	t.Helper()
	opts := newTable()
	opts.Table = fmt.Sprint("import", i)
	store, err := tokenauth.NewSQLStore(db, tokenauth.PostgreSQL, opts)
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(t.Context()))
	t.Cleanup(func() { _ = store.Close() })
	return importtest.Target{DB: db, Table: opts.Table, Store: store}
}

// TestImportChild is the process that is measured, or killed.
func TestImportChild(t *testing.T) {
	dsn := os.Getenv(importDSN)
	if dsn == "" {
		t.Skip("run by other tests")
	}
	db := open(t, "pgx", dsn)
	if os.Getenv(importKilled) != "" {
		require.NoError(t, importtest.Child(t.Context(), db, tokenauth.PostgreSQL, target(t, db, 0).Store))
	}
	figures, err := importtest.Measure(t.Context(), db, tokenauth.PostgreSQL, target(t, db, 0), target(t, db, 1))
	require.NoError(t, err)
	require.Equal(t, importtest.Rows(), figures.Rows)
	t.Logf("PostgreSQL: %v; %d MiB at most", figures, importtest.Peak())
	if load.Long() {
		require.Less(t, importtest.Peak(), 100, "MiB")
	}
}

// A service moves with all its tokens on the smallest of machines, and in the time that
// a database needs to write them.
func TestImportMany(t *testing.T) {
	dsn := newSource(t, "many", importtest.Rows())
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestImportChild$", "-test.v", "-test.timeout=0")
	child.Env = append(os.Environ(), importDSN+"="+dsn)
	output, err := child.CombinedOutput()
	t.Logf("%s", output)
	require.NoError(t, err)
	db := open(t, "pgx", dsn)
	require.NoError(t, importtest.Whole(t.Context(), db, tokenauth.PostgreSQL, target(t, db, 0).Store))
}

// K11: the process is killed in the middle, and more than once. The next one must lose and
// double nothing.
func TestK11Killed(t *testing.T) {
	rows := importtest.Rows()
	dsn := newSource(t, "killed", rows)
	child := []string{importDSN + "=" + dsn, importKilled + "=1"}
	for range shortOrLong(5, 50) {
		kill.Kill(t, "TestImportChild", child...)
	}
	kill.KillAfter(t, max(1, rows/importtest.PageSize/4), "TestImportChild", child...)
	db := open(t, "pgx", dsn)
	store := target(t, db, 0).Store
	report, err := tokenimport.Run(t.Context(), must.Get(tokenauth.New(store, "acme", nil)), tokenimport.DRF(db, tokenauth.PostgreSQL, nil), nil)
	require.NoError(t, err)
	require.Equal(t, rows, report.Read)
	require.Equal(t, rows, report.Imported+report.Existing)
	require.NotZero(t, report.Existing, "the child has imported nothing")
	require.NoError(t, importtest.Whole(t.Context(), db, tokenauth.PostgreSQL, store))
	t.Logf("%d of %d rows after the kills", report.Existing, rows)
}

// A time that a driver bends would be another, and a key that it gives back as another
// type would have pages left out.
func TestImportByEachDriver(t *testing.T) {
	const created, rows = "2026-03-01 12:00:00.123456", 700
	all := append(engines(t),
		engine{name: "modernc", driver: "sqlite", dialect: tokenauth.SQLite, dsn: sqliteFile(t) + modernc},
		engine{name: "mattn", driver: "sqlite3", dialect: tokenauth.SQLite, dsn: sqliteFile(t) + mattn + "&_loc=America/New_York"},
	)
	local := all[2]
	local.name, local.dsn = "MariaDB, local time", local.dsn+"&parseTime=true&loc=America%2FNew_York"
	for i, e := range append(all, local) {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.driver, e.dsn)
			timeType, stored, quoted := "datetime(6)", created, fmt.Sprintf("`key%d`", i)
			switch e.dialect {
			case tokenauth.PostgreSQL:
				timeType, stored, quoted = "timestamptz", created+"+00", fmt.Sprintf(`"key%d"`, i)
			case tokenauth.SQLite:
				timeType = "datetime"
			}
			users, table := fmt.Sprint("users", i), fmt.Sprint("tokens", i)
			var values []string
			for n := range rows {
				values = append(values, fmt.Sprintf("('%040x', '%s', %d, '')", 7919*n, stored, 1+n%2))
			}
			for _, statement := range []string{
				"CREATE TABLE " + users + " (id bigint PRIMARY KEY, is_active boolean NOT NULL)",
				"INSERT INTO " + users + " VALUES (1, true), (2, false)",
				"CREATE TABLE " + table + " (" + quoted + " varchar(40) PRIMARY KEY, created " + timeType + " NOT NULL, user_id bigint NOT NULL, name varchar(64) NOT NULL)",
				"INSERT INTO " + table + " VALUES " + strings.Join(values, ", "),
			} {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
			opts := &tokenimport.DRFOptions{Table: table, Key: fmt.Sprint("key", i), Users: users, Name: "name"}
			report, err := tokenimport.Run(t.Context(), m, tokenimport.DRF(db, e.dialect, opts), nil)
			require.NoError(t, err)
			require.Equal(t, tokenimport.Report{Read: rows, Imported: rows / 2, Refused: rows / 2}, report)
			tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "1"})
			require.NoError(t, err)
			require.Len(t, tokens, rows/2)
			for _, token := range tokens {
				require.Equal(t, time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), token.CreatedAt)
			}
		})
	}
}
