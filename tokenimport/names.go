package tokenimport

import (
	"fmt"
	"strings"

	"github.com/go-tokenauth/tokenauth"
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
	name, err := syntax.Name(cut(strings.TrimSpace(name), maxName))
	if err != nil { // there is nothing left to be seen
		return instead
	}
	return name
}

// names are those of a user's live tokens.
type names struct {
	taken map[string]bool
	last  map[string]int // the last number that a name was given: all before it are taken
}

func namesOf(tokens []tokenauth.Token) *names {
	n := &names{map[string]bool{}, map[string]int{}}
	for i := range tokens {
		n.taken[tokens[i].Name] = true
	}
	return n
}

// take takes a name that is free: the one given, or with a number.
func (n *names) take(name string) string {
	numbered := name
	for n.taken[numbered] {
		n.last[name] = max(n.last[name]+1, 2)
		number := fmt.Sprintf(" (%d)", n.last[name])
		numbered = cut(name, maxName-len(number)) + number
	}
	n.taken[numbered] = true
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
