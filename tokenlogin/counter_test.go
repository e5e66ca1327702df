package tokenlogin_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An attempt from an address that must wait does not count as a failure of the account. The user
// can still sign in from another address.
// Case L3.
func TestAttemptOfWaitingAddressIsNoFailureOfAccount(t *testing.T) {
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
// all other users at that address wait, and old failures would never be forgotten.
// Case L7.
func TestSuccessDoesNotExtendWaitOfAddress(t *testing.T) {
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

// Each failure counts both for its account and for its address. The two counts are separate.
// Case L3.
func TestAccountsAndAddressesCountSeparately(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for i := range 20 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, fmt.Sprint("user", i), "wrong").Code)
		}
		w := s.post(t, home, "ada", "right")
		require.Equal(t, http.StatusTooManyRequests, w.Code, "failures on many accounts make their address wait")
		require.Equal(t, http.StatusOK, s.post(t, elsewhere, "ada", "right").Code)
		require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "user1", "wrong").Code, "one failure on the account causes no wait")

		time.Sleep(time.Second)
		for range 4 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "bob", "wrong").Code)
			w := s.post(t, home, "bob", "wrong")
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			time.Sleep(retryAfter(t, w))
		}
		require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "bob", "wrong").Code, "an attempt that must wait because of its address is no failure of the account")
	})
}

// Failures of an address no longer count after an hour. Failures of an account no longer count
// after 30 days.
// Case L3.
func TestFailuresAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for i := range 20 {
			s.post(t, home, fmt.Sprint("user", i%4), "wrong")
		}
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "wrong").Code)
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "user3", "wrong").Code)
		time.Sleep(time.Hour + time.Second)
		require.Equal(t, http.StatusBadRequest, s.post(t, home, "bob", "wrong").Code)
		require.Equal(t, http.StatusBadRequest, s.post(t, home, "bob", "wrong").Code)
		require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "user3", "wrong").Code)
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "user3", "wrong").Code)
		time.Sleep(31 * 24 * time.Hour)
		for range 5 {
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "user3", "wrong").Code)
		}
	})
}
