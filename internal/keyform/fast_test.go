package keyform

import (
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checksumOf returns the checksum of text as docs/key-format.md defines it. It uses hash/crc32.
func checksumOf(text string) string {
	var check [checkLength]byte
	sum := crc32.ChecksumIEEE([]byte(text))
	for i := checkLength - 1; i >= 0; i-- {
		check[i] = digits[sum%62]
		sum /= 62
	}
	return string(check[:])
}

// plainMatches reports whether key has the form that docs/key-format.md defines for prefix. It is a
// simple, slow version of Matches.
func plainMatches(prefix, key string) bool {
	tail, ok := strings.CutPrefix(key, prefix+"_")
	if !ok || len(tail) != randomLength+checkLength || strings.Trim(tail, digits) != "" {
		return false
	}
	text, check := key[:len(key)-checkLength], key[len(key)-checkLength:]
	return check == checksumOf(text)
}

// Matches must agree with plainMatches, which uses hash/crc32. The test passes keys with the right
// checksum, with an arbitrary checksum, and with one changed byte.
// Cases K4, K5, K6.
func FuzzMatches(f *testing.F) {
	f.Add("acme", "0123456789ABCDEFGHIJKLMNOPQRSTUV", "WXYZab", uint8(0), byte(0))
	f.Add("a__b", strings.Repeat("z", randomLength), "4gfFC3", uint8(7), byte(0x80)) // 4gfFC3 is 1<<32 - 1, the largest checksum, in base 62
	f.Add("a", strings.Repeat("0", randomLength), "4gfFC4", uint8(31), byte('0'-1))  // 4gfFC4 is 1<<32, which exceeds 32 bits
	f.Add("tokenauth_test", "cdefghijklmnopqrstuvwxyz_-.\x00\xff/:@", "[`{zzz", uint8(35), byte('z'+1))
	f.Add("", "", "", uint8(255), byte('A'))
	f.Fuzz(func(t *testing.T, prefix, random, check string, at uint8, changed byte) {
		form := New(prefix)
		text := prefix + "_" + random
		right := text + checksumOf(text)
		other := []byte(right)
		other[int(at)%len(other)] = changed
		for _, key := range []string{right, text + check, string(other), check} {
			require.Equal(t, plainMatches(prefix, key), form.Matches(key), "%q", key)
		}
		require.Equal(t, len(random) == randomLength && strings.Trim(random, digits) == "", form.Matches(right))
	})
}

// areDigits must report for each of the eight bytes whether that byte is a digit. The other seven
// bytes must not change the result.
func TestAreDigitsChecksEachByteAlone(t *testing.T) {
	t.Parallel()
	for _, others := range []byte{0, '0', '9', 'A', 'Z', 'a', 'z', 0x7f, 0x80, 0xff} {
		for position := range 8 {
			for value := range 256 {
				b := uint64(others) * eachByte
				b = b&^(0xff<<(8*position)) | uint64(value)<<(8*position)
				want := uint64(0)
				for i := range 8 {
					if strings.IndexByte(digits, byte(b>>(8*i))) >= 0 {
						want |= 0x80 << (8 * i)
					}
				}
				require.Equal(t, want, areDigits(b), "%016x", b)
			}
		}
	}
}

// A key that Generate returns must match the form with the same prefix, and must not match the form
// with a longer prefix.
// Cases K1, K6.
func TestGeneratedKeyMatchesOwnPrefixOnly(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"a", "acme", "acme_test", strings.Repeat("p", 20)} {
		for range 100 {
			key := Generate(prefix)
			form, other := New(prefix), New(prefix+"x")
			require.True(t, plainMatches(prefix, key))
			require.True(t, form.Matches(key))
			require.False(t, other.Matches(key))
			got, ok := Prefix(key)
			require.True(t, ok)
			require.Equal(t, prefix, got)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	form, key := New("acme"), Generate("acme")
	b.ReportAllocs()
	for b.Loop() {
		if !form.Matches(key) {
			b.Fatal("a generated key does not match")
		}
	}
}
