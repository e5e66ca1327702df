package tokenimport

import (
	"context"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Remainder is what is left of an import.
type Remainder struct {
	Tokens     int       // that still have the key they were imported with
	LastUsedAt time.Time // of the one that was used last; zero: none was
}

// remainingPage is large, since a store may look at all its rows for each page.
const remainingPage = 20_000

// Remaining counts the live tokens of an origin ("drf", "knox", "sanctum") that still have
// the key they were imported with: neither expired nor rotated. It can't see which
// grace is running: the imported key of a rotated token is not counted, also while it
// still works. So when there are none, and the grace of each rotation is over, the
// LegacyFormat can go. It reads the whole list of live tokens.
func Remaining(ctx context.Context, m *tokenauth.Manager, origin string) (Remainder, error) {
	var left Remainder
	q := tokenauth.Query{AllUsers: true, Limit: remainingPage}
	for {
		tokens, err := m.List(ctx, q)
		if err != nil {
			return left, fmt.Errorf("tokenimport: %w", err)
		}
		for i := range tokens {
			t := &tokens[i]
			if t.Origin != origin || t.Generation != 0 || m.Expired(t) {
				continue
			}
			left.Tokens++
			if t.LastUsedAt.After(left.LastUsedAt) {
				left.LastUsedAt = t.LastUsedAt
			}
		}
		if len(tokens) < remainingPage {
			return left, nil
		}
		q.After = tokens[len(tokens)-1].Cursor()
	}
}
