package keyform

import "hash/crc32"

// This file checks a key eight bytes at a time. A budget requires it: refusing a malformed key may
// take at most 0.35 times the CPU time of the baseline of docs/performance.md, without an
// allocation. Matches took 53 ns per key when it was measured, and 224 ns with one byte at a time.
// hash/crc32 takes a []byte that escapes to the heap, so it would allocate for each request.

// Matches reports whether key has this form.
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

const (
	eachByte = 0x0101010101010101 // times b: the byte b, eight times
	highBits = 0x80 * eachByte
	caseBits = 0x20 * eachByte // the difference between upper and lower case

	// Adding one of these to bytes below 0x80 sets the high bit of each byte that is at least '0',
	// above '9', at least 'a', or above 'z'.
	from0, after9 = (0x80 - '0') * eachByte, (0x80 - '9' - 1) * eachByte
	fromA, afterZ = (0x80 - 'a') * eachByte, (0x80 - 'z' - 1) * eachByte
)

// areDigits sets the high bit of each byte of its result if that byte of b is a base-62 digit.
func areDigits(b uint64) uint64 {
	low := b &^ highBits // prevents a carry into the next byte
	letter := low | caseBits
	number := (low + from0) &^ (low + after9)
	return (number | (letter+fromA)&^(letter+afterZ)) &^ b & highBits
}

// valueOf maps each digit to its value, and all other bytes to noDigit. The values of digits are
// below 64, so any of them combined with OR differ from noDigit.
var valueOf = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for i := range len(digits) {
		table[digits[i]] = byte(i)
	}
	return table
}()

const noDigit = 0xff

// crcTables process eight bytes per step (the "slicing-by-8" algorithm). crcTables[k] has the CRC-32
// of each byte value followed by k zero bytes.
var crcTables = func() (tables [8]crc32.Table) {
	tables[0] = *crc32.IEEETable
	for k := 1; k < len(tables); k++ {
		for i, sum := range tables[k-1] {
			tables[k][i] = tables[0][byte(sum)] ^ sum>>8
		}
	}
	return tables
}()
