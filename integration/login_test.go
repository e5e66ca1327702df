package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// Concurrent logins at the limit, as in several processes, must succeed or be refused on each
// database. They must never exceed the limit, and never revoke a token of another origin.
func TestConcurrentLoginsAtLimit(t *testing.T) {
	t.Parallel()
	for _, e := range documentedEngines {
		if e.name == "SQLite, mattn" { // its busy timeout is short, and the statements are those of modernc
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			const limit = 6
			db, _ := e.newDatabase(t)
			m := must.Get(tokenauth.New(newStore(t, db, e.dialect, nil), "acme", &tokenauth.Options{MaxPerUser: limit}))
			defer m.Close(t.Context())
			page, _, err := m.Issue(tokenauth.ContextWithActor(t.Context(), "user:ada"), tokenauth.Spec{UserID: "ada", Name: "page"})
			require.NoError(t, err)
			statuses := map[int]int{}
			for range 2 { // the first round reaches the limit
				for status, n := range loginConcurrently(m, 20) {
					statuses[status] += n
				}
				live, err := m.List(t.Context(), tokenauth.Query{UserID: "ada"})
				require.NoError(t, err)
				require.LessOrEqual(t, len(live), limit)
			}
			require.Equal(t, 40, statuses[http.StatusOK]+statuses[http.StatusConflict], statuses)
			require.Greater(t, statuses[http.StatusOK], limit, "some logins replace tokens")
			_, err = m.Authenticate(t.Context(), revealed(page))
			require.NoError(t, err)
		})
	}
}

// loginConcurrently sends n concurrent logins of ada to n endpoints, each with its own Throttle. It
// returns the number of responses by status.
func loginConcurrently(m *tokenauth.Manager, n int) map[int]int {
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range n {
		h := must.Get(tokenlogin.New(apitest.NewAuth(m, nil),
			func(context.Context, string, string) (string, string, error) { return "ada", "", nil },
			&tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest}))
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(`{"username":"ada","password":"right"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", fmt.Sprint("process ", i))
		all.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	all.Wait()
	return statuses
}
