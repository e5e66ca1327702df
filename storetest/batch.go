package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// batchCases test stores that read or write in pages, and databases that limit the number of
// parameters of a statement: SQLite to 32,766, PostgreSQL and MySQL to 65,535. They are skipped
// with go test -short.
var batchCases = []testCase{
	{"create, list, use, revoke and prune thousands of records, each in one call", batchThousands},
	{"create none of thousands of records if the last one conflicts", batchAllOrNone},
	{"list the records of 40,000 IDs", batchIDs},
	{"record 70,000 uses in one call", batchUses},
	// Case S23.
	{"prune thousands of expired and idle records in one call", batchPrune},
}

const batchSize = 5003 // a prime number, so that the last of several batches is not full

// many returns live records of the user alice, in order.
func many(n int) []tokenauth.Record {
	records := make([]tokenauth.Record, n)
	for i := range records {
		records[i] = named(fmt.Sprint("one of many ", i))
		records[i].Token.CreatedAt = start.Add(time.Duration(i) * time.Microsecond)
		records[i].Slot = i + 1
	}
	return records
}

func batchThousands(t *tester) {
	records := many(batchSize)
	uses := make([]tokenauth.Use, batchSize)
	t.create(records...)
	t.lists(tokenauth.Query{UserID: alice}, records...)
	t.lists(tokenauth.Query{AllUsers: true, Limit: batchSize - 1}, records[:batchSize-1]...)
	for i, r := range records {
		uses[i] = use(r, after(i))
		records[i] = usedAt(r, after(i))
	}
	t.touch(uses...)
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, records...)
	revokes := func(limit, want int) {
		if n, err := t.store.RevokeAll(t.ctx, alice, after(9), revoker, limit); err != nil || n != want {
			t.failf("RevokeAll with limit %d returned %d and %s, want %d and no error", limit, n, describe(err), want)
		}
	}
	revokes(3001, 3001)
	revokes(10*batchSize, batchSize-3001)
	revokes(10*batchSize, 0)
	for i, r := range records {
		records[i] = revoked(r, after(9))
	}
	t.lists(tokenauth.Query{UserID: alice, IncludeRevoked: true, After: records[99].Token.Cursor()}, records[100:]...)
	imported := revoked(named("imported"), after(1))
	imported.Token.Origin = "knox"
	t.create(imported) // Prune must not end when it has skipped this record
	for _, p := range []struct{ limit, want int }{{3001, 3001}, {10 * batchSize, batchSize - 3001}, {10, 0}} {
		if n := t.prune(after(10), p.limit); n != p.want {
			t.failf("Prune with limit %d returned %d, want %d", p.limit, n, p.want)
		}
	}
	t.holds(imported)
}

func batchPrune(t *tester) {
	const each = 1201
	records := many(2 * each)
	for i := range records[:each] {
		records[i] = expiring(records[i], after(1))
	}
	t.create(records...)
	if n, err := t.store.Prune(t.ctx, after(10), after(10), 10*batchSize); err != nil || n != len(records) {
		t.failf("Prune of %d expired and %d idle tokens returned %d and %s, want %d and no error", each, each, n, describe(err), len(records))
	}
	t.holds()
}

func batchAllOrNone(t *tester) {
	taken := full("taken")
	t.create(taken)
	records := many(batchSize)
	for i := range records {
		records[i].Token.UserID, records[i].Slot = fmt.Sprint("user ", i%100), 0
	}
	records[batchSize-1].Digest = taken.Retired.Digest
	err := t.store.Create(t.ctx, records...)
	t.wants(tokenauth.ErrKeyTaken, err, "Create of %d records, the last of which has a taken digest", batchSize)
	if failed := (*tokenauth.RecordError)(nil); errors.As(err, &failed) && failed.Index != batchSize-1 {
		t.failf("Create of %d records, the last of which has a taken digest, returned a RecordError with Index %d", batchSize, failed.Index)
	}
	t.holds(taken)
	t.misses(records[0].Digest, "the digest of a record that was not created")
	last := &records[batchSize-1]
	last.Digest, last.Retired = digest("last"), &tokenauth.RetiredKey{Digest: records[0].Digest, Until: after(60)}
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, records...), "Create of %d records, the last of which has a digest of the first", batchSize)
	last.Retired, last.Token.UserID, last.Token.Name = nil, records[0].Token.UserID, records[0].Token.Name
	t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, records...), "Create of %d records, the last of which has the name of the first", batchSize)
	t.holds(taken)
}

// spread returns n IDs, of which only those of records are known, at equal distances.
func spread(n int, records []tokenauth.Record) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = newID(fmt.Sprint("unknown ", i))
	}
	for i, r := range records {
		ids[(i+1)*n/len(records)-1] = r.Token.ID
	}
	return ids
}

func batchIDs(t *tester) {
	records := inTurn(20)
	t.create(records...)
	ids := spread(40_000, append(records[10:19:19], records[:10]...))                  // not in the order of the list
	ids = append(ids, records[2].Token.ID, records[11].Token.ID, records[19].Token.ID) // the first two again
	t.lists(tokenauth.Query{UserID: alice, IDs: ids}, records...)
	t.lists(tokenauth.Query{AllUsers: true, IDs: ids, IncludeRevoked: true, After: records[4].Token.Cursor(), Limit: 9}, records[5:14]...)
}

func batchUses(t *tester) {
	records := inTurn(20)
	t.create(records...)
	var uses []tokenauth.Use
	for i, id := range spread(70_000, records) {
		uses = append(uses, tokenauth.Use{ID: id, At: after(i)})
	}
	uses = append(uses, use(records[0], after(70_000)), use(records[1], after(1))) // in a batch that is not full
	t.touch(uses...)
	for i := range records {
		records[i] = usedAt(records[i], after((i+1)*70_000/20-1))
	}
	records[0] = usedAt(records[0], after(70_000))
	t.holds(records...)
}
