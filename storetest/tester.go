package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// This file holds the helpers that the test cases share. Some helpers build records, some
// call a store method that must succeed, and some check which records the store holds. The file
// message.go formats the failure messages.

// start is the CreatedAt of most test records. The test cases use fixed times instead of
// the current time.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after returns the instant n minutes after start.
func after(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

const (
	alice = "alice"
	bob   = "bob"

	creator = "user:42" // CreatedBy of the records that full returns
	revoker = "staff:7" // who revokes tokens in most test cases
)

// newRecord returns a live record that a Manager could have created. The ID and the digest
// of the record are derived from label, so each label gives a different record.
func newRecord(userID, name, label string) tokenauth.Record {
	return tokenauth.Record{
		Digest: digest(label),
		Token: tokenauth.Token{
			ID: newID(label), UserID: userID, Name: name, Hint: "x7Qf", Generation: 1, CreatedAt: start,
		},
	}
}

// named returns a live record of the user alice. The ID and the digest of the record are
// derived from its name.
func named(name string) tokenauth.Record { return newRecord(alice, name, name) }

func digest(label string) tokenauth.Digest { return tokenauth.DigestOf("key of " + label) }

// newID returns a token ID of 26 letters. The same label always gives the same ID.
func newID(label string) string {
	id := make([]byte, 26)
	d := tokenauth.DigestOf("ID of " + label)
	for i := range id {
		id[i] = 'A' + d[i]%26
	}
	return string(id)
}

// full returns a live record of the user alice. Every field has a value, except Origin, RevokedAt
// and RevokedBy.
func full(name string) tokenauth.Record {
	r := named(name)
	r.Slot = 7
	r.Retired = &tokenauth.RetiredKey{Digest: digest("retired " + name), Until: after(60)}
	r.Token.Scopes = []string{"orders:read", "orders:write"}
	r.Token.Resources = []string{"project:1", "project:2"}
	r.Token.CreatedBy = creator
	r.Token.Generation = 2
	r.Token.ExpiresAt = after(1000)
	r.Token.LastUsedAt = after(3)
	return r
}

// rotation returns a Rotation that replaces the key of generation replaces. The digest of
// the new key is derived from label.
func rotation(replaces int, label string) tokenauth.Rotation {
	return tokenauth.Rotation{Replaces: replaces, Digest: digest(label), Hint: "new1", GraceUntil: after(90)}
}

// rotated returns the record that the store should hold after the rotation rot of r.
func rotated(r tokenauth.Record, rot tokenauth.Rotation) tokenauth.Record {
	r.Retired = &tokenauth.RetiredKey{Digest: r.Digest, Until: rot.GraceUntil}
	r.Digest = rot.Digest
	r.Token.Hint = rot.Hint
	r.Token.Generation++
	return r
}

// revoked returns the record that the store should hold after revoker revoked r at the time at.
func revoked(r tokenauth.Record, at time.Time) tokenauth.Record { return revokedBy(r, at, revoker) }

// revokedBy is like revoked, for any actor.
func revokedBy(r tokenauth.Record, at time.Time, by string) tokenauth.Record {
	r.Slot = 0
	r.Token.RevokedAt, r.Token.RevokedBy = at, by
	return r
}

// expiring returns a copy of r whose ExpiresAt is the time at.
func expiring(r tokenauth.Record, at time.Time) tokenauth.Record {
	r.Token.ExpiresAt = at
	return r
}

// rename returns a Patch that changes only the name of a token.
func rename(name string) tokenauth.Patch { return tokenauth.Patch{Name: &name} }

// rescope returns a Patch that changes only the scopes of a token.
func rescope(scopes ...string) tokenauth.Patch { return tokenauth.Patch{Scopes: &scopes} }

// restrict returns a Patch that changes only the resources of a token. Without resources, it allows
// all of them.
func restrict(resources ...string) tokenauth.Patch { return tokenauth.Patch{Resources: &resources} }

// expire returns a Patch that changes only the expiry of a token.
func expire(at time.Time) tokenauth.Patch { return tokenauth.Patch{ExpiresAt: &at} }

// inOrder returns the records in the order in which List must return them: by CreatedAt,
// then by ID.
func inOrder(records ...tokenauth.Record) []tokenauth.Record {
	return slices.SortedFunc(slices.Values(records), func(a, b tokenauth.Record) int {
		return compare(a.Token.Cursor(), b.Token.Cursor())
	})
}

func compare(a, b tokenauth.Cursor) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
}

// sentinels are the errors that the Store contract names.
var sentinels = []error{
	tokenauth.ErrNotFound, tokenauth.ErrNameTaken, tokenauth.ErrKeyTaken, tokenauth.ErrSlotTaken, tokenauth.ErrConflict,
	tokenauth.ErrUserUnknown,
}

var sentinelNames = map[error]string{
	tokenauth.ErrNotFound: "ErrNotFound", tokenauth.ErrNameTaken: "ErrNameTaken", tokenauth.ErrKeyTaken: "ErrKeyTaken",
	tokenauth.ErrSlotTaken: "ErrSlotTaken", tokenauth.ErrConflict: "ErrConflict",
	tokenauth.ErrUserUnknown: "ErrUserUnknown",
}

// sentinelsOf returns the sentinel errors that err is or wraps.
func sentinelsOf(err error) (found []error) {
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			found = append(found, sentinel)
		}
	}
	return found
}

// sentinelOf returns the first sentinel error that err is or wraps. If err wraps no
// sentinel error, sentinelOf returns nil.
func sentinelOf(err error) error {
	for _, sentinel := range sentinelsOf(err) {
		return sentinel
	}
	return nil
}

// wants fails the test case if a call returned the error got instead of want. If want is
// nil, got must be nil. Otherwise got must be or wrap the sentinel error want, and no other
// sentinel error. In the failure message, format and args describe the call.
func (t *tester) wants(want, got error, format string, args ...any) {
	t.Helper()
	if want == nil && got == nil || want != nil && slices.Equal(sentinelsOf(got), []error{want}) {
		return
	}
	t.failf("%s returned %s, want %s", fmt.Sprintf(format, args...), describe(got), describeWanted(want))
}

func (t *tester) create(records ...tokenauth.Record) {
	t.Helper()
	var names []string
	for _, r := range records[:min(3, len(records))] {
		names = append(names, r.Token.Name)
	}
	t.wants(nil, t.store.Create(t.ctx, records...), "Create of %d record(s) %q", len(records), names)
}

func (t *tester) update(r tokenauth.Record, p tokenauth.Patch) {
	t.Helper()
	t.wants(nil, t.store.Update(t.ctx, r.Token.UserID, r.Token.ID, p, after(5)), "Update of %q", r.Token.Name)
}

func (t *tester) rotate(r tokenauth.Record, rot tokenauth.Rotation) {
	t.Helper()
	t.wants(nil, t.store.Rotate(t.ctx, r.Token.UserID, r.Token.ID, rot, after(5)), "Rotate of %q", r.Token.Name)
}

func (t *tester) revoke(r tokenauth.Record, at time.Time) {
	t.Helper()
	t.wants(nil, t.store.Revoke(t.ctx, r.Token.UserID, r.Token.ID, at, revoker), "Revoke of %q", r.Token.Name)
}

func (t *tester) touch(uses ...tokenauth.Use) {
	t.Helper()
	t.wants(nil, t.store.Touch(t.ctx, uses...), "Touch of %d use(s)", len(uses))
}

func (t *tester) prune(before time.Time, limit int) int {
	t.Helper()
	n, err := t.store.Prune(t.ctx, before, time.Time{}, limit)
	t.wants(nil, err, "Prune with limit %d", limit)
	return n
}

func (t *tester) list(q tokenauth.Query) []tokenauth.Record {
	t.Helper()
	records, err := t.store.List(t.ctx, q)
	t.wants(nil, err, "List of %s", describeQuery(q))
	return records
}

// finds fails the test case unless Find returns the record want for the digest d. Otherwise,
// the result is the record that Find returned.
func (t *tester) finds(d tokenauth.Digest, want tokenauth.Record) *tokenauth.Record {
	t.Helper()
	key := "current"
	if d != want.Digest {
		key = "retired"
	}
	got, err := t.store.Find(t.ctx, d)
	t.wants(nil, err, "Find by the %s digest of %q", key, want.Token.Name)
	if got == nil {
		t.failf("Find by the %s digest of %q returned neither a record nor an error", key, want.Token.Name)
	}
	if difference := diff(*got, want); difference != "" {
		t.failf("Find by the %s digest of %q returned a wrong record: %s", key, want.Token.Name, difference)
	}
	return got
}

// misses fails the test case unless Find returns ErrNotFound for the digest d. In the
// failure message, format and args describe the digest.
func (t *tester) misses(d tokenauth.Digest, format string, args ...any) {
	t.Helper()
	_, err := t.store.Find(t.ctx, d)
	t.wants(tokenauth.ErrNotFound, err, "Find by "+format, args...)
}

// lists fails the test case unless List returns for the query q exactly the records want,
// in the order of want.
func (t *tester) lists(q tokenauth.Query, want ...tokenauth.Record) {
	t.Helper()
	if difference := listDiff(t.list(q), want); difference != "" {
		t.failf("List of %s returned %s", describeQuery(q), difference)
	}
}

// holds fails the test case unless the store holds exactly the records want, which may be
// given in any order. Find must also return each record for its current digest and for its
// retired digest, if it has one.
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
