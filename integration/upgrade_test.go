package integration

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/pressly/goose/v3"
	goosedb "github.com/pressly/goose/v3/database"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// An upgrade is a table of the older library, and the tool that upgrades the table to the newest
// schema.
type upgrade struct {
	dump   dump
	table  string
	tool   string
	driver string
	dsn    string
}

// upgradeTools maps the name of each tool to a function that upgrades a table with the tool.
var upgradeTools = map[string]func(t *testing.T, u upgrade){
	"CreateSchema":   upgradeByCreateSchema,
	"goose":          upgradeByGoose,
	"golang-migrate": upgradeByGolangMigrate,
}

func upgrades() (all []upgrade) {
	for _, d := range dialects {
		for tool := range upgradeTools {
			all = append(all, upgrade{dump: dump{d, false}, table: "tokenauth_tokens", tool: tool})
		}
		// On SQLite and PostgreSQL, the table sess lacks indexes, because the service has a table with
		// the name of one of them. Only CreateSchema adds what 0001 should have created.
		all = append(all, upgrade{dump: dump{d, true}, table: "sess", tool: "CreateSchema"})
	}
	return append(all, upgrade{dump: dump{tokenauth.PostgreSQL, true}, table: "tokens", tool: "goose"})
}

// A service upgrades its table while instances with the library of 2026-11-26 serve requests. No
// valid key may be refused, and no revoked key may work again. The old instances must continue to
// work until they are replaced.
func TestUpgradeKeepsOlderInstancesWorking(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program, and takes seconds")
	}
	program := buildOlder(t)
	for _, u := range upgrades() {
		name := fmt.Sprint(u.dump.dialect, "/", u.table, "/", u.tool)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u.driver, u.dsn = u.dump.load(t)
			testUpgrade(t, program, u)
		})
	}
}

func testUpgrade(t *testing.T, program string, u upgrade) {
	store := u.store(t)
	require.Error(t, store.CheckSchema(t.Context()), "the older schema lacks columns")
	first := startOlder(t, program, u.driver, u.dsn, u.table)
	before := first.list(t)
	var keys []presented
	for _, token := range before {
		keys = append(keys, keysOf(token)...)
	}
	l, stop := startUpgradeLoad(t, first, keys)
	for _, p := range keys {
		l.present(p)
	}
	l.await(t)
	upgradeTools[u.tool](t, u)
	l.await(t)

	require.NoError(t, store.CheckSchema(t.Context()))
	m := fixture.NewLegacyManager(store, fixture.DRF)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	requireReadsOlderTokens(t, m, before, keys)
	// On SQLite, CreateSchema of the older library fails for the table sess, even before the upgrade.
	second := startOlder(t, program, u.driver, u.dsn, u.table, fmt.Sprint("-create=", u.table != "sess"), "-timeout=1m")
	for range shortOrLong(2, 50) {
		crossLibraries(t, m, second, "load-7")
	}
	for _, p := range keys {
		l.present(p)
	}
	stop()
	l.requireNothingWrong(t)
	requireSameTokens(t, second.list(t), must.Get(m.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true})))
	requireOlderKeepsRestriction(t, store, second, "load-7")
	if u.dump.own {
		requireOwnTables(t, open(t, u.driver, u.dsn))
	}
}

// store returns a store of the current library, with its own connection pool.
func (u upgrade) store(t *testing.T) *tokenauth.SQLStore {
	t.Helper()
	store, err := tokenauth.NewSQLStore(open(t, u.driver, u.dsn), u.dump.dialect, &tokenauth.SQLOptions{Table: u.table, Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// upgradeByCreateSchema calls CreateSchema concurrently, because several instances of a service may
// call it when they start.
func upgradeByCreateSchema(t *testing.T, u upgrade) {
	stores := []*tokenauth.SQLStore{u.store(t), u.store(t)}
	errs := make([]error, len(stores))
	fixture.Together(len(stores), func(i int) bool {
		errs[i] = stores[i].CreateSchema(t.Context())
		return true
	})
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
}

// upgradeByGoose runs goose. The table of tokens already exists, so the test first records in the
// version table that goose has run the first file.
func upgradeByGoose(t *testing.T, u upgrade) {
	db := open(t, u.driver, u.dsn)
	dialect := map[tokenauth.Dialect]goose.Dialect{
		tokenauth.SQLite: goose.DialectSQLite3, tokenauth.PostgreSQL: goose.DialectPostgres, tokenauth.MySQL: goose.DialectMySQL,
	}[u.dump.dialect]
	versions, err := goosedb.NewStore(dialect, u.table+"_versions")
	require.NoError(t, err)
	require.NoError(t, versions.CreateVersionTable(t.Context(), db))
	for _, version := range []int64{0, 1} {
		require.NoError(t, versions.Insert(t.Context(), db, goosedb.InsertRequest{Version: version}))
	}
	provider, err := goose.NewProvider("", db, u.store(t).Migrations(), goose.WithStore(versions))
	require.NoError(t, err)
	results, err := provider.Up(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, results)
}

// upgradeByGolangMigrate runs golang-migrate. The table of tokens already exists, so the test first
// records in the version table that golang-migrate has run the first file.
func upgradeByGolangMigrate(t *testing.T, u upgrade) {
	from, err := iofs.New(u.store(t).Migrations(), ".")
	require.NoError(t, err)
	var to database.Driver
	versions := u.table + "_versions"
	switch db := open(t, u.driver, u.dsn); u.dump.dialect {
	case tokenauth.SQLite:
		to, err = migratesqlite.WithInstance(db, &migratesqlite.Config{MigrationsTable: versions})
	case tokenauth.PostgreSQL:
		to, err = migratepgx.WithInstance(db, &migratepgx.Config{MigrationsTable: versions})
	default:
		to, err = migratemysql.WithInstance(db, &migratemysql.Config{MigrationsTable: versions})
	}
	require.NoError(t, err)
	tool, err := migrate.NewWithInstance("files", from, "database", to)
	require.NoError(t, err)
	require.NoError(t, tool.Force(1))
	require.NoError(t, tool.Up())
	errFrom, errTo := tool.Close()
	require.NoError(t, errFrom)
	require.NoError(t, errTo)
}

// requireReadsOlderTokens requires that the current library reads the same tokens as the older
// library before the upgrade, and that it accepts the same keys.
func requireReadsOlderTokens(t *testing.T, m *tokenauth.Manager, before []tokenauth.Token, keys []presented) {
	t.Helper()
	now := must.Get(m.List(t.Context(), tokenauth.Query{AllUsers: true, IncludeRevoked: true}))
	old := map[string]bool{}
	for _, token := range before {
		old[token.ID] = true
	}
	createdByLoad := func(token tokenauth.Token) bool { return !old[token.ID] }
	now = slices.DeleteFunc(now, createdByLoad)
	requireSameTokens(t, before, now)
	for _, p := range keys {
		token, err := m.Authenticate(t.Context(), p.key)
		if !p.good {
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidKey)
			continue
		}
		require.NoError(t, fixture.Noted(err))
		require.Equal(t, p.id, token.ID)
	}
}

// requireSameTokens requires that two lists have the same tokens. In the second list, the tokens
// may have been used later. It also has the field PreviousKeyUntil, which the older library lacks.
func requireSameTokens(t *testing.T, want, got []tokenauth.Token) {
	t.Helper()
	require.Len(t, got, len(want))
	want, got = slices.SortedFunc(slices.Values(want), byID), slices.SortedFunc(slices.Values(got), byID)
	for i := range got {
		require.False(t, got[i].LastUsedAt.Before(want[i].LastUsedAt), got[i].ID)
		got[i].LastUsedAt, got[i].PreviousKeyUntil = want[i].LastUsedAt, time.Time{}
	}
	require.Equal(t, want, got)
}

// crossLibraries changes tokens alternately with both libraries. After each change, both libraries
// must immediately accept and refuse the same keys.
func crossLibraries(t *testing.T, m *tokenauth.Manager, o *older, user string) {
	t.Helper()
	ctx := t.Context()
	requireBoth := func(key, id string, good bool) {
		t.Helper()
		status, presentedID, err := o.me(ctx, key)
		require.NoError(t, err)
		token, err := m.Authenticate(ctx, key)
		if !good {
			require.Equal(t, http.StatusUnauthorized, status)
			require.ErrorIs(t, fixture.Noted(err), tokenauth.ErrInvalidKey)
			return
		}
		require.NoError(t, fixture.Noted(err))
		require.Equal(t, []any{http.StatusOK, id, id}, []any{status, presentedID, token.ID})
	}
	secret, token, err := m.Issue(ctx, tokenauth.Spec{UserID: user, Name: "new", Scopes: []string{"read"}})
	require.NoError(t, err)
	first := revealed(secret)
	requireBoth(first, token.ID, true)
	form := url.Values{"user": {user}, "id": {token.ID}, "name": {"renamed"}, "grace": {"yes"}}
	second := o.change(t, "/rotate", form).Key
	requireBoth(first, token.ID, true)
	requireBoth(second, token.ID, true)
	o.change(t, "/rename", form)
	require.Equal(t, "renamed", must.Get(m.Get(ctx, user, token.ID)).Name)
	secret, _, err = m.Rotate(ctx, user, token.ID, 0)
	require.NoError(t, err)
	requireBoth(second, token.ID, false)
	requireBoth(revealed(secret), token.ID, true)
	o.change(t, "/revoke", form)
	requireBoth(revealed(secret), token.ID, false)

	other := o.change(t, "/issue", url.Values{"user": {user}, "name": {"old"}})
	requireBoth(other.Key, other.Token.ID, true)
	require.NoError(t, m.Revoke(ctx, user, other.Token.ID))
	requireBoth(other.Key, other.Token.ID, false)
}

// requireOwnTables requires that the upgrade has not changed the tables of the service.
func requireOwnTables(t *testing.T, db *sql.DB) {
	t.Helper()
	var sessions, users int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT sum(sessions) FROM sess_created").Scan(&sessions))
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM tokens_user").Scan(&users))
	require.Equal(t, []int{21, 9}, []int{sessions, users})
}
