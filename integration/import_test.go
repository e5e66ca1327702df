package integration

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/importtest"
	"github.com/go-tokenauth/tokenauth/internal/killtest"
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
	figures, err := importtest.Measure(t.Context(), db, tokenauth.PostgreSQL, target(t, db, 0), target(t, db, 1), target(t, db, 2))
	require.NoError(t, err)
	require.Equal(t, importtest.Rows(), figures.Rows)
	t.Logf("PostgreSQL: %v; %d MiB at most", figures, importtest.Peak())
	require.Less(t, importtest.Peak(), 100, "MiB")
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

// K11: the process is killed in the middle, more than once. The next one must lose and
// double nothing.
func TestK11Killed(t *testing.T) {
	rows := min(importtest.Rows(), 20_000)
	dsn := newSource(t, "killed", rows)
	for range shortOrLong(5, 50) {
		killtest.Kill(t, "TestImportChild", importDSN+"="+dsn, importKilled+"=1")
	}
	db := open(t, "pgx", dsn)
	store := target(t, db, 0).Store
	report, err := tokenimport.Run(t.Context(), tokenauth.New(store, "acme", nil), tokenimport.DRF(db, tokenauth.PostgreSQL, nil), nil)
	require.NoError(t, err)
	require.Equal(t, rows, report.Read)
	require.Equal(t, rows, report.Imported+report.Existing)
	require.NotZero(t, report.Existing, "the child has imported nothing")
	require.NoError(t, importtest.Whole(t.Context(), db, tokenauth.PostgreSQL, store))
	t.Logf("%d of %d rows after the kills", report.Existing, rows)
}
