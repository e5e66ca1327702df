package tokenlogin_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// An attacker who fails on purpose can make the user wait, but for at most an hour.
// Case L6.
func TestVictimCanSignInAfterWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for range 200 {
			if w := s.post(t, elsewhere, "ada", "wrong"); w.Code == http.StatusTooManyRequests {
				time.Sleep(retryAfter(t, w) / 2)
			}
		}
		w := s.post(t, home, "ada", "right")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.LessOrEqual(t, retryAfter(t, w), time.Hour)
		time.Sleep(retryAfter(t, w))
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "bob", "right").Code, "other users need not wait")
	})
}

// An attacker who fails from many addresses cannot lock a user out of the addresses from which the
// user has signed in.
// Case L6.
func TestVictimCanSignInFromKnownAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, nil)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		failures := 0
		for i := range 300 {
			w := s.post(t, fmt.Sprintf("203.0.%d.%d:1", i/256, i%256), "ada", "wrong")
			if w.Code == http.StatusBadRequest {
				failures++
				continue
			}
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "the user need not wait at a known address after %d failures at other addresses", failures)
			if failures == 100 {
				break
			}
			time.Sleep(retryAfter(t, w))
		}
		require.Equal(t, 100, failures, "a success at a known address must not reset the attacker's failures")
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "ada", "right").Code)

		// Guesses from a known address are limited too. The address is known only for the account
		// that signed in from it.
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "ada", "right").Code)
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "bob", "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "right").Code, "only ada signed in from home")
	})
}

// The failures at a known address must have a count of their own, which no username can name.
// Otherwise a stranger who fails with the username "ada192.0.2.1" could lock ada out at home.
// Case L6.
func TestUsernameCannotNameKnownAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, nil)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		address, _, err := net.SplitHostPort(home)
		require.NoError(t, err)
		for i, separator := range []string{"", " ", ":", "/", "@", "|", ",", "-"} {
			for range 5 {
				s.post(t, fmt.Sprintf("203.0.113.%d:1", i), "ada"+separator+address, "wrong")
			}
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "separator %q", separator)
		}
	})
}

// If requests have no address, the endpoint cannot distinguish the user from strangers. The user
// and strangers then share one count of failures.
// Case L6.
func TestMissingAddressIsNeverKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		const proxy = "127.0.0.1:1234"
		require.Equal(t, http.StatusOK, s.post(t, proxy, "ada", "right").Code)
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, proxy, "ada", "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "ada", "wrong").Code)
	})
}

// The endpoint knows the last eight addresses from which an account signed in.
// Case L6.
func TestLastEightAddressesAreKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, nil)
		for _, place := range []int{0, 1, 2, 3, 4, 5, 6, 7, 0, 8} { // the ninth different address displaces address 1, the oldest
			require.Equal(t, http.StatusOK, s.post(t, fmt.Sprintf("203.0.113.%d:1", place), "ada", "right").Code)
		}
		for range 5 {
			s.post(t, elsewhere, "ada", "wrong")
		}
		for place := range 9 {
			want := map[bool]int{true: http.StatusTooManyRequests, false: http.StatusOK}[place == 1]
			require.Equal(t, want, s.post(t, fmt.Sprintf("203.0.113.%d:1", place), "ada", "right").Code, place)
		}
	})
}
