package differential

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// These texts differ in ways that a database may overlook: case, trailing spaces, spellings of one
// character in Unicode, patterns of LIKE, and the last byte of the longest text. Some IDs and hints
// are outside the limits of Record, but all stores of this repository keep them.
var (
	ids = []string{
		"AEBAGBAFAYDQQCIKBMGA2DQPCA", "AEBAGBAFAYDQQCIKBMGA2DQPCB", "aebagbafaydqqcikbmga2dqpca",
		"a", "A", "a ", " a", "aa", "a-", "a_", "a%", "%", "_", "b", "B", "0", "00", "1", "1.0", "1e0", "null", "'", `"`, `\`, `\'`, "?", "$1",
		"é", "e\u0301", "日本", "😀", "ß", "ss", strings.Repeat("i", 63) + "j", strings.Repeat("i", 64), strings.Repeat("😀", 16),
	}
	users = []string{
		"u", "U", "u ", "ü", "u\u0308", "😀", "42", "042", "42.0", "%", "_", "'", `\`, "ß", "ss", "u;--", "null",
		strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("é", 127) + "e",
	}
	names = []string{
		"n", "N", "n ", " n", "n  n", "n n", "ñ", "n\u0303", "n'", `n"`, `n\`, "n%", "n_", "%", "_", "?", "$1", "{table}", "{columns}",
		"k", "K", "\u212a", "i", "I", "ı", "İ", "ß", "ẞ", "ss", "ﬁ", "fi", "😀", "👨\u200d👩\u200d👧", "ك", "\u2067ك", "\ufeffn", "n\u00a0n",
		strings.Repeat("😀", 64), strings.Repeat("😀", 63) + "😁", strings.Repeat("w", 64),
	}
	scopes    = []string{"a", "A", "b", "a:b", "a.b", "%", "_", "'", "a,b", "?", "$1", "{table}", strings.Repeat("s", 128)}
	resources = []string{
		"p", "P", "p1", "p:1", "p/1", "p,q", "%", "_", "'", `"`, `\`, "?", "$1", "{table}", "null", "*", "~", strings.Repeat("r", 255), strings.Repeat("r", 254) + "s",
	}
	actors = []string{
		"", "", "login", "Login", "login ", "log", "user:42", "token:a", "'", `\`, "%", "_", "?", "{table}", "null", "é", "e\u0301", "😀",
		strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("é", 127) + "e",
	}
	hints   = []string{"", "abcd", "ABCD", "x 7f", strings.Repeat("h", 16)}
	origins = []string{"", "", "", "", "drf", "DRF", strings.Repeat("o", 64)}
	slots   = []int{0, 0, 1, 2, 3, 4, 5, 5, 6, math.MaxInt32 - 1, math.MaxInt32}
)

const (
	digests     = 400  // number of different digests
	bulkDigests = 4000 // number of additional digests, for calls of Create with many records
)

// The stored times are in whole microseconds between these times.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

var times = []time.Time{
	earliest, latest, time.Unix(0, 0).UTC(), time.Unix(0, -1).UTC(), time.Unix(0, 1).UTC(),
	time.Date(1960, 2, 29, 0, 0, 0, 1, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	time.Date(1582, 10, 10, 12, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 30, 0, 0, time.FixedZone("east", 3600)),
	time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 1, 1, 0, 0, 0, 999, time.UTC), time.Date(2024, 1, 1, 0, 0, 0, 1000, time.UTC),
	time.Date(2024, 1, 1, 1, 0, 0, 1999, time.FixedZone("east", 3600)), time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 3, 1, 0, 0, 0, 0, time.FixedZone("west", -11*3600)), time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC),
	time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), time.Date(2262, 4, 11, 23, 47, 17, 0, time.UTC),
}

// offsets are distances to a stored time at which a comparison may be wrong.
var offsets = []time.Duration{0, 0, time.Nanosecond, -time.Nanosecond, time.Microsecond, -time.Microsecond, 999 * time.Nanosecond, time.Hour}

func init() {
	for n := range 60 {
		ids = append(ids, fmt.Sprintf("AEBAGBAFAYDQQCIKBMGA2DQP%02d", n))
	}
}

// pick returns a random item.
func pick[T any](g *generator, items []T) T { return items[g.IntN(len(items))] }

// chance reports true once in n calls on average.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

// time returns a time that is never zero. In half of the cases it is close to a time of a stored
// record.
func (g *generator) time() time.Time {
	if len(g.records) == 0 {
		return g.timeNear(&tokenauth.Record{})
	}
	return g.timeNear(&g.records[g.IntN(len(g.records))])
}

// timeNear is like time, for the times of r.
func (g *generator) timeNear(r *tokenauth.Record) time.Time {
	t := pick(g, times)
	near := pick(g, []time.Time{r.Token.CreatedAt, r.Token.ExpiresAt, r.Token.LastUsedAt, r.Token.RevokedAt})
	if !near.IsZero() && !g.chance(3) {
		t = near.Add(pick(g, offsets))
	}
	if t = within(t); g.chance(8) && t.Location() == time.UTC {
		return t.In(time.FixedZone("zone", 5*3600+1800))
	}
	return t
}

// within returns the time closest to t that a store must keep.
func within(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}

// idleSince returns a time close to the time since which r is idle.
func (g *generator) idleSince(r *tokenauth.Record) time.Time {
	since := r.Token.CreatedAt
	if r.Token.LastUsedAt.After(since) {
		since = r.Token.LastUsedAt
	}
	return within(since.Add(pick(g, offsets)))
}

// timeOrZero returns the zero time once in three calls on average.
func (g *generator) timeOrZero() time.Time {
	if g.chance(3) {
		return time.Time{}
	}
	return g.time()
}

// scopes returns the scopes of a token, which may be nil or empty.
func (g *generator) scopes() tokenauth.Scopes {
	switch g.IntN(5) {
	case 0:
		return nil
	case 1:
		return tokenauth.Scopes{}
	}
	var some tokenauth.Scopes
	for range 1 + g.IntN(3) {
		some = append(some, pick(g, scopes))
	}
	if g.chance(20) {
		for range 50 {
			some = append(some, pick(g, scopes))
		}
	}
	return some
}

// resources returns the resources of a token, which may be nil, but are never empty.
func (g *generator) resources() (some []string) {
	if g.chance(2) {
		return nil
	}
	for range 1 + g.IntN(3) {
		some = append(some, pick(g, resources))
	}
	if g.chance(20) {
		for range 97 {
			some = append(some, pick(g, resources))
		}
	}
	return some
}

// digest returns the current or retired digest of a stored record in half of the cases, and
// otherwise a digest that may be stored or not.
func (g *generator) digest() tokenauth.Digest {
	if len(g.records) > 0 && g.chance(2) {
		r := pick(g, g.records)
		if r.Retired != nil && g.chance(2) {
			return r.Retired.Digest
		}
		return r.Digest
	}
	return digest(g.IntN(digests))
}

// newDigest returns a digest that is probably not stored.
func (g *generator) newDigest() tokenauth.Digest { return digest(g.IntN(digests)) }
