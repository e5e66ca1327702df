// Package differential makes random calls on a store and on a [tokenauth.MemoryStore], and compares
// the results and the contents of the two stores.
package differential

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// A Target is a store to compare with a MemoryStore.
type Target struct {
	// Open returns the store after all of its records were deleted.
	Open func() tokenauth.Store

	// Begin begins a transaction and returns the store in this transaction. If Begin is nil, no calls
	// are made in transactions.
	Begin func(context.Context, *sql.TxOptions) (*sql.Tx, tokenauth.Store, error)

	// Isolations are the isolation levels of the transactions.
	Isolations []sql.IsolationLevel
}

// OnSQL returns a Target for a store in the given table of db. It deletes the rows of the table
// before each round.
func OnSQL(t testing.TB, db *sql.DB, store *tokenauth.SQLStore, table string, isolations ...sql.IsolationLevel) Target {
	return Target{
		Open: func() tokenauth.Store {
			_, err := db.ExecContext(t.Context(), "DELETE FROM "+table)
			require.NoError(t, err)
			return store
		},
		Begin: func(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, tokenauth.Store, error) {
			tx, err := db.BeginTx(ctx, opts)
			if err != nil {
				return nil, nil, err
			}
			return tx, store.With(tx), nil
		},
		Isolations: isolations,
	}
}

// A mode is a way to call a store.
type mode struct {
	name          string
	cached        bool // call the store through a storecache.Cache
	transactional bool // make all calls in transactions
	isolation     sql.IsolationLevel
}

func (target Target) modes() []mode {
	all := []mode{{name: "plain"}, {name: "cached", cached: true}}
	if target.Begin != nil {
		for _, level := range target.Isolations {
			all = append(all, mode{name: "in transactions, isolation: " + level.String(), transactional: true, isolation: level})
		}
	}
	return all
}

const seedVariable = "TOKENAUTH_SEED"

// Run runs rounds of random calls until the duration d has passed, and at least one round in each
// mode: plain, through a cache, and in transactions of each isolation level. A round makes the
// given number of calls on the empty store.
//
// The calls of a round depend only on its seed. If the environment variable TOKENAUTH_SEED is set,
// Run runs only the round with that seed. If a round finds a difference, Run fails the test with
// the shortest sequence of calls that it finds for the difference.
func Run(t testing.TB, target Target, calls int, d time.Duration) {
	t.Helper()
	modes, end := target.modes(), time.Now().Add(d)
	first, rounds := rand.Uint64(), 0
	text, single := os.LookupEnv(seedVariable)
	if single {
		var err error
		first, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, seedVariable)
	}
	for ; rounds == 0 || !single && (rounds < len(modes) || time.Now().Before(end)); rounds++ {
		seed := first + uint64(rounds)
		m := modes[seed%uint64(len(modes))]
		if report := check(target, m, seed, calls); report != "" {
			t.Errorf("%s=%d, %s: %s", seedVariable, seed, m.name, report)
			return
		}
	}
	t.Logf("%d rounds of %d calls, first seed %d", rounds, calls, first)
}

// check runs one round. It returns a description of the first difference, or an empty text.
func check(target Target, m mode, seed uint64, calls int) string {
	steps := generate(m, seed, calls)
	found := replay(target, m, steps, false)
	if found == nil {
		return ""
	}
	short := shrink(steps[:found.step+1], func(steps []step) bool {
		return replay(target, m, steps, true) != nil
	})
	final := cmp.Or(replay(target, m, short, true), found)
	text := fmt.Sprintf("step %d: %s\nReproduction with %d of the calls:\n", found.step, found.text, len(short))
	return text + source(short) + "which results in: " + final.text
}
