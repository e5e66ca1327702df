package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// Every engine, driver and setting must keep the contract of Store. Otherwise a service behaves
// differently after it changes its database.
func TestConformance(t *testing.T) {
	t.Parallel()
	for round := range shortOrLong(1, 5) {
		t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) { // ends before the next round begins
			for _, s := range setups {
				if s.inLong && (!long() || round > 0) {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					dbs, opts := s.open(t), newTable()
					store := s.newStoreOn(t, dbs, opts)
					storetest.Run(t, func(t *testing.T) tokenauth.Store {
						area := strings.Split(t.Name(), "/")[3]
						switch {
						case area == "Large_batches" && !long() && (!s.load || s.driver == "sqlite"):
							t.Skip("only long runs test large batches on setups that differ in a setting; " +
								"the root module tests modernc")
						case area == "Concurrent_indices" && s.dirty:
							t.Skip("InnoDB changes the indexes of a row one after another, which dirty reads see")
						case area == "Context", area == "Ending_context":
							return s.newStore(t, dbs) // the server may still execute a call whose context has ended
						}
						// Reuse the table, because creating a table takes longer than most tests.
						_, err := dbs[0].ExecContext(t.Context(), "DELETE FROM "+opts.Table)
						require.NoError(t, err)
						return store
					})
				})
			}
		})
	}
}

// TestConformanceDSN runs the suite on any database:
//
//	TOKENAUTH_TEST_DSN='postgres://me@host/scratch' go test . -run TestConformanceDSN
//
// The test creates and drops tables named t1, t2 and so on.
func TestConformanceDSN(t *testing.T) {
	dsn := os.Getenv("TOKENAUTH_TEST_DSN")
	if dsn == "" {
		t.Skip("TOKENAUTH_TEST_DSN is not set")
	}
	s := setup{driver: "mysql", dialect: tokenauth.MySQL}
	switch {
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		s = setup{driver: "pgx", dialect: tokenauth.PostgreSQL}
	case strings.HasPrefix(dsn, "file:"):
		s = setup{driver: "sqlite", dialect: tokenauth.SQLite}
	}
	db := open(t, s.driver, dsn)
	require.NoError(t, db.PingContext(t.Context()))
	storetest.Run(t, func(t *testing.T) tokenauth.Store { return newStore(t, db, s.dialect, nil) })
}
