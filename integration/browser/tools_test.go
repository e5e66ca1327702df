package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/stretchr/testify/require"
)

// installTools installs the versions of axe-core and html-validate that package-lock.json names.
func installTools(dir string) error {
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		return err
	}
	cmd := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm: %w\n%s", err, out)
	}
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	shared.axe, shared.tools = string(axe), dir
	return err
}

// withAxe loads axe-core into every page that the tab will show.
func (b *tab) withAxe() {
	b.t.Helper()
	b.do(set(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: shared.axe}))
}

const findViolations = `axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}).then(found => found.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.failureSummary + "\n" + n.html)))`

// checkAccess requires that axe-core finds no violation on the page. It checks the light colors
// with the width of a desktop screen, and the dark colors with the width of a phone. Other
// combinations are not necessary, because the colors do not depend on the width.
func (b *tab) checkAccess() {
	b.t.Helper()
	for scheme, width := range map[string]int{"light": desk, "dark": phone} {
		b.resize(width)
		b.checkWidth()
		b.paint(scheme)
		require.Empty(b.t, eval[[]string](b, findViolations), "%d px, %s", width, scheme)
	}
}

// paint selects the color scheme, "light" or "dark".
func (b *tab) paint(scheme string) {
	b.t.Helper()
	b.do(set(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"}, // otherwise colors would change slowly
	}}))
	require.Equal(b.t, scheme == "dark", eval[bool](b, "matchMedia('(prefers-color-scheme: dark)').matches"))
}

// checkHTML requires that html-validate finds no error in the HTML files of a folder.
func checkHTML(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.html"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	args := append([]string{"--config", "html-validate.json"}, files...)
	cmd := exec.CommandContext(t.Context(), "node_modules/.bin/html-validate", args...)
	cmd.Dir = shared.tools
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
