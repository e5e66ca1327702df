package storecache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// Prune may leave an expired token, because it deletes a limited number of tokens per call.
// Requests with the key of such a token must still not query the store each time. A later call of
// Prune with earlier times must not hide the deletions of the former call.
func TestPrunedEntriesAreFetchedOnce(t *testing.T) {
	t.Parallel()
	for name, times := range map[string][2]time.Time{
		"expired": {start.Add(2 * time.Hour), {}},
		"unused":  {{}, start},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := newCache(nil)
			names := []string{"a", "b"}
			for _, name := range names {
				r := record(name)
				r.Token.ExpiresAt = start.Add(time.Hour)
				require.NoError(t, c.Create(ctx, r))
				_, err := c.Find(ctx, r.Digest)
				require.NoError(t, err)
			}
			n, err := c.Prune(ctx, times[0], times[1], 1)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			_, err = c.Prune(ctx, start, start.Add(-time.Minute), 1)
			require.NoError(t, err)
			left, before := 0, s.Count("Find")
			for range 10 {
				for _, name := range names {
					if _, err := c.Find(ctx, record(name).Digest); err == nil {
						left++
					} else {
						require.ErrorIs(t, err, tokenauth.ErrNotFound)
					}
				}
			}
			require.Equal(t, 10, left, "calls of Find that returned the record that Prune left")
			require.Equal(t, before+1+10, s.Count("Find"), "one query for that record, and ten for the deleted record")
		})
	}
}
