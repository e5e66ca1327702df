package tokenauth

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

// A Token is the record of one named key of one user. A Token holds neither the key nor the digest,
// so it may be logged, marshaled and shown to its owner.
//
// Times are in UTC and whole microseconds. A zero time means never. The JSON omits zero times,
// except for "created_at".
type Token struct {
	ID         string    `json:"id"`                    // public, random and URL-safe; identifies the token, but is not a secret
	UserID     string    `json:"user_id"`               // the service's own ID of the user
	Name       string    `json:"name"`                  // unique among the user's live tokens
	Scopes     Scopes    `json:"scopes"`                // sorted, without duplicates; nil means none
	Resources  []string  `json:"resources"`             // sorted, without duplicates; nil means all resources
	Hint       string    `json:"hint"`                  // last four characters of the key; may be empty for an imported token
	Generation int       `json:"generation"`            // 1 for a new token, plus 1 per rotation; 0 for an imported key
	Origin     string    `json:"origin,omitempty"`      // system that the token was imported from; empty if the token was issued here
	CreatedAt  time.Time `json:"created_at"`            // when the token was issued
	ExpiresAt  time.Time `json:"expires_at,omitzero"`   // time from which the token is expired
	LastUsedAt time.Time `json:"last_used_at,omitzero"` // when the token was last used
	RevokedAt  time.Time `json:"revoked_at,omitzero"`   // when the token was revoked; zero for a live token
	CreatedBy  string    `json:"created_by,omitempty"`  // who issued or imported the token; see ContextWithActor
	RevokedBy  string    `json:"revoked_by,omitempty"`  // who revoked the token; see ContextWithActor

	// PreviousKeyUntil is the time from which the key that the last rotation replaced is refused. It
	// may be in the past. It is zero if the token was never rotated or is revoked.
	PreviousKeyUntil time.Time `json:"previous_key_until,omitzero"`
}

// Scopes are the scopes of a token. Their JSON is an array. The JSON of nil is an empty array.
type Scopes []string

// MarshalJSON implements [json.Marshaler].
func (s Scopes) MarshalJSON() ([]byte, error) { return json.Marshal(append([]string{}, s...)) }

// ExpiredAt reports whether the token is expired at now. The instant ExpiresAt itself counts as
// expired (RFC 7519 section 4.1.4: "on or after").
func (t *Token) ExpiredAt(now time.Time) bool {
	return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}

// unused reports whether the token was neither created nor used after since. If since is the zero
// time, unused returns false.
func (t *Token) unused(since time.Time) bool {
	return !since.IsZero() && !t.CreatedAt.After(since) && !t.LastUsedAt.After(since)
}

// HasScopes reports whether the token has all of the given scopes. Scopes are compared exactly:
// there are no wildcards and no hierarchy. Without arguments, HasScopes returns true.
func (t *Token) HasScopes(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(t.Scopes, s) {
			return false
		}
	}
	return true
}

// Cursor returns the position of the token in a list, for use as [Query].After.
func (t *Token) Cursor() Cursor { return Cursor{CreatedAt: t.CreatedAt, ID: t.ID} }

// clone returns a copy that shares no memory with t.
func (t *Token) clone() Token {
	c := *t
	c.Scopes = slices.Clone(t.Scopes)
	c.Resources = slices.Clone(t.Resources)
	return c
}

// A Cursor is a position in a list of tokens. The zero Cursor is the start of the list. A Cursor
// stays valid after its token was deleted.
//
// The text form of a Cursor, which is also its JSON, is opaque and URL-safe. It contains only the
// CreatedAt and the ID of a token.
type Cursor struct {
	CreatedAt time.Time
	ID        string
}

// MarshalText implements [encoding.TextMarshaler]. The zero Cursor is the empty text.
func (c Cursor) MarshalText() ([]byte, error) {
	if c == (Cursor{}) {
		return nil, nil
	}
	text := strconv.FormatInt(c.CreatedAt.UnixMicro(), 10) + "." + c.ID
	return base64.RawURLEncoding.AppendEncode(nil, []byte(text)), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It returns a [*SpecError] for text that
// MarshalText cannot return.
func (c *Cursor) UnmarshalText(text []byte) error {
	*c = Cursor{}
	if len(text) == 0 {
		return nil
	}
	decoded, err := base64.RawURLEncoding.AppendDecode(nil, text)
	at, id, found := strings.Cut(string(decoded), ".")
	n, numberErr := strconv.ParseInt(at, 10, 64)
	createdAt := time.UnixMicro(n).UTC()
	if err != nil || numberErr != nil || !found || !syntax.IsWord(id) || createdAt.Year() < 1 || createdAt.After(latestTime) {
		return &SpecError{"cursor", "is not a valid cursor"}
	}
	parsed := Cursor{CreatedAt: createdAt, ID: id}
	if again, _ := parsed.MarshalText(); string(again) != string(text) {
		return &SpecError{"cursor", "is not a valid cursor"}
	}
	*c = parsed
	return nil
}

// Every database and [time.Time.MarshalJSON] can hold the times from earliestTime to latestTime.
var (
	earliestTime = time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)
	latestTime   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// micros rounds t down to the microsecond, so that a stored expiry is never later than the
// requested expiry. It replaces a time outside the years 1 to 9999 by the closest time within.
func micros(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return time.Time{}
	case t.Before(earliestTime):
		return earliestTime
	case t.After(latestTime):
		return latestTime
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}
