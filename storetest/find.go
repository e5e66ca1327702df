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

func findShared(t *tester) {
	foo := full("Foo")
	t.create(foo)
	found := t.finds(foo.Digest, foo)
	byRetired := t.finds(foo.Retired.Digest, foo)
	t.update(foo, tokenauth.Patch{Name: new("Bar"), Scopes: &[]string{"a", "b"}, ExpiresAt: new(after(2000))})
	t.touch(tokenauth.Use{ID: foo.Token.ID, At: after(6)})
	t.rotate(foo, rotation(2, "second"))
	t.revoke(foo, after(9))
	if diff(*found, foo) != "" || diff(*byRetired, foo) != "" {
		t.failf("Update, Touch, Rotate or Revoke changed a record that Find had returned earlier")
	}
}
