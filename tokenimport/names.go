package tokenimport

import (
	"cmp"
	"fmt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const maxName = 64 // characters

// tidy returns the part of a name that can be kept, or instead if nothing can be kept.
func tidy(name, instead string) string { return cmp.Or(syntax.CleanName(name, maxName), instead) }

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
		numbered = syntax.CleanName(name, maxName-len(number)) + number
	}
	n.taken[numbered] = true
	return numbered
}
