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

// DRFOptions say where the tokens are. Every empty field is what Django REST
// Framework's own app, rest_framework.authtoken, has. A table's name may have that of its
// schema before it: "public.tokens_token".
type DRFOptions struct {
	Table   string // of tokens; empty: authtoken_token
	ID      string // its column with the primary key; empty: that is the key
	Key     string // empty: key
	UserID  string // empty: user_id
	Name    string // empty: the tokens have no names
	Created string // empty: created

	Users  string // the table of users; empty: auth_user
	UserPK string // its column that UserID refers to; empty: id
	Active string // its column that says who may sign in; empty: is_active

	// Scopes are what each token may do. None: only what requires none.
	Scopes []string
}

// DRF reads the tokens of Django REST Framework: of its own app, one for each user; or of
// a model with many tokens for each user, which have names, of which the options
// say the table, ID and Name. They may be nil.
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
		if text(pk) == key || isDRFKey(text(pk)) { // which it may be if the columns were mixed up
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

// activeColumn returns the expression that says whether Django lets the user sign in, NULL
// if there is none. A join might read all users for each page.
func (s *Source) activeColumn(active, users, pk, userID string) string {
	return "(SELECT u." + s.quoted(cmp.Or(active, "is_active")) + " FROM " + s.quoted(cmp.Or(users, "auth_user")) +
		" AS u WHERE u." + s.quoted(cmp.Or(pk, "id")) + " = t." + s.quoted(userID) + ")"
}

// userReason is for what activeColumn says.
func userReason(active any) Reason {
	switch {
	case active == nil:
		return ReasonNoUser
	case !isTrue(active):
		return ReasonInactive
	}
	return ""
}

// DRFFormat recognises the keys of Django REST Framework: 40 hexadecimal digits.
func DRFFormat() tokenauth.LegacyFormat {
	return tokenauth.LegacyFormat{Origin: drfOrigin, Canonical: func(presented string) (string, bool) {
		return presented, isDRFKey(presented)
	}}
}

func isDRFKey(s string) bool { return len(s) == drfDigits && isHex(s) }
