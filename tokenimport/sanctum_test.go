package tokenimport_test

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// everyAbility maps the abilities of Sanctum to the scopes of a service with two scopes.
func everyAbility(ability string) ([]string, error) {
	switch {
	case ability == "*":
		return []string{"orders:read", "orders:write"}, nil
	case strings.HasPrefix(ability, "orders:"):
		return []string{ability}, nil
	}
	return nil, errors.New("an ability without a scope")
}

func sanctum(db *sql.DB, opts *tokenimport.SanctumOptions) *tokenimport.Source {
	return tokenimport.Sanctum(db, tokenauth.SQLite, opts)
}

// acceptedHere marks the lines that Sanctum accepts but everyAbility does not as not accepted.
func acceptedHere(lines []map[string]string) []map[string]string {
	for _, line := range lines {
		if line["note"] == "odd abilities" || line["note"] == "another tokenable" {
			line["accepted"], line["can_read"] = "0", "0"
		}
	}
	return lines
}

// Each key that Sanctum accepts for a user must sign in the same user as before, with the ID and
// without it. The key must have the same permissions as before.
// Cases K10, K11.
func TestSanctumKeysKeepWorking(t *testing.T) {
	t.Parallel()
	db, lines := loaded(t, "sanctum/sanctum"), acceptedHere(keysOf(t, "sanctum/sanctum"))
	m := beside(t, db, tokenimport.DRFFormat(), tokenimport.KnoxFormat(tokenimport.Knox5, ""), tokenimport.SanctumFormat("acme_"))
	source := sanctum(db, &tokenimport.SanctumOptions{Scopes: everyAbility})
	report, reasons := imported(t, m, source)
	rows := len(lines) - count(lines, map[string]string{"note": "without id"})
	require.Equal(t, map[tokenimport.Reason]int{
		tokenimport.ReasonNoUser:     count(lines, map[string]string{"name": "gone"}),
		tokenimport.ReasonExpired:    count(lines, map[string]string{"note": "expired"}),
		tokenimport.ReasonTokenable:  count(lines, map[string]string{"note": "another tokenable"}),
		"an ability without a scope": count(lines, map[string]string{"note": "odd abilities"}),
	}, reasons)
	require.Equal(t, tokenimport.Report{Read: rows, Imported: rows - report.Refused, Refused: report.Refused}, report)

	requireSameResponses(t, protected(m), "Bearer", lines, "tokenable_id")
	mayRead := protected(m, "orders:read")
	for _, line := range lines {
		want := map[bool]int{true: 200, false: 403}[line["can_read"] == "1"]
		if line["accepted"] == "0" {
			want = 401
		}
		require.Equal(t, want, statusOf(mayRead, "Bearer "+line["key"]), line["note"])
	}

	require.Equal(t, []string{
		"ci crc", "ci prefix", "laptop", "laptop (2)", "laptop (3)", "laptop crc", "laptop prefix", "mixed crc", "mixed prefix",
		"null abilities", "sanctum", strings.Repeat("名", 64),
	}, slices.Sorted(slices.Values(namesOf(t, m, "2"))))
	for _, token := range tokensOf(t, m, "1") {
		require.Equal(t, strings.HasPrefix(token.Name, "used"), !token.LastUsedAt.IsZero(), token.Name)
		require.Equal(t, strings.HasPrefix(token.Name, "ci"), !token.ExpiresAt.IsZero(), token.Name)
		if strings.HasPrefix(token.Name, "ci") {
			require.Equal(t, time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC), token.ExpiresAt)
		}
	}
	again, _ := imported(t, m, source)
	require.Equal(t, tokenimport.Report{Read: rows, Existing: report.Imported, Refused: report.Refused}, again)
}

// The ID in a key of Sanctum must not replace the secret. A correct ID with a wrong secret must be
// refused, and so must a stored digest.
// Cases K10, K12.
func TestSanctumIDDoesNotReplaceSecret(t *testing.T) {
	t.Parallel()
	db, lines := loaded(t, "sanctum/sanctum"), keysOf(t, "sanctum/sanctum")
	m := beside(t, db, tokenimport.SanctumFormat(""))
	_, _ = imported(t, m, sanctum(db, &tokenimport.SanctumOptions{Scopes: everyAbility}))
	h := protected(m)
	alice, bob := lines[0], lines[2]
	require.Equal(t, []string{"1", "2"}, []string{alice["tokenable_id"], bob["tokenable_id"]})
	_, secret, _ := strings.Cut(alice["key"], "|")
	for name, key := range map[string]string{
		"unknown, well-formed": alice["id"] + "|" + withCheck[:40], "swapped case": alice["id"] + "|" + strings.ToUpper(secret),
		"cut": alice["key"][:len(alice["key"])-1], "checksum left out": alice["key"][:len(alice["key"])-8], "empty": alice["id"] + "|",
	} {
		require.Equal(t, 401, statusOf(h, "Bearer "+key), name)
	}
	_, bobs, _ := strings.Cut(bob["key"], "|")
	status, user := send(h, "Bearer "+alice["id"]+"|"+bobs)
	require.Equal(t, 200, status)
	require.Equal(t, "2", user, "the secret decides, not the ID")
	for _, digest := range column(t, db, "SELECT token FROM personal_access_tokens") {
		for _, key := range []string{digest, "1|" + digest, "1|" + digest[:40], digest[:40], digest[:48]} {
			require.Equal(t, 401, statusOf(h, "Bearer "+key))
		}
	}
}

// An attacker with write access to the table of Sanctum may plant the digest of a native key. The
// import must neither accept such a key nor move it to another user.
// Case K12.
func TestSanctumPlantedDigestOpensNoAccount(t *testing.T) {
	t.Parallel()
	db := loaded(t, "sanctum/sanctum")
	m := beside(t, db, tokenimport.SanctumFormat(""))
	issued, _, err := m.Issue(t.Context(), tokenauth.Spec{UserID: "3", Name: "native"})
	require.NoError(t, err)
	elsewhere, _, err := newManager(tokenauth.NewMemoryStore()).Issue(t.Context(), tokenauth.Spec{UserID: "3", Name: "native"})
	require.NoError(t, err)
	generated := elsewhere.Reveal()
	for id, key := range map[int]string{1: issued.Reveal(), 2: generated} {
		leak.Default.Secret(key)
		digest := tokenauth.DigestOf(key)
		execute(t, db, "UPDATE personal_access_tokens SET token = ? WHERE id = ?", hex.EncodeToString(digest[:]), id)
	}
	_, reasons := imported(t, m, sanctum(db, &tokenimport.SanctumOptions{Scopes: everyAbility}))
	require.Equal(t, 1, reasons[tokenimport.ReasonKeyTaken])
	status, user := send(protected(m), "Bearer "+issued.Reveal())
	require.Equal(t, 200, status)
	require.Equal(t, "3", user)
	for _, key := range []string{generated, "2|" + generated, "1|" + issued.Reveal()} {
		require.Equal(t, 401, statusOf(protected(m), "Bearer "+key))
	}
}

// The ability "*" allows everything in Sanctum. Run must refuse it unless the options define its
// scopes.
// Case P3.
func TestSanctumWildcardNeedsRule(t *testing.T) {
	t.Parallel()
	db, lines := loaded(t, "sanctum/sanctum"), keysOf(t, "sanctum/sanctum")
	execute(t, db, `UPDATE personal_access_tokens SET abilities = '["*"]' WHERE id = 2`)
	m := beside(t, db, tokenimport.SanctumFormat(""))
	_, reasons := imported(t, m, sanctum(db, nil))
	require.Equal(t, 13, reasons[tokenimport.ReasonWildcard])
	require.Equal(t, 2, reasons["scopes must not contain a character that RFC 6749 section 3.3 forbids"])
	for _, i := range []int{0, 1, 2} {
		require.Equal(t, 401, statusOf(protected(m), "Bearer "+lines[i]["key"]))
	}
	require.Equal(t, 200, statusOf(protected(m, "orders:write"), "Bearer "+lines[3]["key"]))
}

// The table of Sanctum 2 has no column for the expiry. A column of the same name in the table of
// users must not be read instead.
func TestSanctumReadsTableWithoutExpiry(t *testing.T) {
	t.Parallel()
	db := loaded(t, "sanctum/sanctum")
	execute(t, db, "DELETE FROM personal_access_tokens WHERE id <> 2")
	execute(t, db, "ALTER TABLE personal_access_tokens DROP COLUMN expires_at")
	execute(t, db, "ALTER TABLE users ADD COLUMN expires_at TEXT NOT NULL DEFAULT 'of the account'")
	m := beside(t, db)
	report, _ := imported(t, m, sanctum(db, &tokenimport.SanctumOptions{Scopes: everyAbility}))
	require.Equal(t, 1, report.Imported)
	require.Zero(t, tokensOf(t, m, "1")[0].ExpiresAt)
}

// A team and a user may have the same ID. The token of the team must not sign in the user.
// Case K11.
func TestSanctumTokenOfTeamIsNotOfUser(t *testing.T) {
	t.Parallel()
	db, lines := loaded(t, "sanctum/sanctum"), keysOf(t, "sanctum/sanctum")
	execute(t, db, "CREATE TABLE teams (uid INTEGER PRIMARY KEY)")
	execute(t, db, "INSERT INTO teams VALUES (1)")
	m := beside(t, db, tokenimport.SanctumFormat("acme_"))
	_, _ = imported(t, m, sanctum(db, &tokenimport.SanctumOptions{Scopes: everyAbility}))
	report, reasons := imported(t, m, sanctum(db, &tokenimport.SanctumOptions{
		Scopes: everyAbility, Tokenable: `App\Models\Team`, Users: "teams", UserPK: "uid",
		UserID: func(id string) string { return "team:" + id },
	}))
	require.Equal(t, 2, report.Imported)
	require.Equal(t, map[tokenimport.Reason]int{tokenimport.ReasonTokenable: report.Refused}, reasons)
	for _, line := range lines {
		if line["note"] == "another tokenable" {
			status, user := send(protected(m), "Bearer "+line["key"])
			require.Equal(t, 200, status)
			require.Equal(t, "team:1", user)
		}
	}
}

// A row may have odd times or odd abilities. The imported token must neither live longer nor allow
// more than in Sanctum.
// Case K11.
func TestSanctumRowsKeepExpiryAndAbilities(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("CEST", 2*60*60)
	for name, c := range map[string]struct {
		set     string // assignments of an UPDATE of the row with the ID 2
		opts    tokenimport.SanctumOptions
		refused tokenimport.Reason
		expires string
		scopes  []string
	}{
		"expiry":                         {set: "expires_at = '2126-01-02 03:04:05'", expires: "2126-01-02T03:04:05Z"},
		"expiry of another zone":         {set: "expires_at = '2126-01-02 03:04:05'", opts: tokenimport.SanctumOptions{Location: berlin}, expires: "2126-01-02T01:04:05Z"},
		"expiration is earlier":          {set: "created_at = '2126-01-01 00:00:00', expires_at = '2126-01-02 03:04:05'", opts: tokenimport.SanctumOptions{Expiration: time.Hour}, expires: "2126-01-01T01:00:00Z"},
		"expiration is later":            {set: "created_at = '2126-01-01 00:00:00', expires_at = '2126-01-02 03:04:05'", opts: tokenimport.SanctumOptions{Expiration: 48 * time.Hour}, expires: "2126-01-02T03:04:05Z"},
		"expiration alone":               {set: "created_at = '2126-01-01 00:00:00', expires_at = NULL", opts: tokenimport.SanctumOptions{Expiration: time.Hour}, expires: "2126-01-01T01:00:00Z"},
		"expiration is over":             {set: "created_at = '2020-01-01 00:00:00', expires_at = NULL", opts: tokenimport.SanctumOptions{Expiration: time.Hour}, refused: tokenimport.ReasonExpired},
		"expiration without creation":    {set: "created_at = NULL", opts: tokenimport.SanctumOptions{Expiration: time.Hour}, refused: tokenimport.ReasonTime},
		"unreadable expiry":              {set: "expires_at = 'soon'", refused: tokenimport.ReasonTime},
		"end of year 9999, behind UTC":   {set: "expires_at = '9999-12-31 23:59:59'", opts: tokenimport.SanctumOptions{Location: time.FixedZone("EST", -5*60*60)}, refused: tokenimport.ReasonYear},
		"zero expiry":                    {set: "expires_at = '0000-00-00 00:00:00'", refused: tokenimport.ReasonTime},
		"no times":                       {set: "created_at = NULL, expires_at = NULL"},
		"NULL abilities":                 {set: "abilities = NULL", scopes: []string{}, expires: "2126-01-02T03:04:05Z"},
		"null abilities":                 {set: "abilities = 'null', expires_at = NULL", scopes: []string{}},
		"no abilities":                   {set: "abilities = '[]', expires_at = NULL", scopes: []string{}},
		"abilities as an object":         {set: `abilities = '{"0":"orders:write","2":"orders:read"}', expires_at = NULL`},
		"a duplicate ability":            {set: `abilities = '["orders:read","*","orders:read"]', expires_at = NULL`},
		"abilities that are not JSON":    {set: "abilities = 'orders:read'", refused: tokenimport.ReasonAbilities},
		"abilities that are not strings": {set: "abilities = '[1]'", refused: tokenimport.ReasonAbilities},
		"abilities in a list of lists":   {set: `abilities = '[["*"]]'`, refused: tokenimport.ReasonAbilities},
		"a digest of another length":     {set: "token = substr(token, 1, 40)", refused: tokenimport.ReasonMalformed},
		"a digest that is not hex":       {set: "token = replace(token, substr(token, 1, 1), 'g')", refused: tokenimport.ReasonMalformed},
		"a user that does not exist":     {set: "tokenable_id = 99", refused: tokenimport.ReasonNoUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := loaded(t, "sanctum/sanctum")
			execute(t, db, "DELETE FROM personal_access_tokens WHERE id <> 2")
			execute(t, db, "UPDATE personal_access_tokens SET "+c.set)
			m := newManager(tokenauth.NewMemoryStore())
			c.opts.Scopes = everyAbility
			_, reasons := imported(t, m, sanctum(db, &c.opts))
			if c.refused != "" {
				require.Equal(t, map[tokenimport.Reason]int{c.refused: 1}, reasons)
				return
			}
			require.Empty(t, reasons)
			token := tokensOf(t, m, "1")[0]
			if c.scopes == nil {
				c.scopes = []string{"orders:read", "orders:write"}
			}
			require.ElementsMatch(t, c.scopes, token.Scopes)
			expires := time.Time{}
			if c.expires != "" {
				var err error
				expires, err = time.Parse(time.RFC3339, c.expires)
				require.NoError(t, err)
			}
			require.Equal(t, expires, token.ExpiresAt)
		})
	}
}

func tokensOf(t *testing.T, m *tokenauth.Manager, userID string) []tokenauth.Token {
	t.Helper()
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: userID})
	require.NoError(t, err)
	require.NotEmpty(t, tokens)
	return tokens
}
