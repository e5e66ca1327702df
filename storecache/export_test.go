package storecache

import (
	"context"

	"github.com/go-tokenauth/tokenauth"
)

// FindLate is the part of Find that runs after a cache miss.
func (c *Cache) FindLate(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	f := c.fill(ctx, d)
	<-f.done
	return f.record, f.err
}

// Len returns the number of cached entries. It panics if the indexes of the cache are inconsistent.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := 0
	for id, entries := range c.byID {
		for _, e := range entries {
			if c.entries[e.digest] != e || e.record.Token.ID != id {
				panic("an entry of a token is not kept")
			}
			n++
		}
	}
	if n != len(c.entries) || n > len(c.oldest) || n > c.maxEntries || len(c.oldest)-n > c.maxEntries {
		panic("entries are lost")
	}
	return n
}

// Queued returns the number of entries in the queue, including evicted ones.
func (c *Cache) Queued() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.oldest)
}
