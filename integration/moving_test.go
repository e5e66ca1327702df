package integration

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// movingTables contains statements that create the tables of knox and Sanctum, as Django and
// Laravel do on each engine. The fixtures contain the rows and the tables of SQLite.
var movingTables = map[tokenauth.Dialect][]string{
	tokenauth.PostgreSQL: {
		`CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, is_active boolean NOT NULL)`,
		`CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, token_key varchar(25) NOT NULL,
			user_id integer NOT NULL REFERENCES auth_user (id) DEFERRABLE INITIALLY DEFERRED, created timestamp with time zone NOT NULL, expiry timestamp with time zone NULL)`,
		`CREATE TABLE users (id bigint NOT NULL PRIMARY KEY, name varchar(255) NOT NULL, created_at timestamp(0) without time zone NULL, updated_at timestamp(0) without time zone NULL)`,
		`CREATE TABLE personal_access_tokens (id bigint NOT NULL PRIMARY KEY, tokenable_type varchar(255) NOT NULL, tokenable_id bigint NOT NULL,
			name text NOT NULL, token varchar(64) NOT NULL UNIQUE, abilities text NULL, last_used_at timestamp(0) without time zone NULL,
			expires_at timestamp(0) without time zone NULL, created_at timestamp(0) without time zone NULL, updated_at timestamp(0) without time zone NULL)`,
	},
	tokenauth.MySQL: {
		`CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, is_active bool NOT NULL) CHARACTER SET utf8mb4`,
		`CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, token_key varchar(25) NOT NULL,
			user_id integer NOT NULL REFERENCES auth_user (id), created datetime(6) NOT NULL, expiry datetime(6) NULL) CHARACTER SET utf8mb4`,
		`CREATE TABLE users (id bigint unsigned NOT NULL PRIMARY KEY, name varchar(255) NOT NULL, created_at timestamp NULL, updated_at timestamp NULL) CHARACTER SET utf8mb4`,
		`CREATE TABLE personal_access_tokens (id bigint unsigned NOT NULL PRIMARY KEY, tokenable_type varchar(255) NOT NULL, tokenable_id bigint unsigned NOT NULL,
			name text NOT NULL, token varchar(64) NOT NULL UNIQUE, abilities text NULL, last_used_at timestamp NULL,
			expires_at datetime NULL, created_at timestamp NULL, updated_at timestamp NULL) CHARACTER SET utf8mb4`,
	},
}

// openFixture returns a database with the tables of a fixture in tokenimport/testdata, and the
// lines of its list of keys.
func openFixture(t *testing.T, path string) (*sql.DB, [][]string) {
	t.Helper()
	statements, err := os.ReadFile("../tokenimport/testdata/" + path + ".sql")
	require.NoError(t, err)
	db := open(t, "sqlite", sqliteFile(t)+modernc)
	_, err = db.ExecContext(t.Context(), string(statements))
	require.NoError(t, err)
	text, err := os.ReadFile("../tokenimport/testdata/" + path + ".tsv")
	require.NoError(t, err)
	var lines [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[1:] {
		f := strings.Split(line, "\t")
		leak.Default.Secret(f[0])
		lines = append(lines, f)
	}
	return db, lines
}

// copyFixture copies the tables of a fixture to another database. It returns the lines of its list
// of keys.
func copyFixture(t *testing.T, path string, to *sql.DB, d tokenauth.Dialect) (lines [][]string) {
	t.Helper()
	from, lines := openFixture(t, path)
	for _, statement := range movingTables[d] {
		execute(t, to, statement)
	}
	tables := map[string][]string{"knox/knox5": {"auth_user", "knox_authtoken"}, "sanctum/sanctum": {"users", "personal_access_tokens"}}
	for _, table := range tables[path] {
		copyRows(t, from, to, d, table)
	}
	return lines
}

func execute(t testing.TB, db *sql.DB, statements string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statements)
	require.NoError(t, err)
}

// copyRows copies a table between databases whose columns have the same order.
func copyRows(t *testing.T, from, to *sql.DB, d tokenauth.Dialect, table string) {
	t.Helper()
	rows, err := from.QueryContext(t.Context(), "SELECT * FROM "+table)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values, into, holders := make([]any, len(names)), make([]any, len(names)), make([]string, len(names))
		for i := range names {
			into[i], holders[i] = &values[i], "?"
			if d == tokenauth.PostgreSQL {
				holders[i] = fmt.Sprint("$", i+1)
			}
		}
		require.NoError(t, rows.Scan(into...))
		for i, name := range names {
			if name == "is_active" {
				values[i] = fmt.Sprint(values[i]) == "true" || fmt.Sprint(values[i]) == "1"
			}
			if at, ok := values[i].(time.Time); ok && d == tokenauth.MySQL {
				values[i] = at.UTC().Format("2006-01-02 15:04:05.999999")
			}
		}
		_, err := to.ExecContext(t.Context(), "INSERT INTO "+table+" VALUES ("+strings.Join(holders, ", ")+")", values...)
		require.NoError(t, err)
	}
	require.NoError(t, rows.Err())
}

// The import must give the same result on each engine and with each driver. Exactly the keys that
// the old system accepts must work, and each token must expire at the same time as in the old
// system.
// Case K10.
func TestKnoxAndSanctumImportAcceptsSameKeys(t *testing.T) {
	t.Parallel()
	scopes := func(string) ([]string, error) { return []string{"any"}, nil }
	for name, c := range map[string]struct {
		d       tokenauth.Dialect
		setting string
	}{
		"postgresql":                      {tokenauth.PostgreSQL, ""},
		"postgresql in another time zone": {tokenauth.PostgreSQL, "&timezone=America/New_York"},
		"mariadb":                         {tokenauth.MySQL, ""},
		"mariadb with parseTime":          {tokenauth.MySQL, "&parseTime=true&loc=America%2FNew_York"},
	} {
		for _, path := range []string{"knox/knox5", "sanctum/sanctum"} {
			t.Run(name+"/"+path, func(t *testing.T) {
				t.Parallel()
				driver, dsn := newDatabase(t, c.d)
				lines := copyFixture(t, path, open(t, driver, dsn), c.d)
				db := open(t, driver, dsn+c.setting)
				knox := tokenimport.Knox(db, c.d, tokenimport.Knox5, nil)
				source, origin := knox, "knox"
				if path == "sanctum/sanctum" {
					source, origin = tokenimport.Sanctum(db, c.d, &tokenimport.SanctumOptions{Scopes: scopes}), "sanctum"
				}
				m := must.Get(tokenauth.New(newStore(t, db, c.d, nil), "acme", &tokenauth.Options{TouchEvery: -1, Legacy: []tokenauth.LegacyFormat{
					tokenimport.KnoxFormat(tokenimport.Knox5, "acme_"), tokenimport.SanctumFormat("acme_"),
				}}))
				report, err := tokenimport.Run(t.Context(), m, source, nil)
				require.NoError(t, err)

				user := func(_ context.Context, id string) (string, error) { return id, nil }
				server := httptest.NewServer(showToken(must.Get(tokenauth.NewAuthenticator(m, user, nil))))
				defer server.Close()
				accepted := 0
				for _, line := range lines {
					status, body := sendKey(t, server, line[0])
					userID, isAccepted, note := line[1], line[4], line[5]
					if origin == "sanctum" {
						userID, note = line[2], line[6]
					}
					if isAccepted == "0" || note == "another tokenable" {
						require.Equal(t, http.StatusUnauthorized, status, note)
						continue
					}
					require.Equal(t, http.StatusOK, status, note)
					require.Equal(t, userID, strings.Split(body, "\n")[0])
					require.Contains(t, body, "\n2026-11-26T0")
					if note != "without id" {
						accepted++
					}
				}
				require.Equal(t, accepted, report.Imported)
				left, err := tokenimport.Remaining(t.Context(), m, origin)
				require.NoError(t, err)
				require.Equal(t, accepted, left.Tokens)

				tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "1"})
				require.NoError(t, err)
				expiries := map[string]bool{}
				for _, token := range tokens {
					expiries[token.ExpiresAt.Format(time.DateTime)] = true
				}
				if origin == "sanctum" {
					require.Equal(t, map[string]bool{"0001-01-01 00:00:00": true, "2126-01-02 03:04:05": true}, expiries)
				} else {
					require.Contains(t, expiries, "2126-11-02 01:59:39")
				}
			})
		}
	}
}

// An operator on PostgreSQL runs the commands and statements of docs/moving-from-*.md in the
// database of the old system. Each must have the effect that the page describes.
func TestMovingGuidesWorkOnPostgreSQL(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	output(t, nil, "go", "build", "-C", "../cmd/tokenauth", "-o", bin+"/tokenauth", ".")
	for origin, prepare := range map[string]func(t *testing.T, dsn string, db *sql.DB) (accepted int){
		"drf": func(t *testing.T, dsn string, _ *sql.DB) (accepted int) {
			for _, token := range django(t, "many", forDjango(t, tokenauth.PostgreSQL, dsn)) {
				if token.accepted != "" {
					accepted++
				}
			}
			return accepted
		},
		"knox": func(t *testing.T, _ string, db *sql.DB) int {
			copyFixture(t, "knox/knox5", db, tokenauth.PostgreSQL)
			// A token that has just expired must not work again after the import.
			execute(t, db, "UPDATE knox_authtoken SET expiry = now() - interval '1 minute' WHERE token_key = '0acc2f7ec7785da'")
			return 27
		},
		"sanctum": func(t *testing.T, _ string, db *sql.DB) int {
			copyFixture(t, "sanctum/sanctum", db, tokenauth.PostgreSQL)
			return 38
		},
	} {
		t.Run(origin, func(t *testing.T) {
			t.Parallel()
			driver, dsn := newDatabase(t, tokenauth.PostgreSQL)
			name := forDjango(t, tokenauth.PostgreSQL, dsn)[3]
			execute(t, open(t, driver, dsn), "ALTER DATABASE "+name+" SET timezone = 'America/New_York'")
			db := open(t, driver, dsn)
			(&movingPage{origin, db, bin, dsn}).walk(t, prepare(t, dsn, db))
		})
	}
}

// A movingPage is one of docs/moving-from-*.md, with the database on which its commands run.
type movingPage struct {
	origin string
	db     *sql.DB
	bin    string // folder of the program tokenauth
	dsn    string
}

// walk runs the commands and statements in the order of the page.
func (p *movingPage) walk(t *testing.T, accepted int) {
	sh, sql := p.blocks(t, "sh"), p.blocks(t, "sql")
	require.Equal(t, 1, strings.Count(sh[0], "sqlite:app.db"))
	sh[0] = strings.Replace(sh[0], "sqlite:app.db", "'"+p.dsn+"'", 1)
	imported := `(?m)^Imported +` + strconv.Itoa(accepted) + `$`
	require.Regexp(t, imported, p.run(t, sh[0]))
	require.Zero(t, p.count(t, "true"), "a dry run must import nothing")
	require.Regexp(t, imported, p.run(t, sh[1]))
	require.Equal(t, accepted, p.count(t, "true"))
	execute(t, p.db, sql[0]) // deletes the tokens of the rehearsal
	require.Zero(t, p.count(t, "true"))

	if p.origin == "knox" {
		execute(t, p.db, strings.Replace(sql[1], "2028-01-01", "2345-01-01", 1)) // the date must be in the future
	}
	require.Regexp(t, imported, p.run(t, sh[1]))
	require.True(t, strings.HasPrefix(p.run(t, sh[2]), fmt.Sprint(accepted, " tokens; last used: ")))

	// One token is rotated, and all others get an expiry time.
	store := newStore(t, p.db, tokenauth.PostgreSQL, &tokenauth.SQLOptions{Table: "tokenauth_tokens", Timeout: time.Minute})
	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{TouchEvery: -1}))
	tokens, err := m.List(t.Context(), tokenauth.Query{AllUsers: true, Limit: 1})
	require.NoError(t, err)
	key, _, err := m.Rotate(t.Context(), tokens[0].UserID, tokens[0].ID, 0)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(p.run(t, sh[2]), fmt.Sprint(accepted-1, " tokens; last used: ")))
	if p.origin == "knox" {
		require.NotZero(t, p.count(t, "expires_at IS NOT NULL"))
		require.Zero(t, p.count(t, "expires_at <> extract(epoch FROM timestamptz '2345-01-01 00:00:00') * 1000000"))
	} else {
		execute(t, p.db, sql[1])
		require.Equal(t, accepted-1, p.count(t, "expires_at = 1814400000000000"))
	}

	execute(t, p.db, sql[2])
	require.Equal(t, 1, p.count(t, "true"))
	token, err := m.Authenticate(t.Context(), revealed(key))
	require.NoError(t, err)
	require.Empty(t, token.Origin, "Prune must be able to delete the token")
}

func (p *movingPage) blocks(t *testing.T, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/moving-from-" + p.origin + ".md")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	require.Len(t, blocks, 3)
	return blocks
}

func (p *movingPage) run(t *testing.T, commands string) string {
	t.Helper()
	env := []string{"PATH=" + p.bin + ":" + os.Getenv("PATH"), "TOKENAUTH_DSN=" + p.dsn, "TOKENAUTH_PREFIX=acme", "HOME=" + p.bin}
	return output(t, env, "sh", "-ec", commands)
}

// count returns the number of tokens that match a condition.
func (p *movingPage) count(t *testing.T, where string) (n int) {
	t.Helper()
	require.NoError(t, p.db.QueryRowContext(t.Context(), "SELECT count(*) FROM tokenauth_tokens WHERE "+where).Scan(&n))
	return n
}
