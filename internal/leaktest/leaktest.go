// Package leaktest looks for what a test run must not leave behind: keys and digests
// in all that it puts out, goroutines that run, and files and connections that are open.
package leaktest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
)

// Main runs the tests of a package and fails if a key that Default was told of
// is found in what they wrote: to standard output and error, to the loggers of
// log and log/slog, and to Default itself; and if something is left of them. Call
// it from TestMain.
func Main(m interface{ Run() int }) {
	before := TakeStock()
	stop := capture(&Default)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	code := m.Run()
	stop()
	for _, leak := range Default.Leaks() {
		fmt.Fprintln(os.Stderr, "leaktest: FAIL: found", leak)
		code = 1
	}
	if code == 0 { // a test that fails may leave something
		http.DefaultClient.CloseIdleConnections()
		for _, thing := range before.Left() {
			fmt.Fprintln(os.Stderr, "leaktest: FAIL: left", thing)
			code = 1
		}
	}
	os.Exit(code)
}

// capture sends standard output and error to s too, when stop is called.
func capture(s *Search) (stop func()) {
	stdout, stderr := os.Stdout, os.Stderr
	var readers sync.WaitGroup
	redirect := func(to *os.File) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		readers.Go(func() {
			var text bytes.Buffer // in one piece: a key may come in two
			_, _ = io.Copy(io.MultiWriter(to, &text), r)
			_ = r.Close()
			_, _ = s.Write(text.Bytes())
		})
		return w
	}
	out, errors := redirect(stdout), redirect(stderr) // go test -json makes one variable the other
	os.Stdout, os.Stderr = out, errors
	log.SetOutput(os.Stderr)
	return func() {
		_ = out.Close()
		_ = errors.Close()
		readers.Wait()
		os.Stdout, os.Stderr = stdout, stderr
		log.SetOutput(stderr)
	}
}
