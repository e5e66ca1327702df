package leak

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is the longest time that Left waits for goroutines to end and for files to be closed.
var patience = 10 * time.Second

// A Stock holds the goroutines, files and connections that the process had when TakeStock was
// called. It maps the identity of each one to its description.
type Stock map[string]string

// ignored are parts of the stacks of goroutines that TakeStock skips.
var ignored = []string{
	"os/signal.signal_recv", ", locked to thread]", // goroutines of the runtime that run until the process ends
}

// Ignore makes TakeStock skip the goroutines whose stack contains text, such as the name of a
// function of a library that never ends its goroutine. Call it before Main.
func Ignore(text string) { ignored = append(ignored, text) }

// TakeStock returns a Stock of all goroutines except the calling one. On Linux, the Stock also
// contains the open files and connections, which TakeStock reads from /proc.
func TakeStock() Stock {
	s := Stock{}
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	for _, stack := range strings.Split(string(stacks), "\n\n")[1:] { // the first stack belongs to the calling goroutine
		if slices.ContainsFunc(ignored, func(text string) bool { return strings.Contains(stack, text) }) {
			continue
		}
		id, _, _ := strings.Cut(stack, " [")
		s[id] = stack
	}
	const dir = "/proc/self/fd"
	files, _ := os.ReadDir(dir)
	for _, file := range files {
		target, err := os.Readlink(filepath.Join(dir, file.Name()))
		if err == nil && !strings.HasPrefix(target, "anon_inode:") { // the Go runtime opens anon_inode files
			thing := "file " + file.Name() + ": " + target
			s[thing] = thing
		}
	}
	return s
}

// Left returns descriptions of the goroutines, files and connections that the process has now but
// that s does not contain. If there are any, Left waits up to ten seconds for them to disappear,
// because goroutines may be about to end.
func (s Stock) Left() []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var left []string
		for id, thing := range TakeStock() {
			if s[id] == "" {
				left = append(left, thing)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			slices.Sort(left)
			return left
		}
	}
}

// NothingLeft makes t fail if t leaves a goroutine, a file or a connection behind. t must call
// NothingLeft first, so that the check runs after all other cleanup functions. No other test may
// run at the same time.
func NothingLeft(t testing.TB) {
	t.Helper()
	before := TakeStock()
	t.Cleanup(func() {
		if t.Failed() {
			return // a failed test may have skipped its cleanup
		}
		for _, thing := range before.Left() {
			t.Error("the test left behind:", thing)
		}
	})
}
