package storetest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var touchCases = []testCase{
	// Case S1.
	{"record the last-used times of many tokens, and change nothing else", touchMany},
	// Case S12.
	{"store a last-used time in UTC, rounded down to the microsecond", touchTimes},
	{"never move LastUsedAt backwards", touchBackwards},
	{"treat a use before CreatedAt as a use at CreatedAt", touchEarly},
	{"set LastUsedAt to the latest of several uses of one token, whatever the order of the uses", touchOrder},
	// Case S9.
	{"ignore unknown IDs in Touch, and set LastUsedAt of the other tokens", touchUnknown},
	{"do nothing and return no error if Touch is called without uses", func(t *tester) { t.create(full("Foo")); t.touch(); t.holds(full("Foo")) }},
}

func usedAt(r tokenauth.Record, at time.Time) tokenauth.Record {
	r.Token.LastUsedAt = at
	return r
}

func use(r tokenauth.Record, at time.Time) tokenauth.Use {
	return tokenauth.Use{ID: r.Token.ID, At: at}
}

func touchMany(t *tester) {
	first, second, ofBob, rest := full("first"), named("second"), newRecord(bob, "first", "of bob"), named("not used")
	second.Token.Origin = "drf"
	t.create(first, second, ofBob, rest)
	t.touch(use(first, after(7)), use(second, after(8)), use(ofBob, after(9)))
	t.holds(usedAt(first, after(7)), usedAt(second, after(8)), usedAt(ofBob, after(9)), rest)
	t.touch(use(second, after(20)))
	t.holds(usedAt(first, after(7)), usedAt(second, after(20)), usedAt(ofBob, after(9)), rest)

	var given, kept []tokenauth.Record
	var uses []tokenauth.Use
	for i := range 500 {
		r := newRecord("carol", fmt.Sprint(i), fmt.Sprint("one of many ", i))
		given, kept, uses = append(given, r), append(kept, usedAt(r, after(i))), append(uses, use(r, after(i)))
	}
	for batch := range slices.Chunk(given, 100) {
		t.create(batch...)
	}
	t.touch(uses...)
	t.lists(tokenauth.Query{UserID: "carol"}, inOrder(kept...)...)
}

func touchTimes(t *tester) {
	for _, odd := range oddTimes[1:] { // oddTimes[0] is the zero time, which is not a valid time of use
		r := named(odd.name)
		if r.Token.CreatedAt = odd.kept.AddDate(-1, 0, 0); r.Token.CreatedAt.Year() < 1 {
			r.Token.CreatedAt = odd.kept
		}
		t.create(r)
		t.touch(use(r, odd.given))
		t.finds(r.Digest, usedAt(r, odd.kept))
	}
}

func touchBackwards(t *tester) {
	r := named("Foo")
	t.create(r)
	for _, at := range []time.Time{after(10), after(9), after(10).Add(-time.Microsecond), after(10), after(10).Add(999)} {
		t.touch(use(r, at))
		t.holds(usedAt(r, after(10)))
	}
	t.touch(use(r, after(11)))
	t.holds(usedAt(r, after(11)))
}

func touchEarly(t *tester) {
	fresh, used, usedElsewhere := named("fresh"), usedAt(named("used"), after(10)), usedAt(named("used elsewhere"), after(-100))
	t.create(fresh, used, usedElsewhere)
	for _, at := range []time.Time{after(-200), after(-1), start} {
		t.touch(use(fresh, at), use(used, at), use(usedElsewhere, at))
		t.holds(usedAt(fresh, start), used, usedAt(usedElsewhere, start))
	}
}

func touchOrder(t *tester) {
	a, b, c := named("a"), named("b"), named("c")
	t.create(a, b, c)
	t.touch(use(a, after(1)), use(b, after(3)), use(a, after(2)), use(b, after(1)), use(c, after(1)), use(a, after(3)), use(b, after(2)))
	t.holds(usedAt(a, after(3)), usedAt(b, after(3)), usedAt(c, after(1)))
}

func touchUnknown(t *tester) {
	r := named("Foo")
	t.create(r)
	t.touch(tokenauth.Use{ID: newID("unknown"), At: after(1)})
	t.holds(r)
	t.touch(tokenauth.Use{ID: newID("unknown"), At: after(1)}, use(r, after(1)), tokenauth.Use{ID: "", At: after(1)})
	t.holds(usedAt(r, after(1)))
}

var pruneCases = []testCase{
	// Case S23.
	{"delete the records that expired or were revoked before the given time, and no other records", pruneDead},
	// Case S23.
	{"delete at most limit records, and return the number of deleted records", pruneLimit},
	// Case S23.
	{"never delete an imported record, which has an Origin", pruneImported},
	{"free the ID, digests, name and slot of a deleted record", pruneFrees},
	{"delete idle live tokens with Prune, at most limit, and no token that was created or used after unusedSince", pruneIdle},
	// Case S23.
	{"find the records to prune if many other records precede them", pruneBehind},
}

func pruneDead(t *tester) {
	justBefore := after(10).Add(-time.Microsecond)
	kept := []tokenauth.Record{
		named("endless"),
		expiring(named("expires at the time"), after(10)),
		expiring(named("expires later"), after(11)),
		revoked(named("revoked at the time"), after(10)),
		revoked(named("revoked later"), after(11)),
		revoked(expiring(named("neither yet"), after(12)), after(11)),
	}
	dead := []tokenauth.Record{
		expiring(named("expired"), justBefore),
		expiring(full("expired long before"), start.AddDate(-100, 0, 0)),
		revoked(full("revoked"), justBefore),
		revoked(expiring(named("revoked, would expire later"), after(99)), after(1)),
		revoked(expiring(named("expired, was revoked later"), after(1)), after(99)),
	}
	t.create(append(kept, dead...)...)
	if n := t.prune(after(10), 100); n != len(dead) {
		t.failf("Prune returned %d, want the number of deleted records, %d", n, len(dead))
	}
	t.holds(kept...)
	for _, r := range dead {
		t.misses(r.Digest, "the digest of a deleted record")
	}
	if n := t.prune(after(10), 100); n != 0 {
		t.failf("a second Prune with the same arguments returned %d, want 0", n)
	}
}

func pruneLimit(t *tester) {
	t.create(named("live"))
	for i := range 10 {
		r := named(fmt.Sprint("dead ", i))
		if i%2 == 0 {
			r = revoked(r, after(1))
		} else {
			r = expiring(r, after(1))
		}
		t.create(r)
	}
	left := 10
	for _, step := range []struct{ limit, want int }{{0, 0}, {2, 2}, {4, 4}, {3, 3}, {math.MaxInt, 1}, {3, 0}} {
		n := t.prune(after(10), step.limit)
		left -= step.want
		rest := len(t.list(tokenauth.Query{AllUsers: true, IncludeRevoked: true})) - 1
		if n != step.want || rest != left {
			t.failf("Prune with limit %d returned %d, want %d; after it, the store has %d expired or revoked records, want %d", step.limit, n, step.want, rest, left)
		}
	}
	t.holds(named("live"))
}

func pruneImported(t *tester) {
	var imported []tokenauth.Record
	for i, r := range []tokenauth.Record{
		expiring(named("expired"), after(1)), revoked(full("revoked"), after(1)), revoked(expiring(named("both"), after(1)), after(2)),
	} {
		r.Token.Origin, r.Token.Generation = "sanctum", i // a generation above 0 means that the imported key was rotated
		imported = append(imported, r)
	}
	t.create(imported...)
	t.create(revoked(named("issued here"), after(1)))
	if n := t.prune(after(10), 100); n != 1 {
		t.failf("Prune of imported records and one other record returned %d, want 1", n)
	}
	t.holds(imported...)
}

func pruneFrees(t *tester) {
	r := expiring(full("Foo"), after(1)) // an expired token that is not revoked keeps its name and slot taken
	t.create(r)
	t.prune(after(10), 10)
	t.misses(r.Digest, "the current digest of a deleted record")
	t.misses(r.Retired.Digest, "the retired digest of a deleted record")
	t.create(r)
	t.holds(r)
}

func pruneIdle(t *tester) {
	fresh := named("created later")
	fresh.Token.CreatedAt = after(11)
	recreated := named("used before its creation") // as an importer can create it
	recreated.Token.CreatedAt = after(11)
	imported := named("imported")
	imported.Token.Origin = "knox"
	kept := []tokenauth.Record{
		fresh, used(named("used later"), after(11)), used(recreated, after(1)), imported,
		revoked(used(named("revoked"), after(1)), after(10)), used(expiring(named("used later, expires later"), after(99)), after(12)),
	}
	t.create(kept...)
	for i := range 5 {
		t.create(used(named(fmt.Sprint("idle ", i)), after(2*i)))
	}
	t.create(expiring(named("never used"), after(99)))
	prune := func(unusedSince time.Time, limit, want int) {
		n, err := t.store.Prune(t.ctx, after(-50), unusedSince, limit)
		t.wants(nil, err, "Prune of idle tokens")
		if n != want {
			t.failf("Prune of tokens unused since %v returned %d, want %d", unusedSince, n, want)
		}
	}
	prune(time.Time{}, 10, 0)
	prune(start.Add(-time.Microsecond), 10, 0)
	prune(after(10), 2, 2)
	prune(after(10), 3, 3)
	prune(after(10), 3, 1)
	prune(after(10), 3, 0)
	t.holds(kept...)
	t.create(named("idle 0"), named("idle 1"), expiring(named("expired 0"), after(-60)), expiring(named("expired 1"), after(-60)))
	prune(after(10), 3, 3) // the limit applies to all of them together
	prune(after(10), 3, 1)
	t.holds(kept...)
}

// pruneBehind prunes three records. Tokens that are in use precede them in lists.
func pruneBehind(t *tester) {
	kept := make([]tokenauth.Record, 150)
	for i := range kept {
		kept[i] = used(expiring(named(fmt.Sprint("in use ", i)), after(99)), after(50))
	}
	t.create(kept...)
	expired, gone, idle := expiring(createdAt(1, "expired"), after(10)), revoked(createdAt(1, "revoked"), after(10)), createdAt(1, "idle")
	t.create(expired, gone, idle)
	if n, err := t.store.Prune(t.ctx, after(20), after(20), 10); err != nil || n != 3 {
		t.failf("Prune of an expired, a revoked and an idle token returned %d and %s, want 3 and no error", n, describe(err))
	}
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, inOrder(kept...)...)
}
