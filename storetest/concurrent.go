package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

var concurrencyCases = []testCase{
	{"S5", "let exactly one of 64 concurrent creators of a name win", concurrentNames},
	{"S7", "let exactly one of many concurrent creators win each slot", concurrentSlots},
	{"S7", "keep a user to the limit of a Manager when 64 tokens are issued at once", concurrentIssues},
	{"S8", "let exactly one of many concurrent creators win a digest", concurrentDigests},
	{"", "create one record for concurrent repetitions of one create", concurrentRepeats},
	{"", "create all or none of the records given to each of many concurrent creators", concurrentBatches},
	{"S5", "let exactly one of many concurrent updates win a name", concurrentRenames},
	{"", "keep what each of several concurrent updates of a token changes", concurrentUpdates},
	{"", "keep a use that is recorded while the token is updated and rotated", concurrentTouchAndUpdate},
	{"", "keep the latest of many concurrent uses", concurrentTouches},
	{"E10", "let exactly one of many concurrent rotations of one generation win", concurrentRotations},
	{"", "let exactly one of many tokens be rotated to a digest", concurrentRotationsToOne},
	{"", "leave a token revoked that was revoked while it was rotated and updated", concurrentRotateAndRevoke},
	{"E15", "revoke with RevokeAll every token that was there before, also while others are created", concurrentRevokeAll},
	{"S23", "prune each dead record once when Prune runs more than once at a time", concurrentPrunes},
}

// persist calls until there is an answer, as a service's clients would do: an
// error that is none means that nobody knows what was done.
func persist(call func() error) error {
	var err error
	for range 20 {
		if err = call(); err == nil || answerOf(err) != nil {
			return err
		}
	}
	return err
}

// atOnce calls f with 0 to n-1, each in its own goroutine, all starting
// together, and returns the errors of those calls.
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

// oneWins fails unless one call succeeded and all others ended in lost. It
// returns the index of the one.
func (t *tester) oneWins(errs []error, lost error, what string) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.failf("two of %d succeeded in %s", len(errs), what)
		case err == nil:
			winner = i
		default:
			t.wants(lost, err, "%s", what)
		}
	}
	if winner < 0 {
		t.failf("none of %d succeeded in %s", len(errs), what)
	}
	return winner
}

// allSucceed fails if a call failed.
func (t *tester) allSucceed(errs []error, what string) {
	t.Helper()
	for _, err := range errs {
		t.wants(nil, err, "%s", what)
	}
}

// createAtOnce creates each of records in a goroutine of its own.
func (t *tester) createAtOnce(records []tokenauth.Record) []error {
	return atOnce(len(records), func(i int) error { return t.store.Create(t.ctx, records[i]) })
}

func concurrentNames(t *tester) {
	records := make([]tokenauth.Record, 64)
	for i := range records {
		records[i] = newRecord(alice, "Foo", fmt.Sprint("creator ", i))
	}
	winner := t.oneWins(t.createAtOnce(records), tokenauth.ErrNameTaken, "creating the name")
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
		winner := t.oneWins(errs[first:first+rivals], tokenauth.ErrSlotTaken, "creating a token in a slot")
		winners = append(winners, records[first+winner])
	}
	t.holds(winners...)
}

func concurrentIssues(t *tester) {
	const limit = 5
	tokens := tokenauth.New(t.store, "acme", &tokenauth.Options{MaxPerUser: limit, Now: func() time.Time { return start }})
	errs := atOnce(64, func(i int) error {
		_, _, err := tokens.Issue(t.ctx, tokenauth.Spec{UserID: alice, Name: fmt.Sprint("client ", i)})
		switch {
		case errors.Is(err, tokenauth.ErrTooManyTokens):
			return nil
		case errors.Is(err, tokenauth.ErrNameTaken): // by this same call, repeated
			return nil
		case errors.Is(err, tokenauth.ErrConflict):
			return errors.New("others came first, again and again") // so that it is tried again
		}
		return err
	})
	t.allSucceed(errs, "issuing a token or being told that there are too many")
	if n := len(t.list(tokenauth.Query{UserID: alice})); n != limit {
		t.failf("%d are live under a limit of %d", n, limit)
	}
}

func concurrentDigests(t *tester) {
	records := make([]tokenauth.Record, 16)
	for i := range records {
		records[i] = newRecord(fmt.Sprint("user ", i), "Foo", fmt.Sprint("creator ", i))
		records[i].Digest = digest("the same")
	}
	winner := t.oneWins(t.createAtOnce(records), tokenauth.ErrKeyTaken, "creating the digest")
	t.holds(records[winner])
}

func concurrentRepeats(t *tester) {
	errs := atOnce(16, func(int) error { return t.store.Create(t.ctx, full("Foo")) })
	t.allSucceed(errs, "creating the same record")
	t.holds(full("Foo"))
}

func concurrentBatches(t *tester) {
	batch := func(i int) []tokenauth.Record {
		return []tokenauth.Record{
			named(fmt.Sprint("before ", i)), newRecord(alice, "Foo", fmt.Sprint("batch ", i)), named(fmt.Sprint("behind ", i)),
		}
	}
	errs := atOnce(16, func(i int) error { return t.store.Create(t.ctx, batch(i)...) })
	winner := t.oneWins(errs, tokenauth.ErrNameTaken, "creating three records, one with the name,")
	t.holds(batch(winner)...)
}

// some returns n records, which are created.
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
	winner := t.oneWins(errs, tokenauth.ErrNameTaken, "renaming a token to the name")
	records[winner].Token.Name = "Foo"
	t.holds(records...)
}

func concurrentUpdates(t *tester) {
	records := t.some(8)
	patches := []tokenauth.Patch{rename("renamed"), rescope("a", "b"), expire(after(99))}
	for i, r := range records {
		patches[0] = rename(fmt.Sprint("renamed ", i))
		errs := atOnce(len(patches), func(i int) error { return t.store.Update(t.ctx, alice, r.Token.ID, patches[i], after(5)) })
		t.allSucceed(errs, "updating one field")
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
		t.allSucceed(atOnce(len(steps), func(i int) error { return steps[i]() }), "updating, using and rotating a token")
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
		for j := range records { // in another order in each second goroutine
			uses = append(uses, use(records[(j*3+i)%len(records)], after((i*7)%32)))
		}
		return t.store.Touch(t.ctx, uses...)
	})
	t.allSucceed(errs, "recording uses")
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
	winner := t.oneWins(errs, tokenauth.ErrConflict, "replacing generation 2")
	t.holds(rotated(r, rot(winner)))
	for i := range errs {
		if i != winner {
			t.misses(rot(i).Digest, "the digest of a rotation that lost")
		}
	}
	t.misses(r.Retired.Digest, "the digest retired before")
}

func concurrentRotationsToOne(t *tester) {
	records := t.some(16)
	errs := atOnce(len(records), func(i int) error {
		return t.store.Rotate(t.ctx, alice, records[i].Token.ID, rotation(1, "the same"), after(5))
	})
	winner := t.oneWins(errs, tokenauth.ErrKeyTaken, "rotating to the digest")
	records[winner] = rotated(records[winner], rotation(1, "the same"))
	t.holds(records...)
}

func concurrentRotateAndRevoke(t *tester) {
	for i, r := range t.some(12) {
		rot := rotation(1, fmt.Sprint("new ", i))
		steps := []func() error{
			func() error { return t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5)) },
			func() error { return t.store.Revoke(t.ctx, alice, r.Token.ID, after(5)) },
			func() error { return t.store.Update(t.ctx, alice, r.Token.ID, rescope("a"), after(5)) },
		}
		errs := atOnce(len(steps), func(i int) error { return steps[i]() })
		t.wants(nil, errs[1], "revoking")
		r = revoked(r, after(5))
		if errs[0] == nil {
			r = rotated(r, rot)
		} else {
			t.wants(tokenauth.ErrNotFound, errs[0], "rotating")
		}
		if errs[2] == nil {
			r.Token.Scopes = []string{"a"}
		} else {
			t.wants(tokenauth.ErrNotFound, errs[2], "updating")
		}
		t.lists(tokenauth.Query{UserID: alice, IDs: []string{r.Token.ID}, IncludeRevoked: true}, r)
	}
	t.lists(tokenauth.Query{UserID: alice})
}

func concurrentRevokeAll(t *tester) {
	before := t.some(16)
	var calls, counted int
	errs := atOnce(17, func(i int) (err error) {
		if i < 16 {
			return t.store.Create(t.ctx, named(fmt.Sprint("meanwhile ", i)))
		}
		calls++
		counted, err = t.store.RevokeAll(t.ctx, alice, after(5))
		return err
	})
	t.allSucceed(errs, "creating tokens and RevokeAll")
	dead := map[string]bool{}
	for _, r := range t.list(tokenauth.Query{UserID: alice, IncludeRevoked: true}) {
		if !r.Token.RevokedAt.IsZero() {
			dead[r.Token.ID] = true
		}
	}
	for _, r := range before {
		if !dead[r.Token.ID] {
			t.failf("%q, which was there before, is not revoked", r.Token.Name)
		}
	}
	if calls == 1 && counted != len(dead) {
		t.failf("it counted %d and %d are revoked", counted, len(dead))
	}
}

func concurrentPrunes(t *tester) {
	t.create(named("live"))
	for i := range 40 {
		t.create(expiring(named(fmt.Sprint("dead ", i)), after(1)))
	}
	counts := make([]int, 8)
	errs := atOnce(len(counts), func(i int) error {
		n, err := t.store.Prune(t.ctx, after(10), 10)
		counts[i] += n
		return err
	})
	t.allSucceed(errs, "pruning")
	total := 0
	for _, n := range counts {
		total += n
	}
	if total > 40 {
		t.failf("they counted %d where 40 were dead", total)
	}
	for range 40 {
		if t.prune(after(10), 10) == 0 {
			break
		}
	}
	t.holds(named("live"))
}
