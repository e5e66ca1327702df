package tokenlogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/syntax"
)

const (
	maxDefaultName = 56 // maximum number of characters, which leaves room for a number
	nameless       = "login"
	maxNumberTries = 16
)

// nameOf returns the name for a token, made from a User-Agent header.
func nameOf(userAgent string) string {
	return cmp.Or(syntax.CleanName(userAgent, maxDefaultName), nameless)
}

// issueNumbered issues a token. If the user has a token with the same name, issueNumbered adds a
// number to the name.
func (l *login) issueNumbered(ctx context.Context, spec tokenauth.Spec) (key tokenauth.Key, t tokenauth.Token, err error) {
	base := spec.Name
	for range maxNumberTries { // a concurrent login may take the same number first
		key, t, err = l.manager.Issue(ctx, spec)
		if !errors.Is(err, tokenauth.ErrNameTaken) {
			return key, t, err
		}
		tokens, err := l.manager.List(ctx, tokenauth.Query{UserID: spec.UserID})
		if err != nil {
			return key, t, err
		}
		taken := map[string]bool{}
		for i := range tokens {
			taken[tokens[i].Name] = true
		}
		for n := 2; taken[spec.Name]; n++ {
			spec.Name = fmt.Sprintf("%s (%d)", base, n)
		}
	}
	return key, t, tokenauth.ErrConflict
}
