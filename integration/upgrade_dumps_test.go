package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A dump is a file of SQL statements that create a database of the older program. A dump with the
// service's own tables has two tables of tokens, sess and tokens.
type dump struct {
	dialect tokenauth.Dialect
	own     bool // whether the database also contains tables of the service
}

func (d dump) file() string {
	name := map[tokenauth.Dialect]string{tokenauth.SQLite: "sqlite", tokenauth.PostgreSQL: "postgresql", tokenauth.MySQL: "mariadb"}[d.dialect]
	if d.own {
		name += "-own-tables"
	}
	return filepath.Join(olderFolder, name+".sql")
}

// load creates a database and executes the dump.
func (d dump) load(t *testing.T) (driver, dsn string) {
	t.Helper()
	text, err := os.ReadFile(d.file())
	require.NoError(t, err)
	driver, dsn = newDatabase(t, d.dialect)
	several := dsn
	if d.dialect == tokenauth.MySQL {
		several += "multiStatements=true"
	}
	db := open(t, driver, several)
	_, err = db.ExecContext(t.Context(), string(text))
	require.NoError(t, err)
	require.NoError(t, db.Close(), "the dump changes settings of its connection")
	return driver, dsn
}

// This test writes the dumps. It runs only on request, because the dumps must stay as the older
// library has created them.
func TestWriteOlderDatabases(t *testing.T) {
	if os.Getenv("TOKENAUTH_WRITE_DUMPS") == "" {
		t.Skip("runs only if TOKENAUTH_WRITE_DUMPS is set")
	}
	program := buildOlder(t)
	for _, d := range dialects {
		for _, own := range []bool{false, true} {
			driver, dsn := newDatabase(t, d)
			if own {
				output(t, nil, program, "-driver", driver, "-dsn", dsn, "-fill", "-own", "-table", "sess")
				output(t, nil, program, "-driver", driver, "-dsn", dsn, "-fill", "-own", "-table", "tokens")
			} else {
				output(t, nil, program, "-driver", driver, "-dsn", dsn, "-fill")
			}
			text := dumpOf(t, d, dsn)
			require.NoError(t, os.WriteFile(dump{d, own}.file(), []byte(text), 0o644))
		}
	}
}

// dumpOf returns the statements that create a database, as the database's own program prints them.
func dumpOf(t *testing.T, d tokenauth.Dialect, dsn string) string {
	t.Helper()
	switch d {
	case tokenauth.SQLite:
		file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
		return output(t, nil, "sqlite3", file, ".dump")
	case tokenauth.PostgreSQL:
		programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
		require.NoError(t, err)
		require.NotEmpty(t, programs)
		text := output(t, nil, programs[len(programs)-1], "--no-owner", "--rows-per-insert=100", dsn)
		var statements strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, `\`) { // omits commands of psql
				statements.WriteString(line)
			}
		}
		return statements.String()
	}
	user, rest, _ := strings.Cut(dsn, "@tcp(")
	address, rest, _ := strings.Cut(rest, ")/")
	host, port, _ := strings.Cut(address, ":")
	database, _, _ := strings.Cut(rest, "?")
	path, err := exec.LookPath("mariadb-dump")
	require.NoError(t, err)
	return output(t, nil, path, "--no-defaults", "-u", user, "-h", host, "-P", port, "--hex-blob", "--skip-comments", "--skip-dump-date", database)
}
