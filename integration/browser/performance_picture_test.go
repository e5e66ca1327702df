package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/must"
)

// size is the viewBox of a picture, which gives its width and height.
var size = regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`)

// Readers of README.md see docs/performance.svg in their own browser, in light or dark. No part of
// the picture may be cut off, and the picture must have the colors of the scheme.
func TestPerformancePictureIsNotClipped(t *testing.T) {
	text, err := os.ReadFile("../../docs/performance.svg")
	require.NoError(t, err)
	found := size.FindSubmatch(text)
	require.NotNil(t, found, "the picture has no size")
	width, height := must.Get(strconv.Atoi(string(found[1]))), must.Get(strconv.Atoi(string(found[2])))
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.ServeFile(w, r, "../../docs/performance.svg")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><meta name="color-scheme" content="light dark"><body style="margin: 0"><img src="performance.svg" style="display: block; width: %dpx">`, width)
	}))
	t.Cleanup(page.Close)
	needShared(t)
	for browser, screenshot := range map[string]func(t *testing.T, scheme string) []byte{
		"Chromium": func(t *testing.T, scheme string) []byte {
			b := newTab(t, shared.site, desk, true)
			b.paint(scheme)
			b.do(chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(page.URL))
			taken, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			return taken
		},
		"Firefox": func(t *testing.T, scheme string) []byte { return firefox(t, scheme, page.URL, width, height) },
	} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(browser+" "+scheme, func(t *testing.T) {
				taken := screenshot(t, scheme)
				picture, err := png.Decode(bytes.NewReader(taken))
				require.NoError(t, err)
				requireWhole(t, picture, image.Rect(0, 0, width, height), scheme)
			})
		}
	}
}

// requireWhole requires that the picture in a screenshot has a margin on all sides, and that it
// extends to these margins. A picture that is cut off lacks the margin, and an empty picture does
// not extend to it.
func requireWhole(t *testing.T, screenshot image.Image, picture image.Rectangle, scheme string) {
	t.Helper()
	require.True(t, picture.In(screenshot.Bounds()), "the screenshot is too small: %v", screenshot.Bounds())
	drawn, count := image.Rectangle{}, 0
	for y := picture.Min.Y; y < picture.Max.Y; y++ {
		for x := picture.Min.X; x < picture.Max.X; x++ {
			if !isBackground(screenshot.At(x, y), scheme) {
				drawn = drawn.Union(image.Rect(x, y, x+1, y+1))
				count++
			}
		}
	}
	t.Logf("%d of %d pixels are drawn, in %v", count, picture.Dx()*picture.Dy(), drawn)
	require.True(t, drawn.In(picture.Inset(2)), "the picture touches an edge: %v", drawn)
	require.True(t, picture.Inset(48).In(drawn), "a part of the picture is missing: %v", drawn)
	require.Greater(t, count, picture.Dx()*picture.Dy()/20, "the picture is almost empty")
}

// isBackground reports whether a pixel has the background color of the scheme.
func isBackground(pixel color.Color, scheme string) bool {
	r, g, b, _ := pixel.RGBA()
	if scheme == "dark" {
		return max(r, g, b) < 0x4000
	}
	return min(r, g, b) == 0xffff
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
