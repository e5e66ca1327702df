package storecache

import (
	"context"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A change describes the results of Find that a write may have changed. Changes form a linked list.
// A running query refers to the latest change at its start, so it can check all changes since then.
// The garbage collector frees the changes before the start of the oldest running query.
type change struct {
	ids            []string           // the write concerns the tokens with these IDs,
	users          []string           // the tokens of these users,
	digests        []tokenauth.Digest // the keys with these digests,
	before, unused time.Time          // and the tokens that Prune deletes for these arguments

	number uint64        // larger than the number of the previous change
	at     time.Duration // time of the change
	next   *change
}

// concerns reports whether a query for d with the given result may return something else after the
// change. The record is nil if the query found none. Then every change concerns the result, because
// the changed token may be a new token with the key.
func (ch *change) concerns(d tokenauth.Digest, r *tokenauth.Record) bool {
	if r == nil {
		return true
	}
	t := &r.Token
	return slices.Contains(ch.ids, t.ID) || slices.Contains(ch.users, t.UserID) || slices.Contains(ch.digests, d) || ch.deletes(t)
}

// deletes reports whether Prune deletes the token. If only the store knows that the token was
// revoked or has expired, deletes returns false, and the token stays cached for at most MaxStale.
func (ch *change) deletes(t *tokenauth.Token) bool {
	ended := func(at time.Time) bool { return !at.IsZero() && at.Before(ch.before) }
	unused := !ch.unused.IsZero() && !t.CreatedAt.After(ch.unused) && !t.LastUsedAt.After(ch.unused)
	return ended(t.RevokedAt) || ended(t.ExpiresAt) || unused
}

// Invalidate evicts all cached keys of the tokens with the given IDs. A service can call Invalidate
// when it receives a message that another process has changed or created tokens. A later Find does
// not return an outdated result of a query that started before Invalidate.
func (c *Cache) Invalidate(ids ...string) {
	c.invalidate(change{ids: slices.Clone(ids)})
}

// invalidate evicts the entries that a change concerns, and adds the change to the list. Then Find
// ignores the results of running queries that the change concerns.
func (c *Cache) invalidate(ch change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.number, ch.at = c.latest.number+1, time.Since(c.begin)
	c.latest.next = &ch
	c.latest = &ch
	for _, id := range ch.ids {
		for len(c.byID[id]) > 0 {
			c.evict(c.byID[id][0])
		}
	}
	for _, id := range ch.users {
		for all := c.byUser[id]; len(all) > 0; all = c.byUser[id] {
			c.evict(all[len(all)-1])
		}
	}
	for _, d := range ch.digests {
		if e := c.entries[d]; e != nil {
			c.evict(e)
		}
	}
	if !ch.before.IsZero() || !ch.unused.IsZero() {
		c.prune(ch)
	}
}

// prune makes lookup ignore the entries of tokens that Prune deletes. A search for these entries
// would take time proportional to the number of entries, in each of many calls of Prune. Instead,
// lookup compares older entries with one change that has the latest times of all recent calls.
func (c *Cache) prune(ch change) {
	if c.isFresh(c.pruned.at) {
		if ch.before.Before(c.pruned.before) {
			ch.before = c.pruned.before
		}
		if ch.unused.Before(c.pruned.unused) {
			ch.unused = c.pruned.unused
		}
	}
	c.pruned = ch
}

// writing invalidates a change before the write, and returns a function that invalidates it after
// the write. Call that function even if the write fails, because the store may have made the
// change.
func (c *Cache) writing(ch change) (written func()) {
	c.invalidate(ch)
	return func() { c.invalidate(ch) }
}

// Create implements [tokenauth.Store].
func (c *Cache) Create(ctx context.Context, records ...tokenauth.Record) error {
	digests := make([]tokenauth.Digest, 0, len(records))
	for i := range records {
		digests = append(digests, records[i].Digest)
		if retired := records[i].Retired; retired != nil {
			digests = append(digests, retired.Digest)
		}
	}
	defer c.writing(change{digests: digests})()
	return c.store.Create(ctx, records...)
}

// List implements [tokenauth.Store]. The Cache does not cache its results.
func (c *Cache) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	return c.store.List(ctx, q)
}

// Update implements [tokenauth.Store].
func (c *Cache) Update(ctx context.Context, userID, id string, p tokenauth.Patch, at time.Time) error {
	defer c.writing(change{ids: []string{id}})()
	return c.store.Update(ctx, userID, id, p, at)
}

// Rotate implements [tokenauth.Store].
func (c *Cache) Rotate(ctx context.Context, userID, id string, r tokenauth.Rotation, at time.Time) error {
	defer c.writing(change{ids: []string{id}, digests: []tokenauth.Digest{r.Digest}})()
	return c.store.Rotate(ctx, userID, id, r, at)
}

// Revoke implements [tokenauth.Store].
func (c *Cache) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	defer c.writing(change{ids: []string{id}})()
	return c.store.Revoke(ctx, userID, id, at)
}

// RevokeExpired implements [tokenauth.Store].
func (c *Cache) RevokeExpired(ctx context.Context, userID, id string, at, unusedSince time.Time) error {
	defer c.writing(change{ids: []string{id}})()
	return c.store.RevokeExpired(ctx, userID, id, at, unusedSince)
}

// RevokeAll implements [tokenauth.Store].
func (c *Cache) RevokeAll(ctx context.Context, userID string, at time.Time, limit int) (int, error) {
	defer c.writing(change{users: []string{userID}})()
	return c.store.RevokeAll(ctx, userID, at, limit)
}

// Touch implements [tokenauth.Store].
func (c *Cache) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	ids := make([]string, len(uses))
	for i := range uses {
		ids[i] = uses[i].ID
	}
	defer c.writing(change{ids: ids})()
	return c.store.Touch(ctx, uses...)
}

// Prune implements [tokenauth.Store].
func (c *Cache) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (int, error) {
	defer c.writing(change{before: before, unused: unusedSince})()
	return c.store.Prune(ctx, before, unusedSince, limit)
}

// InTransaction reports whether the other store is in a transaction, as [tokenauth.SQLStore] does.
func (c *Cache) InTransaction() bool {
	s, ok := c.store.(interface{ InTransaction() bool })
	return ok && s.InTransaction()
}
