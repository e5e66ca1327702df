package integration

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// looseTable creates the table without its checks, without NOT NULL, and with digests of any
// length. A table may be like this if it was created by hand or copied from another database.
func looseTable(t *testing.T, db *sql.DB, d tokenauth.Dialect) (*tokenauth.SQLStore, string) {
	t.Helper()
	opts := newTable()
	store, err := newStoreAs(db, d, opts)
	require.NoError(t, err)
	schema := fixture.SchemaText(t, store)
	for _, edit := range []struct{ pattern, replacement string }{ // applied in this order
		{`,\n *CHECK \(.*\)`, ""},
		{` CHECK \(octet_length\(.*?\) = 32\)`, ""},
		{`NOT NULL(,| *\n)`, "$1"},
		{`BINARY\(32\)`, "VARBINARY(64)"},
	} {
		schema = regexp.MustCompile(edit.pattern).ReplaceAllString(schema, edit.replacement)
	}
	require.NotContains(t, schema, "CHECK")
	fixture.ExecAll(t, db, schema)
	require.NoError(t, store.CheckSchema(t.Context()))
	t.Cleanup(func() {
		_, _ = db.Exec("DROP TABLE " + opts.Table)
		_ = store.Close()
	})
	return store, opts.Table
}

// Assignments that corrupt a row, so that the Manager must refuse its key. An entry that begins
// with "!" first changes the type of a column.
var (
	spoiltNumbers = []string{
		"expires_at = 9223372036854775807", "expires_at = -9223372036854775808",
		"expires_at = 253402300800000000",                      // the year 10000
		"expires_at = -62135596800000000",                      // the zero time of Go
		"expires_at = 0", "expires_at = -1", "expires_at = 12", // long ago
		"expires_at = expires_at / 1000000", // seconds instead of microseconds
		"revoked_at = 0", "revoked_at = -62135596800000000", "revoked_at = 9223372036854775807", "revoked_at = -1",
		"created_at = 9223372036854775807", "last_used_at = 9223372036854775807",
		"user_id = NULL", "name = NULL", "scopes = NULL", "hint = NULL", "generation = NULL", "origin = NULL", "digest = NULL",
		"generation = 0, origin = 'elsewhere'", "origin = 'elsewhere', generation = 0, digest = digest",
	}
	spoiltOnPostgres = []string{
		`digest = substr(digest, 1, 31)`, `digest = digest || '\x00'`, `digest = ''`, `digest = sha256(digest)`,
		`retired_digest = '\x00', retired_until = 1`, `retired_digest = digest || '\x00', retired_until = 1`,
		`!expires_at TYPE text; expires_at = 'never'`, `!expires_at TYPE text; expires_at = 'infinity'`, `!expires_at TYPE text; expires_at = ''`,
		`!expires_at TYPE text; expires_at = '2099-01-01 00:00:00'`, `!expires_at TYPE text; expires_at = '1e300'`,
		`!expires_at TYPE float8; expires_at = 'infinity'`, `!expires_at TYPE float8; expires_at = '-infinity'`,
		`!expires_at TYPE float8; expires_at = 'NaN'`, `!expires_at TYPE float8; expires_at = 1e300`,
		`!expires_at TYPE numeric; expires_at = 'NaN'`, `!expires_at TYPE numeric; expires_at = 'infinity'`, `!expires_at TYPE numeric; expires_at = 1e30`,
		`!expires_at TYPE timestamptz USING to_timestamp(1); expires_at = 'infinity'`,
		`!expires_at TYPE timestamptz USING to_timestamp(1); expires_at = '2099-01-01'`,
		`!expires_at TYPE timestamp USING to_timestamp(1); expires_at = '-infinity'`,
		`!expires_at TYPE date USING to_timestamp(1); expires_at = 'infinity'`,
		`!expires_at TYPE boolean USING false; expires_at = false`, `!expires_at TYPE interval USING '1 hour'; expires_at = '1 year'`,
		`!expires_at TYPE bytea USING ''; expires_at = ''`, `!expires_at TYPE jsonb USING 'null'; expires_at = 'null'`,
		`!revoked_at TYPE text; revoked_at = 'no'`, `!revoked_at TYPE text; revoked_at = ''`, `!revoked_at TYPE boolean USING false; revoked_at = false`,
		`!revoked_at TYPE timestamptz USING to_timestamp(1); revoked_at = 'infinity'`,
	}
	spoiltOnMariaDB = []string{
		`digest = substr(digest, 1, 31)`, `digest = concat(digest, x'00')`, `digest = ''`, `digest = unhex(sha2(digest, 256))`, `digest = hex(digest)`,
		`retired_digest = x'00', retired_until = 1`, `retired_digest = concat(digest, x'00'), retired_until = 1`,
		`!expires_at VARCHAR(64); expires_at = 'never'`, `!expires_at VARCHAR(64); expires_at = ''`, `!expires_at VARCHAR(64); expires_at = '12abc'`,
		`!expires_at VARCHAR(64); expires_at = '2099-01-01 00:00:00'`, `!expires_at VARCHAR(64); expires_at = '0000-00-00'`,
		`!expires_at DATETIME; expires_at = '0000-00-00 00:00:00'`, `!expires_at DATETIME; expires_at = '2099-01-01 00:00:00'`,
		`!expires_at TIMESTAMP NULL; expires_at = '0000-00-00 00:00:00'`, `!expires_at DATE; expires_at = '0000-00-00'`,
		`!expires_at DOUBLE; expires_at = 1e300`, `!expires_at DECIMAL(40,3); expires_at = 1e30`, `!expires_at BIGINT UNSIGNED; expires_at = 18446744073709551615`,
		`!expires_at BIT(1); expires_at = 0`, `!expires_at BLOB; expires_at = ''`, `!expires_at BLOB; expires_at = x'00'`, `!expires_at YEAR; expires_at = 0`,
		`!revoked_at VARCHAR(64); revoked_at = 'no'`, `!revoked_at VARCHAR(64); revoked_at = ''`, `!revoked_at DATETIME; revoked_at = '0000-00-00 00:00:00'`,
	}
)

// A corrupt value must never be read as "no expiry" or "not revoked". Otherwise an expired key
// works again.
// Case S13.
func TestCorruptRowIsNotAccepted(t *testing.T) {
	t.Parallel()
	lax := "sql_mode=%27%27" // otherwise MariaDB accepts no zero date
	for _, s := range []setup{
		setupNamed(t, "PostgreSQL, pgx"), setupNamed(t, "PostgreSQL, lib-pq"), postgresWith("postgres", "binary_parameters=yes"),
		mariaDBWith(lax), mariaDBWith(lax, "parseTime=true", "loc=Local"), mariaDBWith(lax, "interpolateParams=true", "parseTime=true"),
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			change, spoilt := "ALTER TABLE %s ALTER COLUMN %s", spoiltOnPostgres
			if s.dialect == tokenauth.MySQL {
				change, spoilt = "ALTER TABLE %s MODIFY %s", spoiltOnMariaDB
			}
			db := s.open(t)[0]
			for _, set := range append(spoiltNumbers, spoilt...) {
				store, table := looseTable(t, db, s.dialect)
				m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1}))
				key, token, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "n", ExpiresAt: time.Now().Add(time.Hour)})
				require.NoError(t, err)
				if alter, rest, ok := strings.Cut(strings.TrimPrefix(set, "!"), "; "); ok {
					_, err := db.Exec("UPDATE " + table + " SET expires_at = NULL")
					require.NoError(t, err)
					_, err = db.Exec(fmt.Sprintf(change, table, alter))
					require.NoError(t, err, set)
					set = rest
				} else {
					_, err = m.Authenticate(t.Context(), revealed(key))
					require.NoError(t, err)
				}
				_, err = db.Exec("UPDATE " + table + " SET " + set + " WHERE id = '" + token.ID + "'")
				require.NoError(t, err, set)
				requireNotAccepted(t, store, m, revealed(key), set)
			}
		})
	}
}

func requireNotAccepted(t *testing.T, store tokenauth.Store, m *tokenauth.Manager, key, what string) {
	t.Helper()
	r, err := store.Find(t.Context(), tokenauth.DigestOf(key))
	if err == nil && r.Token.Origin == "" {
		require.True(t, r.Token.ExpiredAt(time.Now()) || !r.Token.RevokedAt.IsZero(), "%s: expires %v, revoked %v", what, r.Token.ExpiresAt, r.Token.RevokedAt)
	}
	_, err = m.Authenticate(t.Context(), key)
	require.Error(t, err, what)
}

// If the end of its grace is missing or corrupt, a previous key must be refused.
// Case S13.
func TestRetiredKeyWithoutEndIsNotAccepted(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "MariaDB"} {
		s := setupNamed(t, name)
		db := s.open(t)[0]
		store, table := looseTable(t, db, s.dialect)
		m := must.Get(tokenauth.New(store, "acme", nil))
		old, token, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "u", Name: "n"})
		require.NoError(t, err)
		key, _, err := m.Rotate(t.Context(), "u", token.ID, time.Hour)
		require.NoError(t, err)
		_, err = m.Authenticate(t.Context(), revealed(old))
		require.NoError(t, err)
		for _, until := range []string{"NULL", "0", "-62135596800000000", "9223372036854775807"} {
			_, err = db.Exec("UPDATE " + table + " SET retired_until = " + until)
			require.NoError(t, err)
			_, err = m.Authenticate(t.Context(), revealed(old))
			require.Error(t, err, until)
		}
		_, err = db.Exec("UPDATE " + table + " SET retired_until = NULL")
		require.NoError(t, err)
		_, err = m.Authenticate(t.Context(), revealed(key))
		require.NoError(t, err)
	}
}
