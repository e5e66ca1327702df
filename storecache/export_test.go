package storecache

import (
	"context"

	"github.com/go-tokenauth/tokenauth"
)

// FindLate is the part of Find that runs after a cache miss.
func (c *Cache) FindLate(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	return c.fetch(ctx, d)
}

// Len returns the number of cached entries. It panics if the indexes of the cache are inconsistent.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ofTokens, ofUsers, queued := 0, 0, 0
	for id, entries := range c.byID {
		for _, e := range entries {
			if c.entries[e.digest] != e || e.record.Token.ID != id {
				panic("an entry of a token is not kept")
			}
			ofTokens++
		}
	}
	for id, entries := range c.byUser {
		for i, e := range entries {
			if c.entries[e.digest] != e || e.record.Token.UserID != id || e.userIndex != i {
				panic("an entry of a user is not kept")
			}
			ofUsers++
		}
	}
	for e := c.queue.next; e != &c.queue; e = e.next {
		if c.entries[e.digest] != e || e.next.prev != e {
			panic("an entry of the queue is not kept")
		}
		queued++
	}
	if n := len(c.entries); n != ofTokens || n != ofUsers || n != queued || n > c.maxEntries {
		panic("entries are lost")
	}
	return queued
}

// Running returns the number of queries that a call of Find can join.
func (c *Cache) Running() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.fills)
}
