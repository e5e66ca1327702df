package tokenapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Who tries from an address that must wait does not make the account wait anew at
// addresses that need not.
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
		fail(home, "user30") // the address waits for minutes
		for range 7 {
			fail(elsewhere, "bob")
			time.Sleep(4 * time.Second)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, elsewhere, "bob", "right").Code)
	})
}

// What was no failure must leave no wait: else one who signs in at an address where some
// failed would make all others there wait again, and keep those failures from being
// forgotten.
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
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "the failures of an hour ago are forgotten")
	})
}

// postAtOnce sends n attempts on an account at once, each from another address if that is
// empty, and returns how often each status was answered.
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

// Whoever starts twelve programs with the right password must get in with each: attempts
// that still run are no failures. Neither at one address nor at many, nor after a few
// failures.
func TestL7_RightPasswordsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.slow = 100 * time.Millisecond
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, home, "ada", "right"))
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, "", "bob", "right"))
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "ada", "wrong").Code)
		}
		require.Equal(t, map[int]int{429: 3}, s.postAtOnce(t, 3, elsewhere, "ada", "right"), "in the wait")
		time.Sleep(time.Second)
		require.Equal(t, map[int]int{200: 12}, s.postAtOnce(t, 12, elsewhere, "ada", "right"), "after it")
	})
}

// An address that many share is no reason to refuse them either.
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

// Guesses at once must gain nothing: no more are checked than one after the other, on a
// new row, on one with failures, and on one whose wait is over.
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

// The wait for others is short, and ends for a client that is gone; neither counts.
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
		ctx, hangUp := context.WithCancel(t.Context())
		all.Go(func() {
			s.postWithin(ctx, t)
			require.Zero(t, time.Since(begin))
		})
		synctest.Wait()
		hangUp()
		synctest.Wait()
		w := s.post(t, home, "ada", "right")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		retryAfter(t, w)
		require.Equal(t, 5*time.Second, time.Since(begin))
		close(release)
		all.Wait()
		require.Equal(t, map[int]int{400: 5, 429: 5}, s.postAtOnce(t, 10, elsewhere, "ada", "wrong"), "the row is as at first")
	})
}

// Who hangs up while others' passwords are looked at has not failed: a client that is
// in a hurry must lock nobody out.
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
		ctx, hangUp := context.WithCancel(t.Context())
		for range 5 {
			all.Go(func() {
				s.postWithin(ctx, t)
			})
		}
		synctest.Wait()
		hangUp()
		synctest.Wait()
		close(release)
		all.Wait()
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		}
	})
}

// postWithin signs ada in, by a client that may hang up.
func (s *loginService) postWithin(ctx context.Context, t *testing.T) {
	t.Helper()
	r := httptest.NewRequest("POST", "/api/login", strings.NewReader(`{"username":"ada","password":"right"}`)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	sendRequest(t, s.mux, r)
}
