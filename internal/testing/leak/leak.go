// Package leak makes a test run fail if its output contains keys or digests. The test run also
// fails if it leaves running goroutines, open files or open connections.
package leak

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

// Main runs the tests of a package and exits the process. TestMain must call Main. The exit code is
// 1 if a test fails or if the output of the tests contains a secret of Default. It is also 1 if the
// tests leave a goroutine, a file or a connection behind.
//
// The output is all text that tests write to standard output, standard error, the default loggers
// of packages log and log/slog, and Default.
func Main(m interface{ Run() int }) {
	before := TakeStock()
	stop := capture(&Default)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	code := m.Run()
	stop()
	for _, leak := range Default.Leaks() {
		fmt.Fprintln(os.Stderr, "leak: FAIL: found", leak)
		code = 1
	}
	if code == 0 { // a failed test may have skipped its cleanup
		http.DefaultClient.CloseIdleConnections()
		for _, thing := range before.Left() {
			fmt.Fprintln(os.Stderr, "leak: FAIL: left", thing)
			code = 1
		}
	}
	os.Exit(code)
}

// capture starts to copy standard output and standard error. The returned function stops the
// copying and writes the copies to s.
func capture(s *Search) (stop func()) {
	stdout, stderr := os.Stdout, os.Stderr
	var readers sync.WaitGroup
	redirect := func(to *os.File) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		readers.Go(func() {
			var text bytes.Buffer // collects all reads, because a key may be split between two
			_, _ = io.Copy(io.MultiWriter(to, &text), r)
			_ = r.Close()
			_, _ = s.Write(text.Bytes())
		})
		return w
	}
	out, errors := redirect(stdout), redirect(stderr) // go test -json makes os.Stderr the same file as os.Stdout
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
