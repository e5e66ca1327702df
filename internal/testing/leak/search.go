package leak

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strconv"
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
	exact, anyCase := newIndex(), newIndex()
	for secret := range s.secrets {
		exact.add(secret, "a key in clear", secret[len(secret)-4:])
	}
	for sum, hint := range s.digests {
		exact.add(base64.RawStdEncoding.EncodeToString(sum[:]), "a digest in base64", hint)
		exact.add(base64.RawURLEncoding.EncodeToString(sum[:]), "a digest in base64", hint)
		exact.add(numbers(sum), "a digest as numbers", hint)
		exact.add(string(sum[:]), "a digest as raw bytes", hint)
		anyCase.add(hex.EncodeToString(sum[:]), "a digest in hex", hint)
	}
	leaks := map[string]bool{}
	for text := range keyLike(s.texts.Bytes()) {
		for i := range len(text) - fewestCharacters + 1 { // text may begin with other characters
			if _, ok := keyform.Prefix(text[i:]); ok {
				leaks["a well-formed key, ending in "+text[len(text)-4:]] = true
			}
		}
	}
	exact.find(s.texts.Bytes(), leaks)
	anyCase.find(bytes.ToLower(s.texts.Bytes()), leaks)
	return slices.Sorted(maps.Keys(leaks))
}

const (
	fewestCharacters = 40 // of a key
	charactersAfter  = 38 // the last underscore of a key
)

// keyLike returns the parts of text that may end with a key of the library. A part also has the
// text that precedes the key without a space. A regular expression would take most of the time of
// Leaks.
func keyLike(text []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for end := charactersAfter + 1; end <= len(text); end++ {
			next := bytes.IndexByte(text[end-charactersAfter-1:], '_')
			if next < 0 || end+next > len(text) {
				return
			}
			end += next
			begin := end - charactersAfter - 1
			if bytes.ContainsFunc(text[begin+1:end], isNotAlphanumeric) || end < len(text) && !isNotAlphanumeric(rune(text[end])) {
				continue
			}
			for begin > 0 && (text[begin-1] == '_' || !isNotAlphanumeric(rune(text[begin-1]))) {
				begin--
			}
			if !yield(string(text[begin:end])) {
				return
			}
		}
	}
}

func isNotAlphanumeric(r rune) bool {
	return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}

// numbers returns a digest as package fmt prints it, without the brackets.
func numbers(sum [sha256.Size]byte) string {
	var text []byte
	for _, b := range sum {
		text = append(strconv.AppendUint(text, uint64(b), 10), ' ')
	}
	return string(text[:len(text)-1])
}

// An index maps the last bytes of each wanted text to that text. Therefore find reads each searched
// text only once, and not once per secret.
type index struct {
	forms map[uint64][]form

	// ends is true at the hash of each key of forms. Some test runs search tens of
	// megabytes, and a lookup in the map for each byte would take half a minute.
	ends []bool
}

const (
	ending   = 8 // bytes in a key of forms
	hashBits = 22
)

// A form is a text that reveals a secret, and the description of this leak.
type form struct{ text, leak string }

func newIndex() *index { return &index{map[uint64][]form{}, make([]bool, 1<<hashBits)} }

// hash returns a position in index.ends.
func hash(end uint64) uint64 { return end * 0x9e3779b97f4a7c15 >> (64 - hashBits) }

func (x *index) add(text, found, hint string) {
	end := binary.LittleEndian.Uint64([]byte(text[len(text)-ending:]))
	x.forms[end] = append(x.forms[end], form{text, found + ", ending in " + hint})
	x.ends[hash(end)] = true
}

func (x *index) find(text []byte, leaks map[string]bool) {
	var end uint64 // the last bytes before position i
	for i, b := range text {
		end = end>>8 | uint64(b)<<56
		if !x.ends[hash(end)] {
			continue
		}
		for _, f := range x.forms[end] {
			if bytes.HasSuffix(text[:i+1], []byte(f.text)) {
				leaks[f.leak] = true
			}
		}
	}
}
