package systemtest_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/differential"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Each call of a SQLStore must return the same result as the same call of a MemoryStore. After the
// call, both stores must hold the same records. Otherwise a service that tests with a MemoryStore
// behaves differently in production. In a long run, the test takes ten minutes.
func TestRandomCallsMatchMemoryStore(t *testing.T) {
	t.Parallel()
	db := sqlite.New(t)
	store := sqlite.NewStore(t, db, nil)
	target := differential.OnSQL(t, db, store, "tokenauth_tokens", sql.LevelDefault)
	differential.Run(t, target, shortOrLong(60, 400), shortOrLong(0, 10*time.Minute))
}

// Odd values in a call, such as invalid UTF-8 or the year 12000, must not make other tokens
// unavailable. Otherwise one bad import locks out all users.
func TestOddValuesKeepOtherTokensAvailable(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 300 calls on a table with odd rows")
	}
	t.Parallel()
	for name, store := range map[string]tokenauth.Store{
		"SQLite": sqlite.NewStore(t, sqlite.New(t), nil),
		"memory": tokenauth.NewMemoryStore(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			differential.RunOdd(t, store)
		})
	}
}
