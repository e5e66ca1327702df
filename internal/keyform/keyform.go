// Package keyform generates keys and checks their form:
//
//	<prefix>_<32 random characters><6 characters of checksum>
//
// The form never changes. docs/key-format.md has its grammar. testdata/keys.json has test vectors
// that every version of this package and every other implementation must pass.
package keyform

import (
	"crypto/rand"
	"errors"
	"hash/crc32"
	"regexp"
)

const (
	randomLength = 32 // 32 base-62 digits have 190 bits
	checkLength  = 6  // six base-62 digits can hold a CRC-32, because 62^6 is more than 2^32

	tailLength = 1 + randomLength + checkLength // length of the underscore, the random characters and the checksum

	digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// prefixForm matches the prefixes of 1 to 20 characters that CheckPrefix allows.
var prefixForm = regexp.MustCompile(`^[a-z]([a-z0-9_]{0,18}[a-z0-9])?$`)

// CheckPrefix returns an error if prefix is not allowed as the prefix of keys. The error does not
// contain prefix, which may be a key pasted by mistake.
func CheckPrefix(prefix string) error {
	if !prefixForm.MatchString(prefix) {
		return errors.New("a prefix must have 1 to 20 characters a-z, 0-9 and _, start with a letter, and not end in _")
	}
	return nil
}

// Generate returns a new random key. The caller must have checked the prefix with CheckPrefix. If
// the system provides no random bytes, crypto/rand ends the program.
func Generate(prefix string) string {
	b := append(make([]byte, 0, len(prefix)+tailLength), prefix...)
	b = append(b, '_')
	var random [2 * randomLength]byte
	for n := 0; n < randomLength; {
		_, _ = rand.Read(random[:]) // rand.Read never returns an error
		for _, r := range random {
			// 248 is the largest multiple of 62 that fits in a byte. Random bytes from 248 on would
			// make some digits more likely than other digits.
			if r < 248 && n < randomLength {
				b = append(b, digits[r%62])
				n++
			}
		}
	}
	var check [checkLength]byte
	sum := crc32.ChecksumIEEE(b)
	for i := checkLength - 1; i >= 0; i-- {
		check[i] = digits[sum%62]
		sum /= 62
	}
	return string(append(b, check[:]...))
}

// Prefix returns the prefix of a well-formed key. If the key is malformed, ok is false.
func Prefix(key string) (prefix string, ok bool) {
	n := len(key) - tailLength
	if n < 1 || CheckPrefix(key[:n]) != nil {
		return "", false
	}
	form := New(key[:n])
	return key[:n], form.Matches(key)
}

// A Form recognizes the keys with one prefix.
type Form struct {
	start string // the prefix and the underscore
	sum   uint32 // state of the CRC-32 after the bytes of start; Matches continues from this state
}

// New returns the Form of the keys with the given prefix.
func New(prefix string) Form {
	start := prefix + "_"
	return Form{start: start, sum: ^crc32.ChecksumIEEE([]byte(start))}
}
