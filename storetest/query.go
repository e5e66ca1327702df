package storetest

import (
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var queryCases = []testCase{
	{"list the records that all set fields of a query select, for each combination of fields", listCombined},
	{"list the tokens that expire before a given time, but neither at that time nor never", listExpiring},
	{"fill a page with the records that the query selects if many other records precede them", listPastOthers},
	{"list records as they are after each change, although List returned them before", listAfterChanges},
}

// listCombined creates records and lists them with each combination of the fields of a Query. Each
// combination of the other fields has one of the four combinations of CreatedBy and ExpiresBefore,
// and none of both.
func listCombined(t *tester) {
	records := inTurn(12)
	for i := range records {
		r := &records[i]
		r.Token.UserID = []string{alice, bob}[i/2%2]
		r.Token.Name = []string{"Foo", "Bar", "Foo ", "foo"}[i%4]
		r.Slot = []int{3, 0, 5, 1, 2}[i%5]
		if i < 9 && i%3 != 0 {
			*r = revoked(*r, after(9))
		}
		r.Token.CreatedBy = []string{"login", "Login", "login", "login", "Login", "", "login", creator, "login", "Login", "login", "login"}[i]
		if i%3 > 0 {
			r.Token.ExpiresAt = after(100 - i)
		}
		if i >= 4 && live(*r) {
			r.Token.Name += string(rune('a' + i)) // names of live tokens must be unique
		}
	}
	t.create(records...)
	var ids []string
	for i := range records {
		if i%4 != 2 {
			ids = append(ids, records[i].Token.ID)
		}
	}
	slices.Reverse(ids)
	turn := 0
	list := func(q tokenauth.Query) {
		t.lists(q, selected(q, records)...)
		turn++
		if turn%4 != 1 {
			q.CreatedBy = "login"
		}
		if turn%4 > 0 {
			q.ExpiresBefore = after(94)
		}
		t.lists(q, selected(q, records)...)
	}
	each := func(n int, f func(i int)) {
		for i := range n {
			f(i)
		}
	}
	var q tokenauth.Query
	each(3, func(i int) {
		q.UserID, q.AllUsers = []string{alice, bob, ""}[i], i == 2
		each(2, func(i int) {
			q.IDs = [][]string{nil, ids}[i]
			each(3, func(i int) {
				q.Name = []string{"", "Foo", "Bar"}[i]
				each(2, func(i int) {
					q.MinSlot, q.MaxSlot = []int{0, 2}[i], []int{0, 3}[i]
					each(2, func(i int) {
						q.IncludeRevoked = i == 1
						each(2, func(i int) {
							q.After = []tokenauth.Cursor{{}, records[2].Token.Cursor()}[i]
							each(3, func(i int) {
								q.Limit = i
								list(q)
							})
						})
					})
				})
			})
		})
	})
}

// endsBefore reports whether a time is not zero, and before another time rounded down to the
// microsecond.
func endsBefore(t, before time.Time) bool {
	return !t.IsZero() && t.Before(before.UTC().Truncate(time.Microsecond))
}

// selected returns the records that q selects. The records are in order.
func selected(q tokenauth.Query, records []tokenauth.Record) []tokenauth.Record {
	found := where(records, func(r tokenauth.Record) bool {
		return (q.AllUsers || r.Token.UserID == q.UserID) && (q.IDs == nil || slices.Contains(q.IDs, r.Token.ID)) &&
			(q.Name == "" || r.Token.Name == q.Name) && (q.MaxSlot == 0 || r.Slot != 0 && r.Slot >= q.MinSlot && r.Slot <= q.MaxSlot) &&
			(q.CreatedBy == "" || r.Token.CreatedBy == q.CreatedBy) && (q.ExpiresBefore.IsZero() || endsBefore(r.Token.ExpiresAt, q.ExpiresBefore)) &&
			(q.IncludeRevoked || live(r)) && compare(r.Token.Cursor(), q.After) > 0
	})
	if q.Limit > 0 {
		found = found[:min(q.Limit, len(found))]
	}
	return found
}

// listPastOthers lists pages of live records among many revoked ones, as a user has who issues
// tokens often. It also lists the last record by each of its values.
func listPastOthers(t *tester) {
	var all []tokenauth.Record
	for i, r := range inTurn(300) {
		if i%100 != 99 {
			r = revoked(r, after(9))
		}
		all = append(all, r)
	}
	last := &all[len(all)-1]
	last.Slot, last.Token.CreatedBy, last.Token.ExpiresAt = 5, "login", after(1000)
	t.create(all...)
	for _, q := range []tokenauth.Query{
		{UserID: alice, Name: last.Token.Name}, {AllUsers: true, Name: last.Token.Name}, {UserID: alice, Name: last.Token.Name, IncludeRevoked: true},
		{UserID: alice, MinSlot: 5, MaxSlot: 6}, {AllUsers: true, MinSlot: 5, MaxSlot: 6, IncludeRevoked: true}, {UserID: alice, IDs: []string{last.Token.ID}, IncludeRevoked: true},
		{UserID: alice, CreatedBy: "login"}, {AllUsers: true, CreatedBy: "login", IncludeRevoked: true}, {UserID: alice, ExpiresBefore: after(1001), IncludeRevoked: true}, {AllUsers: true, ExpiresBefore: after(1001)},
	} {
		q.Limit = 1
		t.lists(q, *last)
	}
	ofBob := createdAt(1000, "of bob")
	ofBob.Token.UserID = bob
	t.create(ofBob)
	t.lists(tokenauth.Query{UserID: bob, Limit: 1}, ofBob)
	all = append(all, ofBob)
	for _, q := range []tokenauth.Query{{UserID: alice}, {AllUsers: true}} {
		t.pages(q, where(all, func(r tokenauth.Record) bool { return live(r) && (q.AllUsers || r.Token.UserID == q.UserID) }))
	}
	t.lists(tokenauth.Query{UserID: alice, IncludeRevoked: true, Limit: 250}, all[:250]...)
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true, Limit: 250}, all[:250]...)
}

// listAfterChanges makes the same queries before and after each change. A store that caches lists
// must not return a list from before the change.
func listAfterChanges(t *tester) {
	lists := func(user, id string, want ...tokenauth.Record) {
		t.Helper()
		for _, q := range []tokenauth.Query{
			{UserID: user}, {UserID: user, IncludeRevoked: true}, {UserID: user, Name: "Bar"}, {UserID: user, MaxSlot: 7}, {UserID: user, IDs: []string{id}, IncludeRevoked: true},
			{UserID: user, CreatedBy: creator}, {UserID: user, ExpiresBefore: after(1500), IncludeRevoked: true},
		} {
			t.lists(q, selected(q, want)...)
		}
	}
	var all []tokenauth.Record
	for _, c := range tokenChanges {
		r := full(c.method)
		r.Token.UserID = "user of " + c.method
		user, id := r.Token.UserID, r.Token.ID
		lists(user, id)
		t.create(r)
		lists(user, id, r)
		r = c.change(t, r)
		lists(user, id, r)
		all = append(all, r)
	}
	t.prune(after(3000), 100)
	for _, r := range all {
		lists(r.Token.UserID, r.Token.ID)
	}
}

// listExpiring lists tokens whose expiries are close to each other. The order of the expiries
// differs from the order of the list.
func listExpiring(t *tester) {
	all := inTurn(8)
	for i, at := range []time.Time{after(10), {}, after(10).Add(time.Microsecond), after(10).Add(-time.Microsecond), after(-100), after(10).Add(-1), after(9000), after(9)} {
		all[i].Token.ExpiresAt = at.Truncate(time.Microsecond)
	}
	gone, endless := revoked(expiring(createdAt(1, "revoked"), after(3)), after(9)), revoked(createdAt(1, "revoked, never expires"), after(9))
	ofBob, imported := expiring(newRecord(bob, "Foo", "of bob"), after(5)), expiring(createdAt(2, "imported"), after(7))
	imported.Token.Origin = "knox"
	all = inOrder(append(all, gone, endless, ofBob, imported)...)
	for i := range all { // creation order differs from list order
		t.create(all[i*5%len(all)])
	}
	for _, before := range []time.Time{
		after(10), after(10).Add(999 * time.Nanosecond), after(10).Add(time.Microsecond), after(10).Add(time.Microsecond).In(time.FixedZone("", 3600)),
		after(10).Add(-time.Microsecond), after(10).Add(-1), after(-100), after(-101), after(9000), after(5e6),
	} {
		for _, q := range []tokenauth.Query{
			{UserID: alice}, {UserID: bob}, {UserID: "carol"}, {AllUsers: true}, {UserID: alice, IncludeRevoked: true}, {AllUsers: true, IncludeRevoked: true},
			{UserID: alice, Limit: 2}, {AllUsers: true, Limit: 3, After: all[2].Token.Cursor()}, {AllUsers: true, CreatedBy: creator},
		} {
			q.ExpiresBefore = before
			t.lists(q, selected(q, all)...)
		}
	}
	for _, q := range []tokenauth.Query{{UserID: alice}, {AllUsers: true, IncludeRevoked: true}} {
		q.ExpiresBefore = after(9000)
		t.pages(q, selected(q, all))
	}
	late := all[slices.IndexFunc(all, func(r tokenauth.Record) bool { return r.Token.ExpiresAt.Equal(after(9000)) })]
	q := tokenauth.Query{UserID: alice, ExpiresBefore: after(11), IDs: []string{late.Token.ID}}
	t.lists(q)
	t.update(late, expire(after(8)))
	t.lists(q, expiring(late, after(8)))
	t.update(late, expire(time.Time{}))
	t.lists(q)
}
