package tokenimport_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

func knox(db *sql.DB, version tokenimport.KnoxVersion) *tokenimport.Source {
	return tokenimport.Knox(db, tokenauth.SQLite, version, nil)
}

var knoxTables = map[string]tokenimport.KnoxVersion{"knox/knox4": tokenimport.Knox4, "knox/knox5": tokenimport.Knox5}

// Each key that knox accepts must sign in the same user as before. Expired keys, keys of inactive
// users, and keys with another hash algorithm must be refused.
// Cases K10, K11.
func TestKnoxKeysKeepWorking(t *testing.T) {
	t.Parallel()
	for table, version := range knoxTables {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db, lines := loaded(t, table), keysOf(t, table)
			prefix := ""
			if version == tokenimport.Knox5 {
				prefix = "acme_"
			}
			m := beside(t, db, tokenimport.DRFFormat(), tokenimport.KnoxFormat(version, prefix))
			report, reasons := imported(t, m, knox(db, version))
			accepted := count(lines, map[string]string{"accepted": "1"})
			require.Greater(t, accepted, 10)
			require.Equal(t, tokenimport.Report{Read: len(lines), Imported: accepted, Refused: len(lines) - accepted}, report)
			require.Equal(t, map[tokenimport.Reason]int{
				tokenimport.ReasonInactive:  count(lines, map[string]string{"is_active": "0"}),
				tokenimport.ReasonExpired:   count(lines, map[string]string{"note": "expired", "is_active": "1"}),
				tokenimport.ReasonAlgorithm: 1,
			}, reasons)

			// The format of DRF comes first, so it recognizes all keys of 40 digits.
			for i := range lines {
				if lines[i]["note"] == "length 40" {
					require.Equal(t, 401, statusOf(protected(m), "Token "+lines[i]["key"]))
				}
			}
			h := ofDjango(db, beside(t, db, tokenimport.KnoxFormat(version, prefix)))
			requireSameResponses(t, h, "Token", lines, "user_id")
			requireSameResponses(t, h, "Bearer", lines[:3], "user_id")

			again, _ := imported(t, m, knox(db, version))
			require.Equal(t, tokenimport.Report{Read: len(lines), Existing: accepted, Refused: len(lines) - accepted}, again)

			tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "3", Limit: 2})
			require.NoError(t, err)
			require.Equal(t, 2026, tokens[0].CreatedAt.Year())
			require.Equal(t, []int{1, 2126}, []int{tokens[0].ExpiresAt.Year(), tokens[1].ExpiresAt.Year()})
			require.Subset(t, namesOf(t, m, "3"), []string{"knox", "knox (2)"})

			execute(t, db, "UPDATE auth_user SET is_active = NOT is_active")
			for i := range lines {
				lines[i]["accepted"] = "0"
			}
			requireSameResponses(t, h, "Token", lines, "user_id")
		})
	}
}

// Read access to the table of knox must not allow anyone to sign in with a stored digest. A key
// must not match a digest that another version of knox computed.
// Case K12.
func TestKnoxDigestIsNoKey(t *testing.T) {
	t.Parallel()
	for table, version := range knoxTables {
		db, lines := loaded(t, table), keysOf(t, table)
		other := tokenimport.Knox4 + tokenimport.Knox5 - version
		m := beside(t, db, tokenimport.DRFFormat(), tokenimport.KnoxFormat(version, ""), tokenimport.SanctumFormat(""))
		h, wrong := protected(m), protected(beside(t, db, tokenimport.KnoxFormat(other, "")))
		report, _ := imported(t, m, knox(db, version))
		require.NotZero(t, report.Imported)
		for _, digest := range column(t, db, "SELECT digest FROM knox_authtoken") {
			require.Equal(t, 401, statusOf(h, "Token "+digest))
			require.Equal(t, 401, statusOf(wrong, "Token "+digest))
			require.Equal(t, 401, statusOf(h, "Token "+digest[:64]), "cut to the length of a key")
		}
		for _, line := range lines {
			require.Equal(t, 401, statusOf(wrong, "Token "+line["key"]))
			require.Equal(t, 401, statusOf(h, "Token "+strings.ToUpper(line["key"])))
			require.Equal(t, 401, statusOf(h, "Token "+line["key"][1:]))
		}
	}
}

// Salted digests of knox before 4.2 cannot be looked up. Run must refuse these rows with this
// reason. Otherwise an administrator would expect their keys to work.
// Case K11.
func TestKnoxRefusesSaltedRows(t *testing.T) {
	t.Parallel()
	db, lines := loaded(t, "knox/knox41"), keysOf(t, "knox/knox41")
	m := beside(t, db, tokenimport.KnoxFormat(tokenimport.Knox4, ""))
	report, reasons := imported(t, m, knox(db, tokenimport.Knox4))
	require.Equal(t, tokenimport.Report{Read: len(lines), Refused: len(lines)}, report)
	require.Equal(t, map[tokenimport.Reason]int{tokenimport.ReasonSalted: len(lines)}, reasons)
	for _, line := range lines {
		require.Equal(t, 401, statusOf(protected(m), "Token "+line["key"]))
	}
}

// If an administrator configures the wrong version, Run must report it. Otherwise clients would get
// 401 after the move. After an upgrade of knox, its table may also have rows of the old version.
// Case K11.
func TestKnoxRefusesRowsOfOtherVersion(t *testing.T) {
	t.Parallel()
	for table, version := range knoxTables {
		db, lines := loaded(t, table), keysOf(t, table)
		m := beside(t, db)
		report, reasons := imported(t, m, knox(db, tokenimport.Knox4+tokenimport.Knox5-version))
		require.Equal(t, tokenimport.Report{Read: len(lines), Refused: len(lines)}, report)
		require.Equal(t, map[tokenimport.Reason]int{tokenimport.ReasonVersion: len(lines) - 1, tokenimport.ReasonAlgorithm: 1}, reasons)

		// A later version of knox may not have this column.
		execute(t, db, "DROP INDEX knox_authtoken_token_key_8f4f7d47")
		execute(t, db, "ALTER TABLE knox_authtoken DROP COLUMN token_key")
		report, _ = imported(t, m, knox(db, version))
		require.Equal(t, count(lines, map[string]string{"accepted": "1"}), report.Imported)
	}
}

// A service may have its own token model with another table, a column for names, and another table
// of users.
func TestKnoxReadsCustomTables(t *testing.T) {
	t.Parallel()
	db := loaded(t, "knox/knox5")
	for _, statement := range []string{
		"ALTER TABLE knox_authtoken RENAME TO devices_token", "ALTER TABLE devices_token ADD COLUMN label TEXT NOT NULL DEFAULT 'phone'",
		"ALTER TABLE auth_user RENAME TO people", "ALTER TABLE people RENAME COLUMN id TO uid", "ALTER TABLE people RENAME COLUMN is_active TO enabled",
		"ALTER TABLE people ADD COLUMN salt TEXT NOT NULL DEFAULT 'of its passwords'",
		"UPDATE devices_token SET created = 'yesterday' WHERE user_id = 8 AND length(digest) = 128",
		"UPDATE devices_token SET digest = upper(digest) WHERE user_id = 7",
		"UPDATE devices_token SET expiry = '2126-01-02 03:04:05' WHERE user_id = 3", // without a zone, as with USE_TZ = False
	} {
		execute(t, db, statement)
	}
	m := beside(t, db)
	_, reasons := imported(t, m, tokenimport.Knox(db, tokenauth.SQLite, tokenimport.Knox5, &tokenimport.KnoxOptions{
		Table: "main.devices_token", Name: "label", Users: "people", UserPK: "uid", Active: "enabled", Scopes: []string{"orders:read"},
		Location: time.FixedZone("CEST", 2*60*60),
	}))
	require.Equal(t, 6, reasons[tokenimport.ReasonTime])
	require.Equal(t, 5, reasons[tokenimport.ReasonAlgorithm])
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "3"})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"phone", "phone (2)", "phone (3)", "phone (4)"}, namesOf(t, m, "3"))
	require.Equal(t, tokenauth.Scopes{"orders:read"}, tokens[0].Scopes)
	require.Equal(t, time.Date(2126, 1, 2, 1, 4, 5, 0, time.UTC), tokens[0].ExpiresAt)

	require.Panics(t, func() { knox(db, 3) })
	_, err = tokenimport.Run(t.Context(), m, tokenimport.Knox(db, tokenauth.SQLite, tokenimport.Knox5, &tokenimport.KnoxOptions{Table: `x"; --`}), nil)
	require.ErrorContains(t, err, "letters, digits and _")
}

func column(t *testing.T, db *sql.DB, query string) (values []string) {
	t.Helper()
	rows, err := db.Query(query)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var value string
		require.NoError(t, rows.Scan(&value))
		values = append(values, value)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, values)
	return values
}
