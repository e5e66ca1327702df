package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// The functions in this file test calls that revoke or delete records while other calls run.

func concurrentRevokeAll(t *tester) {
	before := t.some(16)
	var calls, counted int
	errs := atOnce(17, func(i int) (err error) {
		if i < 16 {
			return t.store.Create(t.ctx, named(fmt.Sprint("meanwhile ", i)))
		}
		calls++
		counted, err = t.store.RevokeAll(t.ctx, alice, after(5), revoker, 1000)
		return err
	})
	t.allSucceed(errs, "concurrent Create or RevokeAll")
	dead := map[string]bool{}
	for _, r := range t.list(tokenauth.Query{UserID: alice, IncludeRevoked: true}) {
		if !r.Token.RevokedAt.IsZero() {
			dead[r.Token.ID] = true
		}
	}
	for _, r := range before {
		if !dead[r.Token.ID] {
			t.failf("token %q, which existed before RevokeAll, is not revoked", r.Token.Name)
		}
	}
	if calls == 1 && counted != len(dead) {
		t.failf("RevokeAll returned %d, but %d tokens are revoked", counted, len(dead))
	}
}

// concurrentRevokeAlls revokes 3,000 tokens in two loops, as two calls of Manager.RevokeAll do. A
// store whose RevokeAll returns 0 because the other loop has revoked the tokens that it chose fails
// the test case.
func concurrentRevokeAlls(t *tester) {
	const tokens, limit = 3000, 500
	for first := 0; first < tokens; first += 500 {
		var batch []tokenauth.Record
		for i := range 500 {
			batch = append(batch, named(fmt.Sprint("live ", first+i)))
		}
		t.create(batch...)
	}
	left, counted := make([]int, 2), make([]int, 2)
	errs := atOnce(len(left), func(i int) error {
		for range 2 * tokens / limit {
			n, err := t.store.RevokeAll(t.ctx, alice, after(5), revoker, limit)
			if err != nil {
				return err
			}
			counted[i] += n
			if n == 0 {
				live, err := t.store.List(t.ctx, tokenauth.Query{UserID: alice, Limit: 10})
				left[i] = len(live)
				return err
			}
		}
		return errors.New("RevokeAll did not return 0 after all tokens were revoked")
	})
	t.allSucceed(errs, "concurrent loops of RevokeAll")
	if total := counted[0] + counted[1]; total > tokens {
		t.failf("the concurrent calls of RevokeAll counted %d revoked tokens in total, want at most %d", total, tokens)
	}
	if left[0]+left[1] > 0 {
		t.failf("RevokeAll returned 0 while the user had a live token")
	}
	if n := len(t.list(tokenauth.Query{UserID: alice, IncludeRevoked: true})); n != tokens {
		t.failf("after RevokeAll, the user has %d revoked tokens, want %d", n, tokens)
	}
}

func concurrentPrunes(t *tester) {
	t.create(named("live"))
	for i := range 40 {
		t.create(expiring(named(fmt.Sprint("dead ", i)), after(1)))
	}
	counts := make([]int, 8)
	errs := atOnce(len(counts), func(i int) error {
		n, err := t.store.Prune(t.ctx, after(10), time.Time{}, 10)
		counts[i] += n
		return err
	})
	t.allSucceed(errs, "concurrent Prune")
	total := 0
	for _, n := range counts {
		total += n
	}
	if total > 40 {
		t.failf("the concurrent calls of Prune counted %d deleted records in total, want at most 40", total)
	}
	for range 40 {
		if t.prune(after(10), 10) == 0 {
			break
		}
	}
	t.holds(named("live"))
}

// concurrentEnds revokes each token by one of three methods while the token is renamed, rotated and
// used. A method that writes the whole record, as it was read before, undoes the other changes.
func concurrentEnds(t *tester) {
	for i := range 18 {
		r := newRecord(fmt.Sprint("user ", i), "Foo", fmt.Sprint("token ", i))
		user, id, rot := r.Token.UserID, r.Token.ID, rotation(1, fmt.Sprint("new ", i))
		t.create(r)
		ends := []func() error{
			func() error { return t.store.Revoke(t.ctx, user, id, after(5), revoker) },
			func() error { return t.store.RevokeExpired(t.ctx, user, id, after(5), revoker, after(9)) }, // idle
			func() error { return countedError(t.store.RevokeAll(t.ctx, user, after(5), revoker, 10)) },
		}
		steps := []func() error{
			func() error { return t.store.Rotate(t.ctx, user, id, rot, after(5)) },
			func() error { return t.store.Update(t.ctx, user, id, rename("Bar"), after(5)) },
			func() error { return t.store.Touch(t.ctx, use(r, after(4))) },
			ends[i%3],
		}
		errs := atOnce(len(steps), func(i int) error { return steps[i]() })
		t.allSucceed(errs[2:], "Touch, and Revoke, RevokeExpired or RevokeAll during Rotate and Update")
		r = usedAt(revoked(r, after(5)), after(4))
		if errs[0] == nil {
			r = rotated(r, rot)
		} else {
			t.wants(tokenauth.ErrNotFound, errs[0], "Rotate of a token that is revoked meanwhile")
		}
		if errs[1] == nil {
			r.Token.Name = "Bar"
		} else {
			t.wants(tokenauth.ErrNotFound, errs[1], "Update of a token that is revoked meanwhile")
		}
		t.lists(tokenauth.Query{UserID: user, IncludeRevoked: true}, r)
		t.create(newRecord(user, "Foo", fmt.Sprint("Foo after ", i)), newRecord(user, "Bar", fmt.Sprint("Bar after ", i)))
	}
}

func concurrentSame(t *tester) {
	r, rot := full("Foo"), rotation(2, "new")
	t.create(r)
	errs := atOnce(8, func(int) error { return t.store.Rotate(t.ctx, alice, r.Token.ID, rot, after(5)) })
	t.allSucceed(errs, "concurrent Rotate of one token to the same digest")
	r = rotated(r, rot)
	t.holds(r)
	p := tokenauth.Patch{Scopes: &[]string{"new"}, Replaces: new(r.Token)}
	errs = atOnce(8, func(int) error { return t.store.Update(t.ctx, alice, r.Token.ID, p, after(5)) })
	t.allSucceed(errs, "concurrent Update of one token to the same scopes")
	r.Token.Scopes = []string{"new"}
	t.holds(r)
}

// concurrentExtensions moves the expiry of each token while RevokeExpired revokes the token because
// of the old expiry.
func concurrentExtensions(t *tester) {
	for i := range 20 {
		r := expiring(named(fmt.Sprint("token ", i)), after(10))
		t.create(r)
		errs := atOnce(2, func(call int) error {
			if call == i%2 { // the goroutine that starts last often runs first
				return t.revokeExpired(r, after(20))
			}
			return t.store.Update(t.ctx, alice, r.Token.ID, expire(after(99)), after(5))
		})
		ended, extended := errs[i%2], errs[1-i%2]
		if extended == nil {
			t.wants(tokenauth.ErrConflict, ended, "RevokeExpired of a token whose expiry an Update, which succeeded, moved meanwhile")
			r = expiring(r, after(99))
		} else {
			t.wants(tokenauth.ErrNotFound, extended, "Update of a token during RevokeExpired")
			t.wants(nil, ended, "RevokeExpired of an expired token")
			r = revoked(r, after(20))
		}
		t.lists(tokenauth.Query{UserID: alice, IDs: []string{r.Token.ID}, IncludeRevoked: true}, r)
	}
}

// concurrentSuccessors creates a successor as soon as one of two calls of Revoke has freed the name
// and the slot. The other call must not free them again.
func concurrentSuccessors(t *tester) {
	for i := range 20 {
		user := fmt.Sprint("user ", i)
		foo, successor := newRecord(user, "Foo", user), newRecord(user, "Foo", "successor of "+user)
		foo.Slot, successor.Slot = 7, 7
		t.create(foo)
		errs := atOnce(3, func(call int) (err error) {
			if call != i%3 {
				return t.store.Revoke(t.ctx, user, foo.Token.ID, after(5), revoker)
			}
			for range 50 {
				if err = t.store.Create(t.ctx, successor); !errors.Is(err, tokenauth.ErrNameTaken) {
					return err
				}
				runtime.Gosched()
			}
			return nil
		})
		t.allSucceed(errs, "two concurrent calls of Revoke, and Create of a successor,")
		t.create(successor)
		third := newRecord(user, "Foo", "third of "+user)
		t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, third), "Create with the name of a successor of a token that was revoked twice")
		third.Token.Name, third.Slot = "third", 7
		t.wants(tokenauth.ErrSlotTaken, t.store.Create(t.ctx, third), "Create with the slot of a successor of a token that was revoked twice")
		t.lists(tokenauth.Query{UserID: user}, successor)
	}
}
