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

// Reasons why a row of Sanctum is refused.
const (
	ReasonTokenable Reason = "the token of another type of tokenable"
	ReasonAbilities Reason = "unreadable abilities"
	ReasonWildcard  Reason = `ability "*", for which there is no rule`
)

// SanctumOptions say where the tokens are and what they mean here. Every zero field is
// what Laravel and Sanctum have by themselves. A table's name may have that of its
// schema before it.
type SanctumOptions struct {
	Table  string // of tokens; empty: personal_access_tokens
	Users  string // the table of users; empty: users
	UserPK string // its primary key; empty: id

	// Tokenable is the tokenable_type of the users. The tokens of others are refused.
	// Empty: App\Models\User.
	Tokenable string

	// UserID returns what the service calls the user with a tokenable_id. Where
	// the tokens of another tokenable type are imported too, theirs must differ from all of
	// these: otherwise one signs in as the other. Nil: the tokenable_id itself.
	UserID func(tokenableID string) string

	// Scopes returns what an ability becomes; with an error, which becomes the
	// reason, the token is refused. Nil: the ability itself, and tokens with the
	// ability "*" are refused.
	Scopes func(ability string) ([]string, error)

	// Expiration is that of config/sanctum.php, there in minutes. Zero: none.
	Expiration time.Duration

	// Location is the timezone of config/app.php, in which times are that name none.
	// Nil: UTC.
	Location *time.Location
}

// Sanctum reads the tokens of Laravel Sanctum. The options may be nil. A token expires at
// the earlier of its own expiry, which none has before Sanctum 3, and Expiration after
// it was made.
func Sanctum(db *sql.DB, d tokenauth.Dialect, opts *SanctumOptions) *Source {
	var o SanctumOptions
	if opts != nil {
		o = *opts
	}
	if o.UserID == nil {
		o.UserID = func(tokenableID string) string { return tokenableID }
	}
	if o.Scopes == nil {
		o.Scopes = ownScope
	}
	tokenable, location := cmp.Or(o.Tokenable, `App\Models\User`), cmp.Or(o.Location, time.UTC)
	s := newSource(db, d, sanctumOrigin)
	userPK := s.quoted(cmp.Or(o.UserPK, "id"))
	s.table, s.key = s.quoted(cmp.Or(o.Table, "personal_access_tokens")), "id"
	s.columns = []string{
		"t.tokenable_type", "t.tokenable_id",
		"(SELECT u." + userPK + " FROM " + s.quoted(cmp.Or(o.Users, "users")) + " AS u WHERE u." + userPK + " = t.tokenable_id)",
		"t.name", "t.token", "t.abilities",
		s.timeColumn("created_at"), s.timeText(s.ifThere("expires_at")), s.timeColumn("last_used_at"),
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

// userExists is for the ID of a user, NULL if there is no such user.
func userExists(id any) Reason {
	if id == nil {
		return ReasonNoUser
	}
	return ""
}

// readTimes sets when a token was made, ends, and was used last.
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

// readAbilities sets a token's scopes: of a list, or of an object, which is what PHP makes of an
// array with gaps. NULL is none.
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

// ownScope is the rule where there is none.
func ownScope(ability string) ([]string, error) {
	if ability == "*" {
		return nil, errors.New(string(ReasonWildcard))
	}
	return []string{ability}, nil
}

// SanctumFormat recognises Sanctum's keys: the row's ID and a bar, which may be missing;
// then 40 random characters and a checksum, behind the prefix (token_prefix of config/sanctum.php)
// or without it; or 40 or 80 characters without a checksum, as before version 3.3.
//
// The ID decides nothing here: a key is found by the rest of it, which is the secret.
//
// Where other systems' keys are accepted too, it comes last in the list: it would take
// those of 40 or 80 digits for its own.
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

// isSanctumID takes numbers, and the UUIDs and ULIDs that some services have in their
// place.
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
