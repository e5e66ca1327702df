package tokencli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

const djangoSchema = `
CREATE TABLE auth_user (id INTEGER PRIMARY KEY, is_active BOOL NOT NULL);
CREATE TABLE authtoken_token (key TEXT PRIMARY KEY, created TEXT NOT NULL, user_id INTEGER NOT NULL UNIQUE);`

// django returns the database of a Django service with n users, each with one token. The first user
// is not active.
func django(t testing.TB, n int) *sql.DB {
	t.Helper()
	db := sqlite.New(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.Exec(djangoSchema)
	require.NoError(t, err)
	for i := 1; i <= n; i++ {
		key := fmt.Sprintf("%040x", i*7919)
		leak.Default.Secret(key)
		_, err = tx.Exec("INSERT INTO auth_user VALUES (?1, ?1 > 1); ", i)
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO authtoken_token VALUES (?, '2025-01-31 08:00:00', ?)", key, i)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	return db
}

func (p *program) from(db *sql.DB) {
	p.source = func(_ context.Context, dsn string) (*sql.DB, tokenauth.Dialect, error) {
		if dsn != "" {
			return nil, "", errors.New("no such database")
		}
		return db, tokenauth.SQLite, nil
	}
}

// An operator must see what an import would do, what it did, and which rows it refused.
func TestImportReportsRows(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{Scopes: []string{"a", "b"}})
	p.from(django(t, 3))
	refused := "Refused user_id=1: user is not active\n"
	const report = "Read      3\nImported  2\nExisting  0\nRefused   1\n"
	require.Equal(t, output{stdout: report, stderr: refused + "Dry run: nothing was stored.\n"}, p.run("import", "drf", "--dry-run"))
	require.Equal(t, output{stderr: "No tokens.\n"}, p.run("list", "--all-users"))
	require.Equal(t, Usage, p.run("import", "drf", "--scope", "c d", "--dry-run", "extra").code())
	require.Equal(t, output{stdout: report, stderr: refused}, p.run("import", "drf", "--scope", "b a"))
	again := p.run("import", "drf", "--json")
	require.JSONEq(t, `{"dry_run": false, "read": 3, "imported": 0, "existing": 2, "refused": 1}`, again.stdout)

	require.Regexp(t, "^[A-Z2-7]+  drf   a b     all        …5ccd  ", strings.Split(p.run("list", "--user", "3").stdout, "\n")[1])
	require.Equal(t, "2 tokens; last used: never\n", p.run("import", "remaining", "drf").stdout)
	require.NoError(t, p.run("rotate", "--user", "3", "drf", "--yes").err)
	require.JSONEq(t, `{"tokens": 1}`, p.run("import", "remaining", "drf", "--json").stdout)
}

// After Ctrl-C, an import must report its progress. The next run must complete the import.
func TestInterruptedImportResumes(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	p.from(django(t, 1001))
	ctx, cancel := context.WithCancel(t.Context())
	whole := p.manager
	store := tokenauthtest.NewStore(p.store)
	store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Create" {
			defer cancel()
		}
		return next()
	})
	p.manager = whole.WithStore(store, nil)
	got := p.runWith(ctx, "", "import", "drf")
	require.Equal(t, Interrupted, got.code())
	require.Empty(t, got.stdout)
	require.Contains(t, got.stderr, "Stopped: read 500, imported 499, existing 0, refused 1. To continue, repeat the command.\n")
	p.manager = whole
	require.JSONEq(t, `{"dry_run": false, "read": 1001, "imported": 501, "existing": 499, "refused": 1}`, p.run("import", "drf", "--json").stdout)
}

// An import with wrong arguments must not begin, and its exit code must show the cause.
func TestImportRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for want, all := range map[int][][]string{
		Usage: {
			{"drf", "x"}, {"knox"}, {"knox", "--knox-version", "3"}, {"djoser"}, {"remaining"}, {"remaining", "djoser"},
			{"sanctum", "--map-ability", "*"}, {"sanctum", "--map-ability", "=a"}, {"sanctum", "--timezone", "Nowhere"},
			{"sanctum", "--expiration", "525600"},
		},
		Unavailable: {{"drf", "--source", "elsewhere"}, {"drf", "--source-table", "elsewhere"}, {"knox", "--knox-version", "5"}, {"sanctum"}},
		0:           {{}, {"drf"}, {"drf", "--help"}},
	} {
		for _, args := range all {
			p := newProgram(t, tokenauth.Options{})
			p.from(django(t, 1))
			got := p.run(append([]string{"import"}, args...)...)
			require.Equal(t, want, got.code(), "%v: %v", args, got.err)
		}
	}
}

// Without --map-ability, the ability "*" must not grant scopes. An ability must not grant the
// scopes of another ability.
func TestMapAbilityGrantsOnlyNamedScopes(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	_, err := db.Exec(`
CREATE TABLE users (id INTEGER PRIMARY KEY);
CREATE TABLE personal_access_tokens (id INTEGER PRIMARY KEY, tokenable_type TEXT, tokenable_id INTEGER, name TEXT, token TEXT,
	abilities TEXT, last_used_at TEXT, expires_at TEXT, created_at TEXT);
INSERT INTO users VALUES (1);
INSERT INTO personal_access_tokens VALUES
	(1, 'App\Models\User', 1, 'all',  '01' || hex(zeroblob(31)), '["*"]',               NULL, NULL, '2026-02-28 12:00:00'),
	(2, 'App\Models\User', 1, 'some', '02' || hex(zeroblob(31)), '["server:update","c"]', NULL, NULL, '2026-02-28 12:00:00')`)
	require.NoError(t, err)
	for _, c := range []struct {
		args []string
		want map[string]tokenauth.Scopes
	}{
		{nil, map[string]tokenauth.Scopes{"some": {"c", "server:update"}}},
		{[]string{"--map-ability", "*=a b", "--map-ability", "server:update="}, map[string]tokenauth.Scopes{"all": {"a", "b"}, "some": {"c"}}},
		{[]string{"--map-ability", "server:update=a", "--map-ability", "server:update=b"}, map[string]tokenauth.Scopes{"some": {"a", "b", "c"}}},
	} {
		p := newProgram(t, tokenauth.Options{})
		p.from(db)
		require.NoError(t, p.run(append([]string{"import", "sanctum", "--timezone", "Europe/Berlin", "--expiration", "30d"}, c.args...)...).err)
		live, err := p.manager.List(t.Context(), tokenauth.Query{UserID: "1"})
		require.NoError(t, err)
		got := map[string]tokenauth.Scopes{}
		for _, token := range live {
			got[token.Name] = token.Scopes
			require.Equal(t, "2026-03-30 11:00:00", token.ExpiresAt.Format("2006-01-02 15:04:05"))
		}
		require.Equal(t, c.want, got)
	}
}

// The shell must offer the import commands if the service has set OpenSource.
func TestImportCompletionOffersSources(t *testing.T) {
	t.Parallel()
	p := newProgram(t, tokenauth.Options{})
	p.from(nil)
	var stdout strings.Builder
	root := p.root()
	root.SetOut(&stdout)
	root.SetErr(&strings.Builder{})
	root.SetArgs([]string{cobra.ShellCompRequestCmd, "tokens", "import", ""})
	require.NoError(t, root.Execute())
	for _, name := range []string{"drf", "knox", "sanctum", "remaining"} {
		require.Contains(t, stdout.String(), name+"\t")
	}
}
