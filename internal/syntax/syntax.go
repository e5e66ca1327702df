// Package syntax checks the texts of a token: user IDs, names, IDs, scopes and resources. An error
// text is the rest of a sentence that begins with the name of the field, such as "must not be
// empty". An error never contains the refused text.
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
	maxWordBytes   = 64
	maxScopes      = 100
	maxScopeBytes  = 128

	maxResources     = 100
	maxResourceBytes = 255
)

// UserID returns an error if id is not 1 to 255 bytes of valid UTF-8 without control characters.
func UserID(id string) error {
	switch {
	case id == "":
		return errors.New("must not be empty")
	case len(id) > maxUserIDBytes:
		return fmt.Errorf("must not be longer than %d bytes", maxUserIDBytes)
	case !utf8.ValidString(id):
		return errors.New("must be valid UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("must not contain a control character")
	}
	return nil
}

// IsWord reports whether s consists of 1 to 64 ASCII letters, digits, hyphens and underscores, like
// a token ID. Callers pass no other ID to a database. For an ID with invalid bytes, some databases
// return an error instead of no row.
func IsWord(s string) bool {
	return s != "" && len(s) <= maxWordBytes && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_'
	})
}

// Scopes checks scopes and returns a sorted copy without duplicates. Scopes refuses more than 100
// scopes. If known is not empty, Scopes also refuses scopes that are not in known.
func Scopes(scopes, known []string) ([]string, error) {
	if len(scopes) == 0 {
		return nil, nil
	}
	for _, s := range scopes {
		if err := Scope(s); err != nil {
			return nil, err
		}
		if len(known) > 0 && !slices.Contains(known, s) {
			return nil, errors.New("must not contain an unknown scope")
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(scopes)))
	if len(sorted) > maxScopes {
		return nil, fmt.Errorf("must not be more than %d", maxScopes)
	}
	return sorted, nil
}

// Scope returns an error if scope is not a scope-token of RFC 6749 section 3.3 or is longer than
// 128 characters.
func Scope(scope string) error {
	if scope == "" || len(scope) > maxScopeBytes {
		return fmt.Errorf("must be 1 to %d characters long", maxScopeBytes)
	}
	if !IsQuotable(scope) || strings.Contains(scope, " ") {
		return errors.New("must not contain a character that RFC 6749 section 3.3 forbids")
	}
	return nil
}

// Resources checks resources and returns a sorted copy without duplicates. For nil, it returns nil.
// It refuses an empty list and more than 100 resources.
func Resources(resources []string) ([]string, error) {
	if resources == nil {
		return nil, nil
	}
	for _, s := range resources {
		if s == "" || len(s) > maxResourceBytes {
			return nil, fmt.Errorf("must be 1 to %d characters long", maxResourceBytes)
		}
		if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return nil, errors.New("must consist of visible ASCII characters")
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(resources)))
	if n := len(sorted); n == 0 || n > maxResources {
		return nil, fmt.Errorf("must have 1 to %d items", maxResources)
	}
	return sorted, nil
}

// IsQuotable reports whether s can be part of a quoted-string of RFC 9110 section 5.6.4 without
// escaping: it must be printable ASCII without quotation marks and backslashes.
func IsQuotable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f || c == '"' || c == '\\' })
}
