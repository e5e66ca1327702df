package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/testing/history"
)

// On database servers too, the results of concurrent calls must agree with some sequential order.
// For each setup, the test runs 40 histories, or ten minutes if TOKENAUTH_LONG is set.
func TestRandomHistoriesAreSequential(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PostgreSQL, pgx", "PostgreSQL serializable, pgx", "MariaDB", "Galera, all nodes", "TiDB"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setupNamed(t, name)
			store := s.newStore(t, s.open(t))
			seed, until := rand.Uint64(), time.Now()
			if long() {
				until = until.Add(10 * time.Minute)
			}
			t.Log("first seed:", seed)
			n := uint64(0)
			for ; n < 40 || time.Now().Before(until); n++ {
				if history.Check(t, store, seed+n, n%3 == 2); t.Failed() {
					return
				}
			}
			t.Log("histories:", n)
		})
	}
}
