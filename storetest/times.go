package storetest

import (
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// timeCases test stores that compare or sort times as texts, as unsigned numbers, or as
// floating-point numbers of seconds or microseconds.
var timeCases = []testCase{
	// Case S12.
	{"order records whose CreatedAt differ by a microsecond, in all years from 1 to 9999", orderTimes},
	// Case S23.
	{"compare expiries and revocations with the time of Prune to the microsecond, in all years from 1 to 9999", pruneTimes},
	{"compare last-used times with unusedSince to the microsecond, in all years from 1 to 9999", idleTimes},
	{"compare expiries with the current time to the microsecond, in all years from 1 to 9999", expiryTimes},
	{"compare last-used times with the unusedSince of RevokeExpired to the microsecond, in all years from 1 to 9999", revokeIdleTimes},
	{"compare the times of uses to the microsecond, in all years from 1 to 9999", useTimes},
	{"compare expiries with the ExpiresBefore of a query to the microsecond, in all years from 1 to 9999", expiresBeforeTimes},
	// Case S12.
	{"round a time down to the microsecond when it is stored, and not only when it is returned", roundTimes},
}

// allTimes are times in order. Neighbors sort wrongly if a store compares some form of the times
// other than their numbers of microseconds. Their time zones differ: a clock in the zone of the
// earlier one shows a later time.
var allTimes = func() (all []time.Time) {
	for _, t := range []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 1_000, time.UTC),
		time.Date(999, 12, 31, 23, 59, 59, 999_998_000, time.UTC),
		time.UnixMicro(-1_000_000_000_001), // the number of digits changes
		time.UnixMicro(-2),
		time.UnixMicro(0),
		time.UnixMicro(9),
		time.UnixMicro(999_999_999_999_999), // in 2001
		time.Date(2026, 3, 1, 11, 59, 59, 999_999_000, time.UTC),
		time.UnixMicro(1 << 53), // the largest number whose neighbors are float64 numbers
		time.Date(9999, 12, 31, 23, 59, 59, 999_998_000, time.UTC),
	} {
		early, late := t.UTC(), t.UTC().Add(time.Microsecond)
		if t.Year() > 1 {
			late = late.In(time.FixedZone("", -3600))
		}
		if t.Year() < 9999 {
			early = early.In(time.FixedZone("", 3600))
		}
		all = append(all, early, late)
	}
	return all
}()

// atTimes returns a record for each of allTimes. A later record has a smaller ID, so records with
// times that compare as equal are in the wrong order.
func atTimes(change func(r *tokenauth.Record, at time.Time)) (all []tokenauth.Record) {
	for i, at := range allTimes {
		r := named(fmt.Sprintf("at %s", timeText(at)))
		r.Token.ID = fmt.Sprintf("%c%s", 'Z'-i, r.Token.ID[1:])
		change(&r, at)
		all = append(all, r)
	}
	return all
}

func orderTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.CreatedAt = at })
	for i := range all {
		t.create(all[i*7%len(all)])
	}
	t.lists(tokenauth.Query{UserID: alice}, all...)
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, all...)
	for i, r := range all {
		t.lists(tokenauth.Query{UserID: alice, After: r.Token.Cursor()}, all[i+1:]...)
		t.lists(tokenauth.Query{AllUsers: true, After: r.Token.Cursor(), Limit: 1}, all[i+1:min(i+2, len(all))]...)
	}
	at, id := all[4].Token.CreatedAt, all[4].Token.ID // all[5] is one microsecond later
	for _, c := range []struct {
		cursor tokenauth.Cursor
		want   []tokenauth.Record
	}{
		{tokenauth.Cursor{ID: id}, all},
		{tokenauth.Cursor{CreatedAt: at}, all[4:]},
		{tokenauth.Cursor{CreatedAt: at, ID: "~"}, all[5:]},
		{tokenauth.Cursor{CreatedAt: at.Add(999), ID: id}, all[5:]}, // rounded down to at
		{tokenauth.Cursor{CreatedAt: at.In(time.FixedZone("", 3600)), ID: id}, all[5:]},
	} {
		t.lists(tokenauth.Query{UserID: alice, After: c.cursor}, c.want...)
		t.lists(tokenauth.Query{AllUsers: true, After: c.cursor}, c.want...)
	}
}

func pruneTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.ExpiresAt = at })
	for i, r := range atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.RevokedAt = at }) {
		r.Token.ID, r.Digest = newID(fmt.Sprint("revoked ", i)), digest(fmt.Sprint("revoked ", i))
		all = append(all, r)
	}
	t.create(all...)
	for _, at := range allTimes {
		all = t.pruned(all, at, time.Time{})
		all = t.pruned(all, at.Add(999).In(time.FixedZone("", -3600)), time.Time{}) // rounded down, so nothing more
	}
	t.holds(all...)
}

func idleTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.CreatedAt = at })
	for i, r := range atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.CreatedAt, r.Token.LastUsedAt = allTimes[0], at }) {
		r.Token.ID, r.Digest, r.Token.Name = newID(fmt.Sprint("used ", i)), digest(fmt.Sprint("used ", i)), fmt.Sprint("used ", i)
		all = append(all, r)
	}
	t.create(all...)
	for _, at := range allTimes {
		all = t.pruned(all, time.Time{}, at.Add(999))
	}
	t.holds()
}

func expiryTimes(t *tester) {
	for _, r := range atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.ExpiresAt = at }) {
		t.create(r)
		at := r.Token.ExpiresAt.UTC()      // in another time zone than the expiry
		before := at.Add(-time.Nanosecond) // rounded down to a microsecond earlier
		t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, rescope("a"), at), "Update at %s of a token that expires at that time", timeText(at))
		t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(1, "new"), at), "Rotate at %s of a token that expires at that time", timeText(at))
		if !before.Truncate(time.Microsecond).IsZero() { // the current time is never zero
			t.wants(tokenauth.ErrConflict, t.revokeExpired(r, before), "RevokeExpired at %s of a token that expires at %s", timeText(before), timeText(at))
			t.wants(nil, t.store.Update(t.ctx, alice, r.Token.ID, rescope("a"), before), "Update at %s of a token that expires at %s", timeText(before), timeText(at))
			r.Token.Scopes = []string{"a"}
		}
		t.finds(r.Digest, r)
		t.wants(nil, t.revokeExpired(r, at), "RevokeExpired at %s of a token that expires at that time", timeText(at))
		t.finds(r.Digest, revoked(r, at))
	}
}

func revokeIdleTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.CreatedAt, r.Token.LastUsedAt = allTimes[0], at })
	t.create(all...)
	for i, r := range all {
		at := r.Token.LastUsedAt
		if i > 0 {
			t.wants(tokenauth.ErrConflict, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, after(9), revoker, at.Add(-time.Nanosecond)), "RevokeExpired of a token that was used at %s, one nanosecond after unusedSince", timeText(at))
		}
		t.wants(nil, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, after(9), revoker, at), "RevokeExpired of a token that was used at %s, which is unusedSince", timeText(at))
		all[i] = revoked(r, after(9))
	}
	t.lists(tokenauth.Query{UserID: alice, IncludeRevoked: true}, inOrder(all...)...)
}

func expiresBeforeTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.ExpiresAt = at })
	t.create(append(all, named("endless"))...)
	for i, at := range allTimes {
		for _, before := range []time.Time{at, at.Add(999).In(time.FixedZone("", -3600))} { // rounded down, so nothing more
			t.lists(tokenauth.Query{UserID: alice, ExpiresBefore: before}, inOrder(all[:i]...)...)
			t.lists(tokenauth.Query{AllUsers: true, ExpiresBefore: before}, inOrder(all[:i]...)...)
		}
	}
}

// useTimes uses each token one microsecond later or earlier than its last use.
func useTimes(t *tester) {
	all := atTimes(func(r *tokenauth.Record, at time.Time) { r.Token.CreatedAt, r.Token.LastUsedAt = allTimes[0], at })
	t.create(all...)
	var uses []tokenauth.Use
	for i, r := range all {
		if i%2 == 0 { // allTimes[i+1] is one microsecond later
			uses = append(uses, use(r, allTimes[i+1]))
			all[i] = usedAt(r, allTimes[i+1])
		} else {
			uses = append(uses, use(r, allTimes[i-1]))
		}
	}
	t.touch(uses...)
	t.lists(tokenauth.Query{UserID: alice}, inOrder(all...)...)
}

// roundTimes stores times with nanoseconds, and compares them with times that are earlier only by
// these nanoseconds.
func roundTimes(t *tester) {
	late := func(n int) time.Time { return after(n).Add(900 * time.Nanosecond) }
	first, second := createdAt(1, "first"), createdAt(1, "second")
	first.Token.ID, second.Token.ID = "A"+first.Token.ID[1:], "B"+second.Token.ID[1:]
	given := first
	given.Token.CreatedAt = late(1)
	t.create(second, given)
	t.lists(tokenauth.Query{UserID: alice}, first, second)
	t.lists(tokenauth.Query{AllUsers: true, After: first.Token.Cursor()}, second)

	r := expiring(named("Foo"), late(10))
	t.create(r)
	t.wants(tokenauth.ErrConflict, t.store.Update(t.ctx, alice, r.Token.ID, rename("Bar"), after(10)), "Update in the microsecond of the expiry")
	t.wants(tokenauth.ErrConflict, t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(1, "new"), after(10)), "Rotate in the microsecond of the expiry")
	t.update(r, tokenauth.Patch{Name: new("Bar"), Replaces: &tokenauth.Token{ExpiresAt: after(10)}}) // as List returned it
	t.lists(tokenauth.Query{UserID: alice, ExpiresBefore: after(10).Add(999 * time.Nanosecond)})
	t.wants(nil, t.revokeExpired(r, after(10)), "RevokeExpired in the microsecond of the expiry")

	for i := range 2 {
		fresh, inUse := named(fmt.Sprint("fresh ", i)), named(fmt.Sprint("in use ", i))
		fresh.Token.CreatedAt = late(20)
		t.create(fresh, inUse)
		t.touch(use(inUse, late(20)))
		if i == 0 {
			for _, r := range []tokenauth.Record{fresh, inUse} {
				t.wants(nil, t.store.RevokeExpired(t.ctx, alice, r.Token.ID, after(30), revoker, after(20)), "RevokeExpired of a token that was created or used in the microsecond of unusedSince")
			}
			continue
		}
		n, err := t.store.Prune(t.ctx, time.Time{}, after(20), 10)
		if t.wants(nil, err, "Prune"); n != 4 { // with the first and the second token
			t.failf("Prune of four tokens, two of which were created or used in the microsecond of unusedSince, returned %d", n)
		}
	}
}
