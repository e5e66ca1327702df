package leak

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
)

// A Search searches texts for secrets: for the keys and digests that tests add, and for each
// well-formed key of the library. It is safe for concurrent use.
type Search struct {
	mu      sync.Mutex
	secrets map[string]bool
	digests map[[sha256.Size]byte]string // maps a digest to the last four characters of its key, if known
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
	s.digest(sha256.Sum256([]byte(key)), key[len(key)-4:])
}

// Digest adds the digest of a key to search for.
func (s *Search) Digest(d [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.digests[d]; !known {
		s.digest(d, "unknown")
	}
}

func (s *Search) digest(d [sha256.Size]byte, hint string) {
	if s.digests == nil {
		s.digests = map[[sha256.Size]byte]string{}
	}
	s.digests[d] = hint
}

// Write adds a text to search, such as a response, an error or a log line. It never fails.
func (s *Search) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts.WriteByte('\n')
	return s.texts.Write(text)
}

// Leaks returns a description of each secret that a text contains, either in clear or as a digest.
// A description contains only the last four characters of the key.
func (s *Search) Leaks() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	exact, anyCase := index{}, index{}
	for secret := range s.secrets {
		exact.add(secret, "a key in clear", secret[len(secret)-4:])
	}
	for sum, hint := range s.digests {
		exact.add(base64.RawStdEncoding.EncodeToString(sum[:]), "a digest in base64", hint)
		exact.add(base64.RawURLEncoding.EncodeToString(sum[:]), "a digest in base64", hint)
		exact.add(strings.Trim(fmt.Sprint(sum), "[]"), "a digest as numbers", hint)
		exact.add(string(sum[:]), "a digest as raw bytes", hint)
		anyCase.add(hex.EncodeToString(sum[:]), "a digest in hex", hint)
	}
	leaks := map[string]bool{}
	for _, text := range ownForm.FindAll(s.texts.Bytes(), -1) {
		for i := range len(text) - fewestCharacters + 1 { // text may begin with other characters
			if _, ok := keyform.Prefix(string(text[i:])); ok {
				leaks["a well-formed key, ending in "+string(text[len(text)-4:])] = true
			}
		}
	}
	exact.find(s.texts.Bytes(), leaks)
	anyCase.find(bytes.ToLower(s.texts.Bytes()), leaks)
	return slices.Sorted(maps.Keys(leaks))
}

// ownForm matches the keys of the library, and text that precedes them without a space.
var ownForm = regexp.MustCompile(`[a-z][0-9a-z_]*_[0-9A-Za-z]{38}\b`)

const fewestCharacters = 40 // of a key

// An index maps the last bytes of each wanted text to that text. Therefore find reads each searched
// text only once, and not once per secret.
type index map[[ending]byte][]form

const ending = 8

// A form is a text that reveals a secret, and the description of this leak.
type form struct{ text, leak string }

func (x index) add(text, found, hint string) {
	end := [ending]byte([]byte(text[len(text)-ending:]))
	x[end] = append(x[end], form{text, found + ", ending in " + hint})
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
