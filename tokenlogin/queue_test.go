package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// flood sends a junk login from elsewhere at each interval, until the test calls stop. Each login
// has another username and another address.
func (s *loginService) flood(t testing.TB, interval time.Duration) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		every := time.NewTicker(interval)
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-every.C:
				all.Go(func() {
					s.post(t, fmt.Sprintf("203.%d.%d.%d:1", i>>16&255, i>>8&255, i&255), fmt.Sprint("user", i), "wrong")
				})
			}
		}
	})
	return func() { close(done); all.Wait() }
}

// floodKnown makes logins with the right password from a known place, to some accounts of an
// attacker, each with five logins in flight, until the test calls stop.
func (s *loginService) floodKnown(t testing.TB, accounts int) (stop func()) {
	const place = "203.0.113.9:1"
	var done atomic.Bool
	var all sync.WaitGroup
	for i := range accounts {
		username := fmt.Sprint("user9999", i)
		require.Equal(t, http.StatusOK, s.post(t, place, username, "right").Code)
		for range 5 {
			all.Go(func() {
				for !done.Load() {
					s.post(t, place, username, "right")
				}
			})
		}
	}
	return func() { done.Store(true); all.Wait() }
}

// newSlowService returns a service with one processor for checks, of which each takes 300 ms.
func newSlowService(t testing.TB) *loginService {
	t.Helper()
	throttle := tokenlogin.NewThrottle()
	tokenlogin.SetChecks(throttle, 1)
	s := newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, &tokenlogin.Options{Throttle: throttle})
	s.slow = 300 * time.Millisecond
	return s
}

// Junk logins from everywhere must not keep a user from signing in at a known place: the user waits
// at most for the check that already runs. The service can check three passwords per second and
// gets 25.
// Case L6.
func TestJunkDoesNotDelayKnownPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSlowService(t)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		stop := s.flood(t, time.Second/25)
		time.Sleep(10 * time.Second) // until attempts from other places get 503
		require.Equal(t, http.StatusServiceUnavailable, s.post(t, elsewhere, "bob", "right").Code)
		for range 40 {
			begin := time.Now()
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
			require.LessOrEqual(t, time.Since(begin), 2*s.slow, "the check that already runs, and the user's own")
			time.Sleep(1370 * time.Millisecond)
		}
		stop()
	})
}

// An attacker with accounts and right passwords is at known places too. Such an attacker must not
// keep users from signing in, neither at known places nor at new ones. The service can check three
// passwords per second. The attacker has 25 logins in flight, and sends some junk.
// Case L6.
func TestAccountsOfAttackerDoNotStarveUsers(t *testing.T) {
	for _, accounts := range []int{1, 5} {
		t.Run(fmt.Sprint(accounts), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSlowService(t)
				require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
				defer s.floodKnown(t, accounts)()
				defer s.flood(t, 4*time.Second)()
				time.Sleep(10*time.Second + time.Millisecond)
				for i := range 20 {
					begin := time.Now()
					require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
					require.LessOrEqual(t, time.Since(begin), time.Duration(accounts+4)*s.slow, "at most one check per account of the attacker")
					begin = time.Now()
					require.Equal(t, http.StatusOK, s.post(t, elsewhere, fmt.Sprint("user", 8000+i), "right").Code)
					require.LessOrEqual(t, time.Since(begin), 12*s.slow, "each fifth check is for other places")
				}
			})
		})
	}
}

// orderOf lets users log in at a known place, each when the previous one runs or waits. It returns
// their names in the order in which the logins succeed.
func (s *loginService) orderOf(t *testing.T, usernames ...string) (order []string) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, username := range usernames {
		all.Go(func() {
			require.Equal(t, http.StatusOK, s.post(t, home, username, "right").Code)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, username)
		})
		synctest.Wait()
	}
	all.Wait()
	return order
}

// While other attempts wait, at most four checks of known places run in a row. Of an account at a
// known place, only one attempt waits for a check.
// Case L8.
func TestOtherCheckRunsAfterFourKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSlowService(t)
		for i := range 6 {
			require.Equal(t, http.StatusOK, s.post(t, home, fmt.Sprint("user", i), "right").Code)
		}
		order := s.orderOf(t, "ada", "bob", "user8", "user0", "user0", "user1", "user2", "user3", "user4", "user5") // ada finds a free processor
		require.Equal(t, []string{"ada", "user0", "user1", "user2", "user3", "bob", "user4", "user5", "user0", "user8"}, order)
	})
}

// Attempts from known places wait for each other in the order of their arrival, and after them the
// other attempts, in that order too.
// Case L8.
func TestKnownPlacesAreServedFirstInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSlowService(t)
		for i := range 3 {
			require.Equal(t, http.StatusOK, s.post(t, home, fmt.Sprint("user", i), "right").Code)
		}
		order := s.orderOf(t, "user8", "user9", "user7", "user2", "user6", "user0", "user1") // user8 finds a free processor
		require.Equal(t, []string{"user8", "user2", "user0", "user1", "user9", "user7", "user6"}, order)
	})
}

// An attempt that ends while it waits must leave the queue, whether or not its place is known.
// Otherwise a processor would wait for it for ever.
// Case L8.
func TestEndedAttemptLeavesQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSlowService(t)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		for range 3 {
			var all sync.WaitGroup
			all.Go(func() { s.post(t, elsewhere, "bob", "right") })
			synctest.Wait()
			ctx, disconnect := context.WithCancel(t.Context())
			for _, address := range []string{home, elsewhere} {
				all.Go(func() { apitest.Do(t, s.mux, loginRequest(address, "ada", "right").WithContext(ctx)) })
			}
			synctest.Wait()
			disconnect()
			all.Wait()
			begin := time.Now()
			require.Equal(t, http.StatusOK, s.post(t, elsewhere, "bob", "right").Code)
			require.Equal(t, s.slow, time.Since(begin))
		}
	})
}

// A lateContext ends as soon as a queue waits for its end. Directly before, it calls leave, so that
// the turn of the waiting attempt comes at the same time.
type lateContext struct {
	context.Context
	leave func()
}

func (c lateContext) Done() <-chan struct{} {
	c.leave()
	ended := make(chan struct{})
	close(ended)
	return ended
}

func (lateContext) Err() error { return context.Canceled }

// If the turn of an attempt comes at the same time as the end of its client, another attempt must
// get the turn. Otherwise a processor would wait for it for ever.
// Case L8.
func TestTurnOfEndedAttemptIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := tokenlogin.NewQueue()
		taken := map[bool]int{}
		for range 100 {
			require.NoError(t, q.Enter(t.Context(), false))
			err := q.Enter(lateContext{context.Background(), q.Leave}, true)
			taken[err == nil]++
			if err == nil {
				q.Leave()
			}
		}
		require.Len(t, taken, 2, "both must happen: %v", taken)
		require.NoError(t, q.Enter(t.Context(), false))
	})
}

// If attempts get 503 because others wait too, OnError must receive no error. Otherwise junk logins
// would fill the log. It still receives the errors of the service.
// Case L8.
func TestBusyEndpointIsNotLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logged, busy atomic.Int64
		throttle := tokenlogin.NewThrottle()
		tokenlogin.SetChecks(throttle, 1)
		s := newLoginService(t, nil, &tokenlogin.Options{Throttle: throttle, OnError: func(*http.Request, error) { logged.Add(1) }})
		s.slow = 10 * time.Second
		var all sync.WaitGroup
		for range 8 { // four attempts wait for a check, and three wait for their account
			all.Go(func() {
				w := s.post(t, elsewhere, "ada", "right")
				if w.Code != http.StatusOK {
					require.Equal(t, http.StatusServiceUnavailable, w.Code)
					retryAfter(t, w)
					busy.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 7, busy.Load())
		require.Zero(t, logged.Load())
		s.check = func() error { return errInternal }
		require.Equal(t, http.StatusServiceUnavailable, s.post(t, home, "ada", "right").Code)
		require.EqualValues(t, 1, logged.Load())
	})
}
