package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var concurrencyCases = []testCase{
	// Case S5.
	{"let exactly one of 64 concurrent calls create a token with a given name", concurrentNames},
	// Case S7.
	{"let exactly one of many concurrent calls create a token in each slot", concurrentSlots},
	// Case S7.
	{"let a Manager enforce MaxPerUser when 64 calls of Manager.Issue run concurrently", concurrentIssues},
	// Case S8.
	{"let exactly one of many concurrent calls create a token with a given digest", concurrentDigests},
	// Case S8.
	{"let exactly one of many concurrent calls create a token with a given ID", concurrentIDs},
	{"create one record and return no error when concurrent calls of Create add the same record", concurrentRepeats},
	{"create either all or none of the records of each concurrent Create call", concurrentBatches},
	// Case S5.
	{"let exactly one of many concurrent updates set the same new name", concurrentRenames},
	{"keep the changes of all concurrent updates of a token", concurrentUpdates},
	{"keep the LastUsedAt that Touch sets while the token is updated and rotated", concurrentTouchAndUpdate},
	{"keep the latest LastUsedAt when many calls of Touch run concurrently", concurrentTouches},
	// Case E10.
	{"let exactly one of many concurrent rotations replace the key of one generation", concurrentRotations},
	{"let exactly one of many concurrent rotations set the same new digest", concurrentRotationsToOne},
	{"leave a token revoked if Revoke runs while the token is rotated, updated and used", concurrentRotateAndRevoke},
	{"keep all changes of a token that Revoke, RevokeExpired or RevokeAll revokes meanwhile, and free its name", concurrentEnds},
	// Case E15.
	{"revoke every token that existed before RevokeAll started, even if other tokens are created meanwhile", concurrentRevokeAll},
	// Case E15.
	{"leave no live token when one of several concurrent loops of RevokeAll has returned 0", concurrentRevokeAlls},
	{"let exactly one of many concurrent updates replace the same scopes and expiry", concurrentReplaces},
	{"accept the same rotation, and the same update with Replaces, from many concurrent calls", concurrentSame},
	{"keep a token live if an update moves its expiry while RevokeExpired runs, or return ErrNotFound from the update", concurrentExtensions},
	// Case S6.
	{"keep the name and the slot of a successor taken if the token before is revoked twice at the same time", concurrentSuccessors},
	// Case S23.
	{"delete every expired record, and count it at most once, when several calls of Prune run concurrently", concurrentPrunes},
}

// persist calls the function that its parameter call holds, up to 20 times, until the
// function returns nil or a sentinel error. After any other error, for example a deadlock,
// the store may have changed or not. Every Store method is safe to repeat.
func persist(call func() error) error {
	var err error
	for range 20 {
		if err = call(); err == nil || sentinelOf(err) != nil {
			return err
		}
	}
	return err
}

// atOnce starts n goroutines, which call f concurrently with the indexes 0 to n-1. Each
// goroutine uses persist to repeat a call that failed. atOnce returns the n errors in the
// order of the indexes.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			<-start
			errs[i] = persist(func() error { return f(i) })
		})
	}
	close(start)
	calls.Wait()
	return errs
}

// oneWins fails the test case unless exactly one of errs is nil and all other errors are or
// wrap the error lost. It returns the index of the nil error, which is the index of the call
// that succeeded. The parameter what describes the calls in failure messages.
func (t *tester) oneWins(errs []error, lost error, what string) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.failf("more than one of %d concurrent calls succeeded: %s", len(errs), what)
		case err == nil:
			winner = i
		default:
			t.wants(lost, err, "%s", what)
		}
	}
	if winner < 0 {
		t.failf("none of %d concurrent calls succeeded: %s", len(errs), what)
	}
	return winner
}

// allSucceed fails the test case if one of errs is not nil. In the failure message, the
// text of what describes the calls.
func (t *tester) allSucceed(errs []error, what string) {
	t.Helper()
	for _, err := range errs {
		t.wants(nil, err, "%s", what)
	}
}

// createAtOnce calls Create concurrently, once for each record. It returns the errors in
// the order of the records.
func (t *tester) createAtOnce(records []tokenauth.Record) []error {
	return atOnce(len(records), func(i int) error { return t.store.Create(t.ctx, records[i]) })
}

func concurrentNames(t *tester) {
	records := make([]tokenauth.Record, 64)
	for i := range records {
		records[i] = newRecord(alice, "Foo", fmt.Sprint("creator ", i))
	}
	winner := t.oneWins(t.createAtOnce(records), tokenauth.ErrNameTaken, "Create of a token with the same name")
	t.holds(records[winner])
}

func concurrentSlots(t *tester) {
	const slots, rivals = 8, 8
	records := make([]tokenauth.Record, slots*rivals)
	for i := range records {
		records[i] = named(fmt.Sprint("creator ", i))
		records[i].Slot = i/rivals + 1
	}
	errs := t.createAtOnce(records)
	var winners []tokenauth.Record
	for first := 0; first < len(records); first += rivals {
		winner := t.oneWins(errs[first:first+rivals], tokenauth.ErrSlotTaken, "Create of a token in the same slot")
		winners = append(winners, records[first+winner])
	}
	t.holds(winners...)
}

func concurrentIssues(t *tester) {
	const limit = 5
	tokens, err := tokenauth.New(t.store, "acme", &tokenauth.Options{MaxPerUser: limit, Now: func() time.Time { return start }})
	t.wants(nil, err, "tokenauth.New")
	errs := atOnce(64, func(i int) error {
		_, _, err := tokens.Issue(t.ctx, tokenauth.Spec{UserID: alice, Name: fmt.Sprint("client ", i)})
		switch {
		case errors.Is(err, tokenauth.ErrTooManyTokens):
			return nil
		case errors.Is(err, tokenauth.ErrNameTaken): // an earlier attempt of persist created this token
			return nil
		case errors.Is(err, tokenauth.ErrConflict):
			return errors.New("in each attempt of Issue, another call created a token first") // not a sentinel error, so persist calls Issue again
		}
		return err
	})
	t.allSucceed(errs, "Manager.Issue, which may also return ErrTooManyTokens,")
	if n := len(t.list(tokenauth.Query{UserID: alice})); n != limit {
		t.failf("the user has %d live tokens after the calls of Issue, want MaxPerUser, which is %d", n, limit)
	}
}

func concurrentDigests(t *tester) {
	records := make([]tokenauth.Record, 16)
	for i := range records {
		records[i] = newRecord(fmt.Sprint("user ", i), "Foo", fmt.Sprint("creator ", i))
		records[i].Digest = digest("the same")
	}
	winner := t.oneWins(t.createAtOnce(records), tokenauth.ErrKeyTaken, "Create of a token with the same digest")
	t.holds(records[winner])
}

func concurrentRepeats(t *tester) {
	errs := atOnce(16, func(int) error { return t.store.Create(t.ctx, full("Foo")) })
	t.allSucceed(errs, "concurrent Create of the same record")
	t.holds(full("Foo"))
	errs = atOnce(8, func(int) error { return t.store.Create(t.ctx, named("Bar"), full("Foo"), named("Baz")) })
	t.allSucceed(errs, "concurrent Create of the same three records")
	t.holds(full("Foo"), named("Bar"), named("Baz"))
}

func concurrentIDs(t *tester) {
	records := make([]tokenauth.Record, 16)
	for i := range records {
		records[i] = named(fmt.Sprint("creator ", i))
		records[i].Token.ID = newID("the same")
	}
	winner := t.oneWins(t.createAtOnce(records), tokenauth.ErrKeyTaken, "Create of a token with the same ID")
	t.holds(records[winner])
}

func concurrentBatches(t *tester) {
	batch := func(i int) []tokenauth.Record {
		return []tokenauth.Record{
			named(fmt.Sprint("before ", i)), newRecord(alice, "Foo", fmt.Sprint("batch ", i)), named(fmt.Sprint("after ", i)),
		}
	}
	errs := atOnce(16, func(i int) error { return t.store.Create(t.ctx, batch(i)...) })
	winner := t.oneWins(errs, tokenauth.ErrNameTaken, "Create of three records, of which the second has the same name in each call")
	t.holds(batch(winner)...)
}

// some creates n live records of the user alice in the store, and returns these records.
func (t *tester) some(n int) []tokenauth.Record {
	t.Helper()
	records := make([]tokenauth.Record, n)
	for i := range records {
		records[i] = named(fmt.Sprint("token ", i))
	}
	t.create(records...)
	return records
}

func concurrentRenames(t *tester) {
	records := t.some(32)
	errs := atOnce(len(records), func(i int) error {
		return t.store.Update(t.ctx, alice, records[i].Token.ID, rename("Foo"), after(5))
	})
	winner := t.oneWins(errs, tokenauth.ErrNameTaken, "Update of different tokens to the same name")
	records[winner].Token.Name = "Foo"
	t.holds(records...)
}

func concurrentUpdates(t *tester) {
	records := t.some(8)
	patches := []tokenauth.Patch{rename("renamed"), rescope("a", "b"), expire(after(99))}
	for i, r := range records {
		patches[0] = rename(fmt.Sprint("renamed ", i))
		errs := atOnce(len(patches), func(i int) error { return t.store.Update(t.ctx, alice, r.Token.ID, patches[i], after(5)) })
		t.allSucceed(errs, "concurrent Update of one field of a token")
		records[i].Token.Name, records[i].Token.Scopes, records[i].Token.ExpiresAt = *patches[0].Name, []string{"a", "b"}, after(99)
	}
	t.holds(records...)
}

func concurrentTouchAndUpdate(t *tester) {
	records := t.some(8)
	for i, r := range records {
		steps := []func() error{
			func() error { return t.store.Update(t.ctx, alice, r.Token.ID, rescope("a"), after(5)) },
			func() error { return t.store.Touch(t.ctx, use(r, after(7))) },
			func() error {
				return t.store.Rotate(t.ctx, alice, r.Token.ID, rotation(1, fmt.Sprint("new ", i)), after(5))
			},
		}
		t.allSucceed(atOnce(len(steps), func(i int) error { return steps[i]() }), "concurrent Update, Touch or Rotate of one token")
		r = rotated(usedAt(r, after(7)), rotation(1, fmt.Sprint("new ", i)))
		r.Token.Scopes = []string{"a"}
		records[i] = r
	}
	t.holds(records...)
}

func concurrentTouches(t *tester) {
	records := t.some(4)
	errs := atOnce(32, func(i int) error {
		var uses []tokenauth.Use
		for j := range records { // the order of uses differs between goroutines
			uses = append(uses, use(records[(j*3+i)%len(records)], after((i*7)%32)))
		}
		return t.store.Touch(t.ctx, uses...)
	})
	t.allSucceed(errs, "concurrent Touch of the same tokens")
	for i, r := range records {
		records[i] = usedAt(r, after(31))
	}
	t.holds(records...)
}

func concurrentRotations(t *tester) {
	r := full("Foo")
	t.create(r)
	rot := func(i int) tokenauth.Rotation { return rotation(2, fmt.Sprint("rotation ", i)) }
	errs := atOnce(16, func(i int) error { return t.store.Rotate(t.ctx, alice, r.Token.ID, rot(i), after(5)) })
	winner := t.oneWins(errs, tokenauth.ErrConflict, "Rotate of the same token from generation 2")
	t.holds(rotated(r, rot(winner)))
	for i := range errs {
		if i != winner {
			t.misses(rot(i).Digest, "the digest of a rotation that returned ErrConflict")
		}
	}
	t.misses(r.Retired.Digest, "the digest that an earlier rotation had retired")
}

func concurrentRotationsToOne(t *tester) {
	records := t.some(16)
	errs := atOnce(len(records), func(i int) error {
		return t.store.Rotate(t.ctx, alice, records[i].Token.ID, rotation(1, "the same"), after(5))
	})
	winner := t.oneWins(errs, tokenauth.ErrKeyTaken, "Rotate of different tokens to the same digest")
	records[winner] = rotated(records[winner], rotation(1, "the same"))
	t.holds(records...)
}

func concurrentRotateAndRevoke(t *tester) {
	for i, r := range t.some(12) {
		rot := rotation(1, fmt.Sprint("new ", i))
		steps := []func() error{
			func() error { return t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5)) },
			func() error { return t.store.Revoke(t.ctx, alice, r.Token.ID, after(5), revoker) },
			func() error { return t.store.Update(t.ctx, alice, r.Token.ID, rescope("a"), after(5)) },
			func() error { return t.store.Touch(t.ctx, use(r, after(4))) },
		}
		errs := atOnce(len(steps), func(i int) error { return steps[i]() })
		t.wants(nil, errs[1], "Revoke during Rotate, Update and Touch")
		t.wants(nil, errs[3], "Touch during Rotate, Update and Revoke")
		r = usedAt(revoked(r, after(5)), after(4))
		if errs[0] == nil {
			r = rotated(r, rot)
		} else {
			t.wants(tokenauth.ErrNotFound, errs[0], "Rotate during Revoke and Update")
		}
		if errs[2] == nil {
			r.Token.Scopes = []string{"a"}
		} else {
			t.wants(tokenauth.ErrNotFound, errs[2], "Update during Revoke and Rotate")
		}
		t.lists(tokenauth.Query{UserID: alice, IDs: []string{r.Token.ID}, IncludeRevoked: true}, r)
	}
	t.lists(tokenauth.Query{UserID: alice})
}

func concurrentReplaces(t *tester) {
	r := full("Foo")
	t.create(r)
	errs := atOnce(16, func(i int) error {
		p := rescope(fmt.Sprint("writer-", i))
		p.Replaces = &r.Token
		return t.store.Update(t.ctx, alice, r.Token.ID, p, after(5))
	})
	winner := t.oneWins(errs, tokenauth.ErrConflict, "Update that replaces the same scopes")
	r.Token.Scopes = []string{fmt.Sprint("writer-", winner)}
	t.holds(r)
}
