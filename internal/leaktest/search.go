package leaktest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// A Search knows secrets and texts. It is safe for concurrent use.
type Search struct {
	mu      sync.Mutex
	secrets map[string]bool
	texts   bytes.Buffer
}

// Default is the Search of the running test binary.
var Default Search

// Secret remembers a key that must be seen nowhere.
func (s *Search) Secret(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil {
		s.secrets = map[string]bool{}
	}
	s.secrets[key] = true
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
	for secret := range s.secrets {
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
		case strings.Contains(text, string(sum[:])):
			found = "a digest as it is"
		}
		if found != "" {
			leaks = append(leaks, found+", ending in "+secret[max(0, len(secret)-4):])
		}
	}
	return leaks
}
