package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Readers of README.md see docs/performance.svg in their own browser, in light or dark. No text of
// the picture may be cut off, and the picture must have the colors of the scheme.
func TestPerformancePictureIsNotClipped(t *testing.T) {
	const width, height = 760, 472
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.ServeFile(w, r, "../../docs/performance.svg")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><meta name="color-scheme" content="light dark"><body style="margin: 0"><img src="performance.svg" width="760">`)
	}))
	t.Cleanup(page.Close)
	needShared(t)
	for browser, screenshot := range map[string]func(t *testing.T, scheme string) []byte{
		"Chromium": func(t *testing.T, scheme string) []byte {
			b := newTab(t, shared.site, desk, true)
			b.paint(scheme)
			b.do(chromedp.EmulateViewport(width, height), chromedp.Navigate(page.URL))
			taken, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			return taken
		},
		"Firefox": func(t *testing.T, scheme string) []byte { return firefox(t, scheme, page.URL, width, height) },
	} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(browser+" "+scheme, func(t *testing.T) {
				picture, err := png.Decode(bytes.NewReader(screenshot(t, scheme)))
				require.NoError(t, err)
				bounds := picture.Bounds()
				require.GreaterOrEqual(t, bounds.Dx(), width)
				for _, x := range []int{0, 1, width - 2, width - 1} {
					requireBackground(t, picture, image.Rect(x, 0, x+1, height), scheme)
				}
				requireBackground(t, picture, image.Rect(0, 0, width, 2), scheme)
			})
		}
	}
}

// requireBackground requires that a part of the picture has the background of the scheme alone.
func requireBackground(t *testing.T, picture image.Image, part image.Rectangle, scheme string) {
	t.Helper()
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			isDark := max(r, g, b) < 0x4000
			isLight := min(r, g, b) == 0xffff
			require.True(t, scheme == "dark" && isDark || scheme == "light" && isLight, "text touches the edge at %d, %d", x, y)
		}
	}
}

// firefox takes a screenshot of a page. Only long runs install Firefox.
func firefox(t *testing.T, scheme, url string, width, height int) []byte {
	t.Helper()
	program, err := exec.LookPath("firefox-esr")
	if err != nil && os.Getenv("TOKENAUTH_LONG") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	profile := t.TempDir()
	dark := map[string]int{"dark": 1, "light": 0}[scheme]
	settings := fmt.Sprintf("user_pref(\"ui.systemUsesDarkTheme\", %d);\n"+
		"user_pref(\"layout.css.prefers-color-scheme.content-override\", 2); // as the system\n", dark)
	require.NoError(t, os.WriteFile(filepath.Join(profile, "user.js"), []byte(settings), 0o600))
	file := filepath.Join(profile, "picture.png")
	cmd := exec.CommandContext(t.Context(), program, "--headless", "--no-remote", "--profile", profile,
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot", file, url)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	taken, err := os.ReadFile(file)
	require.NoError(t, err)
	return taken
}
