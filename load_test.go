package tokenauth_test

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
	"github.com/go-tokenauth/tokenauth/internal/leaktest"
	"github.com/go-tokenauth/tokenauth/internal/loadtest"
)

// What a service meets at its worst, made small. A run with TOKENAUTH_LONG takes longer,
// judges memory and logs times. No test here judges a time.

// shortOrLong returns the first in the usual run, the second in a long one.
func shortOrLong[T any](short, inLong T) T {
	if loadtest.Long() {
		return inLong
	}
	return short
}

// A countedStore counts what reads it is asked for.
type countedStore struct {
	tokenauth.Store
	finds, lists atomic.Int64
}

func (s *countedStore) Find(ctx context.Context, d tokenauth.Digest) (*tokenauth.Record, error) {
	s.finds.Add(1)
	return s.Store.Find(ctx, d)
}

func (s *countedStore) List(ctx context.Context, q tokenauth.Query) ([]tokenauth.Record, error) {
	s.lists.Add(1)
	return s.Store.List(ctx, q)
}

const searched = 500 // of the keys of fillStore: to search for 100,000 takes too much memory

// fillStore creates n tokens, of which change may change each, and returns the keys.
func fillStore(t testing.TB, s tokenauth.Store, n int, change func(i int, t *tokenauth.Token)) []string {
	t.Helper()
	var keys []string
	for batch := range slices.Chunk(make([]tokenauth.Record, n), 500) {
		for i := range batch {
			key := tokenauth.GenerateKey("acme")
			token := tokenauth.Token{
				ID: fmt.Sprintf("T%025d", len(keys)), UserID: fmt.Sprint(len(keys) / 10), Name: fmt.Sprint(len(keys)),
				Hint: key[len(key)-4:], Generation: 1, CreatedAt: start,
			}
			change(len(keys), &token)
			batch[i] = tokenauth.Record{Digest: tokenauth.DigestOf(key), Token: token}
			keys = append(keys, key)
			if len(keys) <= searched {
				leaktest.Default.Secret(key)
			}
		}
		require.NoError(t, s.Create(ctx, batch...))
	}
	return keys
}

// eachIdleStore is eachStore one after the other, with nothing else running, of which
// nothing may be left.
func eachIdleStore(t *testing.T, f func(t *testing.T, store tokenauth.Store)) {
	for name, open := range map[string]func(*testing.T) tokenauth.Store{
		"memory": func(*testing.T) tokenauth.Store { return tokenauth.NewMemoryStore() },
		"sqlite": func(t *testing.T) tokenauth.Store { return newPatientStore(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			leaktest.NothingLeft(t)
			f(t, open(t))
		})
	}
}

// Q1: a service that runs for days must not grow, nor ever refuse a good key.
func TestQ1SustainedLoad(t *testing.T) {
	eachIdleStore(t, func(t *testing.T, store tokenauth.Store) {
		keys := fillStore(t, store, shortOrLong(200, 100_000), func(int, *tokenauth.Token) {})
		loadtest.Sustain(t, store, keys, shortOrLong(time.Second/2, 5*time.Minute))
	})
}

// A hungTouchStore answers no Touch until it is told to.
type hungTouchStore struct {
	tokenauth.Store
	calls  atomic.Int64
	called chan struct{} // closed at the first call
	answer chan struct{}
}

func (s *hungTouchStore) Touch(ctx context.Context, uses ...tokenauth.Use) error {
	if s.calls.Add(1) == 1 {
		close(s.called)
	}
	<-s.answer
	return s.Store.Touch(ctx, uses...)
}

// Q3: 256 connections with one key must not wait for each other, nor for the write of
// its last use, even if the database does not answer it.
func TestQ3OneKeyManyConnections(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]tokenauth.Store{"memory": tokenauth.NewMemoryStore(), "sqlite": newPatientStore(t, "")} {
		t.Run(name, func(t *testing.T) {
			store := &hungTouchStore{Store: inner, called: make(chan struct{}), answer: make(chan struct{})}
			m := newManager(store, &tokenauth.Options{TouchEvery: 2 * time.Millisecond})
			key, token := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, err)
			<-store.called

			const connections = 256
			var inside atomic.Int64
			all := make(chan struct{})
			s := httptest.NewServer(tokenauth.NewAuthenticator(m, anyUser, nil).Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/first" { // wait for all others: a request that another holds up would not come
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
							t.Errorf("%d, %v", status, err)
						}
					}
				})
			}
			clients.Wait()
			require.EqualValues(t, 1, store.calls.Load(), "writes of last use at a time")
			close(store.answer)
			require.NoError(t, m.Flush(ctx))
			require.NotZero(t, lastUse(t, store, token.ID))
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

// Q4: a flood of bad keys must cost nothing where the checksum tells, one question
// to the store where it does not, and no memory; good users are served meanwhile.
func TestQ4FloodOfBadKeys(t *testing.T) {
	eachIdleStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := &countedStore{Store: inner}
		m := newManager(store, nil)
		good, _ := issue(t, m, tokenauth.Spec{UserID: "u", Name: "laptop"})
		h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
		send := func(key string) int {
			w := loadtest.NewStatusOnly()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = []string{"Bearer " + key}
			h.ServeHTTP(w, r)
			return w.Status
		}
		n := shortOrLong(10_000, 1_000_000)
		if _, slow := inner.(*tokenauth.SQLStore); slow {
			n = shortOrLong(500, 1_000_000)
		}
		alone := loadtest.BombardFor(shortOrLong(time.Millisecond, time.Second), h, 2, []string{good}) // and what is kept for good is made
		t.Logf("good keys alone: %v", alone)
		for _, c := range []struct {
			name  string
			key   func() string
			finds int // for each
		}{
			{"a wrong checksum", func() string { return swapped(tokenauth.GenerateKey("acme"))[20] }, 0},
			{"another prefix", func() string { return tokenauth.GenerateKey("other") }, 0},
			{"well-formed", func() string { return tokenauth.GenerateKey("acme") }, 1},
		} {
			send(c.key()) // which may make what is kept for good
			before := loadtest.Heap()
			store.finds.Store(0)
			store.lists.Store(0)
			done, wrong := make(chan struct{}), 0
			go func() {
				defer close(done)
				for range n {
					if send(c.key()) != http.StatusUnauthorized {
						wrong++
					}
				}
			}()
			beside := loadtest.Bombard(h, 1, []string{good}, done)
			require.Zero(t, wrong, "of %s let in or not answered", c.name)
			require.Len(t, beside.Statuses, 1, "%v", beside.Statuses)
			require.Positive(t, beside.Statuses[http.StatusOK])
			require.EqualValues(t, n*c.finds+beside.Statuses[http.StatusOK], store.finds.Load(), c.name)
			require.Zero(t, store.lists.Load(), c.name)
			t.Logf("good keys beside %d of %s: %v", n, c.name, beside)
			if loadtest.Long() {
				beside = nil
				require.Less(t, loadtest.Heap(), before+max(uint64(n)*32, 512<<10), "not a digest is kept of %s", c.name)
			}
		}
		runtime.KeepAlive(h)
	})
}

// Q6: a user with many tokens must not pay for them at each request, which costs one
// question for a key. That the answer takes no scan is tested in integration/.
func TestQ6UserWithManyTokens(t *testing.T) {
	eachIdleStore(t, func(t *testing.T, inner tokenauth.Store) {
		store := &countedStore{Store: inner}
		keys := fillStore(t, store, shortOrLong(500, 100_000), func(_ int, token *tokenauth.Token) { token.UserID = "many" })
		m := newManager(store, &tokenauth.Options{TouchEvery: -1})
		for _, key := range keys[:100] {
			_, err := m.Authenticate(ctx, key)
			require.NoError(t, err)
		}
		require.EqualValues(t, 100, store.finds.Load())
		require.Zero(t, store.lists.Load())
	})
}

// Q7: a service is not closed while old tokens are deleted.
func TestQ7LookupsWhilePruning(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store tokenauth.Store) {
		const good = 50
		n := shortOrLong(1_200, 1_000_000) // more than one batch
		clock := newClock()
		keys := fillStore(t, store, good+n, func(i int, token *tokenauth.Token) {
			if i >= good {
				token.ExpiresAt = start.Add(time.Second)
			}
		})[:good]
		clock.Set(start.Add(time.Hour))
		m := tokenauth.New(store, "acme", &tokenauth.Options{Now: clock.Now, TouchEvery: 20 * time.Millisecond})
		h := tokenauth.NewAuthenticator(m, anyUser, nil).Require(whoami)
		done := make(chan struct{})
		pruned := 0
		var err error
		go func() {
			defer close(done)
			pruned, err = m.Prune(ctx, clock.Now())
		}()
		got := loadtest.Bombard(h, 2, keys, done)
		require.NoError(t, err)
		require.Equal(t, n, pruned)
		require.Len(t, got.Statuses, 1, "%v", got.Statuses)
		require.Positive(t, got.Statuses[http.StatusOK])
		left, err := m.List(ctx, tokenauth.Query{AllUsers: true, IncludeRevoked: true})
		require.NoError(t, err)
		require.Len(t, left, good)
		require.NoError(t, m.Flush(ctx))
		t.Log(got)
	})
}
