package leaktest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
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

// Secret remembers a key that must be seen nowhere. It must have 8 bytes or more.
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
	exact, anyCase := index{}, index{}
	for secret := range s.secrets {
		sum := sha256.Sum256([]byte(secret))
		exact.add(secret, "a key in clear", secret)
		exact.add(base64.RawStdEncoding.EncodeToString(sum[:]), "a digest in base64", secret)
		exact.add(base64.RawURLEncoding.EncodeToString(sum[:]), "a digest in base64", secret)
		exact.add(strings.Trim(fmt.Sprint(sum), "[]"), "a digest as numbers", secret)
		exact.add(string(sum[:]), "a digest as it is", secret)
		anyCase.add(hex.EncodeToString(sum[:]), "a digest in hex", secret)
	}
	leaks := map[string]bool{}
	exact.find(s.texts.Bytes(), leaks)
	anyCase.find(bytes.ToLower(s.texts.Bytes()), leaks)
	return slices.Sorted(maps.Keys(leaks))
}

// An index has what is searched for by its last bytes, so that a text is read once
// and not once for each secret.
type index map[[ending]byte][]form

const ending = 8

// A form is how a secret may show, and what is then said.
type form struct{ text, leak string }

func (x index) add(text, found, secret string) {
	end := [ending]byte([]byte(text[len(text)-ending:]))
	x[end] = append(x[end], form{text, found + ", ending in " + secret[len(secret)-4:]})
}

func (x index) find(text []byte, leaks map[string]bool) {
	for i := ending; i <= len(text); i++ {
		for _, f := range x[[ending]byte(text[i-ending:i])] {
			if bytes.HasSuffix(text[:i], []byte(f.text)) {
				leaks[f.leak] = true
			}
		}
	}
}
