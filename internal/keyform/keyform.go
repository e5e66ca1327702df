// Package keyform makes and recognises the text of a key:
//
//	<prefix>_<32 random characters><6 characters of checksum>
//
// The form is frozen: docs/key-format.md is its grammar, testdata/keys.json
// holds the vectors that every version, and every other implementation, passes.
package keyform

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
)

const (
	randomLength = 32 // 190 bits
	checkLength  = 6  // 62^6 is more than 2^32

	tailLength = 1 + randomLength + checkLength // the underscore and all behind it

	maxPrefixLength = 20

	digits  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	noDigit = 0xff

	eachByte = 0x0101010101010101 // times b: eight times the byte b
)

// Eight characters at a time are cheaper than a table of all.
const (
	highBits = 0x80 * eachByte
	caseBits = 0x20 * eachByte
	// What is added to a byte below 0x80 to get its high bit if it is at least that.
	from0, after9 = (0x80 - '0') * eachByte, (0x80 - '9' - 1) * eachByte
	fromA, afterZ = (0x80 - 'a') * eachByte, (0x80 - 'z' - 1) * eachByte
)

var valueOf = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for i := range len(digits) {
		table[digits[i]] = byte(i)
	}
	return table
}()

// CheckPrefix returns an error that says what is wrong with a prefix.
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

// Generate makes a key from crypto/rand, which crashes the program rather than
// return a weak one. The prefix must have passed CheckPrefix.
func Generate(prefix string) string {
	b := append(make([]byte, 0, len(prefix)+tailLength), prefix...)
	b = append(b, '_')
	var random [2 * randomLength]byte
	for n := 0; n < randomLength; {
		_, _ = rand.Read(random[:]) // never returns an error
		for _, r := range random {
			// 248 is the largest multiple of 62 in a byte: what lies above would
			// make some digits likelier than others.
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

// Prefix returns the prefix of a well-formed key, whichever it is.
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
	sum   uint32 // the state of the checksum after start
}

// New returns the Form of the keys with the given prefix.
func New(prefix string) Form {
	start := prefix + "_"
	return Form{start: start, sum: ^crc32.ChecksumIEEE([]byte(start))}
}

// Matches reports whether key has this form. It computes the checksum by hand:
// hash/crc32 takes a slice, which would be allocated on each request.
func (f *Form) Matches(key string) bool {
	if len(key) != len(f.start)+randomLength+checkLength || key[:len(f.start)] != f.start {
		return false
	}
	random, check := key[len(f.start):len(key)-checkLength], key[len(key)-checkLength:]
	sum, valid := f.sum, uint64(highBits)
	for ; len(random) >= 8; random = random[8:] {
		b := uint64(random[0]) | uint64(random[1])<<8 | uint64(random[2])<<16 | uint64(random[3])<<24 |
			uint64(random[4])<<32 | uint64(random[5])<<40 | uint64(random[6])<<48 | uint64(random[7])<<56
		valid &= areDigits(b)
		b ^= uint64(sum)
		sum = crcTables[7][byte(b)] ^ crcTables[6][byte(b>>8)] ^ crcTables[5][byte(b>>16)] ^ crcTables[4][byte(b>>24)] ^
			crcTables[3][byte(b>>32)] ^ crcTables[2][byte(b>>40)] ^ crcTables[1][byte(b>>48)] ^ crcTables[0][b>>56]
	}
	want, all := uint64(0), byte(0)
	for i := range len(check) {
		value := valueOf[check[i]]
		all |= value
		want = 62*want + uint64(value)
	}
	return valid == highBits && all != noDigit && want == uint64(^sum)
}

// areDigits returns the high bit of each of the eight bytes of b that is one of digits.
func areDigits(b uint64) uint64 {
	low := b &^ highBits // so that no sum runs over into the next byte
	letter := low | caseBits
	number := (low + from0) &^ (low + after9)
	return (number | (letter+fromA)&^(letter+afterZ)) &^ b & highBits
}

// crcTables take eight bytes at a time: table k is for a byte with k bytes behind it.
var crcTables = func() (tables [8]crc32.Table) {
	tables[0] = *crc32.IEEETable
	for k := 1; k < len(tables); k++ {
		for i, sum := range tables[k-1] {
			tables[k][i] = tables[0][byte(sum)] ^ sum>>8
		}
	}
	return tables
}()
