package tokenapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// An attacker makes the victim wait, but not for long, and not for ever.
func TestL6_AVictimCanSignInAfterTheWait(t *testing.T) {
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
		require.Equal(t, http.StatusOK, s.post(t, home, "bob", "right").Code, "others never noticed")
	})
}

// An attacker who never stops, from everywhere, keeps nobody out of where they
// signed in before.
func TestL6_AVictimCanSignInFromAKnownPlace(t *testing.T) {
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
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "at once, after %d failures", failures)
			if failures == 100 {
				break
			}
			time.Sleep(retryAfter(t, w))
		}
		require.Equal(t, 100, failures, "a success at home is no proof for the attacker")
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "ada", "right").Code)

		// Who knows the place may not guess for ever either, and it is one account's.
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

// Without an address a stranger can't be told from the user, and gets no row apart.
func TestL6_NoAddressIsNoPlace(t *testing.T) {
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

func TestL6_TheLastPlacesAreKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{MaxPerUser: -1}, nil)
		for _, place := range []int{0, 1, 2, 3, 4, 5, 6, 7, 0, 8} { // 1 is the one that is forgotten
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
