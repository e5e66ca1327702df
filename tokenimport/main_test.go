package tokenimport_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

func TestMain(m *testing.M) { leak.Main(m) }

func newManager(store tokenauth.Store) *tokenauth.Manager {
	return must.Get(tokenauth.New(store, "acme", &tokenauth.Options{Legacy: []tokenauth.LegacyFormat{tokenimport.DRFFormat()}}))
}

// drfKey returns a key in the form of DRF. The test run fails if its output contains the key.
func drfKey(seed any) string {
	return fixture.HexKey(fmt.Sprint(seed))
}

// run calls tokenimport.Run, which must succeed. The report and the refusals must not contain a
// key.
func run(t testing.TB, m *tokenauth.Manager, s *tokenimport.Source, opts tokenimport.Options) (tokenimport.Report, []tokenimport.Refusal) {
	t.Helper()
	var refused []tokenimport.Refusal
	opts.OnRefused = func(r tokenimport.Refusal) { refused = append(refused, r) }
	report, err := tokenimport.Run(t.Context(), m, s, &opts)
	require.NoError(t, fixture.Noted(err))
	_, _ = fmt.Fprintf(&leak.Default, "%+v %+v", report, refused)
	require.Equal(t, report.Read, report.Imported+report.Existing+report.Refused)
	require.Len(t, refused, report.Refused)
	return report, refused
}

// newDjango creates tables like those of Django, but with fewer constraints. Users 1 to 9 are
// active, and user 10 is not. There are no other users.
func newDjango(t testing.TB, db *sql.DB) {
	t.Helper()
	execute(t, db, `CREATE TABLE auth_user (id integer PRIMARY KEY, is_active bool NOT NULL)`)
	execute(t, db, `CREATE TABLE tokens_token (id integer PRIMARY KEY, key text, user_id integer, name text, created datetime)`)
	for id := 1; id <= 10; id++ {
		execute(t, db, "INSERT INTO auth_user VALUES (?, ?)", id, id < 10)
	}
}

const created = "2026-03-01 12:00:00.123456"

func addToken(t testing.TB, db *sql.DB, key string, userID any, name any) {
	t.Helper()
	execute(t, db, "INSERT INTO tokens_token (key, user_id, name, created) VALUES (?, ?, ?, ?)", key, userID, name, created)
}

// addTokens adds n rows with the keys drfKey(0) to drfKey(n-1). The rows belong to users 1 to 9 in
// turn.
func addTokens(t testing.TB, db *sql.DB, n int, name func(i int) string) {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	for i := range n {
		_, err := tx.Exec("INSERT INTO tokens_token (key, user_id, name, created) VALUES (?, ?, ?, ?)", drfKey(i), 1+i%9, name(i), created)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
}

// manyTokens are the options for tokens with names, in the tables of newDjango or of the fixture.
var manyTokens = &tokenimport.DRFOptions{Table: "tokens_token", ID: "id", Name: "name"}

func execute(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err)
}

// userOf returns the user ID of a key, or the empty string if the key is refused.
func userOf(t testing.TB, m *tokenauth.Manager, key string) string {
	t.Helper()
	token, err := m.Authenticate(t.Context(), key)
	require.True(t, err == nil || errors.Is(fixture.Noted(err), tokenauth.ErrInvalidKey), "%v", err)
	return token.UserID
}

// namesOf returns the names of a user's live tokens, oldest first.
func namesOf(t testing.TB, m *tokenauth.Manager, userID string) (names []string) {
	t.Helper()
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: userID})
	require.NoError(t, err)
	for _, token := range tokens {
		names = append(names, token.Name)
	}
	return names
}

// A fixtureRow describes a token in a fixture.
type fixtureRow struct {
	key, userID, name string
	active            bool
}

// loadFixture loads a fixture of testdata/drf into db, and returns its tokens.
func loadFixture(t testing.TB, db *sql.DB, name string) (rows []fixtureRow) {
	t.Helper()
	statements, err := os.ReadFile(filepath.Join("testdata/drf", name+".sql"))
	require.NoError(t, err)
	execute(t, db, string(statements))
	table, err := os.ReadFile(filepath.Join("testdata/drf", name+".tsv"))
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSuffix(string(table), "\n"), "\n")[1:] {
		f := strings.Split(line, "\t")
		leak.Default.Secret(f[0])
		rows = append(rows, fixtureRow{f[0], f[1], f[3], f[4] == "1"})
	}
	return rows
}
