package limit

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/go-tokenauth/tokenauth"
)

// A Select is a prepared statement that reads one token by the digest of its key.
type Select struct {
	stmt   *sql.Stmt
	probes int
}

const columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
	created_at, expires_at, last_used_at, revoked_at, resources, created_by, revoked_by`

// NewSelect prepares a Select. If probes is 1, the statement compares the given digest only with
// the column digest. If probes is 2, it also compares the given digest with the column
// retired_digest.
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

// Close closes the prepared statement.
func (s *Select) Close() error { return s.stmt.Close() }

// Find reads the row that matches digest d and scans all columns of the token. It discards the
// values.
func (s *Select) Find(ctx context.Context, d *tokenauth.Digest) error {
	rows, err := s.stmt.QueryContext(ctx, []any{d[:], d[:]}[:s.probes]...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var text [6]string
	var number [7]*int64
	var nullable [3]*string
	var digest, retired []byte
	found := 0
	for ; rows.Next(); found++ {
		if err := rows.Scan(&text[0], &text[1], &text[2], &number[0], &text[3], &text[4], &number[1], &text[5], &digest,
			&retired, &number[2], &number[3], &number[4], &number[5], &number[6], &nullable[0], &nullable[1], &nullable[2]); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found != 1 {
		return fmt.Errorf("the query returned %d rows, want 1", found)
	}
	return nil
}
