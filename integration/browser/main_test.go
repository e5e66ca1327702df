// Package browser tests examples/server in Chromium: with a mouse and with the keyboard alone, with
// and without JavaScript, and with the widths of a phone and of a desktop screen.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// patience is the maximum duration of all actions in a tab. It is long enough for a busy machine.
const patience = 5 * time.Minute

// shared contains the browser and the server that all tests use. Each test has its own users,
// cookies and tabs.
var shared struct {
	err         error // reason why the other fields are not set; nil if they are set
	chromium    context.Context
	endChromium func()
	program     string // path of the built server
	site        *site
	tools       string // folder of the npm packages
	axe         string // source code of axe-core
}

func TestMain(m *testing.M) { leak.Main(withShared{m}) }

type withShared struct{ *testing.M }

func (m withShared) Run() (code int) {
	dir, err := os.MkdirTemp("", "tokenauth-browser-")
	if err != nil {
		panic(err)
	}
	data, err := sqlite.Folder()
	if err != nil {
		panic(err)
	}
	shared.err = startShared(dir, data)
	code = m.M.Run()
	if err := errors.Join(stopShared(), os.RemoveAll(dir), os.RemoveAll(data)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// startShared starts the browser and the server, and installs the tools in dir. It does so
// concurrently. The folder data is for the database of the server.
func startShared(dir, data string) error {
	for _, program := range []string{"chromium", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	var starting sync.WaitGroup
	var errs [3]error
	starting.Go(func() { errs[0] = startChromium() })
	starting.Go(func() { errs[1] = installTools(filepath.Join(dir, "tools")) })
	starting.Go(func() {
		shared.program = filepath.Join(dir, "server")
		out, err := exec.Command("go", "build", "-C", "../..", "-o", shared.program, "./examples/server").CombinedOutput()
		if err != nil {
			errs[2] = fmt.Errorf("build the server: %w\n%s", err, out)
			return
		}
		shared.site, errs[2] = startSite(filepath.Join(data, "tokens.db"), "-seed-demo", "-touch", "2s")
	})
	starting.Wait()
	return errors.Join(errs[:]...)
}

func startChromium() error {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // the sandbox does not work in containers; the pages come from this repository
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	chromium, _ := chromedp.NewContext(allocator)
	shared.chromium, shared.endChromium = chromium, end
	return chromedp.Do(chromium)
}

func stopShared() (err error) {
	if shared.site != nil {
		err = shared.site.stop()
	}
	if shared.chromium != nil {
		err = errors.Join(err, chromedp.Cancel(shared.chromium))
		shared.endChromium()
	}
	return err
}

// needShared skips a test if a program is not installed. In CI, it fails the test instead.
func needShared(t *testing.T) {
	t.Helper()
	if errors.Is(shared.err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(shared.err)
	}
	require.NoError(t, shared.err)
}
