package browser

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

type action = chromedp.Action[chromedp.Void]

// A tab is a tab of the browser. Each tab has its own cookies.
type tab struct {
	*site
	t      *testing.T
	ctx    context.Context
	status int // HTTP status of the page

	mu       sync.Mutex
	document network.RequestID // request of the page
}

// newTab opens a tab, and closes it at the end of the test.
func newTab(t *testing.T, s *site, width int, script bool) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(shared.chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{site: s, t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx)) // opens the tab; with a deadline here, chromedp would close it then
	b.ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(b.ctx, b.listen))
	b.resize(width)
	b.do(
		set(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
		set(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script}),
	)
	return b
}

// signedIn opens a tab in which a user has signed in.
func signedIn(t *testing.T, u user) *tab {
	t.Helper()
	b := newTab(t, u.site, desk, true)
	b.do(set(network.SetCookie, network.SetCookieParams{Name: "session", Value: u.session(t), URL: u.url}))
	return b
}

func (b *tab) listen(event any) {
	if e, ok := event.(*network.EventResponseReceived); ok && e.Type == network.ResourceTypeDocument {
		b.mu.Lock()
		b.document = e.RequestID
		b.mu.Unlock()
	}
}

func (b *tab) do(steps ...action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// The widths of a phone and of a desktop screen, in CSS pixels.
const (
	phone = 360
	desk  = 1280
)

func (b *tab) resize(width int) {
	b.t.Helper()
	options := []chromedp.EmulateViewportOption{}
	if width == phone {
		options = append(options, chromedp.EmulateMobile) // a phone obeys the viewport setting of the page
	}
	b.do(chromedp.EmulateViewport(int64(width), 800, options...))
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.load(chromedp.Navigate(b.url + path))
}

// load runs steps that open another page, and waits for the page.
func (b *tab) load(steps ...action) {
	b.t.Helper()
	response, err := chromedp.RunResponse(b.ctx, steps...)
	require.NoError(b.t, err)
	require.NotNil(b.t, response)
	b.status = int(response.Status)
	// Neither the address nor the title of a page may contain a key.
	_, _ = fmt.Fprintln(&leak.Default, b.path(), eval[string](b, "document.title"))
	b.checkWidth()
}

// checkWidth requires that the page is not wider than the tab. Otherwise people must scroll
// sideways to read each line (WCAG 1.4.10).
func (b *tab) checkWidth() {
	b.t.Helper()
	root := "document.documentElement."
	require.LessOrEqual(b.t, eval[int](b, root+"scrollWidth"), eval[int](b, root+"clientWidth"), "the page is too wide")
}

// eval returns the value of a JavaScript expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return value
}

// focused returns the role of the element that has the focus. The browser sets the first focus when
// it draws the page, which may be after the load event.
func (b *tab) focused() string {
	b.t.Helper()
	return eval[string](b, "new Promise(done => requestAnimationFrame(() => done(document.activeElement.role ?? '')))")
}

// path returns the path of the page, with the query.
func (b *tab) path() string {
	b.t.Helper()
	return eval[string](b, "location.pathname + location.search")
}

// text returns the visible text of the first element that matches the selector.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, "document.querySelector("+strconv.Quote(selector)+")?.innerText ?? ''")
}

func (b *tab) count(selector string) int {
	b.t.Helper()
	return eval[int](b, "document.querySelectorAll("+strconv.Quote(selector)+").length")
}

// html returns the HTML of the page as the server sent it.
func (b *tab) html() string {
	b.t.Helper()
	b.mu.Lock()
	document := b.document
	b.mu.Unlock()
	body, err := chromedp.Run(b.ctx, func(ctx context.Context, _ *chromedp.Target) (network.GetResponseBodyResult, error) {
		return chromedp.Call(ctx, network.GetResponseBody, network.GetResponseBodyParams{RequestID: document})
	})
	require.NoError(b.t, err)
	return string(body.Body)
}

// key returns the key that the page shows.
func (b *tab) key() string {
	b.t.Helper()
	require.Equal(b.t, http.StatusOK, b.status)
	key := eval[string](b, "document.querySelector('#tp-key').value")
	require.Regexp(b.t, `^notes_[0-9A-Za-z]{38}$`, key)
	leak.Default.Secret(key)
	return key
}

// set returns an action that sends a command to the browser and ignores the result.
func set[P, R any](command cdp.Command[P, R], params P) action {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, command, params)
		return err
	})
}
