package tokenapi_test

import (
	"fmt"
	"net/http"
	"testing"
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
