package tokenlogin_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// newUnlockable returns a service and the Throttle of its endpoint.
func newUnlockable(t testing.TB) (*loginService, *tokenlogin.Throttle) {
	t.Helper()
	throttle := tokenlogin.NewThrottle()
	return newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, &tokenlogin.Options{Throttle: throttle}), throttle
}

// lock fails on an account until it is locked for 30 days.
func (s *loginService) lock(t testing.TB, address, username string) {
	t.Helper()
	for failures := 0; failures < 100; {
		w := s.post(t, address, username, "wrong")
		if w.Code == http.StatusTooManyRequests {
			time.Sleep(retryAfter(t, w))
			continue
		}
		require.Equal(t, http.StatusBadRequest, w.Code)
		failures++
	}
	time.Sleep(2 * time.Hour) // until the address need not wait
	require.Greater(t, retryAfter(t, s.post(t, address, username, "right")), 29*24*time.Hour)
}

// Staff must be able to end a lock. Otherwise strangers behind the proxy of the service can lock
// its users out for 30 days, again and again.
// Case L6.
func TestUnlockEndsLock(t *testing.T) {
	const proxy = "10.0.0.1:1" // all clients look alike
	for name, spelling := range map[string]string{"same": "ada", "other case": " ADA "} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, throttle := newUnlockable(t)
				s.lock(t, proxy, "ada")
				s.lock(t, proxy, "bob")
				throttle.Unlock(spelling)
				require.Equal(t, http.StatusOK, s.post(t, proxy, "ada", "right").Code)
				require.Equal(t, http.StatusTooManyRequests, s.post(t, proxy, "bob", "right").Code, "Unlock must not unlock other accounts")
			})
		})
	}
}

// Unlock must forget the failures at all places of the account, also at a place that was known when
// they were counted and no longer is.
// Case L6.
func TestUnlockForgetsFailuresAtAllPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, throttle := newUnlockable(t)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		s.lock(t, home, "ada")
		s.lock(t, elsewhere, "ada")
		require.Equal(t, http.StatusTooManyRequests, s.post(t, "203.0.113.1:1", "ada", "right").Code)
		throttle.Unlock("ada")
		for i := range 8 { // displace home
			require.Equal(t, http.StatusOK, s.post(t, fmt.Sprintf("203.0.113.%d:1", i), "ada", "right").Code)
		}
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "home is known again, without its failures")
		require.Equal(t, http.StatusOK, s.post(t, elsewhere, "ada", "right").Code)
	})
}

// Unlock must forget the known places of the account. Otherwise a thief who has signed in would
// keep the separate count and the priority of a known place.
// Case L6.
func TestUnlockForgetsKnownPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, throttle := newUnlockable(t)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "bob", "right").Code)
		throttle.Unlock(" ADA ")
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "ada", "wrong").Code)
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "bob", "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "ada", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "bob", "right").Code, "Unlock must not forget the places of other accounts")
	})
}

// Unlock does not end the wait of an address. Otherwise an attacker with an account could have the
// address unlocked.
// Case L3.
func TestUnlockKeepsWaitOfAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, throttle := newUnlockable(t)
		for i := range 20 {
			s.post(t, home, fmt.Sprint("user", i), "wrong")
		}
		throttle.Unlock("user0")
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "user0", "right").Code)
	})
}

// Unlock is safe while attempts run. An attempt that fails after Unlock counts as the first
// failure.
// Case L8.
func TestUnlockDuringAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, throttle := newUnlockable(t)
		s.slow = 100 * time.Millisecond
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { s.post(t, elsewhere, "ada", "wrong") })
			all.Go(func() { throttle.Unlock("ada") })
		}
		synctest.Wait()
		throttle.Unlock("ada")
		all.Wait()
		time.Sleep(time.Hour)
		throttle.Unlock("ada")
		require.Equal(t, http.StatusOK, s.post(t, elsewhere, "ada", "right").Code)
		require.Equal(t, []int{0, 1, 1}, tokenlogin.Attempts(s.login), "no attempt may count as running")
	})
}

// At a known place, a user need not wait because of the failures of other people at the same
// address, as behind the NAT of an office. The user's own failures still count for the address.
// Case L6.
func TestKnownPlaceNeedNotWaitForAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := newUnlockable(t)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		for i := range 20 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, fmt.Sprint("user", i), "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		require.Equal(t, time.Second, retryAfter(t, s.post(t, home, "bob", "right")))
		require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		require.Equal(t, 2*time.Second, retryAfter(t, s.post(t, home, "bob", "right")))
	})
}

// Strangers must not be able to make a user at a known place wait by attempts that run at the same
// time, neither on the same account nor from the same address.
// Case L6.
func TestKnownPlaceNeedNotWaitForRunningAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, throttle := newUnlockable(t)
		tokenlogin.SetChecks(throttle, 1000)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		s.slow = time.Second
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() { s.post(t, home, fmt.Sprint("user", i), "wrong") })
			all.Go(func() { s.post(t, elsewhere, "ada", "wrong") })
		}
		synctest.Wait()
		begin := time.Now()
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		require.Equal(t, s.slow, time.Since(begin))
		all.Wait()
	})
}

// Spellings that a database may accept for the same user must share one count of failures.
// Otherwise an attacker could guess more often.
// Case L2.
func TestSpellingsOfUsernameAreOneAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		spellings := []string{
			"ada\u017f", "ADAS", " adas ", "ad\u200bas", "\ufeffadas\u00ad", "adas\ufe0f", "a\u034fdas", "adas\u3164", "\u115fadas",
			"\u180badas", "adas\U000e0100", "ada\u200ds", "adas\u2028", "adas\u0600", "\u2800adas", "adas \u200b",
		}
		for _, username := range spellings[:5] {
			require.Equal(t, http.StatusBadRequest, s.post(t, "10.0.0.1:1", username, "wrong").Code)
		}
		for _, username := range spellings {
			require.Equal(t, http.StatusTooManyRequests, s.post(t, "10.0.0.1:1", username, "wrong").Code, "%q", username)
		}
	})
}
