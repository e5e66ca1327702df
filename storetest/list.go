package storetest

import (
	"fmt"
	"math"

	"github.com/go-tokenauth/tokenauth"
)

var listCases = []testCase{
	{"list a user's live records and no other records", listUser},
	{"list the records of all users if AllUsers is set, and revoked records only if IncludeRevoked is set", listAllUsers},
	{"return an error that is not a sentinel error for a query with neither or both of UserID and AllUsers", listBadQuery},
	{"return no records and no error if no record matches the query", listNone},
	// Case S21.
	{"order the listed records by CreatedAt, then by ID, and compare IDs byte by byte", listOrder},
	// Case S10.
	{"list the record with a given ID for its own user, but not for another user", listID},
	{"list each record whose ID is in IDs exactly once, and no record if IDs is empty but not nil", listIDs},
	{"list the tokens with a given name, and revoked tokens of that name only if IncludeRevoked is set", listName},
	{"list the tokens that hold a slot in a given range", listSlots},
	// Case S21.
	{"list at most Limit records, and all records if Limit is 0", listLimit},
	{"return an error that is not a sentinel error for a query with a negative Limit or a malformed range of slots", listMalformed},
	// Case S21.
	{"list the records after the cursor, even if the cursor's token no longer exists", listAfter},
	// Case S21.
	{"list each record that existed before the first page once, in order, if the list changes between pages", listChanging},
	// Case S20.
	{"return copies from List, so that changes by the caller do not change the stored records", listCopies},
}

func listUser(t *tester) {
	foo, expired, gone, other := full("Foo"), expiring(named("expired"), after(-1)), named("revoked"), newRecord(bob, "Foo", "of bob")
	t.create(foo, expired, gone, other)
	t.revoke(gone, after(9))
	t.lists(tokenauth.Query{UserID: alice}, inOrder(foo, expired)...)
	t.lists(tokenauth.Query{UserID: bob}, other)
	t.lists(tokenauth.Query{UserID: alice, IncludeRevoked: true}, inOrder(foo, expired, revoked(gone, after(9)))...)
}

func listAllUsers(t *tester) {
	foo, gone, other := full("Foo"), revoked(named("revoked"), after(9)), newRecord(bob, "Foo", "of bob")
	t.create(foo, gone, other)
	t.lists(tokenauth.Query{AllUsers: true}, inOrder(foo, other)...)
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, inOrder(foo, gone, other)...)
}

func listBadQuery(t *tester) {
	t.create(named("Foo"))
	for name, q := range map[string]tokenauth.Query{
		"the zero Query":                       {},
		"a Query with only IDs":                {IDs: []string{newID("Foo")}},
		"a Query with only an empty IDs":       {IDs: []string{}},
		"a Query without UserID":               {IncludeRevoked: true, Limit: 1},
		"a Query with UserID and AllUsers":     {UserID: alice, AllUsers: true},
		"a Query with UserID, AllUsers and ID": {UserID: alice, AllUsers: true, IDs: []string{newID("Foo")}},
		"a Query with all three, without IDs":  {UserID: alice, AllUsers: true, IDs: []string{}},
	} {
		records, err := t.store.List(t.ctx, q)
		if err == nil || sentinelOf(err) != nil || len(records) > 0 {
			t.failf("List of %s returned %d records and %s, want no records and an error that is not a sentinel error", name, len(records), describe(err))
		}
	}
}

func listNone(t *tester) {
	t.lists(tokenauth.Query{AllUsers: true})
	t.create(named("Foo"))
	t.lists(tokenauth.Query{UserID: bob})
	t.lists(tokenauth.Query{UserID: alice, After: tokenauth.Cursor{CreatedAt: after(1)}})
}

// inTurn returns n records of the user alice in the order in which List must return them.
// Each two consecutive records have the same CreatedAt, so their IDs decide their order.
func inTurn(n int) []tokenauth.Record {
	records := make([]tokenauth.Record, n)
	for i := range records {
		records[i] = createdAt(i/2, fmt.Sprint("token ", i))
	}
	return inOrder(records...)
}

func createdAt(minute int, name string) tokenauth.Record {
	r := named(name)
	r.Token.CreatedAt = after(minute)
	return r
}

func listOrder(t *tester) {
	records := inTurn(12)
	records[0].Token.CreatedAt = start.AddDate(-100, 0, 0) // a time before 1970
	records[7].Token.ID = "a" + records[7].Token.ID[1:]    // a lower-case letter sorts after all upper-case letters
	records = inOrder(records...)
	for i := range records { // creation order differs from list order
		t.create(records[i*5%len(records)])
	}
	t.lists(tokenauth.Query{UserID: alice}, records...)
	t.lists(tokenauth.Query{AllUsers: true}, records...)
	for i, r := range records {
		t.lists(tokenauth.Query{UserID: alice, After: r.Token.Cursor()}, records[i+1:]...)
	}
}

func listID(t *tester) {
	foo, gone := full("Foo"), named("revoked")
	t.create(foo, gone, newRecord(bob, "Foo", "of bob"))
	t.revoke(gone, after(9))
	t.lists(tokenauth.Query{UserID: alice, IDs: []string{foo.Token.ID}}, foo)
	t.lists(tokenauth.Query{AllUsers: true, IDs: []string{foo.Token.ID}}, foo)
	t.lists(tokenauth.Query{UserID: bob, IDs: []string{foo.Token.ID}})
	t.lists(tokenauth.Query{UserID: alice, IDs: []string{newID("unknown")}})
	t.lists(tokenauth.Query{UserID: alice, IDs: []string{gone.Token.ID}})
	t.lists(tokenauth.Query{UserID: alice, IDs: []string{gone.Token.ID}, IncludeRevoked: true, Limit: 1}, revoked(gone, after(9)))
}

func listIDs(t *tester) {
	records := inTurn(5)
	records[4].Slot = 1
	t.create(records...)
	other := newRecord(bob, "Foo", "of bob")
	t.create(other)
	t.revoke(records[1], after(9))
	ids := []string{newID("unknown"), other.Token.ID}
	for _, i := range []int{3, 1, 4, 3} {
		ids = append(ids, records[i].Token.ID)
	}
	t.lists(tokenauth.Query{UserID: alice, IDs: ids}, records[3], records[4])
	t.lists(tokenauth.Query{UserID: alice, IDs: ids, Limit: 1}, records[3])
	t.lists(tokenauth.Query{UserID: alice, IDs: ids, After: records[3].Token.Cursor()}, records[4])
	t.lists(tokenauth.Query{UserID: alice, IDs: ids, IncludeRevoked: true}, revoked(records[1], after(9)), records[3], records[4])
	t.lists(tokenauth.Query{AllUsers: true, IDs: ids}, inOrder(other, records[3], records[4])...)
	for _, q := range []tokenauth.Query{
		{UserID: alice}, {AllUsers: true}, {AllUsers: true, IncludeRevoked: true}, {UserID: alice, Name: records[3].Token.Name}, {UserID: alice, MaxSlot: 9},
	} {
		q.IDs = []string{}
		t.lists(q)
	}
}

func listName(t *tester) {
	first, foo, upper, other := named("Foo"), createdAt(2, "Foo"), named("FOO"), newRecord(bob, "Foo", "of bob")
	first.Token.ID, first.Digest = newID("first"), digest("first")
	first = revoked(first, after(9))
	t.create(first, foo, upper, other)
	t.lists(tokenauth.Query{UserID: alice, Name: "Foo"}, foo)
	t.lists(tokenauth.Query{UserID: alice, Name: "Foo", IncludeRevoked: true}, first, foo)
	t.lists(tokenauth.Query{UserID: alice, Name: "Foo", IncludeRevoked: true, Limit: 1, After: first.Token.Cursor()}, foo)
	t.lists(tokenauth.Query{UserID: bob, Name: "Foo"}, other)
	t.lists(tokenauth.Query{AllUsers: true, Name: "Foo"}, inOrder(foo, other)...)
	t.lists(tokenauth.Query{UserID: alice, Name: "Foo", IDs: []string{first.Token.ID}})
	t.lists(tokenauth.Query{UserID: alice, Name: "Fo"})
	t.lists(tokenauth.Query{UserID: alice, Name: "F%"})

	t.update(foo, rename("Bar"))
	foo.Token.Name = "Bar"
	t.lists(tokenauth.Query{UserID: alice, Name: "Foo"})
	t.lists(tokenauth.Query{UserID: alice, Name: "Bar"}, foo)
	t.revoke(foo, after(9))
	t.lists(tokenauth.Query{UserID: alice, Name: "Bar"})
}

func listSlots(t *tester) {
	records := inTurn(6)
	for i, slot := range []int{7, 0, 3, 2147483647, 1, 4} {
		records[i].Slot = slot
	}
	other := newRecord(bob, "Foo", "of bob")
	other.Slot = 3
	t.create(append(records, other)...)
	for _, c := range []struct {
		low, high int
		want      []tokenauth.Record
	}{
		{1, 2147483647, []tokenauth.Record{records[0], records[2], records[3], records[4], records[5]}},
		{0, 7, []tokenauth.Record{records[0], records[2], records[4], records[5]}},
		{3, 4, []tokenauth.Record{records[2], records[5]}},
		{8, 2147483647, []tokenauth.Record{records[3]}},
		{2147483647, 2147483647, []tokenauth.Record{records[3]}},
		{5, 6, nil},
	} {
		t.lists(tokenauth.Query{UserID: alice, MinSlot: c.low, MaxSlot: c.high}, c.want...)
	}
	t.lists(tokenauth.Query{UserID: alice, MinSlot: 3, MaxSlot: 7, Limit: 1, After: records[0].Token.Cursor()}, records[2])
	t.lists(tokenauth.Query{UserID: bob, MinSlot: 3, MaxSlot: 3}, other)
	t.lists(tokenauth.Query{UserID: alice, MinSlot: 3, MaxSlot: 3, Name: records[2].Token.Name}, records[2])
	t.lists(tokenauth.Query{UserID: alice, MinSlot: 3, MaxSlot: 3, Name: records[0].Token.Name})
	noSlot := records[1] // not in any range of slots, even if MinSlot is 0
	for _, q := range []tokenauth.Query{
		{UserID: alice, Name: noSlot.Token.Name}, {UserID: alice, IDs: []string{noSlot.Token.ID}}, {AllUsers: true, IDs: []string{noSlot.Token.ID}},
		{AllUsers: true, Name: noSlot.Token.Name}, {UserID: alice, Name: noSlot.Token.Name, IncludeRevoked: true},
	} {
		q.MaxSlot = 7
		t.lists(q)
	}
	t.lists(tokenauth.Query{AllUsers: true, MaxSlot: 1}, records[4])
	t.revoke(records[2], after(9))
	t.lists(tokenauth.Query{UserID: alice, MinSlot: 3, MaxSlot: 4}, records[5])
	t.lists(tokenauth.Query{UserID: alice, MinSlot: 1, MaxSlot: 3, IncludeRevoked: true}, records[4])
	t.lists(tokenauth.Query{UserID: alice, MaxSlot: 3, IncludeRevoked: true}, records[4])
}

func listLimit(t *tester) {
	records := inTurn(5)
	records[0].Slot = 1
	t.create(records...)
	for _, limit := range []int{1, 2, 3, 4, 5, 6, math.MaxInt32, math.MaxInt} {
		want := records[:min(limit, 5)]
		t.lists(tokenauth.Query{UserID: alice, Limit: limit}, want...)
		t.lists(tokenauth.Query{AllUsers: true, Limit: limit}, want...)
	}
	t.lists(tokenauth.Query{UserID: alice, Limit: 0}, records...)
	for _, q := range []tokenauth.Query{
		{UserID: alice, IDs: []string{records[0].Token.ID}}, {UserID: alice, Name: records[0].Token.Name}, {UserID: alice, MaxSlot: 9}, {UserID: alice, IncludeRevoked: true},
	} {
		q.Limit = math.MaxInt
		t.lists(q, selected(q, records)...)
	}
}

func listMalformed(t *tester) {
	t.create(full("Foo"))
	tooLarge := math.MaxInt32
	tooLarge++ // where an int has 32 bits, the result is negative, and the range is malformed too
	for _, q := range []tokenauth.Query{
		{UserID: alice, Limit: -1}, {AllUsers: true, Limit: -1}, {UserID: alice, IDs: []string{}, Limit: -1},
		{UserID: alice, MinSlot: 2, MaxSlot: 1}, {UserID: alice, MinSlot: 1}, {UserID: alice, MinSlot: -1, MaxSlot: 1}, {UserID: alice, MinSlot: -1},
		{UserID: alice, MinSlot: 1, MaxSlot: tooLarge}, {AllUsers: true, MaxSlot: tooLarge},
	} {
		records, err := t.store.List(t.ctx, q)
		if err == nil || sentinelOf(err) != nil || len(records) > 0 {
			t.failf("List of %s returned %d records and %s, want no records and an error that is not a sentinel error",
				describeQuery(q), len(records), describe(err))
		}
	}
}

func listAfter(t *tester) {
	records := inTurn(8)
	t.create(records...)
	t.create(newRecord(bob, "Foo", "of bob"))
	for i, r := range records {
		t.lists(tokenauth.Query{UserID: alice, After: r.Token.Cursor()}, records[i+1:]...)
		t.lists(tokenauth.Query{UserID: alice, After: r.Token.Cursor(), Limit: 1}, records[i+1:min(i+2, 8)]...)
	}
	t.revoke(records[3], after(9))
	t.lists(tokenauth.Query{UserID: alice, After: records[3].Token.Cursor()}, records[4:]...)
	t.prune(after(10), 10)
	t.lists(tokenauth.Query{UserID: alice, After: records[3].Token.Cursor()}, records[4:]...)
	t.lists(tokenauth.Query{UserID: alice, After: records[2].Token.Cursor()}, records[4:]...)
}

// listChanging reads a list in pages of three records and changes the list after each page.
// The change deletes the last record of the page, whose position is the cursor for the next
// page. The change also creates two records. One record sorts before the cursor, and the
// CreatedAt of the other record increases with each page.
func listChanging(t *tester) {
	records := inTurn(20)
	t.create(records...)
	seen := map[string]bool{}
	var last tokenauth.Cursor
	for page := range 2 * len(records) {
		got := t.list(tokenauth.Query{UserID: alice, After: last, Limit: 3})
		if len(got) == 0 {
			break
		}
		for _, r := range got {
			if compare(r.Token.Cursor(), last) <= 0 {
				t.failf("page %d contains the record %s, but the previous record is the same or belongs after it", page+1, place(r))
			}
			seen[r.Token.ID], last = true, r.Token.Cursor()
		}
		t.revoke(got[len(got)-1], after(-9))
		t.prune(after(-8), 100)
		t.create(createdAt(-100, fmt.Sprint("earlier ", page)), createdAt(page, fmt.Sprint("later ", page)))
	}
	for i, r := range records {
		if !seen[r.Token.ID] {
			t.failf("no page contained record %d of the records that existed before the first page", i+1)
		}
	}
}

func listCopies(t *tester) {
	t.create(full("Foo"))
	for _, q := range []tokenauth.Query{
		{UserID: alice}, {AllUsers: true}, {UserID: alice, IDs: []string{newID("Foo")}},
		{UserID: alice, Name: "Foo"}, {UserID: alice, MaxSlot: 7}, {UserID: alice, IncludeRevoked: true},
	} {
		got := t.list(q)
		if len(got) != 1 {
			t.failf("List of %s returned %d records, want 1", describeQuery(q), len(got))
		}
		got[0].Token.Name = "changed"
		for i := range got[0].Token.Scopes {
			got[0].Token.Scopes[i] = "changed"
		}
		for i := range got[0].Token.Resources {
			got[0].Token.Resources[i] = "changed"
		}
		if got[0].Retired != nil {
			got[0].Retired.Until = after(5000)
			got[0].Retired.Digest = digest("changed")
		}
		t.holds(full("Foo"))
	}
}
