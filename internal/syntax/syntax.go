// Package syntax says what texts a token may be made of. Its errors are for
// people, and never repeat what they refuse.
package syntax

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxUserIDBytes = 255
	maxNameRunes   = 64
	maxWordBytes   = 64
	maxScopes      = 100
	maxScopeBytes  = 128
)

// UserID checks the opaque ID of a user: 1 to 255 bytes of UTF-8 without
// control characters.
func UserID(id string) error {
	switch {
	case id == "":
		return errors.New("empty user ID")
	case len(id) > maxUserIDBytes:
		return fmt.Errorf("user ID of more than %d bytes", maxUserIDBytes)
	case !utf8.ValidString(id):
		return errors.New("user ID is not valid UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("user ID with a control character")
	}
	return nil
}

// Name trims a name and checks it. What is refused could not be seen or typed
// again in a list of tokens, or would bend the line it stands in.
func Name(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", errors.New("name is not valid UTF-8")
	}
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("empty name")
	case utf8.RuneCountInString(name) > maxNameRunes:
		return "", fmt.Errorf("name of more than %d characters", maxNameRunes)
	case strings.ContainsFunc(name, UnsafeInName):
		return "", errors.New("name with a control or invisible character")
	case !strings.ContainsFunc(name, isVisible):
		return "", errors.New("name of nothing that can be seen")
	}
	return name, nil
}

// isVisible reports whether a character alone is seen. Some that count as letters and
// symbols are blank: fillers of Hangul, and a pattern of Braille without dots.
func isVisible(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800':
		return false
	}
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S)
}

// UnsafeInName reports whether a name must not hold a character. U+200C and U+200D it
// may: several scripts, and emoji made of several characters, are not spelt without them.
func UnsafeInName(r rune) bool {
	switch r {
	case '\u200b', '\u2028', '\u2029', '\u2060', '\ufeff':
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// IsWord reports whether s is 1 to 64 letters, digits, - and _ of ASCII, as the
// IDs of tokens are. What is no word is not looked up: some databases answer odd
// bytes with an error instead of no row.
func IsWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxWordBytes
}

// ScopeSet returns the scopes that exist as a set; nil, which means any, if there are none.
func ScopeSet(scopes []string) map[string]bool {
	if len(scopes) == 0 {
		return nil
	}
	set := make(map[string]bool, len(scopes))
	for _, s := range scopes {
		set[s] = true
	}
	return set
}

// Scopes returns scopes sorted and without duplicates, in a slice of its own: at
// most 100 of the scope-tokens of RFC 6749 section 3.3. A non-nil known holds
// the scopes that exist.
func Scopes(scopes []string, known map[string]bool) ([]string, error) {
	if len(scopes) == 0 {
		return nil, nil
	}
	for _, s := range scopes {
		if err := Scope(s); err != nil {
			return nil, err
		}
		if known != nil && !known[s] {
			return nil, errors.New("unknown scope")
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(scopes)))
	if len(sorted) > maxScopes {
		return nil, fmt.Errorf("more than %d scopes", maxScopes)
	}
	return sorted, nil
}

// Scope checks a scope-token of RFC 6749 section 3.3, of at most 128 characters.
func Scope(scope string) error {
	if scope == "" || len(scope) > maxScopeBytes {
		return fmt.Errorf("scope must be 1 to %d characters long", maxScopeBytes)
	}
	if !IsQuotable(scope) || strings.Contains(scope, " ") {
		return errors.New("scope with a character that RFC 6749 section 3.3 does not allow")
	}
	return nil
}

// IsQuotable reports whether s may stand in a quoted-string as it is (RFC 9110
// section 5.6.4): printable ASCII without quote and backslash.
func IsQuotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
