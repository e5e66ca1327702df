package tokenauth

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// findQuery takes half the time of a condition with OR on SQLite. With LIMIT, SQLite does not look
// up the retired digest if it has found the current one.
const findQuery = `SELECT {columns} FROM {table} WHERE digest = ?
	UNION ALL SELECT {columns} FROM {table} WHERE retired_digest = ? LIMIT 1`

// Find implements [Store].
func (s *SQLStore) Find(ctx context.Context, d Digest) (r *Record, err error) {
	err = s.run(ctx, "find", noResponse, func(ctx context.Context) error {
		rows, err := s.conn.Query(ctx, s.find, d[:], d[:])
		if err == nil {
			r, err = scanFirst(rows)
		}
		return err
	})
	return r, err
}

// List implements [Store].
func (s *SQLStore) List(ctx context.Context, q Query) ([]Record, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	query, args := "SELECT {columns} FROM {table} WHERE 1 = 1", []any(nil)
	if q.IDs != nil {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(q.IDs))) {
			args = append(args, id)
		}
		if len(args) == 0 {
			return nil, ctx.Err()
		}
		query = "SELECT {columns} FROM " + s.engine.WhereIn("id", "text", len(args))
	}
	if q.UserID != "" {
		query += " AND user_id = ?"
		args = append(args, q.UserID)
	}
	if !q.IncludeRevoked {
		query += " AND revoked_at IS NULL"
	}
	if q.After != (Cursor{}) {
		at := q.After.CreatedAt.UnixMicro()
		query += " AND created_at >= ? AND (created_at > ? OR id > ?)"
		args = append(args, at, at, q.After.ID)
	}
	query += " ORDER BY created_at, id"
	if q.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, q.Limit)
	}
	return s.read(ctx, "list", query, args...)
}

// loadModel returns a MemoryStore with the rows that share an ID, a digest, the name of a live
// token or a slot with one of records. If latest, it includes rows that other transactions have
// committed after the caller's transaction took its snapshot.
func (s *SQLStore) loadModel(ctx context.Context, latest bool, records ...Record) (*MemoryStore, error) {
	format := "%s"
	if latest && s.conn.InTransaction() {
		format = s.engine.Latest
	}
	model := NewMemoryStore()
	for chunk := range slices.Chunk(records, 100) { // databases limit the number of parameters
		selects, args := s.modelSelects(chunk)
		for i := range selects {
			selects[i] = fmt.Sprintf(format, selects[i])
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

// modelSelects returns the SELECTs of loadModel, and the arguments of all of them.
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
		"SELECT {columns} FROM " + whereUserAnd("live_name", len(names)/2),
	}
	if len(slots) > 0 {
		selects = append(selects, "SELECT {columns} FROM "+whereUserAnd("slot", len(slots)/2))
	}
	return selects, slices.Concat(ids, digests, digests, names, slots)
}

// whereUserAnd returns the text after FROM that selects the rows with one of n pairs of a user ID
// and the value of another column.
func whereUserAnd(column string, n int) string {
	return "{table} WHERE (" + sqldb.Repeat("(user_id = ? AND "+column+" = ?)", " OR ", n) + ")"
}

// read calls query with the timeout, and retries it.
func (s *SQLStore) read(ctx context.Context, doing, query string, args ...any) (records []Record, err error) {
	err = s.run(ctx, doing, noResponse, func(ctx context.Context) (err error) {
		records, err = s.query(ctx, query, args...)
		return err
	})
	return records, err
}

// query returns all records that a query selects.
func (s *SQLStore) query(ctx context.Context, query string, args ...any) ([]Record, error) {
	rows, err := s.conn.Query(ctx, s.complete(query), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has returned any error
	var records []Record
	for rows.Next() {
		records = append(records, Record{})
		if err := scanRecord(rows, &records[len(records)-1]); err != nil {
			return nil, err
		}
	}
	return records, rows.Err()
}

// scanFirst returns the first row, or ErrNotFound, and closes rows. It does not call Next again,
// for speed. Close returns later errors, such as a failed commit.
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

// columns are the columns that are read. An INSERT has live_name as one more column at the end.
const columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
		created_at, expires_at, last_used_at, revoked_at`

// rowValues returns the values of columns and live_name.
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
		timeValue(t.CreatedAt), timeValue(t.ExpiresAt), timeValue(t.LastUsedAt), timeValue(t.RevokedAt), liveName,
	}
}

// timeValue returns a time as it is stored: microseconds since 1970 in UTC, or NULL for the zero
// time. An integer does not depend on drivers, time zones or session settings.
func timeValue(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// scanRecord reads the columns of the current row.
func scanRecord(rows SQLRows, r *Record) error {
	t := &r.Token
	var slot sql.NullInt64
	var until time.Time
	err := rows.Scan(&t.ID, &t.UserID, &t.Name, &slot, scopesColumn{&t.Scopes}, &t.Hint, &t.Generation,
		&t.Origin, digestColumn{&r.Digest}, retiredColumn{&r.Retired}, timeColumn{&until},
		timeColumn{&t.CreatedAt}, timeColumn{&t.ExpiresAt}, timeColumn{&t.LastUsedAt}, timeColumn{&t.RevokedAt})
	r.Slot = int(slot.Int64)
	if r.Retired != nil {
		r.Retired.Until = until
	}
	if err != nil && t.ID != "" { // otherwise the query failed, not this row
		err = fmt.Errorf("row of token %q: %w", t.ID, err)
	}
	return err
}

// The types below implement [sql.Scanner] and write into a Record without a copy.

// A timeColumn reads a time. NULL is the zero time, which means never. Any other value outside
// the years 1 to 9999 is an error, so that a corrupt expiry never means never.
type timeColumn struct{ to *time.Time }

func (c timeColumn) Scan(value any) error {
	var n sql.NullInt64
	if n.Int64, n.Valid = value.(int64); !n.Valid { // most drivers return int64, and Scan is slow
		if err := n.Scan(value); err != nil {
			return err
		}
	}
	if *c.to = (time.Time{}); !n.Valid {
		return nil
	}
	t := time.UnixMicro(n.Int64).UTC()
	if !t.After(time.Time{}) || t.After(latestTime) {
		return errors.New("time out of range")
	}
	*c.to = t
	return nil
}

// A digestColumn reads a digest. NULL is an error.
type digestColumn struct{ to *Digest }

func (c digestColumn) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok || len(b) != len(c.to) {
		return errors.New("digest is not 32 bytes")
	}
	copy(c.to[:], b)
	return nil
}

// A retiredColumn reads the digest of a retired key. NULL means that there is none.
type retiredColumn struct{ to **RetiredKey }

func (c retiredColumn) Scan(value any) error {
	if *c.to = nil; value == nil {
		return nil
	}
	*c.to = &RetiredKey{}
	return digestColumn{&(*c.to).Digest}.Scan(value)
}

// A scopesColumn reads scopes between spaces. The empty string is nil.
type scopesColumn struct{ to *[]string }

func (c scopesColumn) Scan(value any) error {
	if b, ok := value.([]byte); ok {
		value = string(b)
	}
	text, ok := value.(string)
	if !ok {
		return errors.New("not a text")
	}
	if *c.to = nil; text != "" {
		*c.to = strings.Split(text, " ")
	}
	return nil
}
