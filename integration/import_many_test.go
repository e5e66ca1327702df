package integration

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// Environment variables of the child process that imports.
const (
	importDialect = "TOKENAUTH_TEST_IMPORT_DIALECT"
	importPlace   = "TOKENAUTH_TEST_IMPORT_PLACE"
	importKilled  = "TOKENAUTH_TEST_IMPORT_KILLED" // set if the parent kills the process
)

var importEngines = map[string]tokenauth.Dialect{"SQLite": tokenauth.SQLite, "PostgreSQL": tokenauth.PostgreSQL}

// An importSetup says where the databases of an import are.
type importSetup struct {
	dialect tokenauth.Dialect
	place   string // folder of the SQLite files, or DSN of the PostgreSQL database
}

// newImportSetup returns a setup whose source has the given number of rows.
func newImportSetup(t testing.TB, d tokenauth.Dialect, rows int) importSetup {
	t.Helper()
	s := importSetup{d, ""}
	if d == tokenauth.SQLite {
		s.place = t.TempDir()
	} else {
		server, name := servers.Started(t, postgres), fmt.Sprint("import", tables.Add(1))
		require.NoError(t, server.CreateDatabase(name))
		s.place = server.DSN(name)
	}
	fillDjango(t, s.open(t, "django"), d, rows)
	return s
}

// open opens the database with the given name. On PostgreSQL, all names refer to the same database.
func (s importSetup) open(t testing.TB, name string) *sql.DB {
	t.Helper()
	if s.dialect == tokenauth.SQLite {
		return sqlite.OpenDurable(t, filepath.Join(s.place, name+".db"))
	}
	return open(t, "pgx", s.place)
}

// target creates the table with the given name if it is missing, and returns it. The table survives
// the process.
func (s importSetup) target(t testing.TB, name string) importTarget {
	t.Helper()
	opts := newTable()
	opts.Table = name
	db := s.open(t, name)
	store, err := tokenauth.NewSQLStore(db, s.dialect, opts)
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(t.Context()))
	t.Cleanup(func() { _ = store.Close() })
	return importTarget{db, opts.Table, store}
}

// environment returns the variables that describe the setup to a child process.
func (s importSetup) environment() []string {
	return []string{importDialect + "=" + string(s.dialect), importPlace + "=" + s.place}
}

// TestChildImports runs in the process that TestImportManyTokens measures, and in the process that
// TestKilledImportResumes kills.
func TestChildImports(t *testing.T) {
	s := importSetup{tokenauth.Dialect(os.Getenv(importDialect)), os.Getenv(importPlace)}
	if s.place == "" {
		t.Skip("runs only as a child process of other tests")
	}
	source, target := s.open(t, "django"), s.target(t, "target")
	if os.Getenv(importKilled) != "" {
		require.NoError(t, importUntilKilled(t.Context(), source, s.dialect, target.store))
	}
	figures, err := measureImport(t.Context(), source, s.dialect, target, s.target(t, "bare"))
	require.NoError(t, err)
	require.Equal(t, importRows(), figures.rows)
	t.Logf("%s: %v; peak memory %d MiB", s.dialect, figures, peakMemory())
	if long() {
		require.Less(t, peakMemory(), 100, "peak memory in MiB")
	}
}

// An operator must be able to import a million tokens on a small machine. The import must need
// little memory, and little more time than the database needs to write the rows.
func TestImportManyTokens(t *testing.T) {
	for name, d := range importEngines {
		t.Run(name, func(t *testing.T) {
			s := newImportSetup(t, d, importRows())
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildImports$", "-test.v", "-test.timeout=0")
			child.Env = append(os.Environ(), s.environment()...)
			output, err := child.CombinedOutput()
			t.Logf("%s", output)
			require.NoError(t, err)
			requireWhole(t, s.open(t, "django"), d, s.target(t, "target").store)
		})
	}
}

// An import that is killed and repeated must neither lose a token nor create a token twice.
// Otherwise a client is locked out, or its key still works after the operator has revoked one of
// the two tokens.
// Case K11.
func TestKilledImportResumes(t *testing.T) {
	for name, d := range importEngines {
		t.Run(name, func(t *testing.T) {
			rows := importRows()
			s := newImportSetup(t, d, rows)
			child := append(s.environment(), importKilled+"=1")
			kills := shortOrLong(5, 50)
			for range kills {
				kill.Kill(t, "TestChildImports", child...)
			}
			kill.KillAfter(t, max(1, rows/importPage/4), "TestChildImports", child...)
			source, store := s.open(t, "django"), s.target(t, "target").store
			before := everything(t, store)
			require.NotEmpty(t, before, "the child process must have imported tokens")
			report, err := tokenimport.Run(t.Context(), must.Get(tokenauth.New(store, "acme", nil)), tokenimport.DRF(source, d, nil), nil)
			require.NoError(t, err)
			require.Equal(t, tokenimport.Report{Read: rows, Imported: rows - report.Existing, Existing: report.Existing}, report)
			// A server may execute the last statement of the killed process after the test has read the
			// records in before.
			late := report.Existing - len(before)
			require.True(t, late == 0 || late == importPage && name != "SQLite", late)
			requireWhole(t, source, d, store)
			t.Logf("%d of %d rows after %d kills", len(before), rows, kills+1)
		})
	}
}
