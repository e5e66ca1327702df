package tokenauth

import (
	"slices"
	"time"
)

// A Token is the record of one named key of one user. It holds neither the key
// nor its digest, so that it may be logged, marshalled and shown to its owner.
//
// Times are in UTC and whole microseconds. A zero time means never.
type Token struct {
	ID         string    // public, random, URL-safe; names the token everywhere but in a request
	UserID     string    // opaque: whatever the service calls its users
	Name       string    // unique among the user's live tokens
	Scopes     []string  // sorted, without duplicates; nil: none
	Hint       string    // the last four characters of the key, to recognise it by; of an imported one maybe none
	Generation int       // which key this is: 1 at issue, one more at each rotation; 0: made elsewhere and imported
	Origin     string    // where an imported token came from; empty: issued here
	CreatedAt  time.Time // when it was issued
	ExpiresAt  time.Time `json:",omitzero"` // from this instant on it is expired
	LastUsedAt time.Time `json:",omitzero"` // when it was last used
	RevokedAt  time.Time `json:",omitzero"` // when it was revoked; a live token has none
}

// ExpiredAt reports whether the token is expired at now. It is from the
// instant ExpiresAt on (RFC 7519 section 4.1.4 words it "on or after").
func (t Token) ExpiredAt(now time.Time) bool { return expired(t.ExpiresAt, now) }

// expired and hasScopes serve requests, where a method would copy the Token.
func expired(expiresAt, now time.Time) bool {
	return !expiresAt.IsZero() && !now.Before(expiresAt)
}

// HasScopes reports whether the token has every one of scopes. Scopes are
// compared whole and exactly: there is no wildcard and no hierarchy. With no
// scopes given it is true.
func (t Token) HasScopes(scopes ...string) bool { return hasScopes(t.Scopes, scopes) }

func hasScopes(has, need []string) bool {
	for _, s := range need {
		if !slices.Contains(has, s) {
			return false
		}
	}
	return true
}

// Cursor returns the token's place in the order of a list, for [Query].After.
func (t Token) Cursor() Cursor { return Cursor{CreatedAt: t.CreatedAt, ID: t.ID} }

// clone returns a copy that its owner may change.
func (t Token) clone() Token {
	t.Scopes = slices.Clone(t.Scopes)
	return t
}

// latestTime is the last instant that every database, and
// [time.Time.MarshalJSON], can hold.
var latestTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)

// micros rounds t down to what a store keeps, so that no stored expiry is ever
// later than the one asked for.
func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
