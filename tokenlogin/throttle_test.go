package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

func retryAfter(t testing.TB, w *httptest.ResponseRecorder) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	return time.Duration(seconds) * time.Second
}

// An account is locked after 100 failures in a row, the maximum of NIST SP 800-63B-4 section 3.2.2.
// Case L2.
func TestAccountIsLockedAfterHundredFailures(t *testing.T) {
	for _, username := range []string{"ada", "nobody"} {
		t.Run(username, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newLoginService(t, nil, nil)
				failures, begin := 0, time.Now()
				var waits []time.Duration
				for failures < 100 { // each attempt comes from a new address, after the wait in Retry-After
					w := s.post(t, fmt.Sprintf("203.0.%d.%d:1", len(waits), failures), username, "wrong")
					if w.Code == http.StatusTooManyRequests {
						waits = append(waits, retryAfter(t, w))
						time.Sleep(waits[len(waits)-1])
						continue
					}
					require.Equal(t, http.StatusBadRequest, w.Code)
					failures++
				}
				require.Equal(t, 95, len(waits), "only the first five failures cause no wait")
				require.IsNonDecreasing(t, waits)
				require.Equal(t, time.Second, waits[0])
				require.Equal(t, time.Hour, waits[94])
				require.Greater(t, time.Since(begin), 3*24*time.Hour)
				require.EqualValues(t, 100, s.checks.Load(), "the password of an attempt that must wait is not checked")

				w := s.post(t, home, username, "wrong")
				require.Equal(t, http.StatusTooManyRequests, w.Code)
				w = s.post(t, home, strings.ToUpper(" "+username+" "), "wrong")
				require.Equal(t, http.StatusTooManyRequests, w.Code, "another spelling of the username is the same account")
				for range 29 {
					time.Sleep(24 * time.Hour)
					require.Equal(t, http.StatusTooManyRequests, s.post(t, home, username, "wrong").Code, "there is no 101st attempt within 30 days")
				}
				w = s.post(t, home, username, "wrong")
				time.Sleep(retryAfter(t, w))
				require.Equal(t, http.StatusBadRequest, s.post(t, home, username, "wrong").Code, "after 30 days, the count of failures starts at zero")
				require.Equal(t, http.StatusBadRequest, s.post(t, home, username, "wrong").Code)
			})
		})
	}
}

// Clients can forge headers such as X-Forwarded-For. The endpoint uses an address in a header only
// if Options.Address returns it.
// Case L4.
func TestForgedAddressesAreIgnored(t *testing.T) {
	// Each attempt has another forged address in its headers. A proxy appends the real address,
	// 198.51.100.7.
	attack := func(t *testing.T, s *loginService, peer string) int {
		for i := range 20 {
			s.post(t, peer, fmt.Sprint("user", i), "wrong", header{"X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 198.51.100.7", i)},
				header{"Forwarded", "for=203.0.113.9"}, header{"X-Real-IP", fmt.Sprint("203.0.113.", i)})
		}
		return s.post(t, peer, "ada", "right", header{"X-Forwarded-For", "198.51.100.7"}).Code
	}
	lastHop := &tokenlogin.Options{Address: func(r *http.Request) string {
		hops := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		return strings.TrimSpace(hops[len(hops)-1])
	}}
	unknown := &tokenlogin.Options{Address: func(*http.Request) string { return "" }}
	for name, c := range map[string]struct {
		opts   *tokenlogin.Options
		peer   string
		status int
	}{
		"direct":               {nil, home, 429},
		"direct, IPv6":         {nil, "[2001:db8::1]:1234", 429},
		"behind a proxy":       {lastHop, "10.1.2.3:1234", 429},
		"address not known":    {unknown, home, 200},
		"proxy on loopback":    {nil, "127.0.0.1:1234", 200}, // if loopback counted, one attacker could lock out all users
		"proxy on loopback, 6": {nil, "[::1]:1234", 200},
		"private proxy":        {nil, "10.1.2.3:1234", 200},
		"carrier-grade NAT":    {nil, "100.64.0.1:1234", 200},
		"last of its range":    {nil, "100.127.255.254:1234", 200},
		"next to its range":    {nil, "100.128.0.1:1234", 429},
		"private proxy, 4in6":  {nil, "[::ffff:192.168.0.1]:1234", 200},
		"link-local proxy":     {nil, "[fe80::1%eth0]:1234", 200},
		"client by NAT64":      {nil, "[64:ff9b::198.51.100.7]:1234", 429},
		"private by NAT64":     {nil, "[64:ff9b::10.0.0.1]:1234", 200},
		"proxy by Unix socket": {nil, "@", 200},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				require.Equal(t, c.status, attack(t, newLoginService(t, nil, c.opts), c.peer))
			})
		})
	}
}

// AddressOf removes the port and the zone of an address, and keeps only the /64 of an IPv6 address.
// If an IPv6 address embeds an IPv4 address, AddressOf returns the latter. Otherwise all clients of
// a NAT64 translator would share one count.
// Case L4.
func TestAddressOfReturnsCountedPart(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "2001:db8:1:2::ffff": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "fe80::1%eth0": "fe80::/64", "@": "@", "": "", "unknown": "unknown",
		"[64:ff9b::c000:201]:80": "192.0.2.1", "64:ff9b::192.0.2.2": "192.0.2.2", "64:ff9b::c000:201%eth0": "192.0.2.1",
		"64:ff9b:1::c000:201": "64:ff9b:1::/64", "64:ff9b::1:c000:201": "64:ff9b::/64",
	} {
		require.Equal(t, want, tokenlogin.AddressOf(given), given)
	}
}

// The Throttle limits attempts that arrive over a real network connection.
// Case L5.
func TestThrottleLimitsNetworkRequests(t *testing.T) {
	t.Parallel()
	s := newLoginService(t, nil, nil)
	server := httptest.NewServer(s.mux)
	defer server.Close()
	const attempts = 20
	statuses := make(chan int, attempts)
	for range attempts { // concurrently, because each failure takes a quarter of a second
		go func() {
			response, err := server.Client().PostForm(server.URL+"/api/login", url.Values{"username": {"ada"}, "password": {"wrong"}})
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			_ = response.Body.Close()
			statuses <- response.StatusCode
		}()
	}
	count := map[int]int{}
	for range attempts {
		count[<-statuses]++
	}
	require.Equal(t, attempts, count[http.StatusBadRequest]+count[http.StatusTooManyRequests], count)
	require.GreaterOrEqual(t, count[http.StatusBadRequest], 5, count)
	require.Positive(t, count[http.StatusTooManyRequests], count)
}

// Two handlers that share a Throttle allow no more guesses than one handler.
// Case L5.
func TestHandlersShareThrottle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opts := &tokenlogin.Options{Throttle: tokenlogin.NewThrottle()}
		form, api := newLoginService(t, nil, opts), newLoginService(t, nil, opts)
		for i := range 5 {
			s := []*loginService{form, api}[i%2]
			require.Equal(t, http.StatusBadRequest, s.post(t, elsewhere, "ada", "wrong").Code)
		}
		for _, s := range []*loginService{form, api} {
			require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "ada", "right").Code)
		}
		time.Sleep(time.Second)
		require.Equal(t, http.StatusOK, form.post(t, elsewhere, "ada", "right").Code)
		require.Equal(t, http.StatusOK, api.post(t, elsewhere, "ada", "right").Code, "a success at one handler resets the failures of the account at both handlers")
	})
}

// A success resets the failures of the account, but not the failures of the address.
// Case L7.
func TestSuccessResetsAccountButNotAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		for range 3 {
			for range 4 {
				require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
			}
			require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		}
		for range 4 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		}
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
		for range 4 {
			require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
		}
		// If a success reset the address, an attacker could reset it by signing in to an account of
		// the attacker's own.
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "bob", "right").Code)
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code, "home is a known place of ada")
	})
}

// If the service could not check a password, the attempt is not a failure. Therefore an outage
// locks no user out. If the client disconnects during the check, the attempt is a failure.
// Case L7.
func TestErrorOfCheckIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var logged []error
		s := newLoginService(t, nil, &tokenlogin.Options{OnError: func(_ *http.Request, err error) { logged = append(logged, err) }})
		s.check = func() error { return errInternal }
		for range 30 {
			w := s.post(t, home, "ada", "right")
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			retryAfter(t, w)
		}
		require.Len(t, logged, 30)
		require.ErrorIs(t, logged[0], errInternal)
		s.check = func() error { return nil }
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)

		s.Store.Fail(errInternal)
		require.Equal(t, http.StatusServiceUnavailable, s.post(t, home, "ada", "right").Code)
		s.Store.Fail(nil)

		for range 5 {
			ctx, disconnect := context.WithCancel(t.Context())
			s.check = func() error { disconnect(); return ctx.Err() }
			s.mux.ServeHTTP(httptest.NewRecorder(), loginRequest(home, "ada", "guess").WithContext(ctx))
		}
		s.check = func() error { return nil }
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "ada", "right").Code)
		require.Len(t, logged, 31, "OnError receives no error if a client disconnects")
	})
}

// If check panics, net/http receives the panic, and later logins still work.
// Case L7.
func TestLoginWorksAfterPanicInCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		s.check = func() error { panic("check") }
		for i := range 2 * runtime.GOMAXPROCS(0) {
			from := fmt.Sprintf("203.0.113.%d:1", i%256) // one address may fail twenty times
			require.Panics(t, func() { s.post(t, from, fmt.Sprint("user", i), "right") })
		}
		s.check = func() error { return nil }
		require.Equal(t, http.StatusOK, s.post(t, home, "ada", "right").Code)
	})
}

// A Throttle stores a limited number of accounts and addresses. Attempts on many other accounts do
// not displace the failures of an account under attack.
// Case L8.
func TestThrottleMemoryIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		tokenlogin.KeepAttempts(s.login, 50)
		for range 5 {
			s.post(t, elsewhere, "ada", "wrong")
		}
		for i := range 500 {
			s.post(t, fmt.Sprintf("203.0.%d.%d:1", i/256, i%256), fmt.Sprint("nobody", i), "wrong")
		}
		for i := range 60 {
			require.Equal(t, http.StatusOK, s.post(t, fmt.Sprintf("203.1.0.%d:1", i), fmt.Sprint("user", i), "right").Code)
		}
		for i := range 50 {
			s.post(t, fmt.Sprintf("203.2.0.%d:1", i), fmt.Sprint("nobody", i), "wrong")
		}
		require.Equal(t, []int{50, 50, 50}, tokenlogin.Attempts(s.login))
		s.post(t, home, "ada", "wrong")
		require.Equal(t, http.StatusTooManyRequests, s.post(t, home, "ada", "wrong").Code, "the Throttle still has five failures of the account under attack")
	})
}

// A full Throttle must keep the entries of running attempts, whose failures it counts at their end.
// Case L8.
func TestFullThrottleKeepsRunningAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		throttle := tokenlogin.NewThrottle()
		tokenlogin.SetChecks(throttle, 1000)
		s := newLoginService(t, nil, &tokenlogin.Options{Throttle: throttle})
		tokenlogin.KeepAttempts(s.login, 1)
		s.slow = time.Second
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { s.post(t, elsewhere, "ada", "wrong") })
		}
		synctest.Wait()
		for i := range 3 { // while the attempts of ada run
			s.post(t, home, fmt.Sprint("nobody", i), "wrong")
		}
		all.Wait()
		require.Equal(t, http.StatusTooManyRequests, s.post(t, elsewhere, "ada", "right").Code, "ada has five failures")
	})
}
