package limit

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

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
