package storetest

import (
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

func live(r tokenauth.Record) bool { return r.Token.RevokedAt.IsZero() }

// where returns the records for which f returns true.
func where(records []tokenauth.Record, f func(tokenauth.Record) bool) (found []tokenauth.Record) {
	for _, r := range records {
		if f(r) {
			found = append(found, r)
		}
	}
	return found
}

// agrees fails the test case unless List, Find and Create treat the store as one that holds exactly
// the records want.
func (t *tester) agrees(want []tokenauth.Record) {
	t.Helper()
	t.listsAll(want)
	for i, r := range want {
		t.refuses(i, r)
	}
}

// listsAll checks Find and each kind of List on a store that should hold exactly the records want.
func (t *tester) listsAll(want []tokenauth.Record) {
	t.Helper()
	t.holds(want...)
	want = inOrder(want...)
	t.lists(tokenauth.Query{AllUsers: true}, where(want, live)...)
	for _, q := range []tokenauth.Query{{CreatedBy: creator}, {CreatedBy: creator, IncludeRevoked: true}, {ExpiresBefore: after(50)}, {ExpiresBefore: after(400)}} {
		q.AllUsers = true
		t.lists(q, selected(q, want)...)
	}
	users, names := map[string]bool{}, map[string]bool{}
	for _, r := range want {
		user, name := r.Token.UserID, r.Token.Name
		of := where(want, func(r tokenauth.Record) bool { return r.Token.UserID == user })
		if !users[user] {
			users[user] = true
			t.lists(tokenauth.Query{UserID: user}, where(of, live)...)
			t.lists(tokenauth.Query{UserID: user, IncludeRevoked: true}, of...)
			t.lists(tokenauth.Query{UserID: user, MinSlot: 1, MaxSlot: 1000}, where(of, func(r tokenauth.Record) bool { return r.Slot != 0 })...)
		}
		if !names[name] && user == alice {
			names[name] = true
			same := where(of, func(r tokenauth.Record) bool { return r.Token.Name == name })
			t.lists(tokenauth.Query{UserID: user, Name: name}, where(same, live)...)
			t.lists(tokenauth.Query{UserID: user, Name: name, IncludeRevoked: true}, same...)
		}
	}
}

// pages fails the test case unless List returns the records want for q, in pages of two records.
func (t *tester) pages(q tokenauth.Query, want []tokenauth.Record) {
	t.Helper()
	t.lists(q, want...)
	q.Limit = 2
	for {
		n := min(q.Limit, len(want))
		t.lists(q, want[:n]...)
		if n == 0 {
			return
		}
		q.After, want = want[n-1].Token.Cursor(), want[n:]
	}
}

// refuses fails the test case unless Create refuses new records with the digests of r and, if r is
// live, with its name or slot.
func (t *tester) refuses(i int, r tokenauth.Record) {
	t.Helper()
	rival := newRecord("rival", "rival", fmt.Sprint("rival ", i))
	rival.Digest = r.Digest
	t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, rival), "Create with the current digest of %q", r.Token.Name)
	if r.Retired != nil {
		rival.Digest = r.Retired.Digest
		t.wants(tokenauth.ErrKeyTaken, t.store.Create(t.ctx, rival), "Create with the retired digest of %q", r.Token.Name)
	}
	if live(r) {
		rival = newRecord(r.Token.UserID, r.Token.Name, fmt.Sprint("rival ", i))
		t.wants(tokenauth.ErrNameTaken, t.store.Create(t.ctx, rival), "Create with the name of the live token %q", r.Token.Name)
	}
	if r.Slot != 0 {
		rival.Token.Name, rival.Slot = "rival", r.Slot
		t.wants(tokenauth.ErrSlotTaken, t.store.Create(t.ctx, rival), "Create with the slot of the live token %q", r.Token.Name)
	}
}

// pruned calls Prune with a small limit until the store has deleted the records of want that are
// expired, revoked or idle. It returns the other records.
func (t *tester) pruned(want []tokenauth.Record, before, unusedSince time.Time) []tokenauth.Record {
	t.Helper()
	const limit = 2
	rest := where(want, func(r tokenauth.Record) bool { return !isDue(r.Token, before, unusedSince) })
	for due := len(want) - len(rest); ; due -= limit {
		n, err := t.store.Prune(t.ctx, before, unusedSince, limit)
		t.wants(nil, err, "Prune")
		if expected := max(0, min(limit, due)); n != expected {
			t.failf("Prune of records that expired or were revoked before %s or are unused since %s, with limit %d, returned %d, want %d",
				timeText(before), timeText(unusedSince), limit, n, expected)
		}
		if due <= 0 {
			return rest
		}
	}
}

// isDue reports whether Prune must delete a token.
func isDue(t tokenauth.Token, before, unusedSince time.Time) bool {
	ended := func(at time.Time) bool { return endsBefore(at, before) }
	isIdle := t.RevokedAt.IsZero() && !unusedSince.IsZero() && !t.CreatedAt.After(unusedSince) && !t.LastUsedAt.After(unusedSince)
	return t.Origin == "" && (ended(t.ExpiresAt) || ended(t.RevokedAt) || isIdle)
}
