package integration

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// If the disk is full, only writes may fail. Lookups must succeed, and no request may wait until
// its last-used time is written. Writes must succeed again when the disk has free space.
// Case F9.
func TestPostgresDiskFullKeepsLookups(t *testing.T) {
	leak.NothingLeft(t)
	pg := closing(t, startPostgres)
	err := pg.CreateTablespace("small", 1<<20)
	if errors.Is(err, syscall.EPERM) {
		t.Skip(err) // skipped also in CI, because only some machines allow a mount
	}
	require.NoError(t, err)
	db := open(t, "pgx", pg.DSN("postgres", "default_tablespace=small"))
	store := newStore(t, db, tokenauth.PostgreSQL, nil)
	key, token := issued(t, store, "laptop")
	otherKey, other := issued(t, store, "phone")
	fillDisk(t, db, store)

	m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1, Now: func() time.Time { return time.Now().Add(time.Hour) }}))
	last := key // the last key that the service returned for the token
	for what, change := range map[string]func() error{
		"issue": func() error {
			_, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: rand.Text()})
			return err
		},
		"rotate": func() error {
			next, _, err := m.Rotate(t.Context(), "anna", token.ID, 0)
			if err == nil {
				last = revealed(next)
			}
			return err
		},
		"rename": func() error {
			_, err := m.Update(t.Context(), "anna", token.ID, tokenauth.Patch{Name: new(rand.Text())})
			return err
		},
	} {
		var err error
		for tries := 0; err == nil && tries < 1000; tries++ { // a page of the table may still have free space
			err = change()
		}
		if err == nil && what != "issue" {
			continue // the server can reuse the space of previous versions of the row
		}
		requireUnavailable(t, err, what)
		requireDiskFull(t, err)
		require.Equal(t, http.StatusOK, statusOf(store, last), what)
	}
	// Either the Revoke succeeds, or it returns an error and the key still works.
	switch err := m.Revoke(t.Context(), "anna", other.ID); {
	case err == nil:
		require.Equal(t, http.StatusUnauthorized, statusOf(store, otherKey))
	default:
		requireDiskFull(t, err)
		require.Equal(t, http.StatusOK, statusOf(store, otherKey))
	}
	_, err = m.Authenticate(t.Context(), last)
	require.NoError(t, err)
	if err := m.Flush(t.Context()); err != nil {
		requireUnavailable(t, err, "flush")
	}

	_, err = db.ExecContext(t.Context(), "DROP TABLE filler")
	require.NoError(t, err)
	require.NoError(t, m.Flush(t.Context()), "the Manager must write the last-used time that it has kept")
	_, _, err = m.Issue(t.Context(), tokenauth.Spec{UserID: "anna", Name: "tablet"})
	require.NoError(t, err)
	require.NoError(t, m.Revoke(t.Context(), "anna", token.ID))
	require.Equal(t, http.StatusUnauthorized, statusOf(store, last))
}

// fillDisk fills the disk until it has no room for a new row or for a new version of a row.
func fillDisk(t *testing.T, db *sql.DB, store tokenauth.Store) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "CREATE TABLE filler (content TEXT)")
	for err == nil {
		_, err = db.ExecContext(t.Context(), "INSERT INTO filler SELECT repeat(md5(random()::text), 60)")
	}
	requireDiskFull(t, err)
	for err = nil; err == nil; { // the existing pages of the table still have free space
		err = store.Create(t.Context(), newRecord("anna", rand.Text()))
	}
	requireDiskFull(t, err)
}

func requireDiskFull(t *testing.T, err error) {
	t.Helper()
	var state *pgconn.PgError
	require.ErrorAs(t, err, &state)
	require.Equal(t, "53100", state.Code, err)
}
