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

// A Key is the secret that a client presents. The library returns a Key only when it creates the
// Key, and does not store it.
//
// A Key is redacted when it is printed, logged, marshaled or rendered by a template, even as part
// of another value. The redacted form consists of the prefix and the last four characters, as in
// "acme_…x7Qf". Only [Key.Reveal] returns the secret.
type Key struct {
	// fmt prints unexported fields without calling their methods, so no field holds the secret
	// itself. The closure in reveal captures the secret, and fmt prints a closure only as an
	// address.
	redacted string
	reveal   func() string
}

// Reveal returns the secret. No other method returns it, so a code review can find all
// uses of the secret by searching for Reveal. The zero Key returns the empty string.
func (k Key) Reveal() string {
	if k.reveal == nil {
		return ""
	}
	return k.reveal()
}

// String returns the redacted form, as in "acme_…x7Qf".
func (k Key) String() string { return k.redacted }

// Format writes the redacted form for every verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.redacted) }

// LogValue returns the redacted form.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.redacted) }

// MarshalText returns the redacted form. To send a key to its owner, marshal the result
// of [Key.Reveal].
func (k Key) MarshalText() ([]byte, error) { return []byte(k.redacted), nil }

// hint returns the last characters of the secret, which a store may keep. It returns a copy,
// because a substring would keep the whole secret in memory.
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

// CheckKey checks without a store that key is well-formed, and returns its prefix. It
// accepts any valid prefix. If key is malformed, CheckKey returns an error that wraps
// [ErrInvalidKey]. A well-formed key need not exist: the checksum detects typing errors,
// not forged keys.
func CheckKey(key string) (prefix string, err error) {
	prefix, ok := keyform.Prefix(key)
	if !ok {
		return "", errMalformedKey
	}
	return prefix, nil
}

// A Digest is the SHA-256 hash of a key. A store keeps the Digest instead of the key. A
// key has 190 random bits, so neither a salt nor a slow hash would make it safer.
//
// The methods of a Digest replace its bytes by a placeholder in the output of fmt, log/slog,
// encoding/json, encoding/xml and templates. These methods cannot hide the bytes from code that
// reads them by reflection:
//   - fmt, if the Digest is in an unexported field
//   - fmt with the verbs %p and %w, which are errors for a Digest
//   - fmt with a verb other than %v for a value with a pointer to a struct that has the Digest
//   - encodings that do not call MarshalText, such as encoding/gob
//
// Nobody can sign in with a Digest. Nevertheless, use a Digest only in a store.
type Digest [sha256.Size]byte

const redactedDigest = "[digest]"

// DigestOf returns the digest of a key. The argument is the key exactly as a client presents it.
func DigestOf(key string) Digest {
	var block [64]byte // a conversion of the key to []byte would allocate on each request
	if len(key) > len(block) {
		return sha256.Sum256([]byte(key))
	}
	return sha256.Sum256(block[:copy(block[:], key)])
}

// Format writes a placeholder for every verb.
func (d Digest) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redactedDigest) }

// LogValue returns a placeholder.
func (d Digest) LogValue() slog.Value { return slog.StringValue(redactedDigest) }

// MarshalText returns a placeholder.
func (d Digest) MarshalText() ([]byte, error) { return []byte(redactedDigest), nil }

// Format writes a placeholder for the digest, for every verb. Without this method, a verb such as
// %s would print the bytes of the digest, because a [Record] has a pointer to the RetiredKey.
func (k RetiredKey) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "{%v %v}", k.Digest, k.Until) }
