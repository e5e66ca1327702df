package benchmarks

import (
	"context"
	"fmt"
	"sync"
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

// servedDatabases are the databases on which the benchmarks of this file run.
var servedDatabases = []string{databases.Modernc, databases.PostgreSQL, databases.MariaDB}

// A crowd holds the numbers of live and of revoked tokens of one user.
type crowd struct{ live, revoked int }

func (c crowd) String() string { return fmt.Sprintf("%d live, %d revoked", c.live, c.revoked) }

// crowds lists the users whose costs are compared with the costs of a user with 50 live tokens. The
// budgets apply to the last user of the list.
var crowds = []crowd{
	{0, 0}, {1_000, 0}, {10_000, 0}, {100_000, 0}, {0, 1_000}, {0, 10_000}, {0, 100_000}, {10_000, 100_000},
}

// small is the user of the baseline. The tokens of this user hold slots.
const small = "small"

// A userTable is a table with the tokens of a few users and of many other users.
type userTable struct {
	*table
	filled map[string]bool
}

var userTables = map[string]*userTable{}

// openUserTable returns the table for a database. It creates the table once per process.
func openUserTable(b *testing.B, database string) *userTable {
	b.Helper()
	if userTables[database] == nil {
		t := &userTable{newTable(b, database, "crowds", chains.NewPopulation(10_000, 10)), map[string]bool{}}
		t.fill(b, small, crowd{live: 50}, true)
		userTables[database] = t
	}
	return userTables[database]
}

// fill creates the tokens of a user once per process.
func (t *userTable) fill(b *testing.B, userID string, c crowd, slots bool) {
	b.Helper()
	if t.filled[userID] {
		return
	}
	t.filled[userID] = true
	p := chains.NewPopulation(c.live+c.revoked, c.live+c.revoked)
	for i := range p.Records {
		r := &p.Records[i]
		r.Token.UserID, r.Token.ID = userID, fmt.Sprintf("%s-%d", userID, i)
		r.Token.CreatedAt = r.Token.CreatedAt.Add(time.Duration(i) * time.Millisecond)
		if i < c.revoked {
			r.Token.RevokedAt = r.Token.CreatedAt
		} else if slots {
			r.Slot = i + 1
		}
	}
	require.NoError(b, p.Fill(b.Context(), t.store))
	require.NoError(b, t.database.Analyze(t.db, t.name))
}

// eachCrowd runs a benchmark for each database and each crowd.
func eachCrowd(b *testing.B, f func(b *testing.B, t *userTable, userID string)) {
	for _, name := range servedDatabases {
		for _, c := range crowds {
			run(b, fmt.Sprintf("%s/%s", name, c), func(b *testing.B) {
				if testing.Short() && c.live+c.revoked > 1_000 {
					b.Skip("filling the table takes seconds")
				}
				t := openUserTable(b, name)
				userID := fmt.Sprintf("user-%d-%d", c.live, c.revoked)
				t.fill(b, userID, c, false)
				f(b, t, userID)
			})
		}
	}
}

// BenchmarkIssue issues and revokes a token. It compares the time for a user of each crowd with the
// time for a user with 50 live tokens.
func BenchmarkIssue(b *testing.B) {
	eachCrowd(b, func(b *testing.B, t *userTable, userID string) {
		m := must.Get(tokenauth.New(t.store, "acme", &tokenauth.Options{TouchEvery: -1}))
		issue := func(userID string) func() {
			return func() {
				_, token, err := m.Issue(b.Context(), tokenauth.Spec{UserID: userID, Name: "new"})
				if err == nil {
					err = m.Revoke(b.Context(), userID, token.ID)
				}
				if err != nil {
					panic(err)
				}
			}
		}
		limit.Compare(b, issue(small), issue(userID))
	})
}

// BenchmarkPage lists a page of 50 live tokens. It compares the time for a user of each crowd with
// the time for a user with 50 live tokens.
func BenchmarkPage(b *testing.B) {
	eachCrowd(b, func(b *testing.B, t *userTable, userID string) {
		page := func(userID string) func() {
			return func() {
				if _, err := t.store.List(b.Context(), tokenauth.Query{UserID: userID, Limit: 50}); err != nil {
					panic(err)
				}
			}
		}
		limit.Compare(b, page(small), page(userID))
	})
}

// BenchmarkIssueAtLimit makes 20 concurrent calls of Issue for a user who may have 10,000 tokens
// and has 9,900. It counts the calls that fail.
func BenchmarkIssueAtLimit(b *testing.B) {
	for _, name := range servedDatabases {
		run(b, name, func(b *testing.B) {
			if testing.Short() {
				b.Skip("filling the table takes seconds")
			}
			t := openUserTable(b, name)
			t.fill(b, "full", crowd{live: 9_900}, true)
			options := &tokenauth.SQLOptions{Table: t.name} // with the default timeout
			store := must.Get(tokenauth.NewSQLStore(t.db, t.database.Dialect, options))
			m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: 10_000, TouchEvery: -1}))
			var failed atomic.Int64
			var mu sync.Mutex // guards slowest
			var slowest time.Duration
			for b.Loop() {
				var wg sync.WaitGroup
				issued := make([]string, 20)
				for i := range issued {
					wg.Go(func() {
						begin := time.Now()
						_, token, err := m.Issue(b.Context(), tokenauth.Spec{UserID: "full", Name: fmt.Sprint("new ", i)})
						if err != nil {
							failed.Add(1)
							return
						}
						issued[i] = token.ID
						took := time.Since(begin)
						mu.Lock()
						defer mu.Unlock()
						slowest = max(slowest, took)
					})
				}
				wg.Wait()
				for _, id := range issued {
					if id != "" {
						require.NoError(b, m.Revoke(b.Context(), "full", id))
					}
				}
			}
			b.ReportMetric(0, "ns/op") // hides ns/op, which has no meaning here
			b.ReportMetric(float64(failed.Load()), "failed")
			b.ReportMetric(float64(slowest)/1e6, "slowest-ms")
		})
	}
}

// A slowestStore records the duration of the slowest call of RevokeAll.
type slowestStore struct {
	tokenauth.Store
	slowest time.Duration
}

func (s *slowestStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (int, error) {
	begin := time.Now()
	n, err := s.Store.RevokeAll(ctx, userID, at, by, limit)
	s.slowest = max(s.slowest, time.Since(begin))
	return n, err
}

// BenchmarkRevokeAll revokes all tokens of a user and measures the slowest statement.
func BenchmarkRevokeAll(b *testing.B) {
	for _, name := range servedDatabases {
		for _, n := range []int{10_000, 100_000, 1_000_000} {
			run(b, fmt.Sprintf("%s/%d tokens", name, n), func(b *testing.B) {
				if testing.Short() {
					b.Skip("filling the table takes seconds")
				}
				t := openUserTable(b, name)
				store, took := &slowestStore{Store: t.store}, time.Duration(0)
				m := must.Get(tokenauth.New(store, "acme", nil))
				for i := 0; b.Loop(); i++ {
					userID := fmt.Sprintf("all-%d-%d", n, i)
					t.fill(b, userID, crowd{live: n}, false)
					begin := time.Now()
					revoked, err := m.RevokeAll(b.Context(), userID)
					took += time.Since(begin)
					require.NoError(b, err)
					require.Equal(b, n, revoked)
				}
				b.ReportMetric(0, "ns/op") // hides ns/op, which includes the creation of the tokens
				b.ReportMetric(store.slowest.Seconds(), "slowest-s")
				b.ReportMetric(took.Seconds()/float64(b.N), "s")
			})
		}
	}
}
