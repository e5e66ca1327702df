package systemtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// The tests in this file cover databases that refuse writes, tables with a wrong schema, and rows
// with invalid values.

// If the disk is full, Issue must return an error, and existing keys must still work. The store
// must write a change completely, or return an error and write nothing. As soon as the disk has
// space again, Flush must write the pending last-used times. Case F9.
func TestFullDiskLosesNoToken(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a disk slowly")
	}
	t.Parallel()
	db := sqlite.OpenDurable(t, filepath.Join(t.TempDir(), "tokens.db"))
	db.SetMaxOpenConns(1) // SQLite applies max_page_count only to one connection
	store := sqlite.NewStore(t, db, nil)
	clock := fixture.NewClock()
	var events fixture.Recorder
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
	keys, tokens := make([]string, 50), make([]tokenauth.Token, 50)
	for i := range keys { // 50 rows need several pages of the file
		keys[i], tokens[i] = fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
	}
	resize := func(pages string) {
		_, err := db.Exec("PRAGMA max_page_count = " + pages)
		require.NoError(t, err)
	}
	resize("1") // SQLite replaces 1 by the number of pages that the file has
	issued := 0
	var err error
	for ; err == nil; issued++ { // issues tokens until all pages are full
		require.Less(t, issued, 1000)
		_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: fmt.Sprint("other", issued), Name: "laptop"})
	}
	requireUnavailable(t, err, "issue")
	require.ErrorContains(t, err, "full")
	count := func() (n int) {
		require.NoError(t, db.QueryRow("SELECT count(*) FROM tokenauth_tokens").Scan(&n))
		return n
	}
	require.Equal(t, len(keys)+issued-1, count())

	// A change of one row may still fit into the full file. The store must write the change
	// completely or not at all.
	next, _, err := m.Rotate(ctx, "u", tokens[0].ID, 0)
	if err != nil {
		requireUnavailable(t, err, "rotate")
	}
	require.Equal(t, err != nil, fixture.Accepts(m, keys[0])[0])
	require.Equal(t, err == nil, next.Reveal() != "" && fixture.Accepts(m, next.Reveal())[0])
	if err = m.Revoke(ctx, "u", tokens[1].ID); err != nil {
		requireUnavailable(t, err, "revoke")
	}
	require.Equal(t, err != nil, fixture.Accepts(m, keys[1])[0])

	clock.Advance(time.Hour)
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
	events.Take()
	for _, key := range keys[2:] {
		require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
	}
	// Flush adds a last-used time to 48 rows, and the full file has no space for them.
	requireUnavailable(t, m.Flush(ctx), "flush")
	requireFlushFailed(t, events.Take())
	require.Zero(t, fixture.LastUse(t, store, tokens[2].ID))

	resize("1000000")
	require.NoError(t, m.Flush(ctx), "Flush must succeed when the file may grow again")
	require.Equal(t, clock.Now(), fixture.LastUse(t, store, tokens[2].ID))
	fixture.Issue(t, m, tokenauth.Spec{UserID: "other", Name: "laptop"})
}

// requireFlushFailed requires that Flush reported its failure. After 100 ms the Manager tries
// again, and reports another failure.
func requireFlushFailed(t *testing.T, told []tokenauth.Event) {
	t.Helper()
	require.NotEmpty(t, told)
	for _, e := range told {
		require.Equal(t, tokenauth.EventFlushFailed, e.Kind)
	}
}

// requireNoWrites requires that each change of tokens fails with status 503 and stores nothing.
// Requests with key, the key of token, must still succeed. The token belongs to user "u".
func requireNoWrites(t *testing.T, store tokenauth.Store, key string, token tokenauth.Token) {
	t.Helper()
	clock := fixture.NewClock()
	clock.Advance(time.Hour)
	var events fixture.Recorder
	m := fixture.NewManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.Record})
	before, err := m.List(ctx, tokenauth.Query{UserID: "u", IncludeRevoked: true})
	require.NoError(t, err)
	for name, change := range map[string]func() error{
		"issue":  func() error { _, _, err := m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"}); return err },
		"rotate": func() error { _, _, err := m.Rotate(ctx, "u", token.ID, 0); return err },
		"update": func() error {
			_, err := m.Update(ctx, "u", token.ID, tokenauth.Patch{Name: new("desktop")})
			return err
		},
		"import": func() error {
			_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: "u", Name: "old", Origin: "drf", Digest: tokenauth.DigestOf("old")},
				tokenauth.ImportSpec{UserID: "u", Name: "older", Origin: "drf", Digest: tokenauth.DigestOf("older")})
			return err
		},
		"revoke":     func() error { return m.Revoke(ctx, "u", token.ID) },
		"revoke all": func() error { _, err := m.RevokeAll(ctx, "u"); return err },
		"prune":      func() error { _, err := m.Prune(ctx, clock.Now()); return err },
	} {
		requireUnavailable(t, change(), name)
		for _, e := range events.Take() {
			require.Error(t, e.Err, "the event of %s must not report a change, because the store has refused it", name)
		}
	}
	h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
	require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
	requireUnavailable(t, m.Flush(ctx), "flush")
	requireFlushFailed(t, events.Take())
	require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
	after, err := m.List(ctx, tokenauth.Query{UserID: "u", IncludeRevoked: true})
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// If the database file is read-only, changes must fail with status 503, and existing keys must
// still work. The kernel may remount a disk read-only after a disk error. Case F9.
func TestReadOnlyFileServesKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	key, token := fixture.Issue(t, fixture.NewManager(sqlite.NewStore(t, sqlite.Open(t, path), nil), nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
	store, err := tokenauth.NewSQLStore(sqlite.OpenWith(t, path, "?mode=ro"), tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	requireNoWrites(t, store, key, token)
}

// A stateError is an error with an SQLSTATE, like the errors that PostgreSQL drivers return.
type stateError string

func (e stateError) Error() string { return "ERROR: no (SQLSTATE " + string(e) + ")" }

func (e stateError) SQLState() string { return string(e) }

// A database server returns these errors if a disk, a quota or a table is full, or if the server is
// read-only. A change that fails with such an error must get status 503. The test uses SQLite, and
// a failingHandle returns the error for every change. Case F9.
func TestRefusedWritesAre503(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"PostgreSQL, disk full":          stateError("53100"),
		"PostgreSQL, out of memory":      stateError("53200"),
		"PostgreSQL, configured limit":   stateError("53400"),
		"PostgreSQL, read-only":          stateError("25006"),
		"PostgreSQL, no permission":      stateError("42501"),
		"MySQL, disk full":               errors.New("Error 1021 (HY000): Disk full (/tmp/x); waiting for someone to free some space..."),
		"MySQL, table full":              errors.New("Error 1114 (HY000): The table 'tokens' is full"),
		"MySQL, writing":                 errors.New("Error 1026 (HY000): Error writing file 'tokens' (errno: 122 - quota)"),
		"MySQL, --read-only":             errors.New("Error 1290 (HY000): The server is running with the --read-only option"),
		"SQLite, quota or broken device": errors.New("disk I/O error (778)"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite.New(t)
			key, token := fixture.Issue(t, fixture.NewManager(sqlite.NewStore(t, db, nil), nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
			store, err := tokenauth.NewSQLStore(&failingHandle{DB: db, err: failure}, tokenauth.SQLite, sqlite.Patient())
			require.NoError(t, err)
			requireNoWrites(t, store, key, token)
		})
	}
}

// If the store cannot read a row, the tokens in all other rows must still work. The error must
// contain the ID of the unreadable token, so that an operator can revoke this token. Before the
// token is revoked, List must return an error for the user of the token. Case F13.
func TestCorruptRowHarmsNoOtherToken(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`scopes = NULL`, `created_at = 'x'`, `expires_at = 9223372036854775807`, `last_used_at = -9223372036854775808`, `generation = 'x'`,
		`resources = ''`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			store, db := newLooseStore(t)
			// A SQLite column without a type and without constraints accepts any value.
			_, err := db.Exec("ALTER TABLE tokenauth_tokens DROP COLUMN scopes; ALTER TABLE tokenauth_tokens ADD COLUMN scopes")
			require.NoError(t, err)
			m := fixture.NewManager(store, nil)
			bad, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			good, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
			other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "v", Name: "laptop"})
			_, err = db.Exec("UPDATE tokenauth_tokens SET "+change+" WHERE id = ?", token.ID)
			require.NoError(t, err)

			_, err = m.Authenticate(ctx, bad)
			requireUnavailable(t, err, "authenticate")
			require.ErrorContains(t, err, token.ID)
			_, err = m.List(ctx, tokenauth.Query{UserID: "u"})
			requireUnavailable(t, err, "list")
			require.ErrorContains(t, err, token.ID)
			require.Equal(t, []bool{true, true}, fixture.Accepts(m, good, other))
			tokens, err := m.List(ctx, tokenauth.Query{UserID: "v"})
			require.NoError(t, err)
			require.Len(t, tokens, 1)

			require.NoError(t, m.Revoke(ctx, "u", token.ID))
			require.Equal(t, []bool{false, true, true}, fixture.Accepts(m, bad, good, other))
			tokens, err = m.List(ctx, tokenauth.Query{UserID: "u"})
			require.NoError(t, err)
			require.Len(t, tokens, 1)
		})
	}
}

// If the column scopes contains a text that no Manager writes, this text must not grant a scope.
// Routes that require no scope must still accept the token. Case F13.
func TestStrangeScopesGrantNothing(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1})
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	for i, scopes := range []any{"admin,read", `["admin"]`, " ", "  read", "admin\x00", "\xff\xfe admi", []byte{0}, "ADMIN", "*", 1} {
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), Scopes: []string{"read"}})
		_, err := db.Exec("UPDATE tokenauth_tokens SET scopes = ? WHERE id = ?", scopes, token.ID)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, fixture.Get(auth.RequireScopes("admin")(fixture.Forbidden(t)), "Bearer "+key).Code, "%q", scopes)
		require.Equal(t, http.StatusOK, fixture.Get(auth.Require(fixture.Whoami), "Bearer "+key).Code, "%q", scopes)
	}
	_, err := m.List(ctx, tokenauth.Query{UserID: "u"})
	require.NoError(t, err)
}

// If the column resources contains a text that no Manager writes, the key must get 503, or reach
// only what the text names. It must never get all resources, which NULL means.
func TestTamperedResourcesAllowNothingElse(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	m := fixture.NewManager(store, &tokenauth.Options{MaxPerUser: -1, Resources: func(context.Context, string) ([]tokenauth.Resource, error) {
		return []tokenauth.Resource{{ID: "a"}, {ID: "b"}}, nil
	}})
	auth := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil))
	getsA := auth.RequireFunc(func(*http.Request) (tokenauth.Need, error) {
		return tokenauth.Need{Resources: []string{"a"}}, nil
	})(fixture.Whoami)
	for i, c := range []struct {
		resources any
		unnamed   int // status without a Need
		named     int // status if the resource a is needed
	}{
		{"", 503, 503}, {" ", 503, 503}, {"a ", 503, 503}, {" a", 503, 503}, {"a  b", 503, 503}, {[]byte{}, 503, 503},
		{"b", 403, 403}, {"a,b", 403, 403}, {`["a"]`, 403, 403}, {"null", 403, 403}, {"*", 403, 403}, {"A", 403, 403}, {"a\tb", 403, 403}, {"\x00", 403, 403}, {0, 403, 403},
		{"a", 403, 200}, {"b a", 403, 200}, {nil, 200, 200},
	} {
		key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), Resources: []string{"a"}})
		_, err := db.Exec("UPDATE tokenauth_tokens SET resources = ? WHERE id = ?", c.resources, token.ID)
		require.NoError(t, err)
		require.Equal(t, c.unnamed, fixture.Get(auth.Require(fixture.Whoami), "Bearer "+key).Code, "%q", c.resources)
		require.Equal(t, c.named, fixture.Get(getsA, "Bearer "+key).Code, "%q", c.resources)
		found, err := store.Find(ctx, tokenauth.DigestOf(key))
		if c.named == 503 {
			fixture.RequireStoreFailure(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.resources == nil, found.Token.Resources == nil, "%q", c.resources)
	}
}

// If a migration renames the table or a column of a running service, requests with valid keys must
// get status 503. With status 401, clients would discard valid keys. After the old name is
// restored, requests must succeed without a restart. Case F14.
func TestChangedTableIs503(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ away, back string }{
		"table":             {"ALTER TABLE tokenauth_tokens RENAME TO away", "ALTER TABLE away RENAME TO tokenauth_tokens"},
		"column hint":       {"ALTER TABLE tokenauth_tokens RENAME COLUMN hint TO away", "ALTER TABLE tokenauth_tokens RENAME COLUMN away TO hint"},
		"column revoked_at": {"ALTER TABLE tokenauth_tokens RENAME COLUMN revoked_at TO away", "ALTER TABLE tokenauth_tokens RENAME COLUMN away TO revoked_at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite.New(t)
			store := sqlite.NewStore(t, db, nil)
			m := fixture.NewManager(store, nil)
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
			// During the first request, the store prepares its Find query.
			require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
			_, err := db.Exec(c.away)
			require.NoError(t, err)
			requireUnavailable(t, store.CheckSchema(ctx), "CheckSchema")
			for range 3 {
				require.Equal(t, http.StatusServiceUnavailable, fixture.Get(h, "Bearer "+key).Code)
			}
			_, _, err = m.Rotate(ctx, "u", token.ID, 0)
			requireUnavailable(t, err, "rotate")
			_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"})
			requireUnavailable(t, err, "issue")
			_, err = db.Exec(c.back)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, fixture.Get(h, "Bearer "+key).Code)
			require.NoError(t, m.Revoke(ctx, "u", token.ID))
		})
	}
}

// If the folder of the SQLite database file does not exist, CheckSchema, CreateSchema and
// Authenticate must fail with status 503. Case F14.
func TestMissingDatabaseFailsAtStart(t *testing.T) {
	t.Parallel()
	db := sqlite.Open(t, filepath.Join(t.TempDir(), "missing", "tokens.db"))
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	requireUnavailable(t, store.CheckSchema(ctx), "check")
	requireUnavailable(t, store.CreateSchema(ctx), "create")
	_, err = fixture.NewManager(store, nil).Authenticate(ctx, keyform.Generate("acme"))
	requireUnavailable(t, err, "authenticate")
}
