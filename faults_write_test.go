package tokenauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// This file tests databases that refuse writes, and tables with a wrong schema or content.

// Case F9. If the disk is full, Issue must fail and existing keys must still work. A change
// that cannot be written must return an error and must not be stored partly. Last-used times
// must be written when there is space again.
func TestF9DiskFull(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	db.SetMaxOpenConns(1) // because max_page_count applies to one connection
	store := newSQLiteStore(t, db, &tokenauth.SQLOptions{Timeout: time.Minute})
	clock := newClock()
	var events recorder
	m := newManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.tell})
	keys, tokens := make([]string, 50), make([]tokenauth.Token, 50)
	for i := range keys { // more rows than fit on one page
		keys[i], tokens[i] = issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i)})
	}
	resize := func(pages string) {
		_, err := db.Exec("PRAGMA max_page_count = " + pages)
		require.NoError(t, err)
	}
	resize("1") // SQLite raises this to the current number of pages
	issued := 0
	var err error
	for ; err == nil; issued++ { // until the existing pages are full
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

	// A change of one row may fit. It must be stored completely or not at all.
	next, _, err := m.Rotate(ctx, "u", tokens[0].ID, 0)
	if err != nil {
		requireUnavailable(t, err, "rotate")
	}
	require.Equal(t, err != nil, accepts(m, keys[0])[0])
	require.Equal(t, err == nil, next.Reveal() != "" && accepts(m, next.Reveal())[0])
	if err = m.Revoke(ctx, "u", tokens[1].ID); err != nil {
		requireUnavailable(t, err, "revoke")
	}
	require.Equal(t, err != nil, accepts(m, keys[1])[0])

	clock.Advance(time.Hour)
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
	events.take()
	for _, key := range keys[2:] {
		require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
	}
	requireUnavailable(t, m.Flush(ctx), "flush") // all rows grow by a last-used time
	told := events.take()
	require.Len(t, told, 1)
	require.Equal(t, tokenauth.EventFlushFailed, told[0].Kind)
	require.Zero(t, lastUse(t, store, tokens[2].ID))

	resize("1000000")
	require.NoError(t, m.Flush(ctx), "the flush succeeds when there is space")
	require.Equal(t, clock.Now(), lastUse(t, store, tokens[2].ID))
	issue(t, m, tokenauth.Spec{UserID: "other", Name: "laptop"})
}

// requireNoWrites requires that each change fails with status 503 and stores nothing. The
// keys of user u must still work.
func requireNoWrites(t *testing.T, store tokenauth.Store, key string, token tokenauth.Token) {
	t.Helper()
	clock := newClock()
	clock.Advance(time.Hour)
	var events recorder
	m := newManager(store, &tokenauth.Options{Now: clock.Now, OnEvent: events.tell})
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
		require.Empty(t, events.take(), "%s must cause no event, because it failed", name)
	}
	h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
	require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
	requireUnavailable(t, m.Flush(ctx), "flush")
	told := events.take()
	require.Len(t, told, 1)
	require.Equal(t, tokenauth.EventFlushFailed, told[0].Kind)
	require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
	after, err := m.List(ctx, tokenauth.Query{UserID: "u", IncludeRevoked: true})
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// Case F9. The database file is read-only, as after the kernel has remounted a disk.
func TestF9ReadOnlyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.db")
	key, token := issue(t, newManager(newSQLiteStore(t, openSQLiteFile(t, path), nil), nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
	store, err := tokenauth.NewSQLStore(openSQLiteWith(t, path, "?mode=ro"), tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	requireNoWrites(t, store, key, token)
}

// A stateError is an error with an SQLSTATE, as PostgreSQL drivers return it.
type stateError string

func (e stateError) Error() string    { return "ERROR: no (SQLSTATE " + string(e) + ")" }
func (e stateError) SQLState() string { return string(e) }

// Case F9. A server returns these errors if a disk, a quota or a table is full, or if it is
// read-only. They must cause status 503. The test uses SQLite and fakes the errors.
func TestF9ErrorsOfServers(t *testing.T) {
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
			db := openSQLite(t)
			key, token := issue(t, newManager(newSQLiteStore(t, db, nil), nil), tokenauth.Spec{UserID: "u", Name: "laptop"})
			store, err := tokenauth.NewSQLStore(&failingHandle{DB: db, err: failure}, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: time.Minute})
			require.NoError(t, err)
			requireNoWrites(t, store, key, token)
		})
	}
}

// Case F13. A row that cannot be read must affect only its own token. The error must name
// the token, so that it can be revoked. Until then, List of the user must return an error.
func TestF13OneCorruptRow(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`scopes = 1`, `scopes = NULL`, `created_at = 'x'`, `expires_at = 9223372036854775807`, `last_used_at = -9223372036854775808`, `generation = 'x'`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			store, db := newLooseStore(t)
			_, err := db.Exec("ALTER TABLE tokenauth_tokens DROP COLUMN scopes; ALTER TABLE tokenauth_tokens ADD COLUMN scopes") // a column without a type accepts any value
			require.NoError(t, err)
			m := newManager(store, nil)
			bad, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			good, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "phone"})
			other, _ := issue(t, m, tokenauth.Spec{UserID: "v", Name: "laptop"})
			_, err = db.Exec("UPDATE tokenauth_tokens SET "+change+" WHERE id = ?", token.ID)
			require.NoError(t, err)

			_, err = m.Authenticate(ctx, bad)
			requireUnavailable(t, err, "authenticate")
			require.ErrorContains(t, err, token.ID)
			_, err = m.List(ctx, tokenauth.Query{UserID: "u"})
			requireUnavailable(t, err, "list")
			require.ErrorContains(t, err, token.ID)
			require.Equal(t, []bool{true, true}, accepts(m, good, other))
			tokens, err := m.List(ctx, tokenauth.Query{UserID: "v"})
			require.NoError(t, err)
			require.Len(t, tokens, 1)

			require.NoError(t, m.Revoke(ctx, "u", token.ID))
			require.Equal(t, []bool{false, true, true}, accepts(m, bad, good, other))
			tokens, err = m.List(ctx, tokenauth.Query{UserID: "u"})
			require.NoError(t, err)
			require.Len(t, tokens, 1)
		})
	}
}

// Case F13. Stored scopes that no Manager would write must not grant a scope. The token must
// still be accepted where no scope is required.
func TestF13StrangeScopes(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	m := newManager(store, &tokenauth.Options{MaxPerUser: -1})
	auth := tokenauth.NewAuthenticator(m, anyUser, nil)
	for i, scopes := range []any{"admin,read", `["admin"]`, " ", "  read", "admin\x00", "\xff\xfe admi", []byte{0}, "ADMIN", "*"} {
		key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint(i), Scopes: []string{"read"}})
		_, err := db.Exec("UPDATE tokenauth_tokens SET scopes = ? WHERE id = ?", scopes, token.ID)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, get(auth.RequireScopes("admin")(forbidden(t)), "Bearer "+key).Code, "%q", scopes)
		require.Equal(t, http.StatusOK, get(auth.Require(whoami), "Bearer "+key).Code, "%q", scopes)
	}
	_, err := m.List(ctx, tokenauth.Query{UserID: "u"})
	require.NoError(t, err)
}

// Case F14. If a migration removes the table of a running service, valid keys must get 503,
// not 401. When the table is back, the service must work without a restart.
func TestF14TableChangesAtRunTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ away, back string }{
		"table":            {"ALTER TABLE tokenauth_tokens RENAME TO away", "ALTER TABLE away RENAME TO tokenauth_tokens"},
		"column":           {"ALTER TABLE tokenauth_tokens RENAME COLUMN hint TO away", "ALTER TABLE tokenauth_tokens RENAME COLUMN away TO hint"},
		"column of writes": {"ALTER TABLE tokenauth_tokens RENAME COLUMN revoked_at TO away", "ALTER TABLE tokenauth_tokens RENAME COLUMN away TO revoked_at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openSQLite(t)
			store := newSQLiteStore(t, db, &tokenauth.SQLOptions{Timeout: time.Minute})
			m := newManager(store, nil)
			key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
			require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code) // prepares the query
			_, err := db.Exec(c.away)
			require.NoError(t, err)
			requireUnavailable(t, store.CheckSchema(ctx), "CheckSchema")
			for range 3 {
				require.Equal(t, http.StatusServiceUnavailable, get(h, "Bearer "+key).Code)
			}
			_, _, err = m.Rotate(ctx, "u", token.ID, 0)
			requireUnavailable(t, err, "rotate")
			_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "u", Name: "phone"})
			requireUnavailable(t, err, "issue")
			_, err = db.Exec(c.back)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, get(h, "Bearer "+key).Code)
			require.NoError(t, m.Revoke(ctx, "u", token.ID))
		})
	}
}

// Case F14. If the folder of the database file is missing, CheckSchema and CreateSchema must
// return an error.
func TestF14NoDatabase(t *testing.T) {
	t.Parallel()
	db := openSQLiteFile(t, filepath.Join(t.TempDir(), "missing", "tokens.db"))
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, nil)
	require.NoError(t, err)
	requireUnavailable(t, store.CheckSchema(ctx), "check")
	requireUnavailable(t, store.CreateSchema(ctx), "create")
	_, err = newManager(store, nil).Authenticate(ctx, tokenauth.GenerateKey("acme"))
	requireUnavailable(t, err, "authenticate")
}
