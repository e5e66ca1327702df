package leaktest

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long something that is about to end is waited for.
var patience = 10 * time.Second

// A Stock is what a process has running and open at some time: how each thing looks,
// by what tells it from others.
type Stock map[string]string

// TakeStock returns what there is now beside the calling goroutine: all goroutines and,
// where the system shows them in /proc, the open files and connections.
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
	for _, stack := range strings.Split(string(stacks), "\n\n")[1:] { // the first is the caller's
		if strings.Contains(stack, "os/signal.signal_recv") || strings.Contains(stack, ", locked to thread]") {
			continue // nothing ends the first, and with the second a thread would end, which is kept on purpose
		}
		id, _, _ := strings.Cut(stack, " [")
		s[id] = stack
	}
	const dir = "/proc/self/fd"
	files, _ := os.ReadDir(dir)
	for _, file := range files {
		target, err := os.Readlink(filepath.Join(dir, file.Name()))
		if err == nil && !strings.HasPrefix(target, "anon_inode:") { // which are the runtime's
			thing := "file " + file.Name() + ": " + target
			s[thing] = thing
		}
	}
	return s
}

// Left returns what there is now and was not then. What is about to end has a while:
// nothing tells when a goroutine has ended.
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

// NothingLeft fails t if something is left of it when all else is cleaned up. It must be
// called first, in a test that runs alone.
func NothingLeft(t testing.TB) {
	t.Helper()
	before := TakeStock()
	t.Cleanup(func() {
		if t.Failed() {
			return // it may leave something
		}
		for _, thing := range before.Left() {
			t.Error("left", thing)
		}
	})
}
