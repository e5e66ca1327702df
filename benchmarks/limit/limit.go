// Package limit holds the least that the work of this library can cost: what every
// measured path is compared with.
package limit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/go-tokenauth/tokenauth"
)

// Bare is a handler without authentication.
var Bare http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

type contextKey struct{}

// Handler is the least that authentication by key can do: the bearer key, its
// SHA-256, a map under a lock, one context value, one copy of the request. It has no
// checksum, no expiry, no second look at the header, and finds no user.
func Handler(tokens map[tokenauth.Digest]*tokenauth.Token) http.Handler {
	var mu sync.RWMutex
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Context().Value(contextKey{}).(*tokenauth.Token).UserID == "" {
			panic("no token")
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header["Authorization"][0], "Bearer ")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var block [64]byte
		digest := sha256.Sum256(block[:copy(block[:], key)])
		mu.RLock()
		token := tokens[digest]
		mu.RUnlock()
		if token == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, token)))
	})
}

// A Select is a prepared SELECT of one row by its digest.
type Select struct {
	stmt   *sql.Stmt
	probes int
}

const columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
	created_at, expires_at, last_used_at, revoked_at`

// NewSelect prepares a SELECT that asks for the current digest alone or, with two
// probes, for the retired one too.
func NewSelect(ctx context.Context, db *sql.DB, d tokenauth.Dialect, table string, probes int) (*Select, error) {
	var parts []string
	for i, column := range []string{"digest", "retired_digest"}[:probes] {
		placeholder := "?"
		if d == tokenauth.PostgreSQL {
			placeholder = fmt.Sprintf("$%d", i+1)
		}
		parts = append(parts, fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", columns, table, column, placeholder))
	}
	stmt, err := db.PrepareContext(ctx, strings.Join(parts, " UNION ALL "))
	return &Select{stmt, probes}, err
}

// Close frees the statement.
func (s *Select) Close() error { return s.stmt.Close() }

// Find reads the row with the current digest d, into as many values as a token has.
func (s *Select) Find(ctx context.Context, d *tokenauth.Digest) error {
	rows, err := s.stmt.QueryContext(ctx, []any{d[:], d[:]}[:s.probes]...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var text [6]string
	var number [7]*int64
	var digest, retired []byte
	found := 0
	for ; rows.Next(); found++ {
		if err := rows.Scan(&text[0], &text[1], &text[2], &number[0], &text[3], &text[4], &number[1], &text[5], &digest,
			&retired, &number[2], &number[3], &number[4], &number[5], &number[6]); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found != 1 {
		return fmt.Errorf("%d rows", found)
	}
	return nil
}
