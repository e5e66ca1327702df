package systemtest_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// docs/databases/sqlite.md shows a table whose column user_id references the users table of the
// service. When the service deletes a user, the database must delete the user's tokens.
func TestDeletedUserDeletesTokens(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	const text, reference = "user_id        TEXT    NOT NULL", "user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE"
	schema := fixture.SchemaText(t, store)
	require.Contains(t, schema, text)
	_, err = db.Exec("CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (7), (8);" + strings.Replace(schema, text, reference, 1))
	require.NoError(t, err)
	require.NoError(t, store.CheckSchema(ctx))

	m := fixture.NewManager(store, nil)
	key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "7", Name: "n"})
	other, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "8", Name: "n"})
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "7", Name: "n"})
	require.ErrorIs(t, err, tokenauth.ErrNameTaken)
	_, err = m.Update(ctx, "7", token.ID, tokenauth.Patch{Name: new("m")})
	require.NoError(t, err)
	got, err := m.Authenticate(ctx, key)
	require.NoError(t, err)
	require.Equal(t, "7", got.UserID)
	_, _, err = m.Issue(ctx, tokenauth.Spec{UserID: "9", Name: "n"})
	require.Error(t, fixture.Noted(err))

	_, err = db.Exec("DELETE FROM users WHERE id = 7")
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, fixture.Accepts(m, key, other))
}

// newLooseStore returns a store and its database. The table is not STRICT and has no CHECK
// constraints, like a table that was created by hand or copied from another database.
func newLooseStore(t *testing.T) (*tokenauth.SQLStore, *sql.DB) {
	t.Helper()
	db := sqlite.OpenWith(t, filepath.Join(t.TempDir(), "tokens.db"), sqlite.Settings+"&_pragma=ignore_check_constraints(1)")
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, sqlite.Patient())
	require.NoError(t, err)
	_, err = db.Exec(strings.Replace(fixture.SchemaText(t, store), ") STRICT", ")", 1))
	require.NoError(t, err)
	require.NoError(t, store.CheckSchema(ctx))
	t.Cleanup(func() { _ = store.Close() })
	return store, db
}

// If a time column contains an invalid value, Authenticate must reject the key. The store must not
// treat an invalid value as "never expires" or "not revoked".
//
// Case S13.
func TestTamperedTimesAreRefused(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	m := fixture.NewManager(store, &tokenauth.Options{Now: fixture.NewClock().Now, MaxPerUser: -1})
	for i, change := range []string{
		`expires_at = 'never'`, `expires_at = 'infinity'`, `expires_at = ''`, `expires_at = 'NaN'`, `expires_at = 'null'`,
		`expires_at = '2099-01-01 00:00:00'`, `expires_at = '0000-00-00'`, `expires_at = x''`, `expires_at = x'00'`,
		`expires_at = 9223372036854775807`, `expires_at = -9223372036854775808`, `expires_at = 9e999`, `expires_at = -9e999`,
		`expires_at = 253402300800000000`,                      // an expiry in the year 10000
		`expires_at = -62135596800000000`,                      // the zero time of Go
		`expires_at = 0`, `expires_at = -1`, `expires_at = 12`, // expiries in the past
		`expires_at = expires_at / 1000000`, // an expiry in seconds instead of microseconds
		`revoked_at = ''`, `revoked_at = 'no'`, `revoked_at = 0`, `revoked_at = -62135596800000000`, `revoked_at = x''`,
		`created_at = 'x'`, `created_at = ''`, `last_used_at = 'x'`, `generation = 'x'`, `slot = 'x'`,
		`retired_digest = x'00', retired_until = 1`, `retired_digest = digest || x'00', retired_until = 1`,
		`retired_digest = 'text', retired_until = 1`, `retired_digest = digest, retired_until = 'x'`, `retired_until = 'x'`,
	} {
		t.Run(change, func(t *testing.T) {
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint("token ", i), ExpiresAt: fixture.Start.Add(time.Hour)})
			require.Equal(t, []bool{true}, fixture.Accepts(m, key))
			_, err := db.Exec("UPDATE tokenauth_tokens SET "+change+" WHERE id = ?", token.ID)
			require.NoError(t, err)

			r, err := store.Find(ctx, tokenauth.DigestOf(key))
			if err == nil {
				require.True(t, r.Token.ExpiredAt(fixture.Start) || !r.Token.RevokedAt.IsZero(),
					"expires %v, revoked %v", r.Token.ExpiresAt, r.Token.RevokedAt)
			} else {
				fixture.RequireStoreFailure(t, err)
				require.Nil(t, r)
			}
			require.Equal(t, []bool{false}, fixture.Accepts(m, key))
		})
	}
}

// If a digest in the table was truncated, padded or re-encoded, Find must not return the row for
// any key.
//
// Case S13.
func TestTamperedDigestsMatchNoKey(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	for i, change := range []string{
		"substr(digest, 1, 31)", "digest || x'00'", "x''", "'text'", "hex(digest)", "x'0000'",
	} {
		t.Run(change, func(t *testing.T) {
			r := fixture.NewRecord(fmt.Sprint("token ", i))
			require.NoError(t, store.Create(ctx, r))
			require.NoError(t, store.Rotate(ctx, "u", r.Token.ID, fixture.NewRotation(change), fixture.Start))
			_, err := db.Exec("UPDATE tokenauth_tokens SET digest = "+change+" WHERE id = ?", r.Token.ID)
			require.NoError(t, err)

			_, err = store.Find(ctx, tokenauth.DigestOf(change))
			require.ErrorIs(t, err, tokenauth.ErrNotFound, "Find by the digest from before the change")
			_, err = store.Find(ctx, r.Digest)
			fixture.RequireStoreFailure(t, err)
		})
	}
}

// An unknown actor must be NULL, as the schema says. Otherwise statements of the service that look
// for tokens without a creator find none, and the index of creators contains all tokens.
func TestUnknownActorIsNull(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	revoke := map[string]func(r tokenauth.Record) error{
		"Revoke": func(r tokenauth.Record) error { return store.Revoke(ctx, "u", r.Token.ID, fixture.Start, "") },
		"RevokeExpired": func(r tokenauth.Record) error {
			return store.RevokeExpired(ctx, "u", r.Token.ID, fixture.Start, "", fixture.Start)
		},
		"RevokeAll": func(tokenauth.Record) error { _, err := store.RevokeAll(ctx, "u", fixture.Start, "", 1); return err },
	}
	for name, revoke := range revoke {
		r := fixture.NewRecord(name)
		require.NoError(t, store.Create(ctx, r))
		require.NoError(t, revoke(r))
	}
	unknown := 0
	require.NoError(t, db.QueryRow("SELECT count(*) FROM tokenauth_tokens WHERE created_by IS NULL AND revoked_by IS NULL AND revoked_at IS NOT NULL").Scan(&unknown))
	require.Equal(t, len(revoke), unknown)
}

// The store must keep the exact instant of an expiry. Daylight saving time and leap days must not
// change that instant.
//
// Case S16.
func TestExpirySurvivesClockChangesAndLeapDay(t *testing.T) {
	t.Parallel()
	newYork, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	lordHowe, err := time.LoadLocation("Australia/Lord_Howe") // its clocks change by half an hour
	require.NoError(t, err)
	firstOneThirty := time.Date(2026, 11, 1, 1, 30, 0, 0, newYork)
	store := sqlite.NewStore(t, sqlite.New(t), nil)
	for i, expiry := range []time.Time{
		firstOneThirty,
		firstOneThirty.Add(time.Hour),                            // the second 1:30 of that night
		time.Date(2026, 3, 8, 2, 30, 0, 0, newYork),              // this local time does not exist
		time.Date(2026, 4, 5, 1, 45, 0, 0, lordHowe),             // this local time exists twice
		time.Date(2028, 2, 29, 23, 59, 59, 999_999_000, newYork), // a leap day
		time.Date(2028, 2, 29, 23, 59, 60, 0, time.UTC),          // midnight after the leap day
	} {
		for _, update := range []bool{false, true} {
			r := fixture.NewRecord(fmt.Sprint("token ", i, update))
			if update {
				require.NoError(t, store.Create(ctx, r))
				require.NoError(t, store.Update(ctx, "u", r.Token.ID, tokenauth.Patch{ExpiresAt: &expiry}, fixture.Start))
			} else {
				r.Token.ExpiresAt = expiry
				require.NoError(t, store.Create(ctx, r))
			}
			got, err := store.Find(ctx, r.Digest)
			require.NoError(t, err)
			require.Equal(t, expiry.UTC(), got.Token.ExpiresAt)
			require.False(t, got.Token.ExpiredAt(expiry.Add(-time.Microsecond)))
			require.True(t, got.Token.ExpiredAt(expiry))
		}
	}
}
