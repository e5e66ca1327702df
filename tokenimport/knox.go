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

// A KnoxVersion is a major version of django-rest-knox. The versions hash keys differently.
type KnoxVersion int

// Versions of django-rest-knox.
const (
	Knox4 KnoxVersion = 4 // knox 4.2, which hashes the bytes that the hexadecimal digits encode
	Knox5 KnoxVersion = 5 // knox 5, which hashes the text of the key
)

// keyStart returns the length of the column token_key, which has the first characters of a key. It
// panics if the version is unknown.
func (v KnoxVersion) keyStart() int {
	switch v {
	case Knox4:
		return 8
	case Knox5:
		return 15
	}
	panic("tokenimport: unknown version of knox")
}

// Reasons to refuse a row of knox.
const (
	ReasonSalted    Reason = "salted digest of knox before 4.2"
	ReasonAlgorithm Reason = "not a SHA-512 digest"
	ReasonVersion   Reason = "created by another version of knox"
)

const (
	knoxOrigin    = "knox"
	minKnoxDigits = 32
	maxKnoxDigits = 512
)

// KnoxOptions names the tables and columns of the source. The zero value is for the tables of knox
// itself. The name of a table may contain its schema, as in "public.knox_authtoken". A name
// consists of ASCII letters, digits and underscores.
type KnoxOptions struct {
	Table string // table of tokens; if empty, knox_authtoken
	Name  string // column of Table with the token's name, in a custom model; if empty, the tokens have no names

	Users  string // table of users; if empty, auth_user
	UserPK string // primary key of Users; if empty, id
	Active string // Boolean column of Users, true if the user may sign in; if empty, is_active

	// Scopes are the scopes of each imported token. If empty, the tokens have no scopes.
	Scopes []string

	// Location is the time zone of times that are stored without a zone. If USE_TZ is off, Django
	// stores times in SQLite and MySQL in its TIME_ZONE, without a zone. If nil, UTC.
	Location *time.Location
}

// Knox returns a Source for the tokens of django-rest-knox 4.2 or 5. If opts is nil, Knox uses the
// zero value. Knox copies opts. It panics if the version is unknown. [Run] reports invalid options.
//
// Run also refuses these rows:
//
//   - Rows with a salt, which knox before 4.2 created.
//   - Rows that another version created. Knox itself no longer accepts their keys.
//   - Rows whose digest does not have the length of a SHA-512 digest.
//
// Run cannot detect a SECURE_HASH_ALGORITHM other than SHA-512 with digests of the same length. It
// imports such rows, but the Manager refuses their keys.
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
		s.ifExists("salt"), s.ifExists("token_key"),
	}
	scopes, keyStart, location := slices.Clone(o.Scopes), version.keyStart(), cmp.Or(o.Location, time.UTC)
	s.read = func(digest any, c []any) row {
		created, ok := timeOf(c[1], location)
		expires, alsoOK := timeOf(c[2], location)
		r := row{label: "user_id=" + text(c[3]) + " created=" + text(c[1])} // not the primary key, which is the digest
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

// KnoxFormat returns the format of the keys of knox: an even number of lower-case hexadecimal
// digits, from 32 to 512. The prefix is the TOKEN_PREFIX of knox, or empty. Keys without the prefix
// are also recognized, because knox may have created them before TOKEN_PREFIX was set.
//
// If the Manager also accepts keys of DRF, list [DRFFormat] before KnoxFormat. The Manager then
// treats a key of 40 digits without a prefix as a key of DRF. Such keys of knox are refused.
//
// KnoxFormat panics if the version is unknown. It also panics if the version is Knox4 and the
// prefix is not empty, because knox 4 has no prefixes.
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
			hashed, _ = hex.DecodeString(presented) // cannot fail after isKnoxKey
		}
		// The canonical text is the digest that knox stores. An import knows only this digest, not
		// the key.
		sum := sha512.Sum512(hashed)
		return hex.EncodeToString(sum[:]), true
	}}
}

func isKnoxKey(s string) bool {
	return len(s) >= minKnoxDigits && len(s) <= maxKnoxDigits && len(s)%2 == 0 && isHex(s)
}
