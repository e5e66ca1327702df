package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// What the cases have in common: records, calls that must succeed, and what is asked of the store afterwards.

// start is when all tests begin. No test reads a clock.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after returns the instant n minutes after start.
func after(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

const (
	alice = "alice"
	bob   = "bob"
)

// newRecord returns a live record that a Manager could have made. A label gives
// an ID and a digest of its own.
func newRecord(userID, name, label string) tokenauth.Record {
	return tokenauth.Record{
		Digest: digest(label),
		Token: tokenauth.Token{
			ID: newID(label), UserID: userID, Name: name, Hint: "x7Qf", Generation: 1, CreatedAt: start,
		},
	}
}

// named returns a record of alice; the name is its label too.
func named(name string) tokenauth.Record { return newRecord(alice, name, name) }

func digest(label string) tokenauth.Digest { return tokenauth.DigestOf("key of " + label) }

// newID returns 26 letters that follow from the label.
func newID(label string) string {
	id := make([]byte, 26)
	d := tokenauth.DigestOf("ID of " + label)
	for i := range id {
		id[i] = 'A' + d[i]%26
	}
	return string(id)
}

// full returns a record of alice that has a value in every field it can have.
func full(name string) tokenauth.Record {
	r := named(name)
	r.Slot = 7
	r.Retired = &tokenauth.RetiredKey{Digest: digest("retired " + name), Until: after(60)}
	r.Token.Scopes = []string{"orders:read", "orders:write"}
	r.Token.Generation = 2
	r.Token.ExpiresAt = after(1000)
	r.Token.LastUsedAt = after(3)
	return r
}

// rotation returns the one that replaces the key of generation replaces.
func rotation(replaces int, label string) tokenauth.Rotation {
	return tokenauth.Rotation{Replaces: replaces, Digest: digest(label), Hint: "new1", GraceUntil: after(90)}
}

// rotated returns r as it should be once rot has been done.
func rotated(r tokenauth.Record, rot tokenauth.Rotation) tokenauth.Record {
	r.Retired = &tokenauth.RetiredKey{Digest: r.Digest, Until: rot.GraceUntil}
	r.Digest = rot.Digest
	r.Token.Hint = rot.Hint
	r.Token.Generation++
	return r
}

// revoked returns r as it should be once it was revoked.
func revoked(r tokenauth.Record, at time.Time) tokenauth.Record {
	r.Slot = 0
	r.Token.RevokedAt = at
	return r
}

// expiring returns r with another expiry.
func expiring(r tokenauth.Record, at time.Time) tokenauth.Record {
	r.Token.ExpiresAt = at
	return r
}

// rename returns the patch that changes a name alone.
func rename(name string) tokenauth.Patch { return tokenauth.Patch{Name: &name} }

// rescope returns the patch that changes the scopes alone.
func rescope(scopes ...string) tokenauth.Patch { return tokenauth.Patch{Scopes: &scopes} }

// expire returns the patch that changes the expiry alone.
func expire(at time.Time) tokenauth.Patch { return tokenauth.Patch{ExpiresAt: &at} }

// inOrder returns records in the order of lists.
func inOrder(records ...tokenauth.Record) []tokenauth.Record {
	return slices.SortedFunc(slices.Values(records), func(a, b tokenauth.Record) int {
		return compare(a.Token.Cursor(), b.Token.Cursor())
	})
}

func compare(a, b tokenauth.Cursor) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}

// answers are the errors by which a store answers.
var answers = []error{
	tokenauth.ErrNotFound, tokenauth.ErrNameTaken, tokenauth.ErrKeyTaken, tokenauth.ErrSlotTaken, tokenauth.ErrConflict,
}

// answerOf returns the answer that err is or wraps, or nil.
func answerOf(err error) error {
	for _, answer := range answers {
		if errors.Is(err, answer) {
			return answer
		}
	}
	return nil
}

// wants fails unless got is nil, if want is, or else is that answer and no other.
// The format says what was done.
func (t *tester) wants(want, got error, format string, args ...any) {
	t.Helper()
	if want == nil && got == nil || want != nil && errors.Is(got, want) && answerOf(got) == want {
		return
	}
	t.failf("%s gave %s, not %s", fmt.Sprintf(format, args...), describe(got), describe(want))
}

func describe(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("the error %q", err)
}

func (t *tester) create(records ...tokenauth.Record) {
	t.Helper()
	t.wants(nil, t.store.Create(t.ctx, records...), "creating %d records", len(records))
}

func (t *tester) update(r tokenauth.Record, p tokenauth.Patch) {
	t.Helper()
	t.wants(nil, t.store.Update(t.ctx, r.Token.UserID, r.Token.ID, p, after(5)), "updating %q", r.Token.Name)
}

func (t *tester) rotate(r tokenauth.Record, rot tokenauth.Rotation) {
	t.Helper()
	t.wants(nil, t.store.Rotate(t.ctx, r.Token.UserID, r.Token.ID, rot, after(5)), "rotating %q", r.Token.Name)
}

func (t *tester) revoke(r tokenauth.Record, at time.Time) {
	t.Helper()
	t.wants(nil, t.store.Revoke(t.ctx, r.Token.UserID, r.Token.ID, at), "revoking %q", r.Token.Name)
}

func (t *tester) touch(uses ...tokenauth.Use) {
	t.Helper()
	t.wants(nil, t.store.Touch(t.ctx, uses...), "touching")
}

func (t *tester) prune(before time.Time, limit int) int {
	t.Helper()
	n, err := t.store.Prune(t.ctx, before, limit)
	t.wants(nil, err, "pruning")
	return n
}

func (t *tester) list(q tokenauth.Query) []tokenauth.Record {
	t.Helper()
	records, err := t.store.List(t.ctx, q)
	t.wants(nil, err, "listing")
	return records
}

// finds fails unless d finds want.
func (t *tester) finds(d tokenauth.Digest, want tokenauth.Record) *tokenauth.Record {
	t.Helper()
	got, err := t.store.Find(t.ctx, d)
	t.wants(nil, err, "finding %q", want.Token.Name)
	if got == nil {
		t.failf("finding %q gave neither a record nor an error", want.Token.Name)
	}
	if difference := diff(*got, want); difference != "" {
		t.failf("found of %q the %s", want.Token.Name, difference)
	}
	return got
}

// misses fails if d finds anything.
func (t *tester) misses(d tokenauth.Digest, format string, args ...any) {
	t.Helper()
	_, err := t.store.Find(t.ctx, d)
	t.wants(tokenauth.ErrNotFound, err, "finding "+format, args...)
}

// lists fails unless q selects want, in that order.
func (t *tester) lists(q tokenauth.Query, want ...tokenauth.Record) {
	t.Helper()
	got := t.list(q)
	for i := range min(len(got), len(want)) {
		if difference := diff(got[i], want[i]); difference != "" {
			t.failf("record %d of the list, for %q, has the %s", i+1, want[i].Token.Name, difference)
		}
	}
	if len(got) != len(want) {
		t.failf("the list has %d records, not %d", len(got), len(want))
	}
}

// holds fails unless these are all the records of the store, in whatever order,
// and each is found by each of its digests.
func (t *tester) holds(want ...tokenauth.Record) {
	t.Helper()
	t.lists(tokenauth.Query{AllUsers: true, IncludeRevoked: true}, inOrder(want...)...)
	for _, r := range want {
		t.finds(r.Digest, r)
		if r.Retired != nil {
			t.finds(r.Retired.Digest, r)
		}
	}
}

// diff tells the first difference between two records, or nothing.
func diff(got, want tokenauth.Record) string {
	switch {
	case got.Digest != want.Digest:
		return "digest of another key"
	case (got.Retired == nil) != (want.Retired == nil):
		return fmt.Sprintf("retired key present: %t, not %t", got.Retired != nil, want.Retired != nil)
	case got.Retired != nil && got.Retired.Digest != want.Retired.Digest:
		return "retired digest of another key"
	case got.Retired != nil && !same(got.Retired.Until, want.Retired.Until):
		return fmt.Sprintf("end of grace %v, not %v", got.Retired.Until, want.Retired.Until)
	case got.Slot != want.Slot:
		return fmt.Sprintf("Slot %d, not %d", got.Slot, want.Slot)
	}
	a, b := reflect.ValueOf(got.Token), reflect.ValueOf(want.Token)
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); !same(x, y) {
			return fmt.Sprintf("%s %#v, not %#v", a.Type().Field(i).Name, x, y)
		}
	}
	return ""
}

// same reports whether two fields are equal. Times must be the same instant, and in UTC.
func same(got, want any) bool {
	if t, ok := got.(time.Time); ok {
		return t.Equal(want.(time.Time)) && t.Location() == time.UTC
	}
	return reflect.DeepEqual(got, want)
}
