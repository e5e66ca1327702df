package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/pgxstore"
)

// pgxLookups returns the lookups of BenchmarkFind on a pool of pgx.
func pgxLookups(b *testing.B, t *table) (bare, both, find lookup) {
	pool, err := pgxpool.New(context.Background(), t.database.DSN)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	store, err := pgxstore.New(pool, &tokenauth.SQLOptions{Table: t.name, Timeout: time.Minute})
	require.NoError(b, err)
	return pgxSelect(pool, t.name, "digest"), pgxSelect(pool, t.name, "digest", "retired_digest"), findIn(store)
}

// pgxSelect returns a lookup that compares the given digest with columns of a table, and scans all
// columns of the token. It discards the values.
func pgxSelect(pool *pgxpool.Pool, table string, columns ...string) lookup {
	var parts []string
	for _, column := range columns {
		parts = append(parts, fmt.Sprintf(`SELECT id, user_id, name, slot, scopes, hint, generation, origin, digest,
			retired_digest, retired_until, created_at, expires_at, last_used_at, revoked_at, resources, created_by, revoked_by FROM %s WHERE %s = $1`, table, column))
	}
	query := strings.Join(parts, " UNION ALL ")
	return func(ctx context.Context, d *tokenauth.Digest) error {
		rows, err := pool.Query(ctx, query, d[:])
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return errors.Join(rows.Err(), errors.New("no row"))
		}
		var text [6]string
		var number [7]*int64
		var nullable [3]*string
		var digest, retired []byte
		if err := rows.Scan(&text[0], &text[1], &text[2], &number[0], &text[3], &text[4], &number[1], &text[5], &digest,
			&retired, &number[2], &number[3], &number[4], &number[5], &number[6], &nullable[0], &nullable[1], &nullable[2]); err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	}
}
