package syntax

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxNameRunes = 64

const (
	zwnj     = '\u200c'           // zero width non-joiner
	zwj      = '\u200d'           // zero width joiner
	vs16     = '\ufe0f'           // variation selector-16, which requests an emoji
	keycap   = '\u20e3'           // combining enclosing keycap
	blanks   = "\u2800\U0001d159" // Braille pattern without dots, musical null notehead
	viramas  = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
	flagSize = 7 // runes of an emoji in flags
)

// flags are the emoji of England, Scotland and Wales: a black flag, tag characters and the cancel
// tag. Unicode recommends no other emoji with tag characters (UTS #51 appendix C).
var flags = []string{
	"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
	"🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
	"🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
}

// joining are the scripts that need joiners inside words (RFC 5892 appendix A, Unicode Standard
// Annex #31 section 2.3).
var joining = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati,
	unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar,
}

// emoji holds the characters that can be emoji, except digits, # and *. It also holds the other
// symbols of the blocks U+2600 to U+27BF, except ornamental brackets and digits, and of the blocks
// U+1F300 to U+1FAFF.
var emoji = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0xa9, 0xa9, 1}, {0xae, 0xae, 1}, {0x203c, 0x203c, 1}, {0x2049, 0x2049, 1}, {0x2122, 0x2122, 1}, {0x2139, 0x2139, 1},
		{0x2194, 0x2199, 1}, {0x21a9, 0x21aa, 1}, {0x231a, 0x231b, 1}, {0x2328, 0x2328, 1}, {0x23cf, 0x23cf, 1}, {0x23e9, 0x23f3, 1}, {0x23f8, 0x23fa, 1},
		{0x24c2, 0x24c2, 1}, {0x25aa, 0x25ab, 1}, {0x25b6, 0x25b6, 1}, {0x25c0, 0x25c0, 1}, {0x25fb, 0x25fe, 1}, {0x2600, 0x2767, 1}, {0x2794, 0x27bf, 1},
		{0x2934, 0x2935, 1}, {0x2b05, 0x2b07, 1}, {0x2b1b, 0x2b1c, 1}, {0x2b50, 0x2b50, 1}, {0x2b55, 0x2b55, 1}, {0x3030, 0x3030, 1},
		{0x303d, 0x303d, 1}, {0x3297, 0x3297, 1}, {0x3299, 0x3299, 1},
	},
	R32: []unicode.Range32{
		{0x1f004, 0x1f004, 1}, {0x1f0cf, 0x1f0cf, 1}, {0x1f170, 0x1f171, 1}, {0x1f17e, 0x1f17f, 1}, {0x1f18e, 0x1f18e, 1},
		{0x1f191, 0x1f19a, 1}, {0x1f1e6, 0x1f1ff, 1}, {0x1f201, 0x1f202, 1}, {0x1f21a, 0x1f21a, 1}, {0x1f22f, 0x1f22f, 1},
		{0x1f232, 0x1f23a, 1}, {0x1f250, 0x1f251, 1}, {0x1f300, 0x1faff, 1},
	},
}

// Name trims a name, replaces rows of spaces by one space, and checks the name. The name must have
// 1 to 64 characters, one of them visible. Name refuses control characters, line separators and
// invisible characters. Otherwise two tokens of a user could have names that look alike, or a name
// could change the layout of the line around it. Invisible characters are allowed only in emoji and
// between letters of a script that needs joiners, such as Persian. Name does not refuse different
// characters that look alike, such as the Latin and the Cyrillic a.
func Name(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", errors.New("must be valid UTF-8")
	}
	name = strings.TrimSpace(name)
	unsafe := withoutUnsafe(name) != name
	name = oneSpace(name)
	switch {
	case name == "":
		return "", errors.New("must not be empty")
	case utf8.RuneCountInString(name) > maxNameRunes:
		return "", fmt.Errorf("must not be longer than %d characters", maxNameRunes)
	case unsafe:
		return "", errors.New("must not contain a control or invisible character")
	case !strings.ContainsFunc(name, isVisible):
		return "", errors.New("must contain a visible character")
	}
	return name, nil
}

// CleanName makes a name from the text of another system. It removes what [Name] refuses, and keeps
// at most limit characters. If no visible character remains, it returns the empty string.
func CleanName(text string, limit int) string {
	runes := []rune(oneSpace(withoutUnsafe(strings.ToValidUTF8(text, ""))))
	// The cut may split a sequence, so its rest is removed too.
	name := strings.TrimSpace(withoutUnsafe(string(runes[:min(len(runes), limit)])))
	if !strings.ContainsFunc(name, isVisible) {
		return ""
	}
	return name
}

// oneSpace trims text, and replaces each row of spaces of any kind by one ordinary space. Names
// that differ only in spaces look alike.
func oneSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

// withoutUnsafe returns text without the characters that a name must not contain.
func withoutUnsafe(text string) string {
	runes := []rune(text)
	var safe []rune
	for i, r := range runes {
		if !isUnsafe(r) || isNeeded(runes, i) {
			safe = append(safe, r)
		}
	}
	return string(safe)
}

// WithoutUnsafe removes all control characters, line separators and invisible characters from text,
// also those that [Name] allows, such as in emoji. Databases may ignore such characters in a
// comparison.
func WithoutUnsafe(text string) string {
	return strings.Map(func(r rune) rune {
		if isIgnorable(r) {
			return -1
		}
		return r
	}, text)
}

func isVisible(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }

// isUnsafe reports whether r is a control character, a line separator or invisible. Prepended
// concatenation marks are visible, although they are in Cf.
func isUnsafe(r rune) bool {
	return isIgnorable(r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// isIgnorable reports whether r is unsafe or in Cf. The Default_Ignorable_Code_Point property of
// Unicode is derived from the tables Cf, Other_Default_Ignorable_Code_Point and Variation_Selector.
func isIgnorable(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		strings.ContainsRune(blanks, r)
}

// isNeeded reports whether the unsafe character at index i is part of an emoji or a word that is
// spelled with it.
func isNeeded(runes []rune, i int) bool {
	var before, after rune
	if i > 0 {
		before = runes[i-1]
	}
	if i+1 < len(runes) {
		after = runes[i+1]
	}
	switch r := runes[i]; {
	case r == vs16 && after == keycap:
		return strings.ContainsRune("0123456789#*", before)
	case r == vs16:
		return unicode.Is(emoji, before)
	case r == zwj && unicode.Is(emoji, after):
		return before == vs16 || unicode.Is(emoji, before)
	case r == zwj || r == zwnj:
		return strings.ContainsRune(viramas, before) || isJoining(before) && isJoining(after)
	}
	for start := max(0, i-flagSize+1); start+flagSize <= len(runes) && start < i; start++ {
		if slices.Contains(flags, string(runes[start:start+flagSize])) {
			return true
		}
	}
	return false
}

// isJoining reports whether r is a letter or a mark of a script that needs joiners.
func isJoining(r rune) bool { return unicode.In(r, joining...) && unicode.In(r, unicode.L, unicode.M) }
