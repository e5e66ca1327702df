package browser

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// A person must be able to sign in, to create, use, rename, rotate and revoke a token, and to sign
// out. This must work with a mouse or a keyboard, on a phone, and without JavaScript.
func TestPersonManagesTokenInBrowser(t *testing.T) {
	needShared(t)
	tests := []struct {
		device
		width  int
		script bool
		long   bool // whether only a long run has this case
	}{
		// The first four cases contain each pair of device and width, of device and script, and of width
		// and script.
		{mouse{}, desk, true, false}, {mouse{}, phone, false, false},
		{keyboard{}, phone, true, false}, {keyboard{}, desk, false, false},
		{mouse{}, phone, true, true}, {mouse{}, desk, false, true},
		{keyboard{}, desk, true, true}, {keyboard{}, phone, false, true},
	}
	for _, tt := range tests {
		if tt.long && os.Getenv("TOKENAUTH_LONG") == "" {
			continue
		}
		t.Run(fmt.Sprintf("%T %d px, script %t", tt.device, tt.width, tt.script), func(t *testing.T) {
			t.Parallel()
			s := story{newTab(t, shared.site, tt.width, tt.script), tt.device, tt.script}
			s.signIn(shared.site.newUser(t, t.Name(), false))
			first := s.create()
			s.use(first)
			s.seeUse()
			s.rename(first)
			second := s.rotate("3600")
			require.Equal(t, []int{200, 200}, s.statuses(first, second), "within the grace")
			s.endGrace()
			require.Equal(t, []int{401, 200}, s.statuses(first, second), "after the grace")
			third := s.rotate("0")
			require.Equal(t, []int{401, 401, 200}, s.statuses(first, second, third), "without a grace")
			s.revoke(third)
			s.signOut()
		})
	}
}

// A server that stops must write the last-used times that are still in memory. Otherwise the page
// says that the token was never used.
func TestStopWritesLastUsedTime(t *testing.T) {
	needShared(t)
	t.Parallel()
	file := sqlite.File(t)
	before, err := startSite(file, "-seed-demo")
	require.NoError(t, err)
	u := before.newUser(t, "ben", false)
	b := signedIn(t, u)
	s := story{b, mouse{}, true}
	s.visit(list)
	key := s.create()
	s.use(key)
	require.NoError(t, before.stop())

	after, err := startSite(file)
	require.NoError(t, err)
	defer func() { require.NoError(t, after.stop()) }()
	b.site = after // the session continues, because cookies apply to all ports of a host
	b.visit(list)
	require.Regexp(t, `just now|\d+ minutes? ago`, b.text(".tp-token"), "time of creation")
	require.NotContains(t, b.text(".tp-token"), "Never")
}

type story struct {
	*tab
	device
	script bool
}

const (
	list   = "/account/tokens/"
	submit = "main form button[type=submit]"
	back   = "main .tp-buttons a"
)

// follow presses a link or a button that opens another page.
func (s story) follow(selector string) {
	s.t.Helper()
	s.load(s.press(selector))
}

func (s story) signIn(u user) {
	s.visit("/")
	require.Equal(s.t, "/sign-in", s.path())
	s.do(s.write("#username", u.name), s.write("#password", u.password))
	s.follow(submit)
	require.Equal(s.t, list, s.path())
}

func (s story) create() (key string) {
	require.Contains(s.t, s.text(".tp-empty"), "You have no live tokens")
	s.follow(".tp-empty a")
	s.do(
		s.write("#tp-name", "laptop"),
		s.choose("[name=scope][value='notes:read']"), s.choose("[name=scope][value='notes:write']"),
		s.choose("[name=expires][value='30']"),
	)
	s.follow(submit)
	key = s.key()
	require.Contains(s.t, s.text(".tp-alert"), "Copy the key now. You will not see it again.")
	if s.script {
		require.Equal(s.t, key, s.copy())
	} else {
		visible := eval[bool](s.tab, "document.querySelector('#tp-copy').checkVisibility()")
		require.False(s.t, visible, "without JavaScript, the button does nothing")
	}

	s.load(chromedp.Reload()) // sends the form again
	require.Equal(s.t, http.StatusConflict, s.status)
	require.NotContains(s.t, s.html(), key, "the server must show the key only once")
	s.follow(back)
	require.NotContains(s.t, s.html(), key)
	require.Equal(s.t, 1, s.count(".tp-token"), "the server must not create a second token")
	shown := s.text(".tp-token")
	for _, part := range []string{"laptop", "notes:read", "notes:write", "in 30 days", key[len(key)-4:], "Never"} {
		require.Contains(s.t, shown, part)
	}
	return key
}

// clipboard is locked by the test that uses the clipboard, which all tabs share.
var clipboard sync.Mutex

// copy presses the button that copies the key, and returns the content of the clipboard.
func (s story) copy() string {
	clipboard.Lock()
	defer clipboard.Unlock()
	s.do(s.press("#tp-copy"))
	const copied = "document.querySelector('#tp-copy-status').innerText === 'Copied'"
	_, err := chromedp.Run(s.ctx, chromedp.Poll[bool](copied, chromedp.WithPollingTimeout(patience)))
	require.NoError(s.t, err)
	c := chromedp.FromContext(s.ctx)
	_, err = cdp.Call(s.ctx, c.Browser, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "clipboard-read"}, Setting: browser.PermissionSettingGranted,
		Origin: s.url, BrowserContextID: c.BrowserContextID,
	})
	require.NoError(s.t, err)
	return eval[string](s.tab, "navigator.clipboard.readText()")
}

func (s story) use(key string) {
	_, me := s.call(s.t, "GET", "/me", key, "")
	require.Contains(s.t, me, `"token":{"name":"laptop","scopes":["notes:read","notes:write"]`)
	status, _ := s.call(s.t, "POST", "/notes", key, `{"text":"milk"}`)
	require.Equal(s.t, http.StatusCreated, status)
	s.follow("header nav a[href='/']")
	require.Equal(s.t, "milk", s.text(".notes li"))
	s.follow("header nav a[href='" + list + "']")
}

// seeUse reloads the list until it shows the last-used time, which the server writes in the
// background. If the server never writes it, the deadline of the tab ends the test.
func (s story) seeUse() {
	for strings.Contains(s.text(".tp-token"), "Never") {
		s.load(chromedp.Reload())
	}
	require.Regexp(s.t, `Last used\s+(just now|\d+ minutes? ago)`, s.text(".tp-token"))
}

// endGrace moves the end of the grace into the past.
func (s story) endGrace() {
	const statement = "UPDATE tokenauth_tokens SET retired_until = ? " +
		"WHERE name = 'old laptop' AND user_id = (SELECT id FROM users WHERE name = ?)"
	result, err := s.db.ExecContext(s.t.Context(), statement, time.Now().Add(-time.Second).UnixMicro(), s.t.Name())
	require.NoError(s.t, err)
	changed, err := result.RowsAffected()
	require.NoError(s.t, err)
	require.EqualValues(s.t, 1, changed)
}

// statuses sends a request with each key, and returns the statuses of the responses.
func (s story) statuses(keys ...string) (all []int) {
	for _, key := range keys {
		status, _ := s.call(s.t, "GET", "/notes", key, "")
		all = append(all, status)
	}
	return all
}

func (s story) rename(key string) {
	s.follow("a[href$='/rename']")
	s.do(s.write("#tp-name", "old laptop"))
	s.follow(submit)
	require.Equal(s.t, "The token was renamed.", s.text("[role=status]"))
	_, me := s.call(s.t, "GET", "/me", key, "")
	require.Contains(s.t, me, `"name":"old laptop"`)
}

func (s story) rotate(grace string) (key string) {
	s.follow("a[href$='/rotate']")
	s.do(s.choose("[name=grace][value=" + strconv.Quote(grace) + "]"))
	s.follow(submit)
	key = s.key()
	s.follow(back)
	return key
}

func (s story) revoke(key string) {
	s.follow("a[href$='/revoke']")
	require.Equal(s.t, "Revoke this token?", s.text("h1"))
	s.follow(submit)
	require.Equal(s.t, []int{401}, s.statuses(key), "the server must refuse the key immediately")
	require.Contains(s.t, s.text("[role=status]"), "The token is revoked.")
	s.follow(".tp-views a[href*=history]")
	require.Regexp(s.t, "(?s)old laptop.*Revoked", s.text(".tp-token"))
}

func (s story) signOut() {
	s.follow("header button")
	require.Equal(s.t, "/sign-in", s.path())
	s.visit(list)
	require.Equal(s.t, "/sign-in", s.path(), "the session must be revoked")
}
