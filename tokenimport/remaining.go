package tokenimport

import (
	"context"
	"fmt"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Remainder describes the tokens that still have their imported key.
type Remainder struct {
	Tokens     int       // number of these tokens
	LastUsedAt time.Time // latest last-used time of these tokens; zero if none was used
}

// remainingPage is large, because a store may read all rows for each page.
const remainingPage = 20_000

// Remaining counts the tokens of an origin ("drf", "knox" or "sanctum") that still have their
// imported key. Tokens that are rotated, revoked, expired or idle do not count. Remaining cannot
// see which imported keys are still accepted during the grace of a rotation. If Remaining counts no
// tokens and the grace of each rotation has passed, the service no longer needs the LegacyFormat.
//
// Remaining reads the list of all live tokens, page by page. It returns an error only if the store
// fails.
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
