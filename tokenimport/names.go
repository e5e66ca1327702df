package tokenimport

import (
	"fmt"
	"strings"

	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const maxName = 64 // characters

// tidy returns what of a name can be kept, or another that takes its place.
func tidy(name, instead string) string {
	name = strings.Map(func(r rune) rune {
		if syntax.UnsafeInName(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if name = cut(strings.TrimSpace(name), maxName); name == "" {
		return instead
	}
	return name
}

// free returns a name that is not taken: the one given, or with a number.
func free(name string, taken map[string]bool) string {
	numbered := name
	for n := 2; taken[numbered]; n++ {
		number := fmt.Sprintf(" (%d)", n)
		numbered = cut(name, maxName-len(number)) + number
	}
	return numbered
}

// cut returns at most so many of the first characters.
func cut(name string, length int) string {
	for i := range name {
		if length == 0 {
			return strings.TrimSpace(name[:i])
		}
		length--
	}
	return name
}
