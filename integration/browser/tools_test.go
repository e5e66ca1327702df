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

// installTools installs axe-core and html-validate as package-lock.json says.
func installTools(dir string) error {
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		return err
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm: %w\n%s", err, out)
	}
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	shared.axe, shared.tools = string(axe), dir
	return err
}

// withAxe has axe-core in every page that the tab will show.
func (b *tab) withAxe() {
	b.t.Helper()
	b.do(set(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: shared.axe}))
}

const findViolations = `axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}).then(found => found.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.failureSummary + "\n" + n.html)))`

// checkAccess has axe-core judge the page: in light on a desk, and in dark on a phone.
// Colours don't depend on the width, nor places on colours.
func (b *tab) checkAccess() {
	b.t.Helper()
	for scheme, width := range map[string]int{"light": desk, "dark": phone} {
		b.resize(width)
		b.checkWidth()
		b.paint(scheme)
		require.Empty(b.t, eval[[]string](b, findViolations), "%d px, %s", width, scheme)
	}
}

// paint chooses light or dark.
func (b *tab) paint(scheme string) {
	b.t.Helper()
	b.do(set(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"}, // or colours would change slowly
	}}))
	require.Equal(b.t, scheme == "dark", eval[bool](b, "matchMedia('(prefers-color-scheme: dark)').matches"))
}

// checkHTML has html-validate judge all files in a folder.
func checkHTML(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.html"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	cmd := exec.CommandContext(t.Context(), "node_modules/.bin/html-validate", append([]string{"--config", "html-validate.json"}, files...)...)
	cmd.Dir = shared.tools
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
