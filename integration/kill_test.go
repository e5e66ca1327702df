package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/kill"
)

const (
	killedDriver  = "TOKENAUTH_TEST_KILLED_DRIVER"
	killedDSN     = "TOKENAUTH_TEST_KILLED_DSN"
	killedDialect = "TOKENAUTH_TEST_KILLED_DIALECT"
	killedTable   = "TOKENAUTH_TEST_KILLED_TABLE"
	killedKind    = "TOKENAUTH_TEST_KILLED_KIND"
	killedUser    = "TOKENAUTH_TEST_KILLED_USER"
)

// TestChildChangesTokens is the process that TestKilledChangeIsWholeOrAbsent kills.
func TestChildChangesTokens(t *testing.T) {
	driver := os.Getenv(killedDriver)
	if driver == "" {
		t.Skip("runs only as a child process of TestKilledChangeIsWholeOrAbsent")
	}
	opts := newTable()
	opts.Table = os.Getenv(killedTable)
	store, err := newStoreAs(open(t, driver, os.Getenv(killedDSN)), tokenauth.Dialect(os.Getenv(killedDialect)), opts)
	require.NoError(t, err)
	require.NoError(t, kill.Child(store, os.Getenv(killedKind), os.Getenv(killedUser)))
}

// If an instance of a service is killed during a change, the change must have been made completely
// or not at all. Every acknowledged change must survive.
// Case F10.
func TestKilledChangeIsWholeOrAbsent(t *testing.T) {
	tried := 0
	for _, e := range engines(t) {
		if e.name != "pgx" && e.name != "MariaDB" { // other drivers would test the same servers again
			continue
		}
		tried++
		for _, kind := range kill.Kinds() {
			t.Run(e.name+", "+kind, func(t *testing.T) {
				db := open(t, e.driver, e.dsn)
				db.SetMaxOpenConns(1) // all other connections belong to the child process
				opts := newTable()
				store := newStore(t, db, e.dialect, opts)
				kills, steps := shortOrLong(5, 200), 0
				for n := range kills {
					user := fmt.Sprint("user", n)
					acked := kill.Kill(t, "TestChildChangesTokens", killedDriver+"="+e.driver, killedDSN+"="+e.dsn,
						killedDialect+"="+string(e.dialect), killedTable+"="+opts.Table, killedKind+"="+kind, killedUser+"="+user)
					steps += acked
					fixture.Await(t, "the server has ended the connections of the child process", func() bool {
						var left int
						err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM ("+e.connections+") others").Scan(&left)
						require.NoError(t, err)
						return left == 0
					})
					kill.Require(t, store, kind, user, acked)
				}
				t.Logf("%s, %s: killed %d times, after a total of %d steps", e.name, kind, kills, steps)
			})
		}
	}
	require.Equal(t, 2, tried, "number of engines")
}
