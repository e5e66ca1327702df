package tokenimport

import (
	"cmp"
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A KnoxVersion says how a version of django-rest-knox hashes keys.
type KnoxVersion int

// The versions.
const (
	Knox4 KnoxVersion = 4 // 4.2, which hashes the bytes that a key's digits stand for
	Knox5 KnoxVersion = 5 // 5.0, which hashes the key as it is written
)

// keyStart returns how many characters of its key a row holds.
func (v KnoxVersion) keyStart() int {
	switch v {
	case Knox4:
		return 8
	case Knox5:
		return 15
	}
	panic("tokenimport: unknown version of knox")
}

// Reasons why a row of knox is refused.
const (
	ReasonSalted    Reason = "salted, as before knox 4.2"
	ReasonAlgorithm Reason = "not a digest of SHA-512"
	ReasonVersion   Reason = "made by another version of knox"
)

const (
	knoxOrigin    = "knox"
	minKnoxDigits = 32
	maxKnoxDigits = 512
)

// KnoxOptions say where the tokens are. Every empty field is what knox has by itself. A
// table's name may have that of its schema before it.
type KnoxOptions struct {
	Table string // of tokens; empty: knox_authtoken
	Name  string // its column with a name, in a model of the service's own; empty: the tokens have no names

	Users  string // the table of users; empty: auth_user
	UserPK string // its column that user_id refers to; empty: id
	Active string // its column that says who may sign in; empty: is_active

	// Scopes are what each token may do. None: only what requires none.
	Scopes []string

	// Location is Django's TIME_ZONE, if USE_TZ is off: then SQLite and MySQL hold times
	// of it, that name none. Nil: UTC.
	Location *time.Location
}

// Knox reads the tokens of django-rest-knox 4.2 or 5. The options may be nil. It panics if
// the version is unknown.
//
// Refused are also rows with a salt, from before 4.2; those that another version
// made, which knox itself accepts no more; and digests of another length than those of
// SHA-512. Another SECURE_HASH_ALGORITHM of the same length is not noticed: its keys
// are refused when they are presented.
func Knox(db *sql.DB, d tokenauth.Dialect, version KnoxVersion, opts *KnoxOptions) *Source {
	var o KnoxOptions
	if opts != nil {
		o = *opts
	}
	s := newSource(db, d, knoxOrigin)
	s.secret("digest", o.Name)
	name := "''"
	if o.Name != "" {
		name = "t." + s.quoted(o.Name)
	}
	s.table, s.key = s.quoted(cmp.Or(o.Table, "knox_authtoken")), "digest"
	s.columns = []string{
		name, s.timeColumn("created"), s.timeColumn("expiry"), "t.user_id",
		s.activeColumn(o.Active, o.Users, o.UserPK, "user_id"),
		s.ifThere("salt"), s.ifThere("token_key"),
	}
	scopes, keyStart, location := slices.Clone(o.Scopes), version.keyStart(), cmp.Or(o.Location, time.UTC)
	s.read = func(digest any, c []any) row {
		created, ok := timeOf(c[1], location)
		expires, alsoOK := timeOf(c[2], location)
		r := row{label: "user_id=" + text(c[3]) + " created=" + text(c[1])} // its primary key is the digest
		switch {
		case c[5] != nil:
			r.refused = ReasonSalted
		case len(text(digest)) != 2*sha512.Size || !isHex(text(digest)):
			r.refused = ReasonAlgorithm
		case c[6] != nil && len(text(c[6])) != keyStart:
			r.refused = ReasonVersion
		}
		if r.refused != "" {
			return r
		}
		r.refused = userReason(c[4])
		if !ok || !alsoOK {
			r.refused = cmp.Or(r.refused, ReasonTime)
		}
		r.spec = tokenauth.ImportSpec{
			UserID: text(c[3]), Name: text(c[0]), Scopes: scopes, Origin: knoxOrigin,
			Digest: tokenauth.DigestOf(text(digest)), CreatedAt: created, ExpiresAt: expires,
		}
		return r
	}
	return s
}

// KnoxFormat recognises knox's keys: 32 to 512 hexadecimal digits, an even number, behind the
// prefix (TOKEN_PREFIX) or without it, as those are from before it was set. Where DRF's
// keys are accepted too, [DRFFormat] comes first in the list; then knox's of 40 digits
// without a prefix are not, since they would be taken for DRF's.
//
// It panics if the version is unknown, or has no prefixes and is given one.
func KnoxFormat(version KnoxVersion, prefix string) tokenauth.LegacyFormat {
	_ = version.keyStart()
	if version == Knox4 && prefix != "" {
		panic("tokenimport: knox 4 has no prefixes")
	}
	return tokenauth.LegacyFormat{Origin: knoxOrigin, Canonical: func(presented string) (string, bool) {
		if !isKnoxKey(presented) && !isKnoxKey(strings.TrimPrefix(presented, prefix)) {
			return "", false
		}
		hashed := []byte(presented)
		if version == Knox4 {
			hashed, _ = hex.DecodeString(presented) // which can't fail
		}
		// What knox stores: the digest that is imported is made of this text, since the key
		// is not known then.
		sum := sha512.Sum512(hashed)
		return hex.EncodeToString(sum[:]), true
	}}
}

func isKnoxKey(s string) bool {
	return len(s) >= minKnoxDigits && len(s) <= maxKnoxDigits && len(s)%2 == 0 && isHex(s)
}
