package tokenimport_test

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/importtest"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

const (
	importFolder = "TOKENAUTH_TEST_IMPORT_FOLDER" // where a process that a test starts finds the source
	importKilled = "TOKENAUTH_TEST_IMPORT_KILLED" // set if that is to be killed
)

// openSource opens the source of a folder.
func openSource(t testing.TB, folder string) *sql.DB {
	t.Helper()
	return sqlite.OpenDurable(t, filepath.Join(folder, "django.db"))
}

// openTarget opens a database of the name, in a folder, with the store's table.
func openTarget(t testing.TB, folder, name string) importtest.Target {
	t.Helper()
	db := sqlite.OpenDurable(t, filepath.Join(folder, name))
	return importtest.Target{DB: db, Table: "tokenauth_tokens", Store: sqlite.NewStore(t, db, nil)}
}

// newSource makes a source of many rows, and returns its folder.
func newSource(t testing.TB, rows int) (folder string) {
	t.Helper()
	folder = t.TempDir()
	require.NoError(t, importtest.Fill(t.Context(), openSource(t, folder), tokenauth.SQLite, rows))
	return folder
}

// TestImportChild is the process that is measured, or killed.
func TestImportChild(t *testing.T) {
	folder := os.Getenv(importFolder)
	if folder == "" {
		t.Skip("run by other tests")
	}
	source, target := openSource(t, folder), openTarget(t, folder, "target.db")
	if os.Getenv(importKilled) != "" {
		require.NoError(t, importtest.Child(t.Context(), source, tokenauth.SQLite, target.Store))
	}
	figures, err := importtest.Measure(t.Context(), source, tokenauth.SQLite, target, openTarget(t, folder, "bare.db"))
	require.NoError(t, err)
	require.Equal(t, importtest.Rows(), figures.Rows)
	t.Logf("SQLite: %v; %d MiB at most", figures, importtest.Peak())
	if load.Long() {
		require.Less(t, importtest.Peak(), 100, "MiB")
	}
}

// A service moves with all its tokens on the smallest of machines, and in the time that
// a database needs to write them.
func TestImportMany(t *testing.T) {
	folder := newSource(t, importtest.Rows())
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestImportChild$", "-test.v", "-test.timeout=0")
	child.Env = append(os.Environ(), importFolder+"="+folder)
	output, err := child.CombinedOutput()
	t.Logf("%s", output)
	require.NoError(t, err)
	require.NoError(t, importtest.Whole(t.Context(), openSource(t, folder), tokenauth.SQLite, openTarget(t, folder, "target.db").Store))
}

// K11: the process is killed in the middle, and more than once. The next one must lose and
// double nothing.
func TestK11Killed(t *testing.T) {
	t.Parallel()
	rows := importtest.Rows()
	folder := newSource(t, rows)
	child := []string{importFolder + "=" + folder, importKilled + "=1"}
	kills := 4
	if os.Getenv("TOKENAUTH_LONG") != "" {
		kills = 30
	}
	for range kills {
		kill.Kill(t, "TestImportChild", child...)
	}
	kill.KillAfter(t, max(1, rows/importtest.PageSize/4), "TestImportChild", child...)
	source, target := openSource(t, folder), openTarget(t, folder, "target.db")
	before, err := target.Store.List(t.Context(), tokenauth.Query{AllUsers: true})
	require.NoError(t, err)
	report, refused := run(t, newManager(target.Store), tokenimport.DRF(source, tokenauth.SQLite, nil), tokenimport.Options{})
	require.Empty(t, refused)
	require.Equal(t, tokenimport.Report{Read: rows, Imported: rows - len(before), Existing: len(before)}, report)
	require.NotEmpty(t, before, "the child has imported nothing")
	require.NoError(t, importtest.Whole(t.Context(), source, tokenauth.SQLite, target.Store))
	t.Logf("%d of %d rows after %d kills", len(before), report.Read, kills+1)
}
