package storecache

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A change describes the results of Find that a write may have changed. Changes form a linked list.
// A running query refers to the latest change at its start, so it can check all changes since then.
// The garbage collector frees the changes before the start of the oldest running query.
type change struct {
	ids     []string           // the write concerns the tokens with these IDs,
	users   []string           // the tokens of these users,
	digests []tokenauth.Digest // the keys with these digests,
	prune   *pruning           // and the tokens that this Prune deletes, if not nil

	number uint64 // larger than the number of the previous change
	next   *change
}

// A pruning is a call of Prune. Its times are in Unix microseconds.
type pruning struct{ before, unusedSince int64 }

// A lifetime has the times of a token that Prune looks at, in Unix microseconds. Each entry has its
// own copy, because loading the record of each cached token takes longer than comparing the times.
type lifetime struct {
	ends int64 // expiry or revocation, whichever is first
	used int64 // last use or creation, whichever is last
}

func lifetimeOf(t *tokenauth.Token) lifetime {
	l := lifetime{ends: math.MaxInt64, used: max(t.CreatedAt.UnixMicro(), t.LastUsedAt.UnixMicro())}
	for _, end := range [...]time.Time{t.RevokedAt, t.ExpiresAt} {
		if !end.IsZero() {
			l.ends = min(l.ends, end.UnixMicro())
		}
	}
	return l
}

// deletes reports whether Prune deletes a token. If only the store knows that the token was revoked
// or has expired, deletes returns false, and the token stays cached for at most MaxStale.
func (p *pruning) deletes(l lifetime) bool { return l.ends < p.before || l.used <= p.unusedSince }

// concerns reports whether the change may have made the result r of a query for d outdated. If the
// query found no record, r is nil. Then every change concerns the result, because the changed token
// may be a new token with the key.
func (ch *change) concerns(d tokenauth.Digest, r *tokenauth.Record) bool {
	if r == nil {
		return true
	}
	t := &r.Token
	return slices.Contains(ch.ids, t.ID) || slices.Contains(ch.users, t.UserID) || slices.Contains(ch.digests, d) ||
		ch.prune != nil && ch.prune.deletes(lifetimeOf(t))
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
	ch.number = c.latest.number + 1
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
	if ch.prune != nil {
		c.prune(*ch.prune)
	}
}

// prune makes lookup ignore the entries of tokens that Prune deletes. A search for these entries
// would take time proportional to the number of entries, in each of many calls of Prune. Instead,
// lookup compares older entries with the latest times of all recent calls.
func (c *Cache) prune(p pruning) {
	if c.isFresh(c.prunedAt) {
		p = pruning{max(p.before, c.pruned.before), max(p.unusedSince, c.pruned.unusedSince)}
	}
	c.pruned, c.prunedAt, c.prunedNumber = p, time.Since(c.begin), c.latest.number
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
func (c *Cache) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	defer c.writing(change{ids: []string{id}})()
	return c.store.Revoke(ctx, userID, id, at, by)
}

// RevokeExpired implements [tokenauth.Store].
func (c *Cache) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	defer c.writing(change{ids: []string{id}})()
	return c.store.RevokeExpired(ctx, userID, id, at, by, unusedSince)
}

// RevokeAll implements [tokenauth.Store].
func (c *Cache) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	defer c.writing(change{users: []string{userID}})()
	return c.store.RevokeAll(ctx, userID, at, by, limit)
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
	p := pruning{before.UnixMicro(), math.MinInt64} // rounded down, as by a store
	if !unusedSince.IsZero() {
		p.unusedSince = unusedSince.UnixMicro()
	}
	defer c.writing(change{prune: &p})()
	return c.store.Prune(ctx, before, unusedSince, limit)
}

// InTransaction reports whether the other store is in a transaction, as [tokenauth.SQLStore] does.
func (c *Cache) InTransaction() bool {
	s, ok := c.store.(interface{ InTransaction() bool })
	return ok && s.InTransaction()
}
