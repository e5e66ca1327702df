// Package leaktest searches all that a test run puts out for the keys that it
// made: in clear, and as digests in hex and base64.
package leaktest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// A Search knows secrets and texts. It is safe for concurrent use.
type Search struct {
	mu      sync.Mutex
	secrets []string
	texts   bytes.Buffer
}

// Default is the Search of the running test binary.
var Default Search

// Secret remembers a key that must be seen nowhere.
func (s *Search) Secret(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, key)
}

// Write remembers a text: a response, an error, a log line. It never fails.
func (s *Search) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts.WriteByte('\n')
	return s.texts.Write(text)
}

// Leaks returns what of the secrets is found in the texts, redacted.
func (s *Search) Leaks() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.texts.String()
	lower := strings.ToLower(text) // hex may be in either case
	var leaks []string
	for _, secret := range s.secrets {
		sum := sha256.Sum256([]byte(secret))
		base := base64.RawStdEncoding.EncodeToString(sum[:])
		url := base64.RawURLEncoding.EncodeToString(sum[:])
		found := ""
		switch {
		case strings.Contains(text, secret):
			found = "a key in clear"
		case strings.Contains(lower, hex.EncodeToString(sum[:])):
			found = "a digest in hex"
		case strings.Contains(text, base), strings.Contains(text, url):
			found = "a digest in base64"
		case strings.Contains(text, strings.Trim(fmt.Sprint(sum), "[]")):
			found = "a digest as numbers"
		}
		if found != "" {
			leaks = append(leaks, found+", ending in "+secret[max(0, len(secret)-4):])
		}
	}
	return leaks
}

// Main runs the tests of a package and fails if a key that Default was told of
// is found in what they wrote: to standard output and error, to the loggers of
// log and log/slog, and to Default itself. Call it from TestMain.
func Main(m interface{ Run() int }) {
	if missed := missedLeak(); missed != "" {
		fmt.Fprintln(os.Stderr, "leaktest: a planted leak was not found:", missed)
		os.Exit(1)
	}
	stop := capture(&Default, true)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	code := m.Run()
	stop()
	for _, leak := range Default.Leaks() {
		fmt.Fprintln(os.Stderr, "leaktest: FAIL: found", leak)
		code = 1
	}
	os.Exit(code)
}

// missedLeak plants one leak of each kind and says which is not found.
func missedLeak() string {
	const secret = "planted_secret"
	sum := sha256.Sum256([]byte(secret))
	for kind, plant := range map[string]func(){
		"stdout":        func() { fmt.Println("x", secret, "y") },
		"stderr":        func() { fmt.Fprintln(os.Stderr, "x", secret, "y") },
		"log":           func() { log.Print(secret) },
		"hex digest":    func() { fmt.Printf("%X", sum) },
		"base64 digest": func() { fmt.Print(base64.StdEncoding.EncodeToString(sum[:])) },
		"URL base64":    func() { fmt.Print(base64.URLEncoding.EncodeToString(sum[:])) },
		"numbers":       func() { fmt.Print(sum) },
	} {
		var s Search
		s.Secret(secret)
		stop := capture(&s, false)
		plant()
		stop()
		if len(s.Leaks()) != 1 {
			return kind
		}
	}
	return ""
}

// capture sends standard output and error to s too, or to s alone, until stop is called.
func capture(s *Search, show bool) (stop func()) {
	stdout, stderr := os.Stdout, os.Stderr
	var readers sync.WaitGroup
	redirect := func(to *os.File) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		var out io.Writer = s
		if show {
			out = io.MultiWriter(to, s)
		}
		readers.Go(func() { _, _ = io.Copy(out, r) })
		return w
	}
	os.Stdout, os.Stderr = redirect(stdout), redirect(stderr)
	log.SetOutput(os.Stderr)
	return func() {
		_ = os.Stdout.Close()
		_ = os.Stderr.Close()
		readers.Wait()
		os.Stdout, os.Stderr = stdout, stderr
		log.SetOutput(stderr)
	}
}
