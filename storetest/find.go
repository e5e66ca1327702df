package storetest

import (
	"bytes"

	"github.com/go-tokenauth/tokenauth"
)

var findCases = []testCase{
	// Case S1.
	{"find a record by its current and its retired digest", findBoth},
	{"find expired and revoked records, also by a retired digest whose grace period has ended", findDead},
	// Case S9.
	{"return ErrNotFound for a digest that no record has", findNothing},
	// Case S2.
	{"compare digests byte by byte", findBytes},
	// Case S20.
	{"never change a record that Find has returned", findShared},
	{"find a record as it is after each change, although Find returned the earlier record, or no record, before", findChanged},
	{"find several records as they are after one call has changed them, although Find returned them, or no record, before", findTogether},
}

func findBoth(t *tester) {
	foo, bar := full("Foo"), named("Bar")
	t.create(foo, bar)
	t.finds(foo.Digest, foo)
	t.finds(foo.Retired.Digest, foo)
	t.finds(bar.Digest, bar)
}

func findDead(t *tester) {
	expired, gone := expiring(full("expired"), start.AddDate(-50, 0, 0)), full("revoked")
	expired.Retired.Until = start.AddDate(-51, 0, 0)
	gone.Slot = 1
	t.create(expired, gone)
	t.revoke(gone, after(9))
	t.holds(expired, revoked(gone, after(9)))
}

func findNothing(t *tester) {
	t.misses(digest("Foo"), "a digest in an empty store")
	t.create(full("Foo"), named("Bar"))
	t.misses(digest("Baz"), "an unknown digest")
	t.misses(tokenauth.Digest{}, "the zero digest")
	t.misses(tokenauth.Digest(bytes.Repeat([]byte{0xff}, 32)), "the digest of 32 bytes 0xff")
}

// findBytes creates records whose digests differ only slightly, for example in letter case,
// in trailing spaces or in a LIKE wildcard. Such digests may compare as equal in a text
// column. If the store confuses two digests, it accepts the key of one token for another
// token.
func findBytes(t *tester) {
	text := func(s string) (d tokenauth.Digest) {
		copy(d[:], s) // the rest of the digest d stays zero bytes
		return d
	}
	lower := text("abcdefghijklmnopqrstuvwxyzabcdef")
	digests := []tokenauth.Digest{
		lower,
		text("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"),
		text("abcdefghijklmnopqrstuvwxyzabcde"),
		text("abcdefghijklmnopqrstuvwxyzabcde "),
		text("abcdefghijklmnopqrstuvwxyzabcde%"),
		text("________________________________"),
		text("\x00bcdefghijklmnopqrstuvwxyzabcdef"),
		text("\xffbcdefghijklmnopqrstuvwxyzabcdef"),
		text("\xfebcdefghijklmnopqrstuvwxyzabcdef"), // as a text, both have a byte that is not UTF-8
		text("''; --"),
		text(""),
	}
	var all []tokenauth.Record
	for i, d := range digests {
		t.misses(d, "digest %d, which is similar to stored digests but is not stored yet,", i)
		r := named(string(rune('a' + i)))
		r.Digest = d
		t.create(r)
		all = append(all, r)
	}
	t.holds(all...)
	for i := range lower {
		d := lower
		d[i] ^= 1
		t.misses(d, "a digest that differs from a stored digest in byte %d only", i)
	}
}

// A tokenChange is a call that changes a token. Its function change makes the call, and returns the
// record that the store should then hold.
type tokenChange struct {
	method string
	change func(t *tester, r tokenauth.Record) tokenauth.Record
}

// tokenChanges has one call of each method that changes a token, for records that full returns.
var tokenChanges = []tokenChange{
	{"Update", func(t *tester, r tokenauth.Record) tokenauth.Record {
		t.update(r, tokenauth.Patch{Name: new("Bar"), Scopes: &[]string{"a", "b"}, Resources: &[]string{"p"}, ExpiresAt: new(after(2000))})
		r.Token.Name, r.Token.Scopes, r.Token.Resources, r.Token.ExpiresAt = "Bar", []string{"a", "b"}, []string{"p"}, after(2000)
		return r
	}},
	{"Touch", func(t *tester, r tokenauth.Record) tokenauth.Record {
		t.touch(use(r, after(6)))
		return usedAt(r, after(6))
	}},
	{"Rotate", func(t *tester, r tokenauth.Record) tokenauth.Record {
		t.rotate(r, rotation(2, "second of "+r.Token.UserID))
		return rotated(r, rotation(2, "second of "+r.Token.UserID))
	}},
	{"Revoke", func(t *tester, r tokenauth.Record) tokenauth.Record {
		t.revoke(r, after(9))
		return revoked(r, after(9))
	}},
	{"RevokeExpired", func(t *tester, r tokenauth.Record) tokenauth.Record {
		t.wants(nil, t.revokeExpired(r, after(1000)), "RevokeExpired of an expired token")
		return revoked(r, after(1000))
	}},
	{"RevokeAll", func(t *tester, r tokenauth.Record) tokenauth.Record {
		n, err := t.store.RevokeAll(t.ctx, r.Token.UserID, after(9), revoker, 10)
		t.wants(nil, err, "RevokeAll")
		if n != 1 {
			t.failf("RevokeAll of a user with one live token returned %d, want 1", n)
		}
		return revoked(r, after(9))
	}},
}

// findShared keeps records that Find has returned, and changes and deletes the tokens.
func findShared(t *tester) {
	type found struct {
		changed string
		r       *tokenauth.Record
		want    tokenauth.Record
	}
	var all []found
	for _, c := range tokenChanges {
		r := full(c.method)
		r.Token.UserID = "user of " + c.method
		t.create(r)
		all = append(all, found{c.method, t.finds(r.Digest, r), r}, found{c.method, t.finds(r.Retired.Digest, r), r})
		now := c.change(t, r)
		all = append(all, found{"Prune", t.finds(now.Digest, now), now})
	}
	t.prune(after(3000), 100)
	t.holds()
	for _, f := range all {
		if difference := diff(*f.r, f.want); difference != "" {
			t.failf("%s changed a record that Find had returned earlier: %s", f.changed, difference)
		}
	}
}

// findChanged calls Find with each digest before and after each change. A store with a cache must
// not return what it found before the change.
func findChanged(t *tester) {
	agree := func(r tokenauth.Record, digests []tokenauth.Digest, method string) {
		for _, d := range digests {
			if d == r.Digest || d == r.Retired.Digest {
				t.finds(d, r)
			} else {
				t.misses(d, "a digest that the record does not have, after %s,", method)
			}
		}
	}
	var digests []tokenauth.Digest
	for _, c := range tokenChanges {
		r := full(c.method)
		r.Token.UserID = "user of " + c.method
		of := []tokenauth.Digest{r.Digest, r.Retired.Digest, digest("second of " + r.Token.UserID)}
		for _, d := range of {
			t.misses(d, "a digest that no record has yet")
		}
		t.create(r)
		agree(r, of, "Create")
		agree(c.change(t, r), of, c.method)
		digests = append(digests, of...)
	}
	t.prune(after(3000), 100)
	for _, d := range digests {
		t.misses(d, "a digest of a deleted record, which Find has found before")
	}
}

// findTogether finds records before and after calls that change several records.
func findTogether(t *tester) {
	all := []tokenauth.Record{full("first"), full("second"), full("third")}
	agree := func() {
		t.Helper()
		for _, r := range all {
			t.finds(r.Digest, r)
			t.finds(r.Retired.Digest, r)
		}
	}
	miss := func(when string) {
		t.Helper()
		for _, r := range all {
			t.misses(r.Digest, "the digest of a record that %s", when)
			t.misses(r.Retired.Digest, "the retired digest of a record that %s", when)
		}
	}
	miss("is not created yet")
	var uses []tokenauth.Use
	for i := range all {
		all[i].Slot = i + 1
		uses = append(uses, use(all[i], after(6)))
	}
	t.create(all...)
	agree()
	t.touch(uses...)
	for i := range all {
		all[i] = usedAt(all[i], after(6))
	}
	agree()
	if n, err := t.store.RevokeAll(t.ctx, alice, after(9), revoker, 10); err != nil || n != len(all) {
		t.failf("RevokeAll of three live tokens returned %d and %s, want %d and no error", n, describe(err), len(all))
	}
	for i := range all {
		all[i] = revoked(all[i], after(9))
	}
	agree()
	if n := t.prune(after(10), 10); n != len(all) {
		t.failf("Prune of three revoked tokens returned %d, want %d", n, len(all))
	}
	miss("Prune has deleted")
}
