package main

import (
	"database/sql"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Only the right password of an active user may sign in. The page must not reveal which users
// exist.
// Case L1.
func TestSignInRequiresPassword(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	addUser(t, path, "gone", false)
	besideDB(t, path, "UPDATE users SET active = 0 WHERE name = 'gone'")
	tests := []struct {
		name, username, password string
		want                     int
	}{
		{"right", demoName, testPassword, http.StatusSeeOther},
		{"capital letters and spaces", " ADA ", testPassword, http.StatusSeeOther},
		{"wrong password", demoName, "not the password", http.StatusBadRequest},
		{"unknown user", "nobody", testPassword, http.StatusBadRequest},
		{"disabled user", "gone", testPassword, http.StatusBadRequest},
		{"no password", demoName, "", http.StatusBadRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := p.browser(t)
			got := b.post(signInPath, url.Values{"username": {tt.username}, "password": {tt.password}})
			require.Equal(t, tt.want, got.StatusCode)
			after := b.get("/")
			if tt.want != http.StatusSeeOther {
				require.Contains(t, got.Text, wrongSignIn)
				require.Empty(t, got.Cookies())
				require.Equal(t, signInPath, after.Header.Get("Location"))
				return
			}
			require.Equal(t, accountPath, got.Header.Get("Location"))
			require.Len(t, got.Cookies(), 1)
			cookie := got.Cookies()[0]
			require.True(t, cookie.HttpOnly)
			require.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
			require.False(t, cookie.Secure, "the browser would not send the cookie over plain HTTP")
			require.Equal(t, http.StatusOK, after.StatusCode)
			require.Contains(t, after.Text, "<bdi>ada</bdi>")
			require.Equal(t, accountPath, b.get(signInPath).Header.Get("Location"), "the sign-in page redirects a user who is signed in")
		})
	}
}

// besideDB executes a statement on the database while the program runs.
func besideDB(t *testing.T, path, statement string) {
	t.Helper()
	db, err := openDatabase(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// After failed attempts on the sign-in page, the login endpoint of the API must make the user wait
// too. Otherwise an attacker could guess twice as often.
// Cases L2, L5.
func TestSignInAndLoginShareThrottle(t *testing.T) {
	t.Parallel()
	p := start(t, sqlite.File(t))
	b := p.browser(t)
	guess := url.Values{"username": {demoName}, "password": {"guess again"}}
	var guesses sync.WaitGroup
	for range 5 { // concurrently, because each failure takes a quarter of a second
		guesses.Go(func() {
			response, err := http.PostForm(p.URL+signInPath, guess)
			if err != nil {
				t.Error(err)
				return
			}
			_ = response.Body.Close()
		})
	}
	guesses.Wait()
	atAPI := 0 // failed attempts at the API; after five, the API would wait even with a count of its own
	for range 20 {
		got := b.post(signInPath, guess)
		if got.StatusCode != http.StatusTooManyRequests {
			continue
		}
		require.NotEmpty(t, got.Header.Get("Retry-After"))
		require.Contains(t, got.Text, tooOften)
		if b.post("/api/login", guess).StatusCode == http.StatusTooManyRequests {
			return
		}
		atAPI++ // on a busy machine, the wait may have ended; the next wait is longer
		require.Less(t, atAPI, 5, "the API must not have a count of its own")
	}
	t.Fatal("25 attempts caused no wait")
}

// A session must be refused after its expiry, after the user has signed out or has signed in again,
// and after the user was disabled. A client must not be able to choose a later expiry in the
// sign-in form.
func TestEndedSessionIsRefused(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	forms := url.Values{"username": {demoName}, "password": {testPassword}, "expires_at": {time.Now().AddDate(1, 0, 0).Format(time.RFC3339)}}
	require.Equal(t, http.StatusBadRequest, p.browser(t).post(signInPath, forms).StatusCode)

	tests := []struct {
		name string
		end  func(*browser)
	}{
		{"signed out", func(b *browser) { require.Equal(t, signInPath, b.post("/sign-out", nil).Header.Get("Location")) }},
		{"expired", func(*browser) { besideDB(t, path, "UPDATE sessions SET expires_at = 1") }},
		{"signed in again", func(b *browser) {
			b.post(signInPath, url.Values{"username": {demoName}, "password": {testPassword}})
		}},
		{"user disabled", func(*browser) { besideDB(t, path, "UPDATE users SET active = 0") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := p.signedIn(t, demoName, testPassword)
			site, err := url.Parse(b.URL)
			require.NoError(t, err)
			cookies := b.client.Jar.Cookies(site)
			require.Len(t, cookies, 1)
			require.Equal(t, http.StatusOK, b.get(accountPath).StatusCode)
			tt.end(b)
			thief := p.browser(t)
			thief.client.Jar.SetCookies(site, cookies)
			require.Equal(t, signInPath, thief.get(accountPath).Header.Get("Location"))
			require.Equal(t, http.StatusUnauthorized, thief.get("/api/tokens").StatusCode)
		})
	}
}

// An attacker who reads the database must not get a session or a password.
func TestSessionIsStoredAsDigest(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	p.signedIn(t, demoName, testPassword)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var size int
	var left time.Duration
	require.NoError(t, db.QueryRow("SELECT length(digest), (expires_at - created_at) * 1000 FROM sessions").Scan(&size, &left))
	require.Equal(t, 32, size)
	require.Equal(t, sessionTime, left)
}

// The home page shows a command that sends a key to the service. If the browser uses TLS, the
// command must use TLS too, so that the key is not sent in clear text.
func TestHomePageCommandUsesScheme(t *testing.T) {
	t.Parallel()
	b := start(t, sqlite.File(t)).signedIn(t, demoName, testPassword)
	require.Contains(t, b.get("/").Text, b.URL+"/notes")
	behind := http.Header{"X-Forwarded-Proto": {"https"}, "Cookie": {"__Host-" + b.cookie()}}
	require.Contains(t, b.send("GET", "/", nil, behind, false).Text, strings.Replace(b.URL, "http:", "https:", 1)+"/notes")
}

// Staff must be able to find tokens by the name or the ID of a user. If the name of one user is the
// ID of another, the search must show the tokens of the first user and link to those of the second.
func TestStaffFindsUsersByName(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	p := start(t, path)
	b := p.signedIn(t, demoName, testPassword)
	b.create("laptop")
	for _, typed := range []string{demoName, b.userID()} {
		require.Contains(t, b.get(staffPath+"?search="+typed).Text, "<bdi>laptop</bdi>", typed)
	}
	require.Contains(t, b.get(staffPath+"?search=nobody").Text, "No user has this name or ID.")
	beside(t, path, func(s service) {
		_, err := s.users.find(must.Get(http.NewRequest("GET", staffPath, nil)), b.userID())
		require.ErrorIs(t, err, tokenauth.ErrNoUser, "the page itself finds users by ID")
	})

	addUser(t, path, b.userID(), false) // the name of the new user is the ID of ada
	got := b.get(staffPath + "?search=" + b.userID()).Text
	require.NotContains(t, got, "<bdi>laptop</bdi>")
	require.Contains(t, got, `href="./?user=`+b.userID()+`"`)
	require.Contains(t, b.get(staffPath+"?user="+b.userID()).Text, "<bdi>laptop</bdi>")
}

// A stored password must match only the right password. A malformed stored password must cause an
// error. Without an error, the user would read that the typed password is wrong.
func TestStoredPasswordMatchesOnlyItsPassword(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, fullIterations, 600_000)
	stored, err := hashPassword(testPassword)
	require.NoError(t, err)
	require.Regexp(t, `^pbkdf2-sha256\$1000\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, stored)
	again, err := hashPassword(testPassword)
	require.NoError(t, err)
	require.NotEqual(t, stored, again, "two stored forms of the same password must differ")

	for _, tt := range []struct {
		name, stored, password string
		matches, fails         bool
	}{
		{"right", stored, testPassword, true, false},
		{"wrong", stored, testPassword + " ", false, false},
		{"unknown user", nobodysPassword(), "", false, false},
		{"other iterations", strings.Replace(stored, "$1000$", "$1001$", 1), testPassword, false, false},
		{"another algorithm", "md5" + stored, testPassword, false, true},
		{"no iterations", strings.Replace(stored, "$1000$", "$many$", 1), testPassword, false, true},
		{"truncated", stored[:len(stored)-1] + "!", testPassword, false, true},
		{"empty", "", testPassword, false, true},
	} {
		matches, err := passwordMatches(tt.stored, tt.password)
		require.Equal(t, tt.matches, matches, tt.name)
		require.Equal(t, tt.fails, err != nil, tt.name)
	}
}

// The duration of a login must not reveal which users exist. Therefore the program must hash the
// password even for an unknown user. The limit in the test is far above the duration of a query,
// and far below the duration of a hash.
// Case L1.
func TestLoginHashesPasswordOfUnknownUser(t *testing.T) {
	iterations = 200_000
	t.Cleanup(func() { iterations = 1000 })
	beside(t, sqlite.File(t), func(s service) {
		begin := time.Now()
		id, _, err := s.users.checkPassword(t.Context(), "nobody", testPassword)
		require.NoError(t, err)
		require.Empty(t, id)
		require.Greater(t, time.Since(begin), 2*time.Millisecond)
	})
}
