package leak

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

// A Search searches texts for secrets. It is safe for concurrent use.
type Search struct {
	mu      sync.Mutex
	secrets map[string]bool
	texts   bytes.Buffer
}

// Default is the Search that Main uses for the output of the test binary.
var Default Search

// Secret adds a key to search for. The key must have at least 8 bytes.
func (s *Search) Secret(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil {
		s.secrets = map[string]bool{}
	}
	s.secrets[key] = true
}

// Write adds a text to search, such as a response, an error or a log line. It never fails.
func (s *Search) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts.WriteByte('\n')
	return s.texts.Write(text)
}

// Leaks returns a description of each secret that a text contains, either in clear or as a digest.
// A description contains only the last four characters of the secret.
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
		exact.add(string(sum[:]), "a digest as raw bytes", secret)
		anyCase.add(hex.EncodeToString(sum[:]), "a digest in hex", secret)
	}
	leaks := map[string]bool{}
	exact.find(s.texts.Bytes(), leaks)
	anyCase.find(bytes.ToLower(s.texts.Bytes()), leaks)
	return slices.Sorted(maps.Keys(leaks))
}

// An index maps the last bytes of each wanted text to that text. Therefore find reads each searched
// text only once, and not once per secret.
type index map[[ending]byte][]form

const ending = 8

// A form is a text that reveals a secret, and the description of this leak.
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
