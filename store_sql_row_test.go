package tokenauth_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// newLooseStore returns a store whose table is not STRICT and has no checks, as
// one made by hand or moved from another database.
func newLooseStore(t *testing.T) (*tokenauth.SQLStore, *sql.DB) {
	t.Helper()
	db := openSQLiteWith(t, filepath.Join(t.TempDir(), "tokens.db"), sqliteSettings+"&_pragma=ignore_check_constraints(1)")
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, patientOptions())
	require.NoError(t, err)
	_, err = db.Exec(strings.Replace(store.Schema(), ") STRICT", ")", 1))
	require.NoError(t, err)
	require.NoError(t, store.CheckSchema(ctx))
	t.Cleanup(func() { _ = store.Close() })
	return store, db
}

// What can't be read must never be read as "no expiry" or "not revoked".
func TestS13TamperedRows(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	m := newManager(store, &tokenauth.Options{Now: newClock().Now, MaxPerUser: -1})
	for i, change := range []string{
		`expires_at = 'never'`, `expires_at = 'infinity'`, `expires_at = ''`, `expires_at = 'NaN'`, `expires_at = 'null'`,
		`expires_at = '2099-01-01 00:00:00'`, `expires_at = '0000-00-00'`, `expires_at = x''`, `expires_at = x'00'`,
		`expires_at = 9223372036854775807`, `expires_at = -9223372036854775808`, `expires_at = 9e999`, `expires_at = -9e999`,
		`expires_at = 253402300800000000`,                      // the year 10000
		`expires_at = -62135596800000000`,                      // what Go takes for no time
		`expires_at = 0`, `expires_at = -1`, `expires_at = 12`, // long ago
		`expires_at = expires_at / 1000000`, // seconds, as another system writes them
		`revoked_at = ''`, `revoked_at = 'no'`, `revoked_at = 0`, `revoked_at = -62135596800000000`, `revoked_at = x''`,
		`created_at = 'x'`, `created_at = ''`, `last_used_at = 'x'`, `generation = 'x'`, `slot = 'x'`,
		`retired_digest = x'00', retired_until = 1`, `retired_digest = digest || x'00', retired_until = 1`,
		`retired_digest = 'text', retired_until = 1`, `retired_digest = digest, retired_until = 'x'`, `retired_until = 'x'`,
	} {
		t.Run(change, func(t *testing.T) {
			key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: fmt.Sprint("token ", i), ExpiresAt: start.Add(time.Hour)})
			require.Equal(t, []bool{true}, accepts(m, key))
			_, err := db.Exec("UPDATE tokenauth_tokens SET "+change+" WHERE id = ?", token.ID)
			require.NoError(t, err)

			r, err := store.Find(ctx, tokenauth.DigestOf(key))
			if err == nil {
				require.True(t, r.Token.ExpiredAt(start) || !r.Token.RevokedAt.IsZero(), "expires %v, revoked %v", r.Token.ExpiresAt, r.Token.RevokedAt)
			} else {
				requireNoAnswer(t, err)
				require.Nil(t, r)
			}
			require.Equal(t, []bool{false}, accepts(m, key))
		})
	}
}

// A digest that is cut or padded matches no key, in whichever place it stands.
func TestS13TamperedDigests(t *testing.T) {
	t.Parallel()
	store, db := newLooseStore(t)
	for i, change := range []string{
		"substr(digest, 1, 31)", "digest || x'00'", "x''", "'text'", "hex(digest)", "x'0000'",
	} {
		t.Run(change, func(t *testing.T) {
			r := sqlRecord(fmt.Sprint("token ", i))
			require.NoError(t, store.Create(ctx, r))
			require.NoError(t, store.Rotate(ctx, "u", r.Token.ID, sqlRotation(change), start))
			_, err := db.Exec("UPDATE tokenauth_tokens SET digest = "+change+" WHERE id = ?", r.Token.ID)
			require.NoError(t, err)

			_, err = store.Find(ctx, tokenauth.DigestOf(change))
			require.ErrorIs(t, err, tokenauth.ErrNotFound, "by the digest that was")
			_, err = store.Find(ctx, r.Digest)
			requireNoAnswer(t, err)
		})
	}
}

// An expiry is an instant: neither a clock that is set back by an hour nor a leap
// day moves it.
func TestS16ClockChangesAndLeapDay(t *testing.T) {
	t.Parallel()
	newYork, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	lordHowe, err := time.LoadLocation("Australia/Lord_Howe") // changes by half an hour
	require.NoError(t, err)
	firstOneThirty := time.Date(2026, 11, 1, 1, 30, 0, 0, newYork)
	store := newSQLiteStore(t, openSQLite(t), nil)
	for i, expiry := range []time.Time{
		firstOneThirty,
		firstOneThirty.Add(time.Hour),                            // half past one again
		time.Date(2026, 3, 8, 2, 30, 0, 0, newYork),              // is skipped that night
		time.Date(2026, 4, 5, 1, 45, 0, 0, lordHowe),             // is there twice
		time.Date(2028, 2, 29, 23, 59, 59, 999_999_000, newYork), // a leap day
		time.Date(2028, 2, 29, 23, 59, 60, 0, time.UTC),          // the day after
	} {
		for _, update := range []bool{false, true} {
			r := sqlRecord(fmt.Sprint("token ", i, update))
			if update {
				require.NoError(t, store.Create(ctx, r))
				require.NoError(t, store.Update(ctx, "u", r.Token.ID, tokenauth.Patch{ExpiresAt: &expiry}, start))
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
