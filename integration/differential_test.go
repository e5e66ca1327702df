package integration

import (
	"context"
	"database/sql"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/differential"
)

// isolations are the isolation levels that the drivers of a dialect accept.
var isolations = map[tokenauth.Dialect][]sql.IsolationLevel{
	tokenauth.SQLite:     {sql.LevelDefault},
	tokenauth.PostgreSQL: {sql.LevelDefault, sql.LevelRepeatableRead, sql.LevelSerializable},
	tokenauth.MySQL:      {sql.LevelDefault, sql.LevelReadCommitted, sql.LevelSerializable},
}

// isolations returns the isolation levels that the database of the setup accepts.
func (s setup) isolations() []sql.IsolationLevel {
	if strings.HasPrefix(s.name, "TiDB") { // refuses SERIALIZABLE
		return []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted}
	}
	return isolations[s.dialect]
}

// target returns the store of a setup on a new table. With several nodes, it sends each call and
// each transaction to the next node.
func (s setup) target(t *testing.T) differential.Target {
	t.Helper()
	dbs, opts := s.open(t), newTable()
	all := new(inTurn)
	for _, db := range dbs {
		all.stores = append(all.stores, newStore(t, db, s.dialect, opts))
	}
	var store tokenauth.Store = all
	if len(dbs) == 1 {
		store = all.stores[0]
	}
	transactions := 0
	return differential.Target{
		Open: func() tokenauth.Store {
			_, err := dbs[0].ExecContext(t.Context(), "DELETE FROM "+opts.Table)
			require.NoError(t, err)
			return store
		},
		Begin: func(ctx context.Context, options *sql.TxOptions) (*sql.Tx, tokenauth.Store, error) {
			transactions++
			node := transactions % len(dbs)
			tx, err := dbs[node].BeginTx(ctx, options)
			if err != nil {
				return nil, nil, err
			}
			return tx, all.stores[node].(*tokenauth.SQLStore).With(tx), nil
		},
		Isolations: s.isolations(),
	}
}

// MemoryStore is the reference for the contract of Store. With each database, each call must return
// the same result and leave the same records. Otherwise a service behaves differently after it
// changes its database. In a long run, the setups together take ten minutes.
func TestRandomCallsMatchMemoryStore(t *testing.T) {
	t.Parallel()
	share := 10 * time.Minute * time.Duration(runtime.GOMAXPROCS(0)) / time.Duration(len(setups))
	for _, s := range setups {
		if s.inLong && !long() {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			differential.Run(t, s.target(t), shortOrLong(25, 400), shortOrLong(0, share))
		})
	}
}

// A call with unusual values, such as invalid UTF-8 or a name that is too long, must not make other
// tokens unavailable. Otherwise one bad import locks out all users.
func TestOddValuesKeepOtherTokensAvailable(t *testing.T) {
	t.Parallel()
	for _, s := range setups {
		if !long() && !slices.Contains([]string{"PostgreSQL, pgx", "PostgreSQL, lib-pq", "MariaDB"}, s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			differential.RunOdd(t, s.newStore(t, s.open(t)))
		})
	}
}
