package browser

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
)

// The test takes the pictures of docs/ and writes them to the folder that TOKENAUTH_SCREENSHOTS
// names. A long run writes them to a temporary folder, so that a broken test is noticed.
func TestPicturesCanBeTaken(t *testing.T) {
	dir := os.Getenv("TOKENAUTH_SCREENSHOTS")
	switch {
	case dir != "":
	case os.Getenv("TOKENAUTH_LONG") != "":
		dir = t.TempDir()
	default:
		t.Skip("neither TOKENAUTH_SCREENSHOTS nor TOKENAUTH_LONG is set")
	}
	needShared(t)
	u := shared.site.newUser(t, "grace", false)
	for _, shown := range []struct {
		spec      tokenauth.Spec
		ago, used time.Duration // time since the creation and since the last use; 0 means never used
	}{
		{tokenauth.Spec{Name: "laptop", Scopes: []string{"notes:read", "notes:write"}, ExpiresAt: time.Now().Add(41 * day)}, 49 * day, 12 * time.Minute},
		{tokenauth.Spec{Name: "backup script", Scopes: []string{"notes:read"}}, 30 * day, 9 * time.Hour},
		{tokenauth.Spec{Name: "import from the old service", Scopes: []string{"notes:write"}, ExpiresAt: time.Now().Add(5 * day)}, 25 * day, 3 * day},
		{tokenauth.Spec{Name: "phone", Scopes: []string{"notes:read"}, ExpiresAt: time.Now().Add(-day)}, 8 * day, 0},
	} {
		token := u.issue(t, shown.ago, shown.spec)
		if shown.used > 0 {
			require.NoError(t, u.store.Touch(t.Context(), tokenauth.Use{ID: token.ID, At: time.Now().Add(-shown.used)}))
		}
	}

	b := signedIn(t, u)
	save := func(name string, picture chromedp.Action[[]byte]) {
		taken, err := chromedp.Run(b.ctx, picture)
		require.NoError(t, err)
		decoded, err := png.Decode(bytes.NewReader(taken))
		require.NoError(t, err)
		var small bytes.Buffer
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, decoded))
		require.Less(t, small.Len(), 150<<10, name)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), small.Bytes(), 0o644))
	}
	whole := chromedp.FullScreenshot(100)

	b.do(chromedp.EmulateViewport(1000, 300))
	b.visit(list)
	for _, scheme := range []string{"light", "dark"} {
		b.paint(scheme)
		save("tokens-"+scheme+".png", whole)
	}
	b.paint("light")
	b.do(chromedp.EmulateViewport(phone, 780, chromedp.EmulateMobile, chromedp.EmulateScale(2)))
	save("tokens-phone.png", chromedp.CaptureScreenshot())

	b.do(chromedp.EmulateViewport(720, 300))
	b.visit(list + "new")
	b.do(mouse{}.write("#tp-name", "deploy script"), mouse{}.choose("[name=scope][value='notes:write']"), chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 0, 0))
	save("new-token.png", whole)
	b.load(mouse{}.press(submit))
	noKey := "notes_ThisIsNoKeyButShowsWhatOneLooksLik"
	eval[any](b, "document.querySelector('#tp-key').value = '"+noKey+b.key()[len(noKey):]+"'; null")
	save("new-key.png", whole)
}
