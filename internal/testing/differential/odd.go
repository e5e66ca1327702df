package differential

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// These values are outside the limits within which a store must work.
var (
	oddTexts = []string{
		"", "\xff", "a\x00b", "\xed\xa0\x80", "a\nb", strings.Repeat("x", 257),
	}
	oddTimes = []time.Time{
		{}, earliest.Add(-999 * time.Nanosecond), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC),
		latest.Add(time.Nanosecond), time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(math.MaxInt64/2, 0), time.Unix(math.MinInt64/2, 0),
	}
	oddNumbers = []int{-1, math.MinInt32, math.MaxInt}
)

// plainRecord returns a record without odd values. Records with different numbers do not conflict.
func plainRecord(n int, userID string) tokenauth.Record {
	return tokenauth.Record{
		Token: tokenauth.Token{
			ID: fmt.Sprint("token", n), UserID: userID, Name: fmt.Sprint("name", n), Generation: 1, CreatedAt: now, Scopes: tokenauth.Scopes{"a"},
		},
		Digest: digest(2 * n), Slot: n,
	}
}

var now = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// oddCreations returns changes of a record that each set one odd value. None of them sets Resources
// that a store may refuse to read, because then a List of other tokens fails too.
func oddCreations() (changes []func(*tokenauth.Record)) {
	add := func(change func(*tokenauth.Record)) { changes = append(changes, change) }
	for _, text := range oddTexts {
		add(func(r *tokenauth.Record) { r.Token.ID = text })
		add(func(r *tokenauth.Record) { r.Token.UserID = text })
		add(func(r *tokenauth.Record) { r.Token.Name = text })
		add(func(r *tokenauth.Record) { r.Token.Scopes = tokenauth.Scopes{"a", text} })
		add(func(r *tokenauth.Record) { r.Token.Hint = text })
		add(func(r *tokenauth.Record) { r.Token.Origin = text })
		add(func(r *tokenauth.Record) { r.Token.CreatedBy = text })
		add(func(r *tokenauth.Record) { r.Token.RevokedAt, r.Token.RevokedBy = now, text })
	}
	for _, at := range oddTimes {
		add(func(r *tokenauth.Record) { r.Token.CreatedAt = at })
		add(func(r *tokenauth.Record) { r.Token.ExpiresAt = at })
		add(func(r *tokenauth.Record) { r.Token.LastUsedAt = at })
		add(func(r *tokenauth.Record) { r.Token.RevokedAt = at })
		add(func(r *tokenauth.Record) { r.Retired.Until = at })
	}
	for _, n := range oddNumbers {
		add(func(r *tokenauth.Record) { r.Token.Generation = n })
		add(func(r *tokenauth.Record) { r.Slot = n })
	}
	add(func(r *tokenauth.Record) { r.Token.Scopes = tokenauth.Scopes{"a b", " "} })
	add(func(r *tokenauth.Record) { r.Token.Scopes = tokenauth.Scopes{strings.Repeat("é", 40_000)} })
	add(func(r *tokenauth.Record) { r.Token.Resources = []string{strings.Repeat("é", 40_000)} })
	add(func(r *tokenauth.Record) { r.Retired.Digest = r.Digest })
	add(func(r *tokenauth.Record) { r.Digest = tokenauth.Digest{} })
	return changes
}

// oddCalls returns functions that return a call with one odd argument. The call may change the
// token with the given user ID and token ID.
func oddCalls() (calls []func(user, id string, r tokenauth.Rotation) call) {
	add := func(c func(user, id string, r tokenauth.Rotation) call) { calls = append(calls, c) }
	type rotation = tokenauth.Rotation
	for _, text := range oddTexts {
		add(func(u, id string, _ rotation) call {
			return newCall("Update", u, id, tokenauth.Patch{Name: &text}, now)
		})
		add(func(u, id string, _ rotation) call {
			return newCall("Update", u, id, tokenauth.Patch{Scopes: &[]string{"a", text}}, now)
		})
		add(func(u, id string, _ rotation) call {
			return newCall("Update", u, text, tokenauth.Patch{Name: new("n")}, now)
		})
		add(func(u, id string, r rotation) call { r.Hint = text; return newCall("Rotate", u, id, r, now) })
		add(func(u, id string, _ rotation) call { return newCall("Revoke", text, text, now, "") })
		add(func(u, id string, _ rotation) call { return newCall("Revoke", u, id, now, text) })
		add(func(u, id string, _ rotation) call { return newCall("RevokeExpired", text, text, now, "", now) })
		add(func(u, id string, _ rotation) call { return newCall("RevokeExpired", u, id, now, text, now) })
		add(func(u, id string, _ rotation) call { return newCall("RevokeAll", text, now, "", 10) })
		add(func(u, id string, _ rotation) call { return newCall("RevokeAll", u+id, now, text, 10) })
		add(func(u, id string, _ rotation) call {
			return newCall("Touch", tokenauth.Use{ID: text, At: now}, tokenauth.Use{ID: id, At: now})
		})
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{UserID: text, IncludeRevoked: true})
		})
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{UserID: u, IDs: []string{id, text}, After: tokenauth.Cursor{CreatedAt: now, ID: text}})
		})
		add(func(u, id string, _ rotation) call { return newCall("List", tokenauth.Query{UserID: u, Name: text}) })
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{UserID: u, CreatedBy: text})
		})
	}
	for _, at := range oddTimes {
		add(func(u, id string, _ rotation) call {
			return newCall("Update", u, id, tokenauth.Patch{ExpiresAt: &at}, now)
		})
		add(func(u, id string, _ rotation) call { return newCall("Update", u, id, tokenauth.Patch{}, at) })
		add(func(u, id string, r rotation) call { r.GraceUntil = at; return newCall("Rotate", u, id, r, now) })
		add(func(u, id string, r rotation) call { return newCall("Rotate", u, id, r, at) })
		add(func(u, id string, _ rotation) call { return newCall("Revoke", u, id, at, "") })
		add(func(u, id string, _ rotation) call { return newCall("RevokeExpired", u, id, at, "", time.Time{}) })
		add(func(u, id string, _ rotation) call { return newCall("RevokeAll", u+id, at, "", 10) })
		add(func(u, id string, _ rotation) call { return newCall("Touch", tokenauth.Use{ID: id, At: at}) })
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{AllUsers: true, After: tokenauth.Cursor{CreatedAt: at, ID: "a"}})
		})
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{AllUsers: true, ExpiresBefore: at})
		})
	}
	for _, n := range oddNumbers {
		add(func(u, id string, r rotation) call { r.Replaces = n; return newCall("Rotate", u, id, r, now) })
		add(func(u, id string, _ rotation) call {
			return newCall("List", tokenauth.Query{UserID: u, MinSlot: n, MaxSlot: n})
		})
		add(func(u, id string, _ rotation) call { return newCall("List", tokenauth.Query{UserID: u, Limit: n}) })
		add(func(u, id string, _ rotation) call { return newCall("Prune", time.Time{}, time.Time{}, n) })
	}
	return calls
}

// oddTimeout is the time after which a call hangs.
const oddTimeout = time.Minute

// RunOdd makes calls on an empty store with values outside the limits of the contract: texts that
// are not valid UTF-8 or too long, times outside the years 1 to 9999, and numbers outside their
// ranges. A store may refuse such a value or store it. It must not panic or hang, and other tokens
// must remain available.
func RunOdd(t testing.TB, s tokenauth.Store) {
	t.Helper()
	others := []tokenauth.Record{plainRecord(0, "user1"), plainRecord(1, "user2")}
	require.NoError(t, s.Create(t.Context(), others...))
	n := len(others)
	for _, change := range oddCreations() {
		n++
		r := plainRecord(n, "user1")
		r.Retired = &tokenauth.RetiredKey{Digest: digest(2*n + 1), Until: now}
		change(&r)
		if !checkOdd(t, s, newCall("Create", r), others) {
			return
		}
	}
	for _, odd := range oddCalls() {
		n++
		r := plainRecord(n, "user1")
		require.NoError(t, s.Create(t.Context(), r))
		rotation := tokenauth.Rotation{Replaces: 1, Digest: digest(2*n + 1), Hint: "abcd", GraceUntil: now}
		if !checkOdd(t, s, odd("user1", r.Token.ID, rotation), others) {
			return
		}
	}
}

// checkOdd makes a call with an odd value, and reports whether the other tokens of the store are
// available afterwards.
func checkOdd(t testing.TB, s tokenauth.Store, c call, others []tokenauth.Record) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oddTimeout)
	defer cancel()
	got := c.run(ctx, s)
	if got.kind == "panic" || ctx.Err() != nil {
		t.Errorf("%s: %v", c, got)
		return false
	}
	if text := missing(ctx, s, others); text != "" {
		t.Errorf("after %s (result: %v), %s", c, got, text)
		return false
	}
	return true
}

// missing returns which call does not return the given records, or an empty text.
func missing(ctx context.Context, s tokenauth.Store, others []tokenauth.Record) string {
	for _, r := range others {
		if found, err := s.Find(ctx, r.Digest); err != nil || !reflect.DeepEqual(*found, r) {
			return fmt.Sprintf("Find does not return token %q: %v", r.Token.ID, err)
		}
	}
	for _, q := range []tokenauth.Query{everything, {UserID: others[0].Token.UserID}} {
		all, err := s.List(ctx, q)
		if err != nil {
			return fmt.Sprintf("%s: %v", newCall("List", q), err)
		}
		for _, r := range others {
			listed := slices.ContainsFunc(all, func(other tokenauth.Record) bool { return reflect.DeepEqual(other, r) })
			if wanted := q.AllUsers || q.UserID == r.Token.UserID; listed != wanted {
				return fmt.Sprintf("%s lists token %q: %v", newCall("List", q), r.Token.ID, listed)
			}
		}
	}
	return ""
}
