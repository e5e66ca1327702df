package tokenimport

import (
	"cmp"
	"fmt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const maxName = 64 // characters

// cleaned returns the name without the characters that a name must not contain. It returns fallback
// if no visible character remains.
func cleaned(name, fallback string) string {
	return cmp.Or(syntax.CleanName(name, maxName), fallback)
}

// names holds the names of a user's live tokens.
type names struct {
	taken map[string]bool
	last  map[string]int // by name, the last number that take added; all smaller numbers are taken
}

func namesOf(tokens []tokenauth.Token) *names {
	n := &names{map[string]bool{}, map[string]int{}}
	for i := range tokens {
		n.taken[tokens[i].Name] = true
	}
	return n
}

// take returns a free name, and marks it as taken. The free name is the given name, or the given
// name with a number.
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
