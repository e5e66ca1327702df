package tokenlogin_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// If the stamp refuses a login, the attempt must count as a failure, and its address must not
// become a known place. Otherwise a thief with the previous password would end the row of failures.
// Case L7.
func TestRefusedStampIsFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := tokenauthtest.New(t, nil)
		login := newLogin(k.Manager, func(_ context.Context, _, password string) (string, string, error) {
			return map[string]string{"old": "ada", "new": "ada"}[password], password, nil
		}, &tokenlogin.Options{Stamp: func(context.Context, string) (string, error) { return "new", nil }})
		post := func(password string) int { return apitest.Do(t, login, loginRequest(home, "ada", password)).Code }
		require.Equal(t, http.StatusBadRequest, post("wrong"))
		for range 4 {
			require.Equal(t, http.StatusBadRequest, post("old"))
		}
		require.Equal(t, http.StatusTooManyRequests, post("new"))
		require.Equal(t, []int{1, 1, 0}, tokenlogin.Attempts(login), "one account and one address with failures, no known place")
		time.Sleep(time.Second)
		require.Equal(t, http.StatusOK, post("new"))
		require.Equal(t, []int{0, 1, 1}, tokenlogin.Attempts(login))
	})
}

// If Stamp fails, nobody knows whether the password is right. The attempt is neither a failure nor
// a success.
// Case L7.
func TestUnreadableStampIsNoOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := tokenauthtest.New(t, nil)
		stamp := func() (string, error) { return "", errInternal }
		login := newLogin(k.Manager, func(_ context.Context, _, password string) (string, string, error) {
			return map[string]string{"right": "ada"}[password], "stamp", nil
		}, &tokenlogin.Options{Stamp: func(context.Context, string) (string, error) { return stamp() }})
		post := func(password string) int { return apitest.Do(t, login, loginRequest(home, "ada", password)).Code }
		for range 4 {
			require.Equal(t, http.StatusBadRequest, post("wrong"))
		}
		for range 6 {
			require.Equal(t, http.StatusServiceUnavailable, post("right"))
		}
		stamp = func() (string, error) { panic("stamp") }
		require.Panics(t, func() { post("right") })
		require.Equal(t, http.StatusBadRequest, post("wrong"), "the fifth failure, because the other attempts were none")
		require.Equal(t, http.StatusTooManyRequests, post("wrong"))
		require.Equal(t, []int{1, 1, 0}, tokenlogin.Attempts(login))
	})
}

// A right password ends the row of failures, even if the user already has a token with that name.
// However, only a whole login makes its place known.
// Case L7.
func TestTakenNameEndsRowOfFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, nil, nil)
		_, _, err := s.Manager.Issue(t.Context(), tokenauth.Spec{UserID: "ada's ID", Name: "phone"})
		require.NoError(t, err)
		for range 3 {
			for range 4 {
				require.Equal(t, http.StatusBadRequest, s.post(t, home, "ada", "wrong").Code)
			}
			r := apitest.NewRequest("POST", "/api/login", `{"username":"ada","password":"right","name":"phone"}`)
			r.RemoteAddr = home
			require.Equal(t, http.StatusConflict, apitest.Do(t, s.mux, r).Code)
		}
		require.Equal(t, []int{0, 1, 0}, tokenlogin.Attempts(s.login), "no known place")
	})
}

// A slow store must not occupy the turns of password checks.
// Case L8.
func TestIssueOccupiesNoCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSlowService(t)
		s.Store.Intercept(func(_ context.Context, method string, next func() error) error {
			if method == "Create" {
				time.Sleep(time.Minute)
			}
			return next()
		})
		var all sync.WaitGroup
		defer all.Wait()
		for i := range 10 {
			all.Go(func() { require.Equal(t, http.StatusOK, s.post(t, "", fmt.Sprint("user", i), "right").Code) })
		}
		time.Sleep(10*s.slow + time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 10, s.checks.Load())
	})
}

// An attacker must not learn that a guessed password is right without an event that tells the user.
// So the response to an invalid name, scope or expiry must not depend on the password. An invalid
// request is no guess, and its password is not checked.
// Case L1.
func TestInvalidRequestDoesNotRevealPassword(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newLoginService(t, &tokenauth.Options{Scopes: []string{"a"}, MaxTTL: time.Hour}, nil)
		noon := s.Clock.Now()
		responses := func(member string) []string {
			var bodies []string
			for _, password := range []string{"right", "wrong"} {
				s.Clock.Set(noon)
				w := send(t, s.mux, "POST", "/api/login", `{"username":"ada","password":"`+password+`",`+member+`}`)
				require.Equal(t, http.StatusBadRequest, w.Code, member)
				bodies = append(bodies, w.Body.String())
			}
			return bodies
		}
		for _, member := range []string{
			`"name":"a\u0000b"`, `"scopes":["b"]`, `"expires_at":"1999-01-01T00:00:00Z"`, `"expires_at":"2999-01-01T00:00:00Z"`, `"expires_at":null`,
		} {
			bodies := responses(member)
			require.Equal(t, bodies[0], bodies[1], member)
		}
		require.Zero(t, s.checks.Load())

		s.check = func() error { s.Clock.Set(noon.Add(time.Minute)); return nil }
		begin := time.Now()
		bodies := responses(`"expires_at":"` + noon.Add(time.Second).Format(time.RFC3339) + `"`)
		require.Equal(t, bodies[0], bodies[1], "the expiry has passed during the check")
		require.Equal(t, 500*time.Millisecond, time.Since(begin))
		require.EqualValues(t, 2, s.checks.Load())
		require.Equal(t, []int{1, 1, 0}, tokenlogin.Attempts(s.login), "both attempts count as failures")
	})
}
