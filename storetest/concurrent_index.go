package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// concurrentIndexCases test stores that find a record in two steps, or change it in two steps, for
// example with a query of an index and then a query of the record, or that change several records
// one after the other.
var concurrentIndexCases = []testCase{
	// Case E10.
	{"find a token by its current and its retired digest, and by no other digest, while the token is rotated", findRotated},
	{"list only records that the query selects while records are created, renamed, revoked and deleted", listChanged},
	{"list all or none of the records that one call of Create adds or one call of RevokeAll revokes", readTogether},
	// Case S23.
	{"keep a token whose expiry moves to a later time while Prune runs", pruneUpdated},
	{"not bring back a deleted record if Touch runs while Prune deletes the record", pruneTouched},
	{"free the new name and the new digest of a token that is changed while Prune deletes it", pruneChanged},
	// Case S5.
	{"let exactly one of many concurrent calls of Create and Update take a name", concurrentNameClaims},
	// Case S8.
	{"let exactly one of many concurrent calls of Create and Rotate take a digest", concurrentDigestClaims},
}

// A rotating token is rotated again and again. The digest keys[i] is current in generation i+1, and
// retired in generation i+2.
type rotating struct {
	keys              []tokenauth.Digest
	started, finished atomic.Int64 // latest generation that a call of Rotate sets, or has set
	finds             atomic.Int64 // number of finished calls of Find
}

// findRotated finds a token by its two latest digests while the token is rotated, at least 50 times
// and for at least 0.2 seconds, or 3,000 times.
func findRotated(t *tester) {
	const most = 3000
	r := named("Foo")
	t.create(r)
	x := &rotating{keys: []tokenauth.Digest{r.Digest}}
	for i := range most {
		x.keys = append(x.keys, digest(fmt.Sprint("rotation ", i)))
	}
	x.started.Store(1)
	x.finished.Store(1)
	begin := time.Now()
	var done atomic.Bool
	t.judge(atOnce(4, func(i int) error {
		if i > 0 {
			for back := 0; !done.Load(); back = 1 - back {
				if err := persist(func() error { return x.find(t, back) }); err != nil {
					return err
				}
			}
			return nil
		}
		defer done.Store(true)
		for g := 1; g <= 50 || g <= most && time.Since(begin) < 200*time.Millisecond; g++ {
			x.started.Store(int64(g + 1))
			rot := tokenauth.Rotation{Replaces: g, Digest: x.keys[g], Hint: "new1", GraceUntil: after(90)}
			if err := persist(func() error { return t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5)) }); err != nil {
				return err
			}
			x.finished.Store(int64(g + 1))
			for n, finds := 0, x.finds.Load(); n < 500 && x.finds.Load() == finds; n++ {
				runtime.Gosched() // lets calls of Find run between two rotations
			}
		}
		return nil
	}))
}

// find finds the token by its current digest, or by the previous digest if back is 1.
func (x *rotating) find(t *tester, back int) error {
	finished := int(x.finished.Load())
	i := max(0, finished-1-back)
	got, err := t.store.Find(t.ctx, x.keys[i])
	x.finds.Add(1)
	switch {
	case errors.Is(err, tokenauth.ErrNotFound) && int(x.started.Load()) > i+2:
		return nil // another rotation has started since, after which no record has the digest
	case errors.Is(err, tokenauth.ErrNotFound):
		return wrong{"Find returned ErrNotFound for a digest that was always the current or retired digest of a token"}
	case err != nil:
		return err
	case got == nil:
		return wrong{"Find returned neither a record nor an error"}
	}
	g := got.Token.Generation
	if g < finished {
		return wrong{fmt.Sprintf("Find returned a record of generation %d after Rotate had set generation %d", g, finished)}
	}
	isWhole := got.Digest == x.keys[g-1] && (g == 1 || got.Retired != nil && got.Retired.Digest == x.keys[g-2])
	if !isWhole || i != g-1 && i != g-2 {
		return wrong{fmt.Sprintf("Find by the digest of generation %d returned a record of generation %d, whose current digest is %x…", i+1, g, got.Digest[:4])}
	}
	return nil
}

func listChanged(t *tester) {
	stay := inTurn(6)
	stay[1].Slot, stay[4].Slot = 1, 2
	t.create(stay...)
	queries := []tokenauth.Query{
		{UserID: alice}, {UserID: alice, Name: "Foo"}, {UserID: alice, Name: "Foo", IncludeRevoked: true},
		{AllUsers: true, Limit: 4}, {UserID: alice, MinSlot: 3, MaxSlot: 5}, {AllUsers: true, After: stay[2].Token.Cursor()},
		{UserID: alice, IncludeRevoked: true},
	}
	t.meanwhile(func() error {
		for _, q := range queries {
			got, err := t.store.List(t.ctx, q)
			if err != nil {
				return err
			}
			for _, r := range got {
				if len(selected(q, []tokenauth.Record{r})) == 0 || !live(r) && r.Slot != 0 {
					return wrong{fmt.Sprintf("List of %s returned the record %s with slot %d and RevokedAt %s", describeQuery(q), place(r), r.Slot, timeText(r.Token.RevokedAt))}
				}
			}
		}
		return nil
	}, func() error {
		return steps(150, func(i int) error {
			r := createdAt(i/5%4, fmt.Sprint("changes ", i/5))
			r.Slot = 3
			var err error
			switch i % 5 {
			case 0:
				return t.store.Create(t.ctx, r)
			case 1:
				return t.store.Update(t.ctx, alice, r.Token.ID, rename("Foo"), after(5))
			case 2:
				return t.store.Update(t.ctx, alice, r.Token.ID, rename(r.Token.Name), after(5))
			case 3:
				return t.store.Revoke(t.ctx, alice, r.Token.ID, after(-9), revoker)
			default:
				_, err = t.store.Prune(t.ctx, after(-8), time.Time{}, 100)
			}
			return err
		})
	})
	t.lists(tokenauth.Query{UserID: alice}, stay...)
}

// readTogether lists the records of a user while another goroutine creates them, four in each call,
// and revokes these four in one call.
func readTogether(t *tester) {
	all := tokenauth.Query{UserID: alice, IncludeRevoked: true}
	t.meanwhile(func() error {
		got, err := t.store.List(t.ctx, all)
		if err != nil {
			return err
		}
		if n := len(where(got, live)); len(got)%4 != 0 || n%4 != 0 {
			return wrong{fmt.Sprintf("List returned %d records, %d of them live, although each call of Create adds four records and each call of RevokeAll revokes them", len(got), n)}
		}
		return nil
	}, func() error {
		return steps(30, func(i int) error {
			if i%2 == 1 {
				return countedError(t.store.RevokeAll(t.ctx, alice, after(5), revoker, 4))
			}
			var batch []tokenauth.Record
			for n := range 4 {
				r := createdAt(n, fmt.Sprint("token ", n, " of batch ", i))
				r.Slot = n + 1
				batch = append(batch, r)
			}
			return t.store.Create(t.ctx, batch...)
		})
	})
	if n := len(t.list(all)); n != 60 {
		t.failf("List returned %d records after 15 calls of Create with four records each, want 60", n)
	}
}

func pruneUpdated(t *tester) {
	for i := range 30 {
		r := expiring(named(fmt.Sprint("token ", i)), after(10))
		t.create(r)
		errs := atOnce(2, func(call int) error {
			if call == i%2 { // the goroutine that starts last often runs first
				_, err := t.store.Prune(t.ctx, after(20), time.Time{}, 100)
				return err
			}
			return t.store.Update(t.ctx, alice, r.Token.ID, expire(after(99)), after(5))
		})
		t.wants(nil, errs[i%2], "Prune during Update")
		id := tokenauth.Query{UserID: alice, IDs: []string{r.Token.ID}}
		if errs[1-i%2] == nil {
			t.lists(id, expiring(r, after(99)))
			continue
		}
		t.wants(tokenauth.ErrNotFound, errs[1-i%2], "Update during Prune")
		t.lists(id)
	}
}

func pruneTouched(t *tester) {
	for i := range 30 {
		r := named(fmt.Sprint("token ", i))
		t.create(r)
		var deleted atomic.Int64
		errs := atOnce(2, func(call int) error {
			if call == i%2 {
				return t.store.Touch(t.ctx, use(r, after(7)))
			}
			n, err := t.store.Prune(t.ctx, time.Time{}, after(1), 100)
			deleted.Add(int64(n))
			return err
		})
		t.allSucceed(errs, "concurrent Prune and Touch of an idle token")
		if deleted.Load() > 0 {
			t.holds()
			t.create(r)
			t.holds(r)
		}
		t.revoke(r, after(8))
		t.prune(after(9), 10)
	}
	t.create(named("Foo"))
	t.holds(named("Foo"))
}

func pruneChanged(t *tester) {
	for i := range 20 {
		r, rot := named(fmt.Sprint("token ", i)), rotation(1, fmt.Sprint("second of token ", i))
		t.create(r)
		errs := atOnce(3, func(call int) error {
			switch (call + i) % 3 {
			case 0:
				return t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5))
			case 1:
				return t.store.Update(t.ctx, alice, r.Token.ID, rename("Foo"), after(5))
			default:
				return countedError(t.store.Prune(t.ctx, time.Time{}, after(1), 100))
			}
		})
		for _, err := range errs {
			if err != nil {
				t.wants(tokenauth.ErrNotFound, err, "Rotate or Update during Prune")
			}
		}
		if n, err := t.store.Prune(t.ctx, time.Time{}, after(1), 100); err != nil {
			t.failf("Prune after concurrent changes returned %d and %s, want no error", n, describe(err))
		}
		successor := newRecord(alice, "Foo", fmt.Sprint("successor ", i))
		successor.Digest, successor.Retired = rot.Digest, &tokenauth.RetiredKey{Digest: r.Digest, Until: after(60)}
		t.create(successor)
		t.holds(successor)
		t.revoke(successor, after(8))
		t.prune(after(9), 10)
	}
}

func concurrentNameClaims(t *tester) {
	records := t.some(16)
	errs := atOnce(32, func(i int) error {
		if i < 16 {
			return t.store.Update(t.ctx, alice, records[i].Token.ID, rename("Foo"), after(5))
		}
		return t.store.Create(t.ctx, newRecord(alice, "Foo", fmt.Sprint("creator ", i)))
	})
	winner := t.oneWins(errs, tokenauth.ErrNameTaken, "Create and Update with the same name")
	if winner < 16 {
		records[winner].Token.Name = "Foo"
	} else {
		records = append(records, newRecord(alice, "Foo", fmt.Sprint("creator ", winner)))
	}
	t.holds(records...)
}

func concurrentDigestClaims(t *tester) {
	records := t.some(16)
	creator := func(i int) tokenauth.Record {
		r := named(fmt.Sprint("creator ", i))
		r.Digest = digest("the same")
		return r
	}
	errs := atOnce(32, func(i int) error {
		if i < 16 {
			return t.store.Rotate(t.ctx, alice, records[i].Token.ID, rotation(1, "the same"), after(5))
		}
		return t.store.Create(t.ctx, creator(i))
	})
	winner := t.oneWins(errs, tokenauth.ErrKeyTaken, "Create and Rotate with the same digest")
	if winner < 16 {
		records[winner] = rotated(records[winner], rotation(1, "the same"))
	} else {
		records = append(records, creator(winner))
	}
	t.holds(records...)
}
