package tokenauth

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-tokenauth/tokenauth/internal/keyform"
)

const hintLength = 4

// A Key is the secret that a client presents. It is shown once, when it is
// made, and stored nowhere.
//
// A Key hides itself: printed, logged, marshalled or rendered by a template,
// alone or inside another value, it gives its prefix and its last four
// characters, as in "acme_…x7Qf". Only [Key.Reveal] gives the secret.
type Key struct {
	// fmt prints unexported fields without calling any method on them. So the
	// secret is in no field: a closure prints as an address.
	redacted string
	reveal   func() string
}

// Reveal returns the secret. It is the only way to it, and easy to search for
// in a review. The zero Key reveals the empty string.
func (k Key) Reveal() string {
	if k.reveal == nil {
		return ""
	}
	return k.reveal()
}

// String returns the redacted form, as in "acme_…x7Qf".
func (k Key) String() string { return k.redacted }

// Format writes the redacted form, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.redacted) }

// LogValue returns the redacted form.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.redacted) }

// MarshalText returns the redacted form. To hand a key to its owner, marshal
// what [Key.Reveal] returns.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.redacted), nil }

// hint returns what may be kept of the secret: a copy, since a part of a string keeps
// all of it in memory.
func (k Key) hint() string {
	secret := k.Reveal()
	return strings.Clone(secret[max(0, len(secret)-hintLength):])
}

func generateKey(prefix string) Key {
	secret := keyform.Generate(prefix)
	return Key{
		redacted: prefix + "_…" + secret[len(secret)-hintLength:],
		reveal:   func() string { return secret },
	}
}

// CheckKey tells, without a store, whether key is well-formed, with whatever
// prefix, and returns that prefix. Any other text is an error that wraps
// [ErrInvalidKey]. A well-formed key need not exist: its checksum finds typing
// errors, not forgeries.
func CheckKey(key string) (prefix string, err error) {
	prefix, ok := keyform.Prefix(key)
	if !ok {
		return "", errMalformedKey
	}
	return prefix, nil
}

// A Digest is the SHA-256 of a key: what a store keeps of it. A key has 190
// random bits, so neither salt nor a slow hash would make it safer.
//
// Formatted, logged or marshalled to text it gives a placeholder. It is an array,
// though, which packages that reflect on its bytes can read: keep it to stores.
type Digest [sha256.Size]byte

const redactedDigest = "[digest]"

// DigestOf returns the digest of a key, as it is presented.
func DigestOf(key string) Digest {
	var block [64]byte // a conversion to []byte would be allocated on each request
	if len(key) > len(block) {
		return sha256.Sum256([]byte(key))
	}
	return sha256.Sum256(block[:copy(block[:], key)])
}

// Format writes a placeholder, whatever the verb.
func (d Digest) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redactedDigest) }

// LogValue returns a placeholder.
func (d Digest) LogValue() slog.Value { return slog.StringValue(redactedDigest) }

// MarshalText returns a placeholder.
func (d Digest) MarshalText() ([]byte, error) { return []byte(redactedDigest), nil }
