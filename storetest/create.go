package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var createCases = []testCase{
	// Case S1.
	{"return each record exactly as it was created", createRoundTrip},
	// Case S12.
	{"store each time in UTC, rounded down to the microsecond, and a zero time as a zero time", createTimes},
	// Case S22.
	{"store names, scopes and user IDs unchanged, even if they contain SQL syntax", createOddTexts},
	// Case S20.
	{"store copies of the records passed to Create, so that later changes by the caller have no effect", createCopies},
	{"not modify its arguments", keepArguments},
	{"create several records in one call", createMany},
	{"do nothing and return no error if Create is called without records", func(t *tester) { t.create(); t.holds() }},
	{"return nil Scopes for a record that was created with an empty list of scopes", createNoScopes},
}

func createRoundTrip(t *tester) {
	retired := full("with a retired key")
	plain := named("plain")
	imported := newRecord(bob, "imported", "imported")
	imported.Token.Generation, imported.Token.Origin, imported.Token.Hint = 0, "drf", ""
	digits := named("with texts that are also numbers")
	digits.Token.Hint, digits.Token.Origin = "0012", "007"
	gone := revoked(full("revoked"), after(9))
	gone.Token.Origin = "DRF_2-x"
	t.create(retired)
	t.create(plain)
	t.create(imported, digits, gone)
	t.holds(retired, plain, imported, digits, gone)
}

// oddTimes lists pairs of times. After a test case has stored the time in the field given,
// the store must return the time in the field kept. That time is in UTC and is rounded down to
// the microsecond.
var oddTimes = []struct {
	name        string
	given, kept time.Time
}{
	{"zero", time.Time{}, time.Time{}},
	{"the second microsecond of year 1", time.Date(1, 1, 1, 0, 0, 0, 1_999, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1_000, time.UTC)},
	{"nanoseconds", time.Date(2030, 1, 2, 3, 4, 5, 123_456_999, time.UTC), time.Date(2030, 1, 2, 3, 4, 5, 123_456_000, time.UTC)},
	{"microseconds", time.Date(2030, 1, 2, 3, 4, 5, 1_000, time.UTC), time.Date(2030, 1, 2, 3, 4, 5, 1_000, time.UTC)},
	{"before 1970", time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
	{"long before 1970", time.Date(1815, 6, 18, 11, 35, 0, 1, time.UTC), time.Date(1815, 6, 18, 11, 35, 0, 0, time.UTC)},
	{"the start of 1970", time.Unix(0, 0), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)},
	{"the last microsecond of 9999", time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
	{"+14:00", time.Date(2030, 1, 1, 13, 0, 0, 0, time.FixedZone("LINT", 14*3600)), time.Date(2029, 12, 31, 23, 0, 0, 0, time.UTC)},
	{"-03:30", time.Date(2030, 6, 1, 23, 45, 0, 0, time.FixedZone("NST", -12600)), time.Date(2030, 6, 2, 3, 15, 0, 0, time.UTC)},
	{"+00:19:32", time.Date(2030, 6, 1, 0, 0, 0, 0, time.FixedZone("AMT", 1172)), time.Date(2030, 5, 31, 23, 40, 28, 0, time.UTC)},
}

func createTimes(t *tester) {
	var kept []tokenauth.Record
	for _, odd := range oddTimes {
		given, want := full(odd.name), full(odd.name)
		given.Slot, want.Slot = 0, 0
		if odd.given.IsZero() { // valid records never have a zero CreatedAt or Retired.Until
			given.Retired, want.Retired = nil, nil
		} else {
			given.Token.CreatedAt, want.Token.CreatedAt = odd.given, odd.kept
			given.Retired.Until, want.Retired.Until = odd.given, odd.kept
		}
		given.Token.ExpiresAt, want.Token.ExpiresAt = odd.given, odd.kept
		given.Token.LastUsedAt, want.Token.LastUsedAt = odd.given, odd.kept
		given.Token.RevokedAt, want.Token.RevokedAt = odd.given, odd.kept
		t.create(given)
		t.finds(want.Digest, want)
		kept = append(kept, want)
	}
	t.holds(kept...)
}

// oddTexts are names and user IDs that a store may fail to store unchanged. Some texts have
// a special meaning in SQL, LIKE patterns, templates, number literals or format strings.
// Other texts contain non-ASCII characters.
var oddTexts = []string{
	`'; DROP TABLE tokenauth_tokens; --`, `"`, `''`, "`", `\`, `\'`, `%`, `_`, `a%b`, `{table}`, `{columns}`,
	`?`, `*`, `a*`, `.*`, `[^a]`, `{a}b`, `a:b`, `$1`, `:a`, `@a`, `NULL`, `null`, `SELECT`, `1`, `01`, `1.0`, `1e3`, `0x1F`, `true`, `/* */`, `-- `, `#`, `;`,
	`%s`, `%!d`, `[a]`, `a|b`, `🦊`, `مفتاح`, `👩‍💻`,
}

func createOddTexts(t *tester) {
	longest := strings.Repeat("u", 252) + "é'" // 255 bytes
	var all []tokenauth.Record
	for i, text := range append(oddTexts, longest) {
		r := newRecord(text, "plain", fmt.Sprint("of odd user ", i))
		t.create(r)
		t.lists(tokenauth.Query{UserID: text}, r)
		all = append(all, r)
	}
	for i, text := range oddTexts {
		r := newRecord(alice, text, fmt.Sprint("odd name ", i))
		r.Token.Scopes = []string{"!", "%", "';--", strings.ReplaceAll("x:"+asciiOf(text), " ", "")}
		t.create(r)
		all = append(all, r)
	}
	t.holds(all...)
}

// asciiOf returns text without the characters that a scope must not contain: non-ASCII and
// control characters, spaces, double quotes and backslashes.
func asciiOf(text string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return -1
		}
		return c
	}, text)
}

func createCopies(t *tester) {
	given, want := full("Foo"), full("Foo")
	records := []tokenauth.Record{given, named("Bar")}
	t.create(records...)
	given.Token.Scopes[0], given.Token.Resources[0] = "changed", "changed"
	given.Retired.Digest = digest("changed")
	given.Retired.Until = after(5000)
	records[1].Token.Name = "changed"
	t.holds(want, named("Bar"))
}

// keepArguments makes calls with arguments that a store could sort, round or cut.
func keepArguments(t *tester) {
	late := after(5).Add(time.Nanosecond)
	records := func() []tokenauth.Record {
		r, dead := full("Foo"), revoked(full("Bar"), late)
		r.Slot, dead.Slot = 2, 1
		r.Token.CreatedAt, r.Token.LastUsedAt, r.Retired.Until = late, late, late
		r.Token.Scopes, r.Token.Resources = []string{"write", "read"}, []string{"q", "p"}
		return []tokenauth.Record{r, dead}
	}
	given := records()
	t.create(given...)
	for i, want := range records() {
		if difference := diff(given[i], want); difference != "" {
			t.failf("Create changed the given records: %s", difference)
		}
	}
	ids := []string{"2", given[0].Token.ID, "1", given[0].Token.ID}
	uses := []tokenauth.Use{use(given[1], late), use(given[0], late), use(given[0], after(4))}
	scopes, resources, expiresAt := []string{"b", "a"}, []string{"q", "p"}, after(2000).Add(time.Nanosecond)
	wantIDs, wantUses, wantScopes, wantResources, wantExpiry := slices.Clone(ids), slices.Clone(uses), slices.Clone(scopes), slices.Clone(resources), expiresAt
	if n := len(t.list(tokenauth.Query{UserID: alice, IDs: ids})); n != 1 {
		t.failf("List of a live token and two unknown ones returned %d records", n)
	}
	t.touch(uses...)
	t.update(given[0], tokenauth.Patch{Scopes: &scopes, Resources: &resources, ExpiresAt: &expiresAt})
	replaces := tokenauth.Token{Scopes: []string{"outdated", "a"}, Resources: []string{"q", "p"}}
	p := tokenauth.Patch{Name: new("Baz"), Replaces: &replaces}
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, given[0].Token.ID, p, after(5)), "Update with outdated Replaces")
	switch {
	case !slices.Equal(ids, wantIDs):
		t.failf("List changed the given IDs")
	case !slices.Equal(uses, wantUses):
		t.failf("Touch changed the given uses")
	case !slices.Equal(scopes, wantScopes), !slices.Equal(resources, wantResources), !expiresAt.Equal(wantExpiry),
		!slices.Equal(replaces.Scopes, []string{"outdated", "a"}), !slices.Equal(replaces.Resources, []string{"q", "p"}):
		t.failf("Update changed the given values")
	}
}

func createMany(t *tester) {
	records := make([]tokenauth.Record, 100)
	for i := range records {
		records[i] = full(fmt.Sprint("token ", i))
		records[i].Slot = i + 1
	}
	t.create(records...)
	t.holds(records...)
}

func createNoScopes(t *tester) {
	given := named("Foo")
	given.Token.Scopes = []string{}
	t.create(given)
	t.holds(named("Foo"))
}
