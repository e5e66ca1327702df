package benchmarks

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/benchmarks/chains"
	"github.com/go-tokenauth/tokenauth/benchmarks/databases"
	"github.com/go-tokenauth/tokenauth/internal/testing/limit"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// A table is a table of tokens in a database.
type table struct {
	*chains.Population // nil if the table is large
	digests            []tokenauth.Digest
	database           *databases.Database
	name               string
	db                 *sql.DB
	store              *tokenauth.SQLStore
}

var (
	started = map[string]*databases.Database{}
	tables  = map[string]*table{}
)

// startDatabase starts a database once per process. It skips the benchmark if the database is not
// installed.
func startDatabase(b *testing.B, name string) *databases.Database {
	b.Helper()
	if started[name] == nil {
		d, err := databases.Start(name, dir)
		if errors.Is(err, databases.ErrMissing) {
			skip(b, err)
		}
		require.NoError(b, err)
		started[name] = d
	}
	return started[name]
}

// openTable returns a table with the given number of tokens. It fills each table once per process.
func openTable(b *testing.B, database string, rows int) *table {
	b.Helper()
	key := fmt.Sprint(database, rows)
	if tables[key] == nil {
		t := newTable(b, database, fmt.Sprintf("tokens_%d", rows), chains.NewPopulation(rows, 10, "read", "write"))
		for i := range t.Records {
			t.digests = append(t.digests, t.Records[i].Digest)
		}
		if rows > 1000 {
			t.Population = nil // frees memory
		}
		tables[key] = t
	}
	return tables[key]
}

func newTable(b *testing.B, database, name string, p *chains.Population) *table {
	b.Helper()
	t := &table{Population: p, database: startDatabase(b, database), name: name}
	var err error
	t.db, err = t.database.Open()
	require.NoError(b, err)
	_, err = t.db.Exec("DROP TABLE IF EXISTS " + name)
	require.NoError(b, err)
	t.store = t.open(b, t.db)
	require.NoError(b, t.store.CreateSchema(b.Context()))
	require.NoError(b, p.Fill(b.Context(), t.store))
	require.NoError(b, t.database.Analyze(t.db, name))
	return t
}

// open returns a store on the table that uses the handle db.
func (t *table) open(b *testing.B, db *sql.DB) *tokenauth.SQLStore {
	b.Helper()
	store, err := tokenauth.NewSQLStore(db, t.database.Dialect, &tokenauth.SQLOptions{Table: t.name, Timeout: time.Minute})
	require.NoError(b, err)
	return store
}

// counting returns a store on the table that counts the executed statements.
func (t *table) counting(b *testing.B) (*tokenauth.SQLStore, *atomic.Int64) {
	b.Helper()
	var statements atomic.Int64
	db, err := t.database.OpenCounting(&statements)
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	return t.open(b, db), &statements
}

// A lookup looks up one token by a digest.
type lookup func(ctx context.Context, d *tokenauth.Digest) error

// BenchmarkFind compares the time of SQLStore.Find with the time of its baseline. The baseline is a
// prepared SELECT of the same columns by one digest, with a context that can be canceled.
// BenchmarkFind also compares two other statements with the baseline: a SELECT by the current and
// the retired digest, as in Find, and this SELECT with a deadline. For pgxstore, these statements
// are queries of pgx without database/sql.
func BenchmarkFind(b *testing.B) {
	for _, name := range databases.Names {
		for _, rows := range []int{1_000, 100_000, 1_000_000} {
			if rows > 100_000 && name != databases.Modernc && name != databases.PostgreSQL {
				continue
			}
			runFind(b, name, name, rows, func(b *testing.B, t *table) (bare, both, find lookup) {
				selectBy := func(probes int) lookup {
					s, err := limit.NewSelect(context.Background(), t.db, t.database.Dialect, t.name, probes)
					require.NoError(b, err)
					b.Cleanup(func() { s.Close() })
					return s.Find
				}
				return selectBy(1), selectBy(2), findIn(t.store)
			})
		}
	}
	for _, rows := range []int{1_000, 100_000} {
		runFind(b, "PostgreSQL (pgxstore)", databases.PostgreSQL, rows, pgxLookups)
	}
}

func findIn(store tokenauth.Store) lookup {
	return func(ctx context.Context, d *tokenauth.Digest) error {
		_, err := store.Find(ctx, *d)
		return err
	}
}

// runFind runs the sub-benchmarks of one table.
func runFind(b *testing.B, name, database string, rows int, lookups func(*testing.B, *table) (bare, both, find lookup)) {
	for _, what := range []string{"both digests", "both digests, deadline", "Find"} {
		run(b, fmt.Sprintf("%s/%d rows/%s", name, rows, what), func(b *testing.B) {
			if rows > 1000 && testing.Short() {
				b.Skip("filling the table takes seconds")
			}
			t := openTable(b, database, rows)
			bare, both, find := lookups(b, t)
			ctx, cancel := context.WithCancel(context.Background()) // like the context of a request
			defer cancel()
			inTurn := func(l lookup) func() {
				i := 0
				return func() {
					i = (i + 7919) % len(t.digests)
					if err := l(ctx, &t.digests[i]); err != nil {
						panic(err)
					}
				}
			}
			compareOn(b, t.database, inTurn(bare), inTurn(map[string]lookup{
				"both digests": both,
				"both digests, deadline": func(ctx context.Context, d *tokenauth.Digest) error {
					ctx, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					return both(ctx, d)
				},
				"Find": find,
			}[what]))
		})
	}
}

// BenchmarkTouch counts the statements that write the last-used times of 1,000 tokens.
func BenchmarkTouch(b *testing.B) {
	for _, name := range databases.Names {
		run(b, name, func(b *testing.B) {
			t := newTable(b, name, "touch", chains.NewPopulation(1000, 10))
			store, statements := t.counting(b)
			now := time.Now() // advances in each iteration, so that all last-used times are written again
			m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{Now: func() time.Time { return now }}))
			var writes []int64
			for b.Loop() {
				now = now.Add(time.Hour)
				statements.Store(0)
				for _, key := range t.Keys {
					_, err := m.Authenticate(b.Context(), key)
					require.NoError(b, err)
				}
				require.NoError(b, m.Flush(b.Context()))
				writes = append(writes, statements.Load()-int64(len(t.Keys))) // without the lookups
			}
			require.Positive(b, slices.Min(writes))
			b.ReportMetric(0, "ns/op") // hides ns/op, which has no meaning here
			b.ReportMetric(float64(slices.Max(writes))*500/float64(len(t.Keys)), "statements/500-uses")
		})
	}
}
