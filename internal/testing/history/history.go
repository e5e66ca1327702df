// Package history runs random concurrent calls of two Managers on one store, and checks the results
// against a sequential model.
package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/storecache"
	"github.com/go-tokenauth/tokenauth/tokenapi"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

const (
	threads   = 3
	perThread = 4
	manage    = "manage" // scope that allows a token to create tokens
)

// errLost is the error of a call whose response is lost.
var errLost = errors.New("response lost")

// A world is what the calls of one history share.
type world struct {
	store    *tokenauthtest.Store
	plain    *tokenauth.Manager    // on the store
	managers [2]*tokenauth.Manager // the second one is on a cache; if shared is true, both are
	apis     [2]http.Handler
	shared   bool // whether all calls go through one cache, which must then never be outdated
	events   fixture.Recorder
	user     string
	seed     uint64
	ticks    atomic.Int64
	steps    atomic.Int64 // order of the begins and ends of calls
}

// Check runs one history, which seed determines except for the order of concurrent calls. It
// reports an error if no sequential order of the calls explains their results and the final state
// of the store, or if a change caused no event. If faults is true, some calls of the store fail,
// before or after their change.
//
// The store may hold tokens of other histories.
func Check(t testing.TB, store tokenauth.Store, seed uint64, faults bool) {
	t.Helper()
	w := newWorld(store, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	initial := w.begin(t, random)
	all := make([][]*call, threads)
	for i := range all {
		all[i] = generate(rand.New(rand.NewPCG(seed, uint64(i+2))), initial, faults, w.shared)
	}
	w.store.Intercept(disturb(seed, faults))
	begin := make(chan struct{})
	var calls sync.WaitGroup
	for _, thread := range all {
		calls.Go(func() {
			<-begin
			for _, c := range thread {
				c.from = w.steps.Add(1)
				w.run(c)
				c.to = w.steps.Add(1)
			}
		})
	}
	close(begin)
	calls.Wait()
	w.store.Intercept(nil)
	markOverlaps(all)
	final := w.observe(t, initial, all)
	if !explains(all, initial, final) {
		t.Errorf("history %d has no sequential explanation\n%s", seed, describe(all, initial, final))
	}
	w.checkEvents(t, initial)
	_, err := w.plain.RevokeAll(context.Background(), w.user)
	require.NoError(t, err)
}

// disturb returns a function that lets other goroutines run before and after calls of the store. If
// faults is true, the function also makes some calls fail, half of them after the change.
func disturb(seed uint64, faults bool) func(context.Context, string, func() error) error {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	pause := func() {
		for range draw(8) {
			runtime.Gosched()
		}
	}
	return func(_ context.Context, _ string, next func() error) error {
		pause()
		defer pause()
		fault := draw(16)
		if faults && fault == 0 {
			return errLost
		}
		err := next()
		if faults && fault == 1 {
			return errors.Join(err, errLost)
		}
		return err
	}
}

func newWorld(store tokenauth.Store, seed uint64) *world {
	w := &world{store: tokenauthtest.NewStore(store), user: fmt.Sprint("user-", seed), seed: seed, shared: seed%2 == 1}
	maxStale := 5 * time.Millisecond
	if w.shared {
		maxStale = time.Hour
	}
	cache := must.Get(storecache.New(w.store, &storecache.Options{MaxStale: maxStale}))
	stores := []tokenauth.Store{w.store, cache}
	if w.shared {
		stores[0] = cache
	}
	// The leak search does not know the keys of histories, because it would need too much memory.
	newManager := func(s tokenauth.Store) *tokenauth.Manager {
		return must.Get(tokenauth.New(s, "acme", &tokenauth.Options{MaxPerUser: -1, TouchEvery: -1, Now: w.now, OnEvent: w.events.Record,
			Legacy: []tokenauth.LegacyFormat{{Origin: "drf", Canonical: func(k string) (string, bool) { return k, strings.HasPrefix(k, "old-") }}}}))
	}
	w.plain = newManager(w.store)
	for i, s := range stores {
		m := newManager(s)
		auth := fixture.NewAuthenticator(m, nil)
		nobody := func(*http.Request) (string, error) { return "", nil }
		w.managers[i] = m
		w.apis[i] = must.Get(tokenapi.New(auth, nobody, &tokenapi.Options{ManageScope: manage}))
	}
	return w
}

// now returns a later time on each call, so that Prune deletes what was revoked before.
func (w *world) now() time.Time {
	return fixture.Start.Add(time.Duration(w.ticks.Add(1)) * time.Microsecond)
}

// begin creates the tokens that exist before the history.
func (w *world) begin(t testing.TB, random *rand.Rand) (initial []token) {
	for i, scopes := range [][]string{{"a", "b", manage}, {"a", manage}} {
		name := fmt.Sprint("first-", i)
		key, made, err := w.plain.Issue(context.Background(), tokenauth.Spec{UserID: w.user, Name: name, Scopes: scopes})
		require.NoError(t, err)
		initial = append(initial, token{id: made.ID, name: name, scopes: strings.Join(scopes, " "), generation: 1, live: true, current: key.Reveal()})
		if random.IntN(2) == 0 { // the cache knows some of the keys
			_, err := w.managers[1].Authenticate(context.Background(), key.Reveal())
			require.NoError(t, err)
		}
	}
	return initial
}

// run makes one call and stores its result in c.
func (w *world) run(c *call) {
	ctx, m := context.Background(), w.managers[c.through]
	switch c.kind {
	case issue:
		key, made, err := m.Issue(ctx, tokenauth.Spec{UserID: w.user, Name: c.name, Scopes: c.scopes})
		c.made(key.Reveal(), made, err)
	case importOld:
		_, err := m.Import(ctx, tokenauth.ImportSpec{UserID: w.user, Name: c.name, Scopes: c.scopes, Origin: "drf", Digest: tokenauth.DigestOf(w.oldKey())})
		c.got, c.newKey = outcome(err), w.oldKey()
	case authenticate:
		made, err := m.Authenticate(ctx, c.key)
		c.got = outcome(err)
		if err == nil {
			c.got = "ok " + strings.Join(made.Scopes, " ")
		}
	case update:
		p := tokenauth.Patch{Scopes: &c.scopes}
		if c.name != "" {
			p.Name = &c.name
		}
		made, err := m.Update(ctx, w.user, c.id, p)
		c.made("", made, err)
	case rotate:
		key, made, err := m.Rotate(ctx, w.user, c.id, c.grace)
		c.made(key.Reveal(), made, err)
	case revoke:
		c.got = outcome(m.Revoke(ctx, w.user, c.id))
	case revokeAll:
		n, err := m.RevokeAll(ctx, w.user)
		c.got = fmt.Sprint(outcome(err), " ", n)
	case prune:
		_, err := m.Prune(ctx, w.now())
		c.got = outcome(err)
	case mint:
		c.mint(w.apis[c.through])
	}
}

func (w *world) oldKey() string { return fmt.Sprint("old-", w.seed) }

// made stores the result of a call that returns a token.
func (c *call) made(key string, made tokenauth.Token, err error) {
	c.got, c.newKey = outcome(err), key
	if err == nil {
		c.newID = made.ID
		c.got = fmt.Sprint("ok ", made.Name, " ", strings.Join(made.Scopes, " "))
		if made.Name == "" { // Rotate could not read the token
			c.got = unread
		}
	}
}

// mint creates a token by a request that presents the key of c.
func (c *call) mint(api http.Handler) {
	body := fmt.Sprintf(`{"name":%q,"scopes":["%s"]}`, c.name, strings.Join(c.scopes, `","`))
	r := httptest.NewRequest(http.MethodPost, "/tokens", strings.NewReader(body))
	r.Header = http.Header{"Authorization": {"Bearer " + c.key}, "Content-Type": {"application/json"}}
	response := httptest.NewRecorder()
	api.ServeHTTP(response, r)
	c.got = fmt.Sprint(response.Code)
	if response.Code == http.StatusCreated {
		made := must.Get(decode(response.Body.Bytes()))
		c.newID, c.newKey = made.ID, made.Key
	}
	if response.Code == http.StatusServiceUnavailable {
		c.got = lost
	}
}

// observe returns the final state: the user's live tokens by name, and the result of each key. The
// Manager on the cache must accept the same keys as the one on the store, at once if the cache is
// shared, and otherwise when the records in the cache are outdated.
func (w *world) observe(t testing.TB, initial []token, all [][]*call) map[string]string {
	final := map[string]string{}
	live, err := w.plain.List(context.Background(), tokenauth.Query{UserID: w.user})
	require.NoError(t, err)
	for _, l := range live {
		final["name "+l.Name] = fmt.Sprint(strings.Join(l.Scopes, " "), " generation ", l.Generation)
	}
	keys := map[string]bool{}
	for _, each := range initial {
		keys[each.current] = true
	}
	for _, c := range slices.Concat(all...) {
		if c.newKey != "" {
			keys[c.newKey] = true
		}
	}
	accepts := func(m *tokenauth.Manager) map[string]string {
		results := map[string]string{}
		for key := range keys {
			made, err := m.Authenticate(context.Background(), key)
			results["key "+key] = outcome(err)
			if err == nil {
				results["key "+key] = "ok " + strings.Join(made.Scopes, " ")
			}
		}
		return results
	}
	want := accepts(w.plain)
	if w.shared {
		require.Equal(t, want, accepts(w.managers[1]), "history %d", w.seed)
	}
	fixture.Await(t, "the cache to accept the same keys as the store", func() bool {
		return maps.Equal(want, accepts(w.managers[1]))
	})
	maps.Copy(final, want)
	return final
}

// checkEvents checks that an event has reported each change that the store shows.
func (w *world) checkEvents(t testing.TB, initial state) {
	seen, byRevokeAll := map[string]bool{}, 0
	for _, e := range w.events.Take() {
		if e.Kind == tokenauth.EventRevoked && e.Token.ID == "" {
			byRevokeAll += e.Count
			if e.Err != nil { // the number of revoked tokens is unknown
				byRevokeAll = 1 << 20
			}
		}
		seen[fmt.Sprint(e.Kind, " ", e.Token.ID)] = true
		if e.Kind == tokenauth.EventRotated {
			seen[fmt.Sprint(e.Kind, " ", e.Token.ID, " to ", e.Token.Generation)] = true
		}
	}
	records, err := w.plain.List(context.Background(), tokenauth.Query{UserID: w.user, IncludeRevoked: true})
	require.NoError(t, err)
	for _, r := range records {
		made := seen[fmt.Sprint(tokenauth.EventIssued, " ", r.ID)] || r.Origin != "" && seen[fmt.Sprint(tokenauth.EventImported, " ")]
		ended := r.RevokedAt.IsZero() || seen[fmt.Sprint(tokenauth.EventRevoked, " ", r.ID)]
		if !ended {
			byRevokeAll--
		}
		if !made || byRevokeAll < 0 {
			t.Errorf("history %d: no event reports that token %q was created or revoked", w.seed, r.Name)
		}
		i := initial.find(func(first *token) bool { return first.id == r.ID })
		if i >= 0 && (initial[i].name != r.Name || initial[i].scopes != strings.Join(r.Scopes, " ")) && !seen[fmt.Sprint(tokenauth.EventUpdated, " ", r.ID)] {
			t.Errorf("history %d: no event reports the update of token %q", w.seed, r.Name)
		}
		for generation := 2; generation <= r.Generation; generation++ {
			if !seen[fmt.Sprint(tokenauth.EventRotated, " ", r.ID, " to ", generation)] {
				t.Errorf("history %d: no event reports the rotation of token %q to generation %d", w.seed, r.Name, generation)
			}
		}
	}
}
