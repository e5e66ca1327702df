package tokenimport

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

const (
	drfOrigin = "drf"
	drfDigits = 40
)

// DRFOptions names the tables and columns of the source. The zero value is for
// rest_framework.authtoken, the token app of Django REST Framework. The name of a table may contain
// its schema, as in "public.tokens_token". A name consists of ASCII letters, digits and
// underscores.
type DRFOptions struct {
	Table   string // table of tokens; if empty, authtoken_token
	ID      string // primary key of Table; if empty, the column Key
	Key     string // column of Table with the key; if empty, key
	UserID  string // column of Table with the user's primary key; if empty, user_id
	Name    string // column of Table with the token's name; if empty, the tokens have no names
	Created string // column of Table with the time of creation; if empty, created

	Users  string // table of users; if empty, auth_user
	UserPK string // primary key of Users; if empty, id
	Active string // Boolean column of Users, true if the user may sign in; if empty, is_active

	// Scopes are the scopes of each imported token. If empty, the tokens have no scopes.
	Scopes []string
}

// DRF returns a Source for the tokens of Django REST Framework. If opts is nil, DRF uses the zero
// value, and the Source reads rest_framework.authtoken, which has one token per user. For a model
// with several named tokens per user, set at least Table, ID and Name. DRF copies opts. [Run]
// reports invalid options.
func DRF(db *sql.DB, d tokenauth.Dialect, opts *DRFOptions) *Source {
	var o DRFOptions
	if opts != nil {
		o = *opts
	}
	s := newSource(db, d, drfOrigin)
	keyColumn := cmp.Or(o.Key, "key")
	pkColumn := cmp.Or(o.ID, keyColumn)
	userID := cmp.Or(o.UserID, "user_id")
	s.secret(keyColumn, userID, o.Name)
	name := "''"
	if o.Name != "" {
		name = "t." + s.quoted(o.Name)
	}
	s.table = s.quoted(cmp.Or(o.Table, "authtoken_token"))
	s.key = s.quoted(pkColumn)
	s.columns = []string{
		"t." + s.quoted(keyColumn), name, s.timeColumn(cmp.Or(o.Created, "created")),
		"t." + s.quoted(userID), s.activeColumn(o.Active, o.Users, o.UserPK, userID),
	}
	scopes := slices.Clone(o.Scopes)
	s.read = func(pk any, c []any) row {
		key := text(c[0])
		r := row{label: pkColumn + "=" + text(pk)}
		if text(pk) == key || isDRFKey(text(pk)) { // the options may name the wrong column
			r.label = userID + "=" + text(c[3])
		}
		if !isDRFKey(key) {
			r.refused = ReasonMalformed
			return r
		}
		created, ok := timeOf(c[2], time.UTC)
		if !ok {
			r.refused = ReasonTime
		}
		r.refused = cmp.Or(userReason(c[4]), r.refused)
		r.spec = tokenauth.ImportSpec{
			UserID: text(c[3]), Name: text(c[1]), Scopes: scopes, Origin: drfOrigin,
			Digest: tokenauth.DigestOf(key), Hint: key[drfDigits-4:], CreatedAt: created,
		}
		return r
	}
	return s
}

// activeColumn returns an SQL expression for the column active of the row's user. The expression is
// NULL if the user does not exist. It is a subquery, because a join might read all users for each
// page.
func (s *Source) activeColumn(active, users, pk, userID string) string {
	return "(SELECT u." + s.quoted(cmp.Or(active, "is_active")) + " FROM " + s.quoted(cmp.Or(users, "auth_user")) +
		" AS u WHERE u." + s.quoted(cmp.Or(pk, "id")) + " = t." + s.quoted(userID) + ")"
}

// userReason returns the reason to refuse a row, given the value of activeColumn. It returns the
// empty string if the user is active.
func userReason(active any) Reason {
	switch {
	case active == nil:
		return ReasonNoUser
	case !isTrue(active):
		return ReasonInactive
	}
	return ""
}

// DRFFormat returns the format of the keys of Django REST Framework: 40 lower-case hexadecimal
// digits.
func DRFFormat() tokenauth.LegacyFormat {
	return tokenauth.LegacyFormat{Origin: drfOrigin, Canonical: func(presented string) (string, bool) {
		return presented, isDRFKey(presented)
	}}
}

func isDRFKey(s string) bool { return len(s) == drfDigits && isHex(s) }
