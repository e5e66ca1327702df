package tokenlogin_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// An account is the only account of a service. Its user ID is "42". Its stamp is the number of the
// changes of its password. It counts the calls of stamp.
type account struct {
	*tokenauthtest.Kit
	login  http.Handler
	events fixture.Recorder
	hash   time.Duration // duration of hashing a password

	mu       sync.Mutex
	password string
	changes  int
	looks    int
}

// newAccount returns an account with the password "old". If stamp is nil, the endpoint reads the
// stamp of the account.
func newAccount(t testing.TB, stamp func(context.Context, string) (string, error), onError func(*http.Request, error)) *account {
	t.Helper()
	a := &account{password: "old"}
	a.Kit = tokenauthtest.New(t, &tokenauth.Options{MaxPerUser: -1, OnEvent: a.events.Record})
	if stamp == nil {
		stamp = func(_ context.Context, userID string) (string, error) {
			require.Equal(t, "42", userID)
			_, changes := a.read()
			return changes, nil
		}
	}
	a.login = newLogin(a.Manager, a.check, &tokenlogin.Options{Stamp: stamp, OnError: onError})
	return a
}

func (a *account) read() (password, stamp string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	return a.password, "change " + strconv.Itoa(a.changes)
}

func (a *account) change(password string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.password = password
	a.changes++
}

func (a *account) check(_ context.Context, _, password string) (userID, stamp string, err error) {
	stored, stamp := a.read()
	time.Sleep(a.hash)
	if password != stored {
		return "", "", nil
	}
	return "42", stamp, nil
}

func (a *account) post(t testing.TB, password string) *httptest.ResponseRecorder {
	t.Helper()
	return apitest.Do(t, a.login, loginRequest("127.0.0.1:1", "ada", password))
}

// tokens returns all tokens of the user, and the number of live ones.
func (a *account) tokens(t testing.TB) (all []tokenauth.Token, live int) {
	t.Helper()
	all, err := a.Manager.List(context.Background(), tokenauth.Query{UserID: "42", IncludeRevoked: true})
	require.NoError(t, err)
	for i := range all {
		if all[i].RevokedAt.IsZero() {
			live++
		}
	}
	return all, live
}

// If the password changes while a login hashes the previous password, the login must not leave a
// live token. Otherwise a thief who knows the previous password keeps access after the user has
// changed it and the service has revoked all tokens. Logins run all the time, in 50 rounds.
func TestPreviousPasswordLeavesNoTokenAfterRevokeAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for range 50 {
			a := newAccount(t, nil, nil)
			a.hash = 300 * time.Millisecond
			stop := make(chan struct{})
			var thieves sync.WaitGroup
			for i := range 3 {
				thieves.Go(func() {
					time.Sleep(time.Duration(i) * 100 * time.Millisecond)
					for {
						select {
						case <-stop:
							return
						default:
							a.post(t, "old")
						}
					}
				})
			}
			time.Sleep(700 * time.Millisecond)
			_, live := a.tokens(t)
			require.Positive(t, live, "the previous password works before the change")
			a.change("new")
			_, err := a.Manager.RevokeAll(t.Context(), "42")
			require.NoError(t, err)
			time.Sleep(500 * time.Millisecond)
			close(stop)
			thieves.Wait()
			_, live = a.tokens(t)
			require.Zero(t, live)
		}
	})
}

// A client must not learn that its password was right until a moment ago, and must get no key.
func TestChangedStampIsRefusedLikeWrongPassword(t *testing.T) {
	for name, stamp := range map[string]func(context.Context, string) (string, error){
		"other stamp":      func(context.Context, string) (string, error) { return "change 1", nil },
		"no stamp":         func(context.Context, string) (string, error) { return "", nil },
		"no user":          func(context.Context, string) (string, error) { return "", tokenauth.ErrNoUser },
		"same, no user":    func(context.Context, string) (string, error) { return "change 0", tokenauth.ErrNoUser },
		"spelling differs": func(context.Context, string) (string, error) { return "Change 0", nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := newAccount(t, stamp, func(_ *http.Request, err error) { t.Error(err) })
				wrong := a.post(t, "wrong")
				begin := time.Now()
				w := a.post(t, "old")
				require.Equal(t, 250*time.Millisecond, time.Since(begin))
				require.Equal(t, http.StatusBadRequest, w.Code)
				require.Equal(t, wrong.Body.String(), w.Body.String())
				require.Equal(t, wrong.Header(), w.Header())
				all, live := a.tokens(t)
				require.Len(t, all, 1)
				require.Zero(t, live)
			})
		})
	}
}

// An unchanged stamp is read once, after the token is in the store. Otherwise a change of the
// password between the two would go unnoticed.
func TestStampIsReadAfterIssue(t *testing.T) {
	t.Parallel()
	var a *account
	a = newAccount(t, func(ctx context.Context, _ string) (string, error) {
		_, live := a.tokens(t)
		require.Equal(t, 1, live)
		_, limited := ctx.Deadline()
		require.True(t, limited)
		return "change 0", nil
	}, nil)
	w := a.post(t, "old")
	require.Equal(t, http.StatusOK, w.Code)
	_, err := a.Manager.Authenticate(t.Context(), keyIn(w))
	require.NoError(t, err)
}

// If the stamp cannot be read, the endpoint must fail closed: it returns no key and leaves no live
// token. A stamp function that hangs counts as failed after five seconds.
func TestUnreadableStampIs503(t *testing.T) {
	for name, stamp := range map[string]func(context.Context, string) (string, error){
		"error": func(context.Context, string) (string, error) { return "change 0", errInternal },
		"hangs": func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var logged []error
				a := newAccount(t, stamp, func(_ *http.Request, err error) { logged = append(logged, err) })
				begin := time.Now()
				w := a.post(t, "old")
				require.LessOrEqual(t, time.Since(begin), 5*time.Second)
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				retryAfter(t, w)
				require.Empty(t, keyIn(w))
				require.Len(t, logged, 1)
				_, live := a.tokens(t)
				require.Zero(t, live)
			})
		})
	}
}

// If Stamp panics, nobody gets the key, so the token must not stay live.
func TestPanicOfStampRevokesToken(t *testing.T) {
	t.Parallel()
	a := newAccount(t, func(context.Context, string) (string, error) { panic("stamp") }, nil)
	require.Panics(t, func() { a.login.ServeHTTP(httptest.NewRecorder(), loginRequest(home, "ada", "old")) })
	all, live := a.tokens(t)
	require.Len(t, all, 1)
	require.Zero(t, live)
}

// A client that disconnects must not keep the endpoint from revoking the token.
func TestDisconnectDoesNotPreventRevocation(t *testing.T) {
	t.Parallel()
	ctx, disconnect := context.WithCancel(t.Context())
	a := newAccount(t, func(ctx context.Context, _ string) (string, error) {
		disconnect()
		require.NoError(t, ctx.Err())
		return "change 1", nil
	}, nil)
	apitest.Do(t, a.login, loginRequest(home, "ada", "old").WithContext(ctx))
	all, live := a.tokens(t)
	require.Len(t, all, 1)
	require.Zero(t, live)
}

// If the endpoint cannot revoke the token, the response must say that the token may exist, OnError
// must receive both errors, and an event must name the token. Otherwise nobody would look for it.
func TestUnansweredRevocationIs503(t *testing.T) {
	t.Parallel()
	var logged []error
	a := newAccount(t, func(context.Context, string) (string, error) { return "", errInternal }, func(_ *http.Request, err error) { logged = append(logged, err) })
	a.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Revoke" {
			return io.ErrUnexpectedEOF
		}
		return next()
	})
	w := a.post(t, "old")
	all, _ := a.tokens(t)
	require.Len(t, all, 1)
	last := a.events.Take()[1]
	require.Equal(t, tokenauth.EventRevoked, last.Kind)
	require.Equal(t, all[0].ID, last.Token.ID)
	require.ErrorIs(t, last.Err, io.ErrUnexpectedEOF)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, w.Header().Get("Retry-After"), "each repetition might create one more token")
	require.Contains(t, w.Body.String(), "may have been made")
	require.Empty(t, keyIn(w))
	require.Len(t, logged, 1)
	require.ErrorIs(t, logged[0], errInternal)
	require.ErrorIs(t, logged[0], io.ErrUnexpectedEOF)
}

// If the user was deleted with all tokens during the login, there is nothing to revoke.
func TestUserDeletedDuringLoginIsRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t, func(context.Context, string) (string, error) { return "", tokenauth.ErrNoUser }, nil)
	a.Store.Intercept(func(_ context.Context, method string, next func() error) error {
		if method == "Revoke" {
			return tokenauth.ErrNotFound
		}
		return next()
	})
	require.Equal(t, http.StatusBadRequest, a.post(t, "old").Code)
}

// If the service forgets to return a stamp, the error must say so. The response must not say that
// the password is wrong.
func TestMissingStampIs503(t *testing.T) {
	t.Parallel()
	s := tokenauthtest.New(t, nil)
	var logged error
	h := newLogin(s.Manager, right, &tokenlogin.Options{
		Stamp:   func(context.Context, string) (string, error) { return "", nil },
		OnError: func(_ *http.Request, err error) { logged = err },
	})
	w := send(t, h, "POST", "/api/login", `{"username":"ada","password":"x"}`)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.ErrorContains(t, logged, "check returned no stamp")
	require.Empty(t, s.Store.Calls(), "no token was issued")
}

// A client that sends its body slowly must not delay the judgment of its password: the endpoint
// checks the password after it has read the body. Otherwise a thief could hold many logins open
// until the user has changed the password.
func TestPasswordIsCheckedAfterBodyIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := newAccount(t, nil, nil)
		body, send := io.Pipe()
		r := loginRequest(home, "ada", "")
		r.Body, r.ContentLength = body, -1
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() { defer close(done); a.login.ServeHTTP(w, r) }()
		_, _ = io.WriteString(send, `{"username":"ada","password":"old`)
		synctest.Wait()
		require.Zero(t, a.looks)
		a.change("new")
		_, _ = io.WriteString(send, `"}`)
		_ = send.Close()
		<-done
		require.Equal(t, http.StatusBadRequest, w.Code)
		all, _ := a.tokens(t)
		require.Empty(t, all)
	})
}
