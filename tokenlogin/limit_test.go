package tokenlogin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/apitest"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/tokenauthtest"
	"github.com/go-tokenauth/tokenauth/tokenlogin"
)

// user is the ID of the user ada.
const user = "ada's ID"

// acceptAda accepts each username and each password for the user ada.
func acceptAda(context.Context, string, string) (userID, stamp string, err error) {
	return user, "stamp", nil
}

// A limited is a login service whose users have at most MaxPerUser tokens.
type limited struct {
	*loginService
	events fixture.Recorder
}

// newLimited returns a service that replaces the oldest login at the limit.
func newLimited(t testing.TB, maxPerUser int) *limited {
	l := &limited{}
	l.loginService = newLoginService(t, &tokenauth.Options{MaxPerUser: maxPerUser, OnEvent: l.events.Record},
		&tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest})
	return l
}

// log sends a login of ada, one minute after the previous one, and returns the response.
func (l *limited) log(t testing.TB, name string) *httptest.ResponseRecorder {
	t.Helper()
	l.Clock.Advance(time.Minute)
	return l.post(t, home, "ada", "right", header{"User-Agent", name})
}

// issue issues a token of ada on behalf of an actor.
func (l *limited) issue(t testing.TB, by string, spec tokenauth.Spec) tokenauth.Token {
	t.Helper()
	l.Clock.Advance(time.Minute)
	spec.UserID = user
	_, token, err := l.Manager.Issue(tokenauth.ContextWithActor(t.Context(), by), spec)
	require.NoError(t, err)
	return token
}

// live returns the names of the live tokens of ada, oldest first.
func (l *limited) live(t testing.TB) []string {
	t.Helper()
	return namesOf(t, l.Manager)
}

func namesOf(t testing.TB, m *tokenauth.Manager) []string {
	t.Helper()
	tokens, err := m.List(t.Context(), tokenauth.Query{UserID: user})
	require.NoError(t, err)
	names := []string{}
	for i := range tokens {
		names = append(names, tokens[i].Name)
	}
	return names
}

// A job that logs in at each run must work for more than 100 runs, and the keys of its latest runs
// must work. By default, the endpoint refuses the 101st login, because it must not revoke a token
// that somebody uses.
func TestJobMayLogInAtEachRun(t *testing.T) {
	t.Parallel()
	for atLimit, want := range map[tokenlogin.AtLimit]int{tokenlogin.RefuseAtLimit: 100, tokenlogin.ReplaceOldest: 120} {
		s := newLoginService(t, nil, &tokenlogin.Options{AtLimit: atLimit})
		var keys []string
		for range 120 {
			s.Clock.Advance(time.Minute)
			w := s.post(t, home, "ada", "right", header{"User-Agent", "job"})
			if len(keys) < want {
				require.Equal(t, http.StatusOK, w.Code, w.Body)
				keys = append(keys, keyIn(w))
				continue
			}
			require.Equal(t, http.StatusConflict, w.Code)
			require.Empty(t, keyIn(w))
		}
		require.Len(t, keys, want)
		for i, key := range keys {
			_, err := s.Manager.Authenticate(t.Context(), key)
			require.Equal(t, i >= want-100, err == nil, "%d of %d", i, want)
		}
	}
}

// A login at the limit must end the oldest login of the same user, and nothing else: no token that
// the user has created on the page, and no login of another user. Events must tell what it did.
func TestLoginAtLimitRevokesOldestLogin(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 3)
	require.Equal(t, http.StatusOK, l.post(t, home, "bob", "right").Code)
	l.issue(t, "user:"+user, tokenauth.Spec{Name: "page"})
	first := decode[token](t, l.log(t, "app"))
	require.Equal(t, http.StatusOK, l.log(t, "app").Code)
	require.Equal(t, []string{"page", "app", "app (2)"}, l.live(t))
	l.events.Take()

	w := l.log(t, "app")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, []string{"page", "app (2)", "app"}, l.live(t), "the name of the revoked token is free")
	events := l.events.Take()
	require.Len(t, events, 2)
	require.Equal(t, tokenauth.EventRevoked, events[0].Kind)
	require.Equal(t, []string{user, first.ID, "login"}, []string{events[0].Token.UserID, events[0].Token.ID, events[0].By})
	require.Equal(t, 1, events[0].Count)
	require.Equal(t, tokenauth.EventIssued, events[1].Kind)
	require.Equal(t, "login", events[1].By)
	revoked, err := l.Manager.Get(t.Context(), user, first.ID)
	require.NoError(t, err)
	require.Equal(t, "login", revoked.RevokedBy)

	require.Equal(t, http.StatusOK, l.log(t, "other").Code)
	require.Equal(t, []string{"page", "app", "other"}, l.live(t))
	others, err := l.Manager.List(t.Context(), tokenauth.Query{UserID: "bob's ID"})
	require.NoError(t, err)
	require.Len(t, others, 1)
}

// A login must revoke no token if it creates none: if the password is wrong, or the name is taken.
// It must revoke no token of another origin, even if there is no other way to make room.
func TestRefusedLoginAtLimitRevokesNothing(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 2)
	require.Equal(t, http.StatusOK, l.log(t, "app").Code)
	l.issue(t, "token:A", tokenauth.Spec{Name: "phone"})
	require.Equal(t, http.StatusBadRequest, l.post(t, home, "ada", "wrong").Code)
	w := send(t, l.mux, "POST", "/api/login", `{"username":"ada","password":"right","name":"phone"}`)
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "#/name", field(t, w))
	require.Equal(t, []string{"app", "phone"}, l.live(t))

	l = newLimited(t, 4)
	for _, by := range []string{"user:" + user, "token:A", "Login", ""} { // "" as of an older version
		l.issue(t, by, tokenauth.Spec{Name: "by " + by})
	}
	l.events.Take()
	l.Store.ResetCalls()
	w = l.log(t, "app")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, []string{"List", "List", "List"}, l.Store.Calls(), "further attempts cannot succeed")
	require.Empty(t, keyIn(w))
	require.Len(t, l.live(t), 4)
	require.Empty(t, l.events.Take())
}

// An expired token makes room, whatever its origin. The login must then revoke no live login.
func TestExpiredTokenMakesRoomForLogin(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 2)
	require.Equal(t, http.StatusOK, l.log(t, "app").Code)
	l.issue(t, "user:"+user, tokenauth.Spec{Name: "expired", ExpiresAt: l.Clock.Now().Add(time.Hour)})
	l.Clock.Advance(time.Hour)
	require.Equal(t, http.StatusOK, l.log(t, "app").Code)
	require.Equal(t, []string{"app", "app (2)"}, l.live(t))
}

// A token from a time without a limit has no slot, so its revocation would make no room. After the
// service has lowered the limit, a login must not revoke an unlimited number of tokens.
func TestLoginAfterLimitWasLowered(t *testing.T) {
	t.Parallel()
	store := tokenauth.NewMemoryStore()
	clock := &tokenauthtest.Clock{}
	clock.Set(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	post := func(maxPerUser int) (int, []string) {
		m, err := tokenauth.New(store, "acme", &tokenauth.Options{MaxPerUser: maxPerUser, Now: clock.Now})
		require.NoError(t, err)
		clock.Advance(time.Minute)
		h := newLogin(m, acceptAda, &tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest})
		code := apitest.Do(t, h, loginRequest(home, "ada", "right", header{"User-Agent", "app"})).Code
		return code, namesOf(t, m)
	}
	for range 20 {
		code, _ := post(-1)
		require.Equal(t, http.StatusOK, code)
	}
	for range 18 {
		code, _ := post(18)
		require.Equal(t, http.StatusOK, code)
	}
	code, live := post(18)
	require.Equal(t, http.StatusOK, code)
	require.Len(t, live, 20+18)

	code, live = post(1)
	require.Equal(t, http.StatusConflict, code)
	require.Len(t, live, 20+2, "one login revokes at most 16 tokens")
	code, live = post(1)
	require.Equal(t, http.StatusOK, code)
	require.Len(t, live, 20+1)
}

// Concurrent logins at the limit, as in several processes, must succeed or be refused. They must
// never exceed the limit, and never revoke a token of another origin.
func TestConcurrentLoginsAtLimit(t *testing.T) {
	t.Parallel()
	for range 20 {
		l := newLimited(t, 6)
		l.issue(t, "user:42", tokenauth.Spec{Name: "page"})
		for range 5 {
			require.Equal(t, http.StatusOK, l.log(t, "app").Code)
		}
		var mu sync.Mutex
		statuses := map[int]int{}
		var all sync.WaitGroup
		for i := range 20 {
			h := newLogin(l.Manager, acceptAda, &tokenlogin.Options{AtLimit: tokenlogin.ReplaceOldest}) // with its own Throttle
			name := "app"
			if i%2 == 0 {
				name = fmt.Sprint("app of process ", i)
			}
			all.Go(func() {
				w := apitest.Do(t, h, loginRequest(home, "ada", "right", header{"User-Agent", name}))
				mu.Lock()
				defer mu.Unlock()
				statuses[w.Code]++
			})
		}
		all.Wait()
		require.Equal(t, 20, statuses[http.StatusOK]+statuses[http.StatusConflict], statuses)
		require.Positive(t, statuses[http.StatusOK])
		live := l.live(t)
		require.LessOrEqual(t, len(live), 6)
		require.Contains(t, live, "page")
	}
}

// If a concurrent Prune deletes the token, or another login takes the room, the login must try
// again. If the store fails, the response must say that a change may have been made.
func TestLoginAtLimitWithFailingStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		method string
		call   int // number of the call that returns err
		err    error
		want   int
	}{
		{"deleted", "Revoke", 1, tokenauth.ErrNotFound, http.StatusOK},
		{"unknown outcome", "Revoke", 1, io.ErrUnexpectedEOF, http.StatusServiceUnavailable},
		{"search fails", "List", 3, io.ErrUnexpectedEOF, http.StatusServiceUnavailable}, // after two calls by Issue
	} {
		l := newLimited(t, 1)
		require.Equal(t, http.StatusOK, l.log(t, "app").Code)
		l.Store.ResetCalls()
		l.Store.Intercept(func(_ context.Context, method string, next func() error) error {
			err := next()
			if err == nil && method == c.method && l.Store.Count(method) == c.call {
				return c.err
			}
			return err
		})
		w := l.log(t, "phone")
		require.Equal(t, c.want, w.Code, c.name)
		if c.want == http.StatusServiceUnavailable {
			require.Contains(t, w.Body.String(), "may have been made", c.name)
			require.Empty(t, w.Header().Get("Retry-After"), c.name)
			require.Empty(t, keyIn(w), c.name)
			require.Zero(t, l.Store.Count("Create"), c.name)
		}
	}
}

// If the password has changed during a login at the limit, the new token must not stay live. The
// replaced token stays revoked, like all tokens after a change of the password.
func TestChangedStampAtLimit(t *testing.T) {
	t.Parallel()
	stamp := "stamp"
	k := tokenauthtest.New(t, &tokenauth.Options{MaxPerUser: 1})
	h := newLogin(k.Manager, acceptAda, &tokenlogin.Options{
		AtLimit: tokenlogin.ReplaceOldest,
		Stamp:   func(context.Context, string) (string, error) { return stamp, nil },
	})
	post := func() int { return apitest.Do(t, h, loginRequest(home, "ada", "right")).Code }
	require.Equal(t, http.StatusOK, post())
	stamp = "changed"
	require.Equal(t, http.StatusBadRequest, post())
	require.Empty(t, namesOf(t, k.Manager))
}

// A token must tell that a login created it, even if a middleware has set another actor. Otherwise
// nobody can find the tokens that a thief of the password has created.
func TestLoginIsActor(t *testing.T) {
	t.Parallel()
	var events fixture.Recorder
	k := tokenauthtest.New(t, &tokenauth.Options{OnEvent: events.Record})
	stamp := "stamp"
	h := newLogin(k.Manager, acceptAda, &tokenlogin.Options{Stamp: func(context.Context, string) (string, error) { return stamp, nil }})
	post := func() *httptest.ResponseRecorder {
		return apitest.Do(t, h, loginRequest(home, "ada", "right").WithContext(tokenauth.ContextWithActor(t.Context(), "user:7")))
	}
	require.Equal(t, http.StatusOK, post().Code)
	stamp = "changed"
	require.Equal(t, http.StatusBadRequest, post().Code)
	all, err := k.Manager.List(t.Context(), tokenauth.Query{UserID: user, CreatedBy: "login", IncludeRevoked: true})
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, made := range all {
		require.Equal(t, !made.RevokedAt.IsZero(), made.RevokedBy == "login")
	}
	for _, e := range events.Take() {
		require.Equal(t, "login", e.By, e.Kind)
	}
}
