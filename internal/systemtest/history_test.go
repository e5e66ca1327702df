package systemtest_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/history"
)

// Whatever calls run concurrently, through two Managers and behind a cache, their results must
// agree with some sequential order. Therefore no token lives that a completed RevokeAll, narrowing
// or rotation without grace has ended. An event must report each change, even if responses of the
// store are lost. The test runs 200 histories, or ten minutes if TOKENAUTH_LONG is set.
func TestRandomHistoriesAreSequential(t *testing.T) {
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		seed, until := rand.Uint64(), time.Now().Add(shortOrLong(0, 10*time.Minute))
		t.Log("first seed:", seed)
		n := uint64(0)
		for ; n < 200 || time.Now().Before(until); n++ {
			if history.Check(t, store, seed+n, n%3 == 2); t.Failed() {
				return
			}
		}
		t.Log("histories:", n)
	})
}
