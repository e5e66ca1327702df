package tokenimport

import (
	"cmp"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const sanctumOrigin = "sanctum"

// Reasons to refuse a row of Sanctum.
const (
	ReasonTokenable Reason = "token of another tokenable type"
	ReasonAbilities Reason = "unreadable abilities"
	ReasonWildcard  Reason = `no rule for the ability "*"`
)

// SanctumOptions names the tables of the source, and converts user IDs and abilities. The zero
// value is for the default configuration of Laravel and Sanctum. The name of a table may contain
// its schema, as in "public.users". A name consists of ASCII letters, digits and underscores.
type SanctumOptions struct {
	Table  string // table of tokens; if empty, personal_access_tokens
	Users  string // table of users; if empty, users
	UserPK string // primary key of Users; if empty, id

	// Tokenable is the tokenable_type of the users. Run refuses the tokens of other types. If
	// empty, App\Models\User.
	Tokenable string

	// UserID returns the user ID of the service for a tokenable_id. If you also import tokens of
	// another tokenable type, no user ID may occur for both types. Otherwise, a key of one type
	// signs in a user of the other type. If nil, the user ID is the tokenable_id.
	UserID func(tokenableID string) string

	// Scopes returns the scopes for an ability. If it returns an error, Run refuses the row with
	// the text of the error as its reason. If nil, each ability becomes the scope of the same name,
	// and Run refuses tokens with the ability "*".
	Scopes func(ability string) ([]string, error)

	// Expiration is the setting "expiration" of config/sanctum.php, which Laravel counts in
	// minutes. A token expires at most Expiration after its creation. If zero, only a token's own
	// expiry applies.
	Expiration time.Duration

	// Location is the setting "timezone" of config/app.php, the zone of times that are stored
	// without a zone. If nil, UTC.
	Location *time.Location
}

// Sanctum returns a Source for the tokens of Laravel Sanctum. If opts is nil, Sanctum uses the zero
// value. Sanctum copies opts. [Run] reports invalid options. A token expires at its own expiry, or
// Expiration after its creation, whichever is earlier. Sanctum before version 3 stores no expiry of
// a token.
func Sanctum(db *sql.DB, d tokenauth.Dialect, opts *SanctumOptions) *Source {
	var o SanctumOptions
	if opts != nil {
		o = *opts
	}
	if o.UserID == nil {
		o.UserID = func(tokenableID string) string { return tokenableID }
	}
	if o.Scopes == nil {
		o.Scopes = sameName
	}
	tokenable, location := cmp.Or(o.Tokenable, `App\Models\User`), cmp.Or(o.Location, time.UTC)
	s := newSource(db, d, sanctumOrigin)
	userPK := s.quoted(cmp.Or(o.UserPK, "id"))
	s.table, s.key = s.quoted(cmp.Or(o.Table, "personal_access_tokens")), "id"
	s.columns = []string{
		"t.tokenable_type", "t.tokenable_id",
		"(SELECT u." + userPK + " FROM " + s.quoted(cmp.Or(o.Users, "users")) + " AS u WHERE u." + userPK + " = t.tokenable_id)",
		"t.name", "t.token", "t.abilities",
		s.timeColumn("created_at"), s.timeText(s.ifExists("expires_at")), s.timeColumn("last_used_at"),
	}
	s.read = func(id any, c []any) row {
		r := row{label: "id=" + text(id)}
		var digest tokenauth.Digest
		stored, err := hex.DecodeString(text(c[4]))
		switch {
		case text(c[0]) != tokenable:
			r.refused = ReasonTokenable
		case err != nil || len(stored) != len(digest):
			r.refused = ReasonMalformed
		}
		if r.refused != "" {
			return r
		}
		copy(digest[:], stored)
		r.spec = tokenauth.ImportSpec{UserID: o.UserID(text(c[1])), Name: text(c[3]), Origin: sanctumOrigin, Digest: digest}
		r.refused = cmp.Or(userExists(c[2]), readTimes(&r.spec, c[6:], location, o.Expiration), readAbilities(&r.spec, c[5], o.Scopes))
		return r
	}
	return s
}

// userExists returns ReasonNoUser if id is NULL, because the subquery found no user.
func userExists(id any) Reason {
	if id == nil {
		return ReasonNoUser
	}
	return ""
}

// readTimes sets CreatedAt, ExpiresAt and LastUsedAt from three columns. It returns ReasonTime if a
// time is unreadable, or if the expiration needs a time of creation that is missing.
func readTimes(spec *tokenauth.ImportSpec, columns []any, location *time.Location, expiration time.Duration) Reason {
	for i, to := range []*time.Time{&spec.CreatedAt, &spec.ExpiresAt, &spec.LastUsedAt} {
		var ok bool
		if *to, ok = timeOf(columns[i], location); !ok {
			return ReasonTime
		}
	}
	if expiration == 0 {
		return ""
	}
	if spec.CreatedAt.IsZero() {
		return ReasonTime
	}
	if end := spec.CreatedAt.Add(expiration); spec.ExpiresAt.IsZero() || end.Before(spec.ExpiresAt) {
		spec.ExpiresAt = end
	}
	return ""
}

// readAbilities sets the scopes of a token from its abilities. The column is a JSON list, or a JSON
// object, because PHP encodes an array with gaps as an object. If the column is NULL, the token has
// no scopes. The function rule returns the scopes for one ability.
func readAbilities(spec *tokenauth.ImportSpec, column any, rule func(string) ([]string, error)) Reason {
	if column == nil {
		return ""
	}
	var abilities []string
	if err := json.Unmarshal([]byte(text(column)), &abilities); err != nil {
		var object map[string]string
		if err := json.Unmarshal([]byte(text(column)), &object); err != nil {
			return ReasonAbilities
		}
		abilities = slices.Sorted(maps.Values(object))
	}
	for _, ability := range abilities {
		scopes, err := rule(ability)
		if err != nil {
			return Reason(err.Error())
		}
		spec.Scopes = append(spec.Scopes, scopes...)
	}
	return ""
}

// sameName is the default of SanctumOptions.Scopes.
func sameName(ability string) ([]string, error) {
	if ability == "*" {
		return nil, errors.New(string(ReasonWildcard))
	}
	return []string{ability}, nil
}

// SanctumFormat returns the format of the keys of Sanctum. A key consists of these parts:
//
//   - The ID of the row and a vertical bar. Both may be missing.
//   - The prefix, which is the setting "token_prefix" of config/sanctum.php. It may be missing.
//   - The secret: 40 letters and digits and a checksum of 8 hexadecimal digits. Before version 3.3,
//     a secret has 40 or 80 letters and digits, without a prefix and without a checksum.
//
// The Manager finds a key by the part after the vertical bar, and ignores the ID.
//
// If the Manager also accepts keys of other systems, list SanctumFormat last. It also recognizes
// their keys if they have 40 or 80 letters and digits.
func SanctumFormat(prefix string) tokenauth.LegacyFormat {
	return tokenauth.LegacyFormat{Origin: sanctumOrigin, Canonical: func(presented string) (string, bool) {
		id, secret, found := strings.Cut(presented, "|")
		if !found {
			secret = presented
		} else if !isSanctumID(id) {
			return "", false
		}
		unprefixed, prefixed := strings.CutPrefix(secret, prefix)
		return secret, isSanctumSecret(secret) || prefixed && hasSanctumChecksum(unprefixed)
	}}
}

// isSanctumID reports whether s may be the ID of a row: a number, or the UUID or ULID that some
// services use instead.
func isSanctumID(s string) bool {
	return s != "" && len(s) <= 36 && isAlphanumeric(strings.ReplaceAll(s, "-", ""))
}

func isSanctumSecret(s string) bool {
	return (len(s) == 40 || len(s) == 80) && isAlphanumeric(s) || hasSanctumChecksum(s)
}

func hasSanctumChecksum(s string) bool {
	return len(s) == 48 && isAlphanumeric(s) && s[40:] == fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(s[:40])))
}

func isAlphanumeric(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
