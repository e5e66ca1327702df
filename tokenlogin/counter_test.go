package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
)

// An attempt from an address that must wait does not count as a failure of the account. The user
// can still sign in from another address. Case L3.
func TestL3_RefusalsOfAnAddressDelayNoAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		fail := func(address, username string) {
			w := s.post(t, address, username, "wrong")
			require.Equal(t, http.StatusBadRequest, w.Code)
		}
		for i := range 30 {
			fail(home, fmt.Sprint("user", i))
			time.Sleep(10 * time.Minute)
		}
		fail(home, "user30") // after this failure, the address must wait for minutes
		for range 7 {
			fail(elsewhere, "bob")
			time.Sleep(4 * time.Second)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, elsewhere, "bob", "right").Code)
	})
}

// A success must not extend the wait of its address. Otherwise the successes of one user would make
// all other users at that address wait, and old failures would never be forgotten. Case L7.
func TestL7_SuccessDelaysNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for i := range 30 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, fmt.Sprint("user", i), "wrong").Code)
			time.Sleep(5 * time.Minute)
		}
		for range 12 {
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
			require.Equal(t, http.StatusOK, s.post(t, home, "bob", "right").Code)
			time.Sleep(5 * time.Minute)
		}
		require.Equal(t, http.StatusBadRequest, s.post(t, home, "user30", "wrong").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "failures older than an hour no longer count")
	})
}

// postAtOnce sends n concurrent login attempts on an account. It returns the number of responses by
// status. If address is empty, each attempt comes from a different address.
func (s *loginService) postAtOnce(t testing.TB, n int, address, username, password string) map[int]int {
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range n {
		from := address
		if from == "" {
			from = fmt.Sprintf("203.0.113.%d:1", i)
		}
		all.Go(func() {
			w := s.post(t, from, username, password)
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	all.Wait()
	return statuses
}

// Twelve concurrent logins on one account with the right password must all succeed. This holds for
// one address, for many addresses, and after a few failures. Case L7.
func TestL7_RightPasswordsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 100 * time.Millisecond
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, home, "ada", "right"))
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, "", "bob", "right"))
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "ada", "wrong").Code)
		}
		require.Equal(t, map[int]int{429: 3}, s.postAtOnce(t, 3, elsewhere, "ada", "right"), "attempts during the wait get 429")
		time.Sleep(time.Second)
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, elsewhere, "ada", "right"), "all concurrent logins after the wait succeed")
	})
}

// Many users can sign in concurrently from one address. Case L7.
func TestL7_ManyUsersOfOneAddressAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				w := s.post(t, home, fmt.Sprint("user", i), "right")
				require.Equal(t, http.StatusOK, w.Code, w.Body)
			})
		}
		all.Wait()
	})
}

// The endpoint must check no more concurrent guesses than sequential guesses. Otherwise an attacker
// could try more passwords. This holds without failures, after some failures, and after a wait.
// Case L8.
func TestL8_NoMoreGuessesAtOnceThanInTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 10 * time.Millisecond
		require.Equal(t, map[int]int{400: 5, 429: 45}, s.postAtOnce(t, 50, "", "ada", "wrong"))
		require.EqualValues(t, 5, s.checks.Load())
		for _, wait := range []time.Duration{1, 2, 4} {
			time.Sleep(wait * time.Second)
			require.Equal(t, map[int]int{400: 1, 429: 49}, s.postAtOnce(t, 50, "", "ada", "wrong"), wait)
		}
		for range 3 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "bob", "wrong").Code)
		}
		require.Equal(t, map[int]int{400: 2, 429: 48}, s.postAtOnce(t, 50, "", "bob", "wrong"))
		require.EqualValues(t, 5+3+5, s.checks.Load())
	})
}

// An attempt waits at most five seconds for other attempts, and only until its client disconnects.
// An attempt that ends while it waits does not count as a failure. Case L8.
func TestL8_NobodyWaitsForOthersForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		release := make(chan struct{})
		s.check = func() error { <-release; return nil }
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { s.post(t, home, "ada", "right") })
		}
		synctest.Wait()
		begin := time.Now()
		ctx, disconnect := context.WithCancel(t.Context())
		all.Go(func() {
			s.postWithin(ctx, t)
			require.Zero(t, time.Since(begin))
		})
		synctest.Wait()
		disconnect()
		synctest.Wait()
		w := s.post(t, home, "ada", "right")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		retryAfter(t, w)
		require.Equal(t, 5*time.Second, time.Since(begin))
		close(release)
		all.Wait()
		require.Equal(t, map[int]int{400: 5, 429: 5}, s.postAtOnce(t, 10, elsewhere, "ada", "wrong"), "attempts that ended while they waited are not failures")
	})
}

// If a client disconnects before the check of its password begins, the attempt is not a failure.
// Otherwise a client with a short timeout would lock its user out. Case L8.
func TestL8_HangingUpBeforeTheCheckIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		release := make(chan struct{})
		s.check = func() error { <-release; return nil }
		var all sync.WaitGroup
		for i := range max(1, runtime.GOMAXPROCS(0)/2) {
			all.Go(func() { s.post(t, elsewhere, fmt.Sprint("user", i), "wrong") })
		}
		synctest.Wait()
		ctx, disconnect := context.WithCancel(t.Context())
		for range 5 {
			all.Go(func() {
				s.postWithin(ctx, t)
			})
		}
		synctest.Wait()
		disconnect()
		synctest.Wait()
		close(release)
		all.Wait()
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		}
	})
}

// postWithin sends a login of ada with the right password. The client disconnects when ctx is
// canceled.
func (s *loginService) postWithin(ctx context.Context, t *testing.T) {
	t.Helper()
	apitest.Do(t, s.mux, loginRequest(home, "ada", "right").WithContext(ctx))
}
