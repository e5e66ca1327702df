package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// After a user has changed the password, every earlier session and token must be refused. Otherwise
// a thief keeps access.
func TestChangeOfPasswordEndsSessionsAndTokens(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t), "-cache", "1h")
	thief, b := p.signedIn(t, demoName, testPassword), p.signedIn(t, demoName, testPassword)
	require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)

	got := b.post(passwordPath, url.Values{"current": {testPassword}, "new": {"a new password of ada"}})
	require.Equal(t, http.StatusSeeOther, got.StatusCode)
	require.Equal(t, signInPath, got.Header.Get("Location"))
	require.Equal(t, http.StatusUnauthorized, p.do(t, "GET", "/me", p.Key, "").StatusCode)
	for _, other := range []*browser{thief, b} {
		require.Equal(t, signInPath, other.get(accountPath).Header.Get("Location"))
	}
	require.Equal(t, http.StatusBadRequest, b.post(signInPath, url.Values{"username": {demoName}, "password": {testPassword}}).StatusCode)
	p.signedIn(t, demoName, "a new password of ada")
}

// The service must change nothing unless the form has the current password and a new password that
// is long enough. A thief of the session must not be able to guess the password with the form.
func TestPasswordFormRefusesBadForms(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the responses to wrong passwords")
	}
	t.Parallel()
	p := start(t, sqlite.File(t))
	b := p.signedIn(t, demoName, testPassword)
	const next = "a new password of ada"
	for _, tt := range []struct {
		name string
		form url.Values
		want int
		text string
	}{
		{"short password", url.Values{"current": {testPassword}, "new": {strings.Repeat("ä", minPassword-1)}}, 400, shortPassword},
		{"no password", nil, 400, shortPassword},
		{"wrong current password", url.Values{"current": {"guess"}, "new": {next}}, 400, wrongSignIn},
		{"no current password", url.Values{"new": {next}}, 400, wrongSignIn},
		{"two current passwords", url.Values{"current": {"guess", testPassword}, "new": {next}}, 400, wrongSignIn},
		{"large form", url.Values{"current": {testPassword}, "new": {strings.Repeat("x", maxBody)}}, 400, badForm},
	} {
		got := b.post(passwordPath, tt.form)
		require.Equal(t, tt.want, got.StatusCode, tt.name)
		require.Contains(t, got.Text, tt.text, tt.name)
	}
	require.Equal(t, http.StatusOK, b.get("/").StatusCode, "the session must continue")
	require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)
	var guesses sync.WaitGroup
	for range 5 { // concurrently, because each failure takes a quarter of a second
		guesses.Go(func() { b.post(passwordPath, url.Values{"current": {"guess"}, "new": {next}}) })
	}
	guesses.Wait()
	// The first wait takes a second, which may be too short on a busy machine. Each guess after a wait
	// doubles the next wait, so that the last one takes four seconds.
	for range 2 {
		fixture.Await(t, "a guess after the wait", func() bool {
			guess := b.post(passwordPath, url.Values{"current": {"guess"}, "new": {next}})
			return guess.StatusCode != http.StatusTooManyRequests
		})
	}
	got := b.post(passwordPath, url.Values{"current": {testPassword}, "new": {next}})
	require.Equal(t, http.StatusTooManyRequests, got.StatusCode)
	require.Contains(t, got.Text, tooOften)
}

// The owner and a thief change the password concurrently. The thief's change must not replace the
// owner's password.
func TestConcurrentChangeOfPasswordIsRefused(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t)
	stored := must.Get(hashPassword(testPassword))
	ada := must.Get(s.users.save(t.Context(), demoName, stored, false))
	key, _, err := s.sessions.manager.Issue(t.Context(), tokenauth.Spec{UserID: ada.tokenID(), Name: "thief"})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	check := s.signIn
	s.signIn = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check.ServeHTTP(w, r)
		require.True(t, must.Get(s.users.changePassword(t.Context(), ada.tokenID(), stored, "the owner's")))
	})
	form := url.Values{"current": {testPassword}, "new": {"a password of the thief"}}
	r, w := httptest.NewRequest("POST", passwordPath, strings.NewReader(form.Encode())), httptest.NewRecorder()
	r.Header.Set("Content-Type", asForm)
	r.Header.Set("Cookie", "session="+key.Reveal())
	must.Get(s.newHandler()).ServeHTTP(w, r)
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), passwordReplaced)
	require.Equal(t, "the owner's", must.Get(s.users.password(t.Context(), ada.tokenID())))
}

// A change must replace only the stored password that was checked. The stamp must change with the
// password. A user who was disabled in the meantime must get neither a new password nor a stamp.
func TestChangeOfPasswordReplacesOnlyCheckedPassword(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t)
	ada, err := s.users.save(t.Context(), demoName, "first", false)
	require.NoError(t, err)
	for _, c := range []struct {
		from, to string
		want     bool
	}{{"first", "second", true}, {"first", "third", false}, {"second", "third", true}} {
		changed, err := s.users.changePassword(t.Context(), ada.tokenID(), c.from, c.to)
		require.NoError(t, err)
		require.Equal(t, c.want, changed)
	}
	before, err := s.users.stamp(t.Context(), ada.tokenID())
	require.NoError(t, err)
	_, err = s.users.changePassword(t.Context(), ada.tokenID(), "third", "fourth")
	require.NoError(t, err)
	after, err := s.users.stamp(t.Context(), ada.tokenID())
	require.NoError(t, err)
	require.NotEqual(t, before, after)
	_, err = s.users.stamp(t.Context(), "404")
	require.ErrorIs(t, err, tokenauth.ErrNoUser)

	must.Get(s.users.db.ExecContext(t.Context(), "UPDATE users SET active = 0"))
	require.False(t, must.Get(s.users.changePassword(t.Context(), ada.tokenID(), "fourth", "fifth")))
	_, err = s.users.stamp(t.Context(), ada.tokenID())
	require.ErrorIs(t, err, tokenauth.ErrNoUser)
}

// open returns a service with an empty database, and the stores of its tokens and sessions. The
// database does not wait for the disk.
func open(t *testing.T) (s service, tokens, sessions *tokenauth.SQLStore) {
	t.Helper()
	db, err := sql.Open("sqlite", strings.Replace(dataSource(sqlite.File(t)), "FULL", "OFF", 1))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), schema)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	tokens, sessions, err = openStores(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = tokens.Close(), sessions.Close() })
	s, _, err = build(db, tokens, sessions, config{touch: -1}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s, tokens, sessions
}

// An attacker continuously creates sessions and tokens of a user. The attacker uses the login
// endpoint and the sign-in page with the previous password, and a token that creates tokens.
type attacker struct {
	handler  http.Handler
	username string
	made     [3]atomic.Int64 // number of created tokens and sessions, by the way in which they were created
}

// post sends a request and returns the status of the response.
func (a *attacker) post(path, key, body string) int {
	r, w := httptest.NewRequest("POST", path, strings.NewReader(body)), httptest.NewRecorder()
	r.RemoteAddr = "127.0.0.1:1" // the throttle ignores loopback addresses
	r.Header.Set("Content-Type", asForm)
	if key != "" {
		r.Header.Set("Content-Type", asJSON)
		r.Header.Set("Authorization", "Bearer "+key)
	}
	a.handler.ServeHTTP(w, r)
	return w.Code
}

// run attacks until stop is closed or the service refuses the password. It returns when all
// requests have ended.
func (a *attacker) run(key string, stop <-chan struct{}) {
	login := url.Values{"username": {a.username}, "password": {testPassword}}.Encode()
	ways := []func(n int) int{
		func(int) int { return a.post("/api/login", "", login) },
		func(int) int { return a.post(signInPath, "", login) },
		func(n int) int { return a.post("/api/tokens", key, fmt.Sprintf(`{"name":"%d"}`, n)) },
	}
	var all sync.WaitGroup
	for i, way := range ways {
		all.Go(func() {
			for n := range 40 { // a user may have 100 tokens
				select {
				case <-stop:
					return
				default:
				}
				switch status := way(n); {
				case status < 400:
					a.made[i].Add(1)
				case status != http.StatusServiceUnavailable: // SQLite may not lock in time, as below
					return // a refusal of a login takes a quarter of a second
				}
			}
		})
	}
	all.Wait()
}

// After a change of the password, an attacker who knows the previous password must have no session
// and no token. The test makes 50 changes while logins and token creations run concurrently. The
// service may also change the password and revoke all tokens in one transaction, if it revokes all
// tokens again after the commit.
func TestChangeOfPasswordRevokesConcurrentLogins(t *testing.T) {
	if testing.Short() {
		t.Skip("changes passwords for seconds")
	}
	t.Parallel()
	for name, inTransaction := range map[string]bool{"commit, then RevokeAll": false, "one transaction, then RevokeAll": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tokens, sessions := open(t)
			handler := must.Get(s.newHandler())
			leak.Default.Secret(testPassword)
			previous := must.Get(hashPasswordWith(20_000, testPassword))
			next := must.Get(hashPasswordWith(1000, "another password"))
			change := func(id string) {
				if inTransaction {
					changeInTransaction(t, s, tokens, sessions, id, next)
				} else {
					must.Get(s.users.changePassword(t.Context(), id, previous, next))
				}
				for s.revokeAll(t.Context(), id) != nil { // on a busy machine, SQLite may not lock in time
				}
			}
			var made [3]atomic.Int64
			var workers sync.WaitGroup
			for worker := range 5 {
				workers.Go(func() {
					for round := range 10 {
						a := &attacker{handler: handler, username: fmt.Sprintf("user%d.%d", worker, round)}
						id := must.Get(s.users.save(t.Context(), a.username, previous, false)).tokenID()
						a.attack(t, s, id, func() { change(id) })
						for _, store := range []tokenauth.Store{tokens, sessions} {
							require.Empty(t, must.Get(store.List(t.Context(), tokenauth.Query{UserID: id})))
						}
						for i := range made {
							made[i].Add(a.made[i].Load())
						}
					}
				})
			}
			workers.Wait()
			t.Logf("created by login %d, by page %d, by token %d", made[0].Load(), made[1].Load(), made[2].Load())
		})
	}
}

// attack calls change while an attacker uses the service.
func (a *attacker) attack(t *testing.T, s service, id string, change func()) {
	key, _, err := s.tokens.Issue(t.Context(), tokenauth.Spec{UserID: id, Name: "mint", Scopes: []string{scopeManage}})
	require.NoError(t, err)
	leak.Default.Secret(key.Reveal())
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); a.run(key.Reveal(), stop) }()
	defer func() { close(stop); <-done }()
	require.Eventually(t, func() bool {
		return a.made[0].Load() > 0 && a.made[1].Load() > 0 && a.made[2].Load() > 0
	}, patience, time.Millisecond)
	change()
}

// changeInTransaction changes the password and revokes all tokens and sessions in one transaction.
func changeInTransaction(t *testing.T, s service, tokens, sessions *tokenauth.SQLStore, id, password string) {
	t.Helper()
	tx, err := s.users.db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec("UPDATE users SET password = ? WHERE id = ?", password, id)
	require.NoError(t, err)
	_, err = s.tokens.WithStore(tokens.With(tx), nil).RevokeAll(t.Context(), id)
	require.NoError(t, err)
	_, err = s.sessions.manager.WithStore(sessions.With(tx), nil).RevokeAll(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
}
