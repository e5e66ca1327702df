// Package keyform generates keys and checks their form:
//
//	<prefix>_<32 random characters><6 characters of checksum>
//
// The form never changes. docs/key-format.md has its grammar. testdata/keys.json has test vectors
// that every version of this package and every other implementation must pass.
package keyform

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
)

const (
	randomLength = 32 // 190 bits
	checkLength  = 6  // 62^6 is more than 2^32

	tailLength = 1 + randomLength + checkLength // of the underscore and what follows

	maxPrefixLength = 20

	digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// CheckPrefix returns an error if prefix is not allowed as the prefix of keys.
func CheckPrefix(prefix string) error {
	valid := len(prefix) >= 1 && len(prefix) <= maxPrefixLength
	for i := range len(prefix) {
		c := prefix[i]
		letter := c >= 'a' && c <= 'z'
		inside := i > 0 && (c >= '0' && c <= '9' || c == '_' && i < len(prefix)-1)
		valid = valid && (letter || inside)
	}
	if !valid {
		return fmt.Errorf("prefix %q must be 1 to %d of a-z, 0-9 and _, starting with a letter, not ending in _", prefix, maxPrefixLength)
	}
	return nil
}

// Generate returns a new random key. The caller must have checked the prefix with CheckPrefix.
// If the system has no randomness, crypto/rand ends the program.
func Generate(prefix string) string {
	b := append(make([]byte, 0, len(prefix)+tailLength), prefix...)
	b = append(b, '_')
	var random [2 * randomLength]byte
	for n := 0; n < randomLength; {
		_, _ = rand.Read(random[:]) // never returns an error
		for _, r := range random {
			// 248 is the largest multiple of 62 in a byte. Larger values would make
			// some digits more likely than others.
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

// Prefix returns the prefix of a well-formed key. ok is false if the key is malformed.
func Prefix(key string) (prefix string, ok bool) {
	n := len(key) - tailLength
	if n < 1 || CheckPrefix(key[:n]) != nil {
		return "", false
	}
	form := New(key[:n])
	return key[:n], form.Matches(key)
}

// A Form recognises the keys of one prefix.
type Form struct {
	start string // the prefix and the underscore
	sum   uint32 // state of the CRC-32 after start, for Matches
}

// New returns the Form of the keys with the given prefix.
func New(prefix string) Form {
	start := prefix + "_"
	return Form{start: start, sum: ^crc32.ChecksumIEEE([]byte(start))}
}
