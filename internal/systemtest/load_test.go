package systemtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/keyform"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/load"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
)

// This file tests the Manager under load. The tests are short unless TOKENAUTH_LONG is set. With
// TOKENAUTH_LONG, they run longer, check memory use and log response times. No test fails because
// of a response time.

// shortOrLong returns inLong if TOKENAUTH_LONG is set, and short otherwise.
func shortOrLong[T any](short, inLong T) T {
	if load.Long() {
		return inLong
	}
	return short
}

// searched is the number of keys that fillStore adds to the leak search. A search for all 100,000
// keys of a long run would take too much memory.
const searched = 500

// fillStore creates n tokens and returns their keys. It passes each token to change before it
// stores the token.
func fillStore(t testing.TB, s tokenauth.Store, n int, change func(i int, t *tokenauth.Token)) []string {
	t.Helper()
	var keys []string
	for batch := range slices.Chunk(make([]tokenauth.Record, n), 500) {
		for i := range batch {
			key := keyform.Generate("acme")
			token := tokenauth.Token{
				ID: fmt.Sprintf("T%025d", len(keys)), UserID: fmt.Sprint(len(keys) / 10), Name: fmt.Sprint(len(keys)),
				Hint: key[len(key)-4:], Generation: 1, CreatedAt: fixture.Start,
			}
			change(len(keys), &token)
			batch[i] = tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: token}
			keys = append(keys, key)
			if len(keys) <= searched {
				leak.Default.Secret(key)
			}
		}
		require.NoError(t, s.Create(ctx, batch...))
	}
	return keys
}

// eachIdleStore runs f on an empty store of each kind, one after the other, while no other test
// runs. The test fails if f leaves goroutines or connections behind.
func eachIdleStore(t *testing.T, f func(t *testing.T, store tokenauth.Store)) {
	for name, open := range map[string]func(*testing.T) tokenauth.Store{
		"memory": func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() },
		"sqlite": func(t *testing.T) tokenauth.Store { return sqlite.NewPooledStore(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			leak.NothingLeft(t)
			f(t, open(t))
		})
	}
}

// A service that runs for days must not use ever more memory, and must never reject a valid key.
// Case Q1.
func TestLoadSustainedKeepsMemoryFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	eachIdleStore(t, func(t *testing.T, store tokenauth.Store) {
		keys := fillStore(t, store, shortOrLong(200, 100_000), func(int, *tokenauth.Token) {})
		load.Sustain(t, store, keys, shortOrLong(time.Second/2, 5*time.Minute))
	})
}

// 256 concurrent requests with one key must not wait for each other. They must not wait for the
// Touch call that writes the last-used time, even if the database does not respond. Case Q3.
func TestLoadOfOneKeyIsNotSerialized(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	t.Parallel()
	for name, inner := range map[string]tokenauth.Store{"memory": tokenauth.NewMemoryStore(), "sqlite": sqlite.NewPooledStore(t, "")} {
		t.Run(name, func(t *testing.T) {
			store := tokenauthtest.NewStore(inner)
			called, answer := make(chan struct{}, 1), make(chan struct{})
			store.Intercept(func(_ context.Context, method string, next func() error) error {
				if method == "Touch" {
					called <- struct{}{}
					<-answer
				}
				return next()
			})
			m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: 2 * time.Millisecond})
			key, token := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, err)
			<-called

			const connections = 256
			var inside atomic.Int64
			all := make(chan struct{})
			s := httptest.NewServer(must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/first" { // wait until all requests are here; a blocked request never arrives
					if inside.Add(1) == connections {
						close(all)
					}
					select {
					case <-all:
					case <-r.Context().Done():
					}
				}
			})))
			defer s.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: time.Minute}
			defer client.CloseIdleConnections()
			var clients sync.WaitGroup
			for range connections {
				clients.Go(func() {
					for _, path := range []string{"/first", "/next"} {
						if status, err := ask(client, s.URL+path, key); err != nil || status != http.StatusOK {
							t.Errorf("status %d, error %v; want status 200", status, err)
						}
					}
				})
			}
			clients.Wait()
			require.Equal(t, 1, store.Count("Touch"), "only one Touch call may be in progress")
			close(answer)
			require.NoError(t, m.Flush(ctx))
			require.NotZero(t, fixture.LastUse(t, store, token.ID))
		})
	}
}

func ask(client *http.Client, url, key string) (status int, err error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// A flood of invalid keys must not increase memory use. A key with a wrong checksum or prefix must
// cause no query to the store. Any other invalid key must cause one query. Requests with a valid
// key must succeed during the flood. Case Q4.
func TestLoadOfInvalidKeysKeepsNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	eachIdleStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := tokenauthtest.NewStore(inner)
		m := fixture.NewManager(store, nil)
		good, _ := fixture.Issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
		send := func(key string) int {
			w := load.NewStatusOnly()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = []string{"Bearer " + key}
			h.ServeHTTP(w, r)
			return w.Status
		}
		n := shortOrLong(10_000, 1_000_000)
		if _, slow := inner.(*tokenauth.SQLStore); slow {
			n = shortOrLong(500, 1_000_000)
		}
		alone := load.BombardFor(shortOrLong(time.Millisecond, time.Second), h, 2, []string{good}) // first, so that the allocations of the first requests do not count
		t.Logf("requests with a valid key, without a flood: %v", alone)
		for _, c := range []struct {
			name  string
			key   func() string
			finds int // expected Find calls per key
		}{
			{"a wrong checksum", func() string { return fixture.Swapped(keyform.Generate("acme"))[20] }, 0},
			{"another prefix", func() string { return keyform.Generate("other") }, 0},
			{"well-formed", func() string { return keyform.Generate("acme") }, 1},
		} {
			send(c.key()) // the first request may allocate memory that stays in use
			store.ResetCalls()
			before := load.Heap()
			done, wrong := make(chan struct{}), 0
			go func() {
				defer close(done)
				for range n {
					if send(c.key()) != http.StatusUnauthorized {
						wrong++
					}
				}
			}()
			beside := load.Bombard(h, 1, []string{good}, done)
			require.Zero(t, wrong, "requests with an invalid key (%s) that did not get status 401", c.name)
			require.Len(t, beside.Statuses, 1, "requests with a valid key must get one status only: %v", beside.Statuses)
			require.Positive(t, beside.Statuses[http.StatusOK])
			require.Equal(t, n*c.finds+beside.Statuses[http.StatusOK], store.Count("Find"), c.name)
			require.Zero(t, store.Count("List"), c.name)
			store.ResetCalls() // frees the memory that the store uses to record calls
			t.Logf("requests with a valid key, during a flood of %d invalid keys (%s): %v", n, c.name, beside)
			if load.Long() {
				beside = nil
				require.Less(t, load.Heap(), before+max(uint64(n)*32, 512<<10), "the Manager must not keep digests of invalid keys (%s)", c.name)
			}
		}
		runtime.KeepAlive(h)
	})
}

// A request must cause one query for its key, and must not list the tokens of its user, even if the
// user has many tokens. The tests in integration/ check that the query does not scan the table.
// Case Q6.
func TestLoadOfUserWithManyTokensListsNone(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	eachIdleStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := tokenauthtest.NewStore(inner)
		keys := fillStore(t, store, shortOrLong(500, 100_000), func(_ int, token *tokenauth.Token) { token.UserID = "many" })
		m := fixture.NewManager(store, &tokenauth.Options{TouchEvery: -1})
		for _, key := range keys[:100] {
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, err)
		}
		require.Equal(t, 100, store.Count("Find"))
		require.Zero(t, store.Count("List"))
	})
}

// Lookups must still work while Prune deletes old tokens. Case Q7.
func TestLoadDuringPruneIsServed(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many requests")
	}
	t.Parallel()
	fixture.EachStore(t, func(t *testing.T, store tokenauth.Store) {
		const good = 50
		n := shortOrLong(1_200, 1_000_000) // more tokens than Prune deletes in one batch
		clock := fixture.NewClock()
		keys := fillStore(t, store, good+n, func(i int, token *tokenauth.Token) {
			if i >= good {
				token.ExpiresAt = fixture.Start.Add(time.Second)
			}
		})[:good]
		clock.Set(fixture.Start.Add(time.Hour))
		m := must.Get(tokenauth.New(store, "acme", &tokenauth.Options{Now: clock.Now, TouchEvery: 20 * time.Millisecond}))
		h := must.Get(tokenauth.NewAuthenticator(m, fixture.AnyUser, nil)).Require(fixture.Whoami)
		done := make(chan struct{})
		pruned := 0
		var err error
		go func() {
			defer close(done)
			pruned, err = m.Prune(ctx, clock.Now())
		}()
		got := load.Bombard(h, 2, keys, done)
		require.NoError(t, err)
		require.Equal(t, n, pruned)
		require.Len(t, got.Statuses, 1, "requests with a valid key must get one status only: %v", got.Statuses)
		require.Positive(t, got.Statuses[http.StatusOK])
		left, err := m.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, left, good)
		require.NoError(t, m.Flush(ctx))
		t.Log(got)
	})
}
