package tokenauth

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// insertNew inserts one row, unless a unique key or a retired digest conflicts with it. The
// condition on retired_digest is needed because no unique key covers current and retired digests
// together.
const insertNew = `INSERT INTO {table} ({columns}, live_name) SELECT {values}
	WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE retired_digest = ?) ON CONFLICT DO NOTHING`

// Create implements [Store]. A Create of more than 512 records executes several statements in a
// transaction. Create refuses more than 512 records if the store is neither in a transaction nor on
// a pool of connections, such as *sql.DB.
func (s *SQLStore) Create(ctx context.Context, records ...Record) error {
	if len(records) == 0 {
		return ctx.Err()
	}
	patient := *s
	patient.timeout *= time.Duration(1 + len(records)/batch)
	return patient.run(ctx, "create", outcomeUnknown, func(ctx context.Context) error {
		if len(records) > batch && !s.conn.InTransaction() {
			return s.createMany(ctx, records)
		}
		done, err := s.createNew(ctx, records)
		if !done && !s.engine.IsRejected(err) {
			err = s.createMissing(ctx, records, err)
		}
		if sqldb.IsForeignKey(err) {
			err = fmt.Errorf("%w: %w", ErrUserUnknown, err)
		}
		return err
	})
}

// createNew adds the records as if the table had none of them, and reports whether it did. It
// writes before it reads the names and IDs in the table: a read-only server must reject the call,
// because it may not show the rows that another server has written. In a transaction, createNew
// tries only a statement that cannot fail on a conflict, because PostgreSQL aborts the transaction
// after an error.
func (s *SQLStore) createNew(ctx context.Context, records []Record) (done bool, err error) {
	single := len(records) == 1 && s.engine.Guards
	hasRetired := slices.ContainsFunc(records, func(r Record) bool { return r.Retired != nil })
	if hasRetired || !single && s.conn.InTransaction() {
		return false, nil
	}
	if single {
		values := rowValues(&records[0])
		query := strings.Replace(insertNew, "{values}", sqldb.Repeat("?", ", ", len(values)), 1)
		n, err := s.exec(ctx, query, append(values, records[0].Digest[:])...)
		return n == 1, err
	}
	var digests []any
	for i := range records {
		digests = append(digests, records[i].Digest[:])
	}
	query := "SELECT {columns} FROM " + s.engine.WhereIn("retired_digest", "bytea", len(digests)) + " LIMIT 1"
	retired, err := s.query(ctx, query, digests...)
	if err != nil || len(retired) > 0 {
		return false, err
	}
	err = s.insert(ctx, records)
	return err == nil, err
}

// createMany is like createMissing, in a transaction of its own.
func (s *SQLStore) createMany(ctx context.Context, records []Record) error {
	pool, ok := s.conn.(SQLPool)
	if !ok {
		return sqldb.OwnError(fmt.Sprintf("more than %d records require a transaction", batch))
	}
	return sqldb.HideValues(pool.Transact(ctx, func(tx SQLConn) error {
		store := s.WithConn(tx)
		// SQLite does not wait for the write lock if the transaction has read before.
		if _, err := store.exec(ctx, "UPDATE {table} SET id = id WHERE 1 = 0"); err != nil {
			return err
		}
		return store.createMissing(ctx, records, nil)
	}))
}

// createMissing adds the records that are not in the table. It uses an INSERT without ON CONFLICT
// DO NOTHING, which could insert only some of the records. failure is the error of createNew,
// or nil.
func (s *SQLStore) createMissing(ctx context.Context, records []Record, failure error) error {
	for before := len(records); ; {
		model, err := s.loadModel(ctx, failure != nil, records...)
		if err != nil {
			return sqldb.WithCause(failure, err)
		}
		missing, err := model.addNew(records)
		switch {
		case err != nil && s.engine.IsLost(failure): // the records may have been created and changed
			return sqldb.WithCause(failure, err)
		case err != nil:
			return err
		case len(missing) == 0:
			return s.confirm(ctx, records[0].Token.UserID)
		case failure != nil && len(missing) == before:
			return failure // the model has no row that conflicts
		}
		before = len(missing)
		failure = s.insert(ctx, missing)
		// If several statements are needed and one fails, the earlier ones must be rolled back. A
		// sentinel error would say that nothing was created.
		if failure == nil || s.engine.IsRejected(failure) || len(missing) > batch {
			return failure
		}
	}
}

// insert inserts records. If it returns an error, it has inserted none of them, unless there are
// more records than one statement can insert.
func (s *SQLStore) insert(ctx context.Context, records []Record) error {
	for part := range slices.Chunk(records, batch) {
		var args []any
		for i := range part {
			args = append(args, rowValues(&part[i])...)
		}
		row := "(" + sqldb.Repeat("?", ", ", len(args)/len(part)) + ")"
		query := "INSERT INTO {table} ({columns}, live_name) VALUES " + sqldb.Repeat(row, ", ", len(part))
		if _, err := s.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// touchStatements are the statements that set last_used_at of rows to a later time. {uses} stands
// for one or more copies of use, joined by separator. The name uses$ of the common table
// expression cannot be the name of a table, because it contains a $.
var touchStatements = map[Dialect]struct{ use, separator, statement string }{
	SQLite: {"(?, ?)", ", ", `WITH uses$ (id, at) AS (VALUES {uses})
		UPDATE {table} SET last_used_at = max(uses$.at, created_at) FROM uses$
		WHERE {table}.id = uses$.id
			AND (last_used_at IS NULL OR last_used_at < max(uses$.at, created_at))`},
	// ORDER BY makes all calls lock rows in the same order. Otherwise two concurrent calls could
	// deadlock.
	PostgreSQL: {"(CAST(? AS text), CAST(? AS bigint))", ", ", `WITH uses$ (id, at) AS (VALUES {uses}),
		due AS (SELECT t.id, greatest(u.at, t.created_at) AS at FROM {table} t JOIN uses$ u ON u.id = t.id
			WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(u.at, t.created_at)
			ORDER BY t.id FOR NO KEY UPDATE OF t)
		UPDATE {table} t SET last_used_at = due.at FROM due
		WHERE t.id = due.id AND (t.last_used_at IS NULL OR t.last_used_at < due.at)`},
	MySQL: {"SELECT CAST(? AS BINARY) AS id, CAST(? AS SIGNED) AS at", " UNION ALL ", `UPDATE ({uses}) uses
		STRAIGHT_JOIN {table} t ON t.id = uses.id SET t.last_used_at = greatest(uses.at, t.created_at)
		WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(uses.at, t.created_at)`},
}

// Touch implements [Store]. A Touch of more than 512 tokens executes several statements.
func (s *SQLStore) Touch(ctx context.Context, uses ...Use) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	latest := map[string]int64{}
	for _, use := range uses {
		at := micros(use.At).UnixMicro()
		if known, ok := latest[use.ID]; !ok || at > known {
			latest[use.ID] = at
		}
	}
	// IDs are sorted so that all calls lock rows in the same order.
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(latest)), batch) {
		var args []any
		for _, id := range ids {
			args = append(args, id, latest[id])
		}
		if err := s.touch(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

// touch executes the statement of Touch for pairs of an ID and a time.
func (s *SQLStore) touch(ctx context.Context, args []any) error {
	// pgx and PostgreSQL cache each query text per connection. Rounding up the number of uses to a
	// power of two results in ten query texts instead of hundreds.
	n := 1 << bits.Len(uint(len(args)/2-1))
	for len(args) < 2*n { // append copies of the last use
		args = append(args, args[len(args)-2:]...)
	}
	t := touchStatements[s.dialect]
	query := strings.Replace(t.statement, "{uses}", sqldb.Repeat(t.use, t.separator, n), 1)
	_, err := s.write(ctx, "touch", query, args...)
	return err
}

// write executes a statement with the timeout of the store and retries it. It returns the number of
// rows that the statement changed.
func (s *SQLStore) write(ctx context.Context, doing, query string, args ...any) (n int, err error) {
	err = s.run(ctx, doing, outcomeUnknown, func(ctx context.Context) (err error) {
		n, err = s.exec(ctx, query, args...)
		return err
	})
	return n, err
}

// pruneStatements are the statements that delete the rows whose column %[1]s has a time before the
// first parameter. The second parameter is the maximum number of rows to delete. Without ORDER BY,
// PostgreSQL would scan the table if most rows have such a time.
var pruneStatements = map[Dialect]string{
	SQLite: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
		WHERE origin = '' AND %[1]s < ? ORDER BY %[1]s LIMIT ?)`,
	// PostgreSQL evaluates ARRAY only once. It may evaluate a plain subquery several times, and
	// would then delete more rows than the maximum.
	PostgreSQL: `DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table}
		WHERE origin = '' AND %[1]s < ? ORDER BY %[1]s LIMIT ? FOR UPDATE SKIP LOCKED))`,
	MySQL: "DELETE FROM {table} WHERE origin = '' AND %[1]s < ? ORDER BY %[1]s LIMIT ?",
}

// Prune implements [Store].
func (s *SQLStore) Prune(ctx context.Context, before, unusedSince time.Time, limit int) (total int, err error) {
	if limit <= 0 { // some databases treat a negative LIMIT as no limit
		return 0, ctx.Err()
	}
	// Each column has its own statement, because one statement with a condition on both columns
	// would scan both indexes.
	for _, column := range []string{"revoked_at", "expires_at"} {
		query := fmt.Sprintf(pruneStatements[s.dialect], column)
		for n, most := 0, 0; n == most && total < limit; total += n {
			most = min(limit-total, pruneSize)
			n, err = s.write(ctx, "prune", query, timeValue(before), most)
			if err != nil {
				return total, err
			}
			s.letOthersWrite(ctx, n, 3)
		}
	}
	if !unusedSince.IsZero() {
		n, err := s.pruneUnused(ctx, unusedSince, limit-total)
		return total + n, err
	}
	return total, nil
}

// letOthersWrite pauses, as [sqldb.Pause] does, after a large batch of n rows. SQLite does not
// queue its writers, so without a pause the next batch would overtake those that wait.
func (s *SQLStore) letOthersWrite(ctx context.Context, n, attempt int) {
	if n >= pruneSize && s.dialect == SQLite && !s.conn.InTransaction() {
		sqldb.Pause(ctx, attempt)
	}
}

// pruneSize is the number of rows that a statement of Prune deletes at most, and the number of rows
// that pruneUnused reads per statement.
const pruneSize = 1000

// pruneUnused deletes idle tokens for Prune. It walks the live tokens in the order of CreatedAt,
// because an index on last_used_at would make each write of last-used times more expensive.
func (s *SQLStore) pruneUnused(ctx context.Context, since time.Time, limit int) (total int, err error) {
	q := Query{AllUsers: true, Limit: pruneSize}
	for total < limit {
		live, err := s.List(ctx, q)
		if err != nil {
			return total, err
		}
		var ids []string
		for i := range live {
			if t := &live[i].Token; t.Origin == "" && t.unused(since) && len(ids) < limit-total {
				ids = append(ids, t.ID)
			}
		}
		if n := len(ids); n > 0 {
			args := idArgs(ids)
			query := "DELETE FROM {table} WHERE id IN (" + sqldb.Repeat("?", ", ", len(args)) + ") AND revoked_at IS NULL AND " + unused
			n, err = s.write(ctx, "prune", query, append(args, timeValue(since), timeValue(since))...)
			total += n
		}
		if err != nil || len(live) < pruneSize || live[pruneSize-1].Token.CreatedAt.After(since) {
			return total, err
		}
		q.After = live[pruneSize-1].Token.Cursor()
	}
	return total, nil
}
