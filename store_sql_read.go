package tokenauth

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// findQuery is the SQL text of the Find query. On SQLite, this query takes half the time of a query
// with OR. Because of LIMIT 1, SQLite does not look up the retired digest if a row has the current
// digest.
const findQuery = `SELECT {columns} FROM {table} WHERE digest = ?
	UNION ALL SELECT {columns} FROM {table} WHERE retired_digest = ? LIMIT 1`

// Find implements [Store].
func (s *SQLStore) Find(ctx context.Context, d Digest) (r *Record, err error) {
	digest := any(d[:]) // converted once, because the conversion allocates
	err = s.run(ctx, "find", noResponse, func(ctx context.Context) error {
		rows, err := s.conn.Query(ctx, s.find, digest, digest)
		if err == nil {
			r, err = scanFirst(rows)
		}
		return err
	})
	return r, err
}

// batch is the number of IDs, uses or records in one statement. Databases limit the number of
// parameters of a statement: SQLite allows 32,766.
const batch = 512

// List implements [Store]. A List of more than 512 IDs executes several statements.
func (s *SQLStore) List(ctx context.Context, q Query) ([]Record, error) {
	if err := cmp.Or(ctx.Err(), q.check()); err != nil {
		return nil, err
	}
	if q.IDs == nil {
		return s.list(ctx, q)
	}
	var found []Record
	for ids := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(q.IDs))), batch) {
		q.IDs = ids
		records, err := s.list(ctx, q)
		if err != nil {
			return nil, err
		}
		found = append(found, records...)
	}
	found = slices.DeleteFunc(found, func(r Record) bool { return q.UserID != "" && r.Token.UserID != q.UserID })
	sortRecords(found)
	if q.Limit > 0 {
		found = found[:min(q.Limit, len(found))]
	}
	return found, nil
}

// list is like List, for a query whose IDs fit in one statement. If q has IDs, list ignores UserID
// and Limit.
func (s *SQLStore) list(ctx context.Context, q Query) ([]Record, error) {
	query, args := s.listQuery(q)
	if s.dialect == MySQL && q.Limit > 0 && q.UserID != "" && q.IDs == nil {
		// If a user has many of all tokens, MariaDB expects to fill the page soon in the order of all
		// users' tokens. A subquery that needs no column but those of an index makes it use that index.
		query = "SELECT {columns} FROM (" + strings.Replace(query, "{columns}", "id AS page_id", 1) +
			") page STRAIGHT_JOIN {table} ON id = page_id"
	}
	records, err := s.read(ctx, "list", query, args...)
	sortRecords(records)
	return records, err
}

func sortRecords(records []Record) {
	slices.SortFunc(records, func(a, b Record) int { return compareRecords(&a, &b) })
}

// listQuery returns the query of list and its arguments.
//
// If the statistics of a database say that most users have one token, the database expects that
// every user has few. It may then read all tokens of a user by an index on user_id, although
// another index leads to a few rows. Therefore listQuery offers no such index if q selects few
// rows: not for the order, not for revoked_at IS NULL, and, if q has IDs, not for user_id.
func (s *SQLStore) listQuery(q Query) (query string, args []any) {
	query = "SELECT {columns} FROM {table} WHERE 1 = 1"
	byName := q.Name != "" && q.UserID != "" && !q.IncludeRevoked
	if q.IDs != nil {
		args = idArgs(q.IDs)
		query = "SELECT {columns} FROM " + s.engine.WhereIn("id", "text", len(args))
	}
	if q.UserID != "" && q.IDs == nil {
		query += " AND user_id = ?"
		args = append(args, q.UserID)
	}
	conditions, values := creatorAndExpiry(&q)
	switch { // slot and live_name are NULL if a token is revoked
	case q.IncludeRevoked || q.MaxSlot > 0 || byName:
	case q.UserID != "" && conditions != "" && s.dialect != SQLite: // offer no index of all users' live tokens
		query += " AND live_name IS NOT NULL"
	default:
		query += " AND revoked_at IS NULL"
	}
	query += conditions
	args = append(args, values...)
	switch {
	case q.Name == "":
	case q.IncludeRevoked:
		query += " AND name = ?"
		args = append(args, q.Name)
	default: // unlike name, live_name is in an index
		query += " AND live_name = ?"
		args = append(args, q.Name)
	}
	if q.MaxSlot > 0 {
		query += " AND slot BETWEEN ? AND ?"
		args = append(args, max(q.MinSlot, 1), q.MaxSlot)
	}
	if q.After != (Cursor{}) {
		condition, position := s.after(q.After)
		query += condition
		args = append(args, position...)
	}
	order := " ORDER BY created_at, id"
	if q.IDs != nil || q.MaxSlot > 0 || byName {
		order = " ORDER BY created_at + 0, id"
	}
	if q.Limit > 0 && q.IDs == nil {
		order += " LIMIT ?"
		args = append(args, q.Limit)
	}
	return query + order, args
}

// creatorAndExpiry returns the conditions on created_by and expires_at, and their arguments. For a
// user or for IDs, it offers no index on these columns, because millions of tokens of other users
// may have the same creator or may have expired.
//
// For all users, expires_at has a lower limit that each time exceeds. Without this limit, SQLite
// and generic plans of PostgreSQL expect that at least a quarter of all tokens expire before any
// time. They would then read all live tokens in the order of the list.
func creatorAndExpiry(q *Query) (conditions string, args []any) {
	createdBy, expiresAt := "created_by", "expires_at > -100000000000000000 AND expires_at"
	if q.UserID != "" || q.IDs != nil {
		createdBy, expiresAt = "COALESCE(created_by, '')", "expires_at + 0"
	}
	if q.CreatedBy != "" {
		conditions += " AND " + createdBy + " = ?"
		args = append(args, q.CreatedBy)
	}
	if !q.ExpiresBefore.IsZero() {
		conditions += " AND " + expiresAt + " < ?"
		args = append(args, timeValue(q.ExpiresBefore))
	}
	return conditions, args
}

// after returns the condition that a row is after a position, and its arguments.
func (s *SQLStore) after(c Cursor) (condition string, args []any) {
	at := micros(c.CreatedAt).UnixMicro()
	if s.dialect == MySQL { // which does not use an index for a comparison of two columns
		return " AND (created_at > ? OR created_at = ? AND id > ?)", []any{at, at, c.ID}
	}
	return " AND (created_at, id) > (?, ?)", []any{at, c.ID}
}

// idArgs returns IDs as arguments. It adds NULL, which equals no ID, until the number is a power of
// two; touch does the same for the reason that its comment gives.
func idArgs(ids []string) (args []any) {
	for _, id := range ids {
		args = append(args, id)
	}
	for bits.OnesCount(uint(len(args))) > 1 {
		args = append(args, nil)
	}
	return args
}

// loadModel returns a MemoryStore with the rows that share an ID, a digest, the name of a live
// token or a slot with one of records. If latest is true, the MemoryStore includes rows that other
// transactions have committed after the caller's transaction took its snapshot.
func (s *SQLStore) loadModel(ctx context.Context, latest bool, records ...Record) (*MemoryStore, error) {
	model := NewMemoryStore()
	for chunk := range slices.Chunk(records, 100) { // databases limit the number of parameters of a statement
		selects, args := s.modelSelects(chunk)
		for i := range selects {
			if latest {
				selects[i] = s.latest(selects[i])
			}
		}
		found, err := s.query(ctx, strings.Join(selects, " UNION ALL "), args...)
		if err != nil {
			return model, err
		}
		for i := range found {
			model.put(&found[i])
		}
	}
	model.writes = 0
	return model, nil
}

// latest returns a query that also returns rows that other transactions have committed after the
// caller's transaction took its snapshot. The argument is the same query without such rows.
func (s *SQLStore) latest(query string) string {
	if !s.conn.InTransaction() {
		return query
	}
	return fmt.Sprintf(s.engine.Latest, query)
}

// modelSelects returns the SELECT statements that loadModel joins, and the arguments of all of
// these statements.
func (s *SQLStore) modelSelects(records []Record) (selects []string, args []any) {
	var ids, digests, names, slots []any
	for i := range records {
		r := &records[i]
		ids = append(ids, r.Token.ID)
		digests = append(digests, r.Digest[:])
		if r.Retired != nil {
			digests = append(digests, r.Retired.Digest[:])
		}
		names = append(names, r.Token.UserID, r.Token.Name)
		if r.Slot != 0 {
			slots = append(slots, r.Token.UserID, r.Slot)
		}
	}
	selects = []string{
		"SELECT {columns} FROM " + s.engine.WhereIn("id", "text", len(ids)),
		"SELECT {columns} FROM " + s.engine.WhereIn("digest", "bytea", len(digests)),
		"SELECT {columns} FROM " + s.engine.WhereIn("retired_digest", "bytea", len(digests)),
		"SELECT {columns} FROM " + s.whereUserAnd("live_name", len(names)/2),
	}
	if len(slots) > 0 {
		selects = append(selects, "SELECT {columns} FROM "+s.whereUserAnd("slot", len(slots)/2))
	}
	return selects, slices.Concat(ids, digests, digests, names, slots)
}

// whereUserAnd returns the text after FROM that selects the rows with one of n pairs of a user ID
// and the value of another column. For the form on PostgreSQL, see [sqldb.Engine.WhereIn].
func (s *SQLStore) whereUserAnd(column string, n int) string {
	pair := "user_id = ? AND " + column + " = ?"
	if s.dialect == PostgreSQL {
		return "(" + sqldb.Repeat("SELECT * FROM {table} WHERE "+pair, " UNION ALL ", n) + ") AS found"
	}
	return "{table} WHERE (" + sqldb.Repeat("("+pair+")", " OR ", n) + ")"
}

// read is like query, but applies the timeout of the store and retries the query.
func (s *SQLStore) read(ctx context.Context, doing, query string, args ...any) (records []Record, err error) {
	err = s.run(ctx, doing, noResponse, func(ctx context.Context) (err error) {
		records, err = s.query(ctx, query, args...)
		return err
	})
	return records, err
}

// query returns the records of all rows that a SELECT returns.
func (s *SQLStore) query(ctx context.Context, query string, args ...any) ([]Record, error) {
	rows, err := s.conn.Query(ctx, s.complete(query), args...)
	if err != nil {
		return nil, sqldb.HideValues(err)
	}
	defer func() { _ = rows.Close() }() // rows.Err returns any error of the rows
	var records []Record
	for rows.Next() {
		records = append(records, Record{})
		if err := scanRecord(rows, &records[len(records)-1]); err != nil {
			return nil, err
		}
	}
	return records, sqldb.HideValues(rows.Err())
}

// scanFirst returns the record of the first row and closes rows. If there is no row, scanFirst
// returns ErrNotFound. For speed, scanFirst does not call Next a second time. Close returns later
// errors, such as a failed commit.
func scanFirst(rows SQLRows) (*Record, error) {
	if !rows.Next() {
		return nil, cmp.Or(rows.Err(), rows.Close(), ErrNotFound)
	}
	r := &Record{}
	if err := cmp.Or(scanRecord(rows, r), rows.Close()); err != nil {
		return nil, err
	}
	return r, nil
}

// columns are the columns that a SELECT reads. An INSERT has live_name as an additional column at
// the end.
const columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
		created_at, expires_at, last_used_at, revoked_at, resources, created_by, revoked_by`

// rowValues returns the values of r for an INSERT: one value for each of columns, and then the
// value for live_name.
func rowValues(r *Record) []any {
	t := &r.Token
	var slot, retired, retiredUntil, liveName any
	if t.RevokedAt.IsZero() {
		liveName = t.Name
		if r.Slot != 0 {
			slot = r.Slot
		}
	}
	if r.Retired != nil {
		retired, retiredUntil = r.Retired.Digest[:], timeValue(r.Retired.Until)
	}
	return []any{
		t.ID, t.UserID, t.Name, slot, strings.Join(t.Scopes, " "), t.Hint, t.Generation, t.Origin,
		r.Digest[:], retired, retiredUntil,
		timeValue(t.CreatedAt), timeValue(t.ExpiresAt), timeValue(t.LastUsedAt), timeValue(t.RevokedAt),
		resourcesValue(t.Resources), textValue(t.CreatedBy), textValue(t.RevokedBy), liveName,
	}
}

// resourcesValue returns the column value for resources: NULL for all of them. An empty list
// becomes an empty text, which scanRecord refuses.
func resourcesValue(resources []string) any {
	if resources == nil {
		return nil
	}
	return strings.Join(resources, " ")
}

// textValue returns the column value for a text: NULL if it is empty.
func textValue(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// timeValue returns the column value for a time: microseconds since 1970 in UTC, or NULL for the
// zero time. Unlike a timestamp column, an integer does not depend on drivers, time zones or
// session settings.
func timeValue(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t).UnixMicro()
}

// scanRecord copies the current row of rows to r. A malformed value is an error. For example, a
// malformed expires_at must not become the zero time, which means never.
func scanRecord(rows SQLRows, r *Record) error {
	t := &r.Token
	var v struct { // one allocation
		scopes                                           string
		digest, retired                                  []byte
		slot, until, created, expires, lastUsed, revoked sql.NullInt64
		resources, createdBy, revokedBy                  sql.NullString
	}
	err := rows.Scan(&t.ID, &t.UserID, &t.Name, &v.slot, &v.scopes, &t.Hint, &t.Generation, &t.Origin,
		&v.digest, &v.retired, &v.until, &v.created, &v.expires, &v.lastUsed, &v.revoked,
		&v.resources, &v.createdBy, &v.revokedBy)
	switch {
	case err != nil && t.ID == "": // the query failed, so the error is not about one row
		return err
	case err != nil:
		return fmt.Errorf("row of token %q: %w", t.ID, err)
	}
	r.Slot = int(v.slot.Int64)
	if v.scopes != "" {
		t.Scopes = strings.Split(v.scopes, " ")
	}
	t.CreatedBy, t.RevokedBy = v.createdBy.String, v.revokedBy.String
	if v.resources.Valid {
		t.Resources = strings.Split(v.resources.String, " ")
	}
	valid := !slices.Contains(t.Resources, "") && readDigest(&r.Digest, v.digest) && readTime(&t.CreatedAt, v.created) && readTime(&t.ExpiresAt, v.expires) &&
		readTime(&t.LastUsedAt, v.lastUsed) && readTime(&t.RevokedAt, v.revoked)
	if v.retired != nil {
		r.Retired = &RetiredKey{}
		valid = valid && readDigest(&r.Retired.Digest, v.retired) && readTime(&r.Retired.Until, v.until)
	}
	if !valid {
		return sqldb.OwnError(fmt.Sprintf("row of token %q: malformed digest, time or resource", t.ID))
	}
	return nil
}

// readDigest copies a column value to a digest, and reports whether the value has the length of a
// digest.
func readDigest(to *Digest, from []byte) bool {
	return copy(to[:], from) == len(from) && len(from) == len(to)
}

// readTime converts a column value to a time, and reports whether the time lies within the years 1
// to 9999. NULL becomes the zero time and is valid.
func readTime(to *time.Time, from sql.NullInt64) bool {
	if from.Valid {
		*to = time.UnixMicro(from.Int64).UTC()
	}
	return !from.Valid || to.After(time.Time{}) && !to.After(latestTime)
}
