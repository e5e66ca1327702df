package systemtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/internal/testing/storm"
)

// When a user revokes all tokens, a leaked key may be creating tokens in that moment, and these
// create further tokens. None of them may survive, in the store or through a cache.
// Case A5.
func TestRandomMintsEndWithRevokeAll(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	rounds := shortOrLong(50, 1000)
	for name, maxStale := range map[string]time.Duration{"": 0, " with a cache": 10 * time.Second} {
		t.Run("memory"+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { storm.Run(t, tokenauth.NewMemoryStore(), rounds, maxStale) })
		})
		t.Run("sqlite"+name, func(t *testing.T) {
			t.Parallel()
			storm.Run(t, sqlite.NewPooledStore(t, ""), rounds, maxStale/100)
		})
	}
}
