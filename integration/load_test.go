package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// An underLoad is a service under load. Its clients continuously send requests with keys, and
// issue, rotate, rename, revoke and list tokens. The underLoad checks every response while it runs:
//
//   - A valid key gets 200 or 503. A key is valid if Issue or Rotate returned it before the
//     request, and if no client has begun to revoke or to replace it.
//   - An ended key gets 401 or 503. A key is ended if its Revoke, or its Rotate without grace,
//     returned before the request.
//   - A change succeeds, or returns an error after which a service responds 503. This includes
//     Touch and Prune.
type underLoad struct {
	name     string
	begin    time.Time
	stores   []tokenauth.Store
	managers []*tokenauth.Manager // one for each store
	servers  []*httptest.Server
	client   *http.Client
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	mu     sync.Mutex
	steady []liveToken          // tokens that no client changes
	live   map[string]liveToken // tokens that are live according to the responses, by ID
	ended  []string             // keys that the service must refuse
	issued map[string]bool      // IDs of tokens that the table must contain, even if they are revoked
	wrong  map[string]int       // number of each response that breaks a rule

	requests, refused, changes, failed, seq atomic.Int64
	lastRefusal                             atomic.Int64 // in nanoseconds since begin
	slowest                                 atomic.Int64
	lastFailure                             atomic.Value // text of an error
}

type liveToken struct {
	key, userID, id string
	generation      int
}

const users = 50

// startLoad starts a load of the given number of readers and writers. All stores must use the same
// table. The test must call finish.
func startLoad(t *testing.T, readers, writers int, stores ...tokenauth.Store) *underLoad {
	t.Helper()
	l := &underLoad{
		name: t.Name(), begin: time.Now(), stores: stores,
		live: map[string]liveToken{}, issued: map[string]bool{}, wrong: map[string]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}},
	}
	for _, store := range stores {
		m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: -1}))
		h := must.Get(tokenauth.NewAuthenticator(m, anyUser, nil)).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
		l.managers = append(l.managers, m)
		l.servers = append(l.servers, httptest.NewServer(h))
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	for range 2 * users { // a busy machine may miss the timeout of the store
		if len(l.live) < users {
			l.issue(ctx, l.managers[0])
		}
	}
	require.Len(t, l.live, users)
	for id, token := range l.live {
		l.steady = append(l.steady, token)
		delete(l.live, id)
	}
	for i := range readers {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				l.read(ctx, l.servers[i%len(l.servers)].URL)
			}
		})
	}
	for i := range writers {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				l.write(ctx, l.managers[i%len(l.managers)], l.stores[i%len(l.stores)])
			}
		})
	}
	return l
}

// read sends one request. The request has an ended key in one of four cases, and otherwise a valid
// key.
func (l *underLoad) read(ctx context.Context, url string) {
	l.mu.Lock()
	token, isSteady := l.steady[rand.N(len(l.steady))], true
	if rand.N(2) == 0 {
		for _, token = range l.live { // in random order
			isSteady = false
			break
		}
	}
	key, want := token.key, http.StatusOK
	if len(l.ended) > 0 && rand.N(4) == 0 {
		key, want = l.ended[rand.N(len(l.ended))], http.StatusUnauthorized
	}
	l.mu.Unlock()
	status, err := l.send(ctx, url, key)
	if err != nil {
		if ctx.Err() == nil {
			l.violation(fmt.Sprintf("no response: %v", err))
		}
		return
	}
	if want == http.StatusOK && status == http.StatusUnauthorized && !isSteady && !l.isValid(token) {
		return // a client has ended the key meanwhile
	}
	switch status {
	case want:
	case http.StatusServiceUnavailable:
		l.refused.Add(1)
		l.lastRefusal.Store(int64(time.Since(l.begin)))
	default:
		l.violation(fmt.Sprintf("a key that should get %d got %d", want, status))
	}
}

func (l *underLoad) send(ctx context.Context, url, key string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	began := time.Now()
	response, err := l.client.Do(r)
	if err != nil {
		return 0, err
	}
	l.requests.Add(1)
	if took := int64(time.Since(began)); took > l.slowest.Load() {
		l.slowest.Store(took)
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		_, _ = fmt.Fprint(&leak.Default, response.Header, string(body))
	}
	return response.StatusCode, response.Body.Close()
}

func (l *underLoad) isValid(token liveToken) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live[token.id] == token
}

func (l *underLoad) violation(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong[what]++
}

// write makes one change.
func (l *underLoad) write(ctx context.Context, m *tokenauth.Manager, store tokenauth.Store) {
	dice := rand.N(12)
	switch {
	case dice < 4:
		l.issue(ctx, m)
		return
	case dice == 10:
		l.judge(ctx, "touch", store.Touch(ctx, l.uses(16)...))
		return
	case dice == 11:
		// Prune only tokens that were revoked three seconds ago. After a lost connection, the driver may
		// repeat a Revoke, which would not find a pruned token.
		_, err := store.Prune(ctx, time.Now().Add(-3*time.Second), time.Time{}, 100)
		l.judge(ctx, "prune", err)
		return
	}
	token, ok := l.take()
	if !ok {
		return
	}
	switch {
	case dice < 7:
		l.mu.Lock()
		delete(l.issued, token.id) // Prune may delete the token from now on
		l.mu.Unlock()
		if l.judge(ctx, "revoke", m.Revoke(ctx, token.userID, token.id)) {
			l.end(token.key)
		}
	case dice < 8:
		if key, _, err := m.Rotate(ctx, token.userID, token.id, 0); l.judge(ctx, "rotate", err) {
			l.end(token.key)
			token.key = revealed(key)
			token.generation++
			l.put(token)
		}
	case dice < 9:
		// The key stays valid, even if the rename fails.
		l.put(token)
		name := fmt.Sprint("renamed ", l.seq.Add(1))
		_, err := m.Update(ctx, token.userID, token.id, tokenauth.Patch{Name: &name})
		l.judge(ctx, "rename", ignore(err, tokenauth.ErrNotFound)) // another client may revoke the token first
	default:
		l.put(token)
		_, err := m.List(ctx, tokenauth.Query{UserID: token.userID})
		l.judge(ctx, "list", err)
	}
}

// uses returns uses of up to n tokens.
func (l *underLoad) uses(n int) []tokenauth.Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []tokenauth.Use
	for id := range l.live {
		if all = append(all, tokenauth.Use{ID: id, At: time.Now()}); len(all) == n {
			break
		}
	}
	return all
}

func (l *underLoad) issue(ctx context.Context, m *tokenauth.Manager) {
	n := l.seq.Add(1)
	spec := tokenauth.Spec{UserID: fmt.Sprint("user ", n%users), Name: fmt.Sprint("client ", n)}
	key, token, err := m.Issue(ctx, spec)
	if !l.judge(ctx, "issue", err) {
		// A client repeats a call that failed. If the name is then taken, the first call has issued the
		// token.
		key, token, err = m.Issue(ctx, spec)
		if errors.Is(err, tokenauth.ErrNameTaken) || !l.judge(ctx, "issue", err) {
			return
		}
	}
	l.mu.Lock()
	l.issued[token.ID] = true
	l.mu.Unlock()
	l.put(liveToken{key: revealed(key), userID: token.UserID, id: token.ID, generation: 1})
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// judge counts a change and reports whether it succeeded. An error after which a service does not
// respond 503 is a violation.
func (l *underLoad) judge(ctx context.Context, what string, err error) bool {
	if ctx.Err() != nil {
		return err == nil
	}
	l.changes.Add(1)
	if err == nil {
		return true
	}
	l.failed.Add(1)
	l.lastFailure.Store(err.Error())
	if status := tokenauth.StatusCode(err); status != http.StatusServiceUnavailable {
		l.violation(fmt.Sprintf("%s: %d %v", what, status, err))
	}
	_, _ = fmt.Fprint(&leak.Default, err)
	return false
}

// take removes a token from l.live and returns it.
func (l *underLoad) take() (liveToken, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, token := range l.live {
		delete(l.live, id)
		return token, true
	}
	return liveToken{}, false
}

func (l *underLoad) put(token liveToken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[token.id] = token
}

func (l *underLoad) end(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, key)
}

// A result holds the counts of a load.
type result struct {
	requests, refused, changes, failed int64
	seconds                            float64
	lastRefusal                        time.Time
	slowest                            time.Duration
	wrong                              map[string]int // number of each response that broke a rule
	lost                               int            // number of acknowledged tokens and keys that no longer exist
	undone                             int            // number of ended keys that the service accepts
}

func (r result) String() string {
	const format = "%d requests (%.0f/s), %d of them 503, slowest %v; " +
		"%d changes (%.0f/s), %d of them 503; lost %d, undone %d"
	return fmt.Sprintf(format,
		r.requests, float64(r.requests)/r.seconds, r.refused, r.slowest.Round(time.Millisecond),
		r.changes, float64(r.changes)/r.seconds, r.failed, r.lost, r.undone)
}

// finish stops the load, and compares the table with the responses. It reads the table through each
// of the handles, one per store. All servers must be available again.
func (l *underLoad) finish(t *testing.T, table string, dbs ...*sql.DB) result {
	t.Helper()
	l.cancel()
	l.workers.Wait()
	for _, s := range l.servers {
		s.Close()
	}
	r := result{
		requests: l.requests.Load(), refused: l.refused.Load(), changes: l.changes.Load(), failed: l.failed.Load(),
		seconds: time.Since(l.begin).Seconds(), lastRefusal: l.begin.Add(time.Duration(l.lastRefusal.Load())),
		slowest: time.Duration(l.slowest.Load()), wrong: l.wrong,
	}
	ctx := context.Background()
	require.Len(t, dbs, len(l.managers))
	for i, m := range l.managers {
		lost, undone := 0, 0
		rows := requireOnce(t, m, dbs[i], table)
		for _, id := range slices.Sorted(maps.Keys(l.issued)) {
			if rows[id] != 1 {
				lost++
			}
		}
		for _, token := range slices.Concat(slices.Collect(maps.Values(l.live)), l.steady) {
			if err := authenticate(ctx, m, token.key); err != nil && rows[token.id] == 1 {
				lost++
			}
		}
		for _, key := range l.ended {
			if err := authenticate(ctx, m, key); !errors.Is(err, tokenauth.ErrInvalidKey) {
				undone++
			}
		}
		r.lost, r.undone = max(r.lost, lost), max(r.undone, undone)
	}
	t.Log(strings.ReplaceAll(l.name, "_", " "), "-", r)
	return r
}

// authenticate authenticates a key, and repeats this if the store does not respond in time.
func authenticate(ctx context.Context, m *tokenauth.Manager, key string) (err error) {
	for range 20 {
		if _, err = m.Authenticate(ctx, key); tokenauth.StatusCode(err) != http.StatusServiceUnavailable {
			break
		}
	}
	return err
}

// requireSound fails if a response was wrong or a change was lost.
func (r result) requireSound(t *testing.T) {
	t.Helper()
	require.Empty(t, r.wrong)
	require.Zero(t, r.lost, "acknowledged tokens and keys must not be lost")
	require.Zero(t, r.undone, "ended keys must not work again")
}
