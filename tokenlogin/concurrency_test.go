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
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// No attempt may have to wait before its address has had 20 failures, although others fail at the
// same time. Otherwise people who share an address are refused when a few of them mistype.
// Case L3.
func TestConcurrentFailuresCauseNoEarlyWait(t *testing.T) {
	t.Parallel()
	throttle := tokenlogin.NewThrottle()
	tokenlogin.SetChecks(throttle, 19)
	for round := range 500 {
		var statuses [19]int
		var all sync.WaitGroup
		for i := range statuses {
			all.Go(func() {
				statuses[i] = throttle.Fail(t.Context(), fmt.Sprint("user ", i, " of ", round), fmt.Sprint("address ", round))
			})
		}
		all.Wait()
		for _, status := range statuses {
			require.Equal(t, http.StatusBadRequest, status)
		}
	}
}

// postConcurrently sends n concurrent login attempts on an account. It returns the number of
// responses by status. If address is empty, each attempt comes from a different address.
func (s *loginService) postConcurrently(t testing.TB, n int, address, username, password string) map[int]int {
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
// one address, for many addresses, and after a few failures.
// Case L7.
func TestConcurrentRightPasswordsSucceed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 100 * time.Millisecond
		require.Equal(t, map[int]int{200: 12}, s.postConcurrently(t, 12, home, "ada", "right"))
		require.Equal(t, map[int]int{200: 12}, s.postConcurrently(t, 12, "", "bob", "right"))
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "ada", "wrong").Code)
		}
		require.Equal(t, map[int]int{429: 3}, s.postConcurrently(t, 3, elsewhere, "ada", "right"), "attempts during the wait get 429")
		time.Sleep(time.Second)
		require.Equal(t, map[int]int{200: 12}, s.postConcurrently(t, 12, elsewhere, "ada", "right"), "all concurrent logins after the wait succeed")
	})
}

// Many users can sign in concurrently from one address.
// Case L7.
func TestConcurrentUsersOfOneAddressSucceed(t *testing.T) {
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
func TestConcurrencyAllowsNoMoreGuesses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 10 * time.Millisecond
		require.Equal(t, map[int]int{400: 5, 429: 45}, s.postConcurrently(t, 50, "", "ada", "wrong"))
		require.EqualValues(t, 5, s.checks.Load())
		for _, wait := range []time.Duration{1, 2, 4} {
			time.Sleep(wait * time.Second)
			require.Equal(t, map[int]int{400: 1, 429: 49}, s.postConcurrently(t, 50, "", "ada", "wrong"), wait)
		}
		for range 3 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "bob", "wrong").Code)
		}
		require.Equal(t, map[int]int{400: 2, 429: 48}, s.postConcurrently(t, 50, "", "bob", "wrong"))
		require.EqualValues(t, 5+3+5, s.checks.Load())
	})
}

// An attempt waits at most five seconds for other attempts, and only until its client disconnects.
// An attempt that ends while it waits does not count as a failure.
// Case L8.
func TestAttemptWaitsAtMostFiveSeconds(t *testing.T) {
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
		require.Equal(t, map[int]int{400: 5, 429: 5}, s.postConcurrently(t, 10, elsewhere, "ada", "wrong"), "attempts that ended while they waited are not failures")
	})
}

// If a client disconnects before the check of its password begins, the attempt is not a failure.
// Otherwise a client with a short timeout would lock its user out.
// Case L8.
func TestDisconnectBeforeCheckIsNoFailure(t *testing.T) {
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

// A success must not end the wait that concurrent failures from its address have caused.
// Case L7.
func TestSuccessKeepsConcurrentFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for i := range 19 {
			s.post(t, home, fmt.Sprint("user", i), "wrong")
		}
		s.check = func() error { time.Sleep(3 * time.Second); return nil }
		var all sync.WaitGroup
		all.Go(func() { s.post(t, home, "ada", "right") }) // a running attempt that may become the 20th failure
		synctest.Wait()
		s.check = func() error { return nil }
		time.Sleep(1500 * time.Millisecond)
		all.Go(func() { s.post(t, home, "user20", "wrong") }) // the 20th failure, because ada's attempt succeeds later
		time.Sleep(1501 * time.Millisecond)
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "user21", "wrong").Code)
		all.Wait()
	})
}

// Hashing a password occupies a processor, so only a few checks run concurrently. Handlers that
// share a Throttle share this limit. No attempt waits longer than five seconds for other attempts.
// Case L8.
func TestConcurrentChecksAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opts := &tokenlogin.Options{Throttle: tokenlogin.NewThrottle()}
		both := []*loginService{newLoginService(t, nil, opts), newLoginService(t, nil, opts)}
		begin := time.Now()
		var mu sync.Mutex
		running, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
			most = max(most, running)
		}
		for _, s := range both {
			s.slow = 100 * time.Millisecond
			s.check = func() error {
				count(1)
				time.Sleep(s.slow)
				count(-1)
				return nil
			}
		}
		statuses := map[int]int{}
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				w := both[i%2].post(t, fmt.Sprintf("203.0.%d.%d:1", i/256, i%256), fmt.Sprint("user", i), "right")
				mu.Lock()
				defer mu.Unlock()
				statuses[w.Code]++
			})
		}
		all.Wait()
		require.LessOrEqual(t, most, max(1, runtime.GOMAXPROCS(0)/2))
		require.Equal(t, 1000, statuses[http.StatusOK]+statuses[http.StatusServiceUnavailable], statuses)
		require.Positive(t, statuses[http.StatusOK])
		require.Less(t, time.Since(begin), 6*time.Second)
	})
}

// The endpoint counts concurrent guesses when they arrive. If it counted them when it responds, an
// attacker could send many guesses during one check.
// Case L8.
func TestConcurrentGuessesCountOnArrival(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 100 * time.Millisecond
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() { s.post(t, fmt.Sprintf("203.0.%d.%d:1", i/256, i%256), "ada", fmt.Sprint("guess", i)) })
		}
		all.Wait()
		require.EqualValues(t, 5, s.checks.Load())
	})
}
