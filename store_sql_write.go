package tokenauth

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// insertNew inserts one row, unless a unique key or a retired digest conflicts with it. No unique
// key covers current and retired digests together.
const insertNew = `INSERT INTO {table} ({columns}, live_name) SELECT {values}
	WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE retired_digest = ?) ON CONFLICT DO NOTHING`

// Create implements [Store]. Databases limit the number of parameters of a statement: SQLite
// takes 2,000 records per call.
func (s *SQLStore) Create(ctx context.Context, records ...Record) error {
	if len(records) == 0 {
		return ctx.Err()
	}
	return s.run(ctx, "create", outcomeUnknown, func(ctx context.Context) error {
		var failure error
		if len(records) == 1 && records[0].Retired == nil && s.engine.Guards {
			values := rowValues(&records[0])
			query := strings.Replace(insertNew, "{values}", sqldb.Repeat("?", ", ", len(values)), 1)
			n, err := s.exec(ctx, query, append(values, records[0].Digest[:])...)
			if n == 1 || s.engine.IsRejected(err) {
				return err
			}
			failure = err
		}
		return s.createMissing(ctx, records, failure)
	})
}

// createMissing adds the records that the table does not have. It inserts them all at once,
// because ON CONFLICT DO NOTHING would insert some of them. If failure is not nil, it is the
// error of a first attempt.
func (s *SQLStore) createMissing(ctx context.Context, records []Record, failure error) error {
	for missing := records; ; {
		model, err := s.loadModel(ctx, failure != nil, missing...)
		if err != nil {
			return cmp.Or(failure, err)
		}
		before := len(missing)
		missing, err = model.addNew(missing)
		switch {
		case err != nil:
			return err
		case len(missing) == 0:
			return s.confirm(ctx, records[0].Token.UserID)
		case failure != nil && len(missing) == before:
			return failure // no row explains it
		}
		failure = s.insert(ctx, missing)
		if failure == nil || s.engine.IsRejected(failure) {
			return failure
		}
	}
}

// insert adds all records or none.
func (s *SQLStore) insert(ctx context.Context, records []Record) error {
	var args []any
	for i := range records {
		args = append(args, rowValues(&records[i])...)
	}
	row := "(" + sqldb.Repeat("?", ", ", len(args)/len(records)) + ")"
	query := "INSERT INTO {table} ({columns}, live_name) VALUES " + sqldb.Repeat(row, ", ", len(records))
	_, err := s.exec(ctx, query, args...)
	return err
}

// touchStatements set the last-used times of rows, if they are later. {uses} stands for one or
// more uses, with a separator. The name uses_of_{table} cannot hide a table of the service.
var touchStatements = map[Dialect]struct{ use, separator, statement string }{
	SQLite: {"(?, ?)", ", ", `WITH uses_of_{table} (id, at) AS (VALUES {uses})
		UPDATE {table} SET last_used_at = max(uses_of_{table}.at, created_at) FROM uses_of_{table}
		WHERE {table}.id = uses_of_{table}.id
			AND (last_used_at IS NULL OR last_used_at < max(uses_of_{table}.at, created_at))`},
	// ORDER BY locks the rows in one order. Otherwise two calls could deadlock.
	PostgreSQL: {"(CAST(? AS text), CAST(? AS bigint))", ", ", `WITH uses_of_{table} (id, at) AS (VALUES {uses}),
		due AS (SELECT t.id, greatest(u.at, t.created_at) AS at FROM {table} t JOIN uses_of_{table} u ON u.id = t.id
			WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(u.at, t.created_at)
			ORDER BY t.id FOR NO KEY UPDATE OF t)
		UPDATE {table} t SET last_used_at = due.at FROM due
		WHERE t.id = due.id AND (t.last_used_at IS NULL OR t.last_used_at < due.at)`},
	MySQL: {"SELECT ? AS id, CAST(? AS SIGNED) AS at", " UNION ALL ", `UPDATE ({uses}) uses
		STRAIGHT_JOIN {table} t ON t.id = uses.id SET t.last_used_at = greatest(uses.at, t.created_at)
		WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(uses.at, t.created_at)`},
}

// Touch implements [Store].
func (s *SQLStore) Touch(ctx context.Context, uses ...Use) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	latest := map[string]int64{}
	for _, use := range uses {
		at := use.At.UnixMicro()
		if known, ok := latest[use.ID]; !ok || at > known {
			latest[use.ID] = at
		}
	}
	var args []any
	for _, id := range slices.Sorted(maps.Keys(latest)) { // so that all calls lock rows in one order
		args = append(args, id, latest[id])
	}
	// pgx and PostgreSQL cache each text, per connection. So use ten texts instead of hundreds.
	n := len(latest)
	if n <= 512 {
		n = 1 << bits.Len(uint(n-1)) // the next power of two
	}
	for len(args) < 2*n { // repeat the last use
		args = append(args, args[len(args)-2:]...)
	}
	t := touchStatements[s.dialect]
	query := strings.Replace(t.statement, "{uses}", sqldb.Repeat(t.use, t.separator, n), 1)
	return s.run(ctx, "touch", outcomeUnknown, func(ctx context.Context) error {
		_, err := s.exec(ctx, query, args...)
		return err
	})
}

// pruneStatements delete rows whose column %s has a time before the first parameter. The second
// parameter is the maximum number of rows.
var pruneStatements = map[Dialect]string{
	SQLite: "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE origin = '' AND %s < ? LIMIT ?)",
	// PostgreSQL evaluates ARRAY once. It may evaluate a subquery again, and delete more rows.
	PostgreSQL: `DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table}
		WHERE origin = '' AND %s < ? LIMIT ? FOR UPDATE SKIP LOCKED))`,
	MySQL: "DELETE FROM {table} WHERE origin = '' AND %s < ? LIMIT ?",
}

// Prune implements [Store].
func (s *SQLStore) Prune(ctx context.Context, before time.Time, limit int) (total int, err error) {
	if limit <= 0 { // some databases take a negative limit for no limit
		return 0, ctx.Err()
	}
	err = s.run(ctx, "prune", outcomeUnknown, func(ctx context.Context) error {
		// A statement with a condition on both columns would scan both indexes.
		for _, column := range []string{"revoked_at", "expires_at"} {
			query := fmt.Sprintf(pruneStatements[s.dialect], column)
			n, err := s.exec(ctx, query, timeValue(before), limit-total)
			if total += n; err != nil {
				return err
			}
		}
		return nil
	})
	return total, err
}
