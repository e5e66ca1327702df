package sqldb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// OR over the two columns costs twice as much on SQLite, which with the limit does
// not look for the second digest where it has found the first.
const findQuery = `SELECT {columns} FROM {table} WHERE digest = ?
	UNION ALL SELECT {columns} FROM {table} WHERE retired_digest = ? LIMIT 1`

// Find returns the row with a current or retired digest, or nil.
func (t *Table) Find(ctx context.Context, digest [32]byte) (row *Row, err error) {
	err = t.ask(ctx, "find", func(ctx context.Context) (err error) {
		row, err = t.find.query(ctx, digest[:], digest[:])
		return err
	})
	return row, err
}

// A Filter selects rows. A zero field, or both zero fields of a place, select all.
type Filter struct {
	UserID string
	IDs    []string // nil: any
	Live   bool     // only the rows that are not revoked

	// The place behind which rows stand.
	AfterTime time.Time
	AfterID   string

	Limit int
}

// List returns the rows that f selects, in their order.
func (t *Table) List(ctx context.Context, f Filter) ([]Row, error) {
	query, args := "SELECT {columns} FROM ", []any(nil)
	if f.IDs == nil {
		query += "{table} WHERE 1 = 1"
	} else {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(f.IDs))) {
			args = append(args, id)
		}
		if len(args) == 0 {
			return nil, ctx.Err()
		}
		query += t.engine.among(len(args), "id")
	}
	add := func(condition string, values ...any) {
		query += " AND " + condition
		args = append(args, values...)
	}
	if f.UserID != "" {
		add("user_id = ?", f.UserID)
	}
	if f.Live {
		add("revoked_at IS NULL")
	}
	if f.AfterTime != (time.Time{}) || f.AfterID != "" {
		at := f.AfterTime.UnixMicro()
		add("created_at >= ? AND (created_at > ? OR id > ?)", at, at, f.AfterID)
	}
	query += " ORDER BY created_at, id"
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return t.read(ctx, "list", query, args...)
}

// Rivals returns the rows that share with others what must be unique: if latest,
// also those that came after the caller's transaction began.
func (t *Table) Rivals(ctx context.Context, latest bool, others ...Row) ([]Row, error) {
	part := "%s"
	if latest && !t.alone() {
		part = t.engine.latest
	}
	var all []Row
	for chunk := range slices.Chunk(others, 100) { // so that no database has too many parameters
		var ids, digests, names, slots []any
		for i := range chunk {
			r, token := &chunk[i], &chunk[i].Token
			ids = append(ids, token.ID)
			digests = append(digests, r.Digest[:])
			if r.Retired != nil {
				digests = append(digests, r.Retired[:])
			}
			names = append(names, token.UserID, token.Name)
			if r.Slot != 0 {
				slots = append(slots, token.UserID, r.Slot)
			}
		}
		among, parts := t.engine.among, []string(nil)
		tables := []string{
			among(len(ids), "id"), among(len(digests), "digest"), among(len(digests), "retired_digest"),
			among(len(chunk), "user_id", "live_name"),
		}
		if len(slots) > 0 {
			tables = append(tables, among(len(slots)/2, "user_id", "slot"))
		}
		for _, from := range tables {
			parts = append(parts, fmt.Sprintf(part, "SELECT {columns} FROM "+from))
		}
		found, err := t.query(ctx, strings.Join(parts, " UNION ALL "), slices.Concat(ids, digests, digests, names, slots)...)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// InsertNew adds rows, all or none, as if they were new. It reports whether it did: not,
// if something is in the way, or might be that no unique key tells: no key spans current
// and retired digests. In the caller's transaction it only tries where a conflict is no
// error, which would end that.
func (t *Table) InsertNew(ctx context.Context, rows ...Row) (done bool, err error) {
	guarded := len(rows) == 1 && t.engine.guard // several are all or nothing only as an insert that fails
	if len(rows) == 0 || !guarded && !t.alone() {
		return false, nil
	}
	var digests []any
	for i := range rows {
		if rows[i].Retired != nil {
			return false, nil
		}
		digests = append(digests, rows[i].Digest[:])
	}
	if guarded {
		values := rows[0].values()
		n, err := t.exec(ctx, `INSERT INTO {table} ({columns}, live_name) SELECT `+marks("?", len(values))+`
			WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE retired_digest = ?) ON CONFLICT DO NOTHING`,
			append(values, digests...)...)
		return n == 1, err
	}
	retired, err := t.query(ctx, "SELECT {columns} FROM "+t.engine.among(len(digests), "retired_digest")+" LIMIT 1", digests...)
	if err != nil || len(retired) > 0 {
		return false, err
	}
	err = t.Insert(ctx, rows...)
	return err == nil, err
}

// Insert adds rows, all or none. An error means that none was added.
func (t *Table) Insert(ctx context.Context, rows ...Row) error {
	var args []any
	for i := range rows {
		args = append(args, rows[i].values()...)
	}
	row := "(" + marks("?", len(args)/len(rows)) + ")"
	n, err := t.exec(ctx, "INSERT INTO {table} ({columns}, live_name) VALUES "+marks(row, len(rows)), args...)
	if err == nil && n == 0 {
		return errUnchanged
	}
	return err
}

const setRevoked = "UPDATE {table} SET revoked_at = ?, live_name = NULL, slot = NULL"

// RevokeAll revokes the live rows of a user and returns their number.
func (t *Table) RevokeAll(ctx context.Context, userID string, at time.Time) (n int, err error) {
	err = t.Run(ctx, "revoke all", func(ctx context.Context) (err error) {
		n, err = t.exec(ctx, setRevoked+" WHERE user_id = ? AND revoked_at IS NULL", micros(at), userID)
		if err == nil && n == 0 {
			err = t.Confirm(ctx, userID)
		}
		return err
	})
	return n, err
}

// Touch sets the last uses of rows, by ID, where they are later.
func (t *Table) Touch(ctx context.Context, uses map[string]time.Time) error {
	if len(uses) == 0 {
		return ctx.Err()
	}
	var args []any
	for _, id := range slices.Sorted(maps.Keys(uses)) { // rows are locked in one order
		args = append(args, id, uses[id].UnixMicro())
	}
	n := fewSizes(len(uses))
	for len(args) < 2*n { // the last one stands again where one is missing
		args = append(args, args[len(args)-2:]...)
	}
	_, err := t.write(ctx, "touch", t.engine.touch(n), args...)
	return err
}

// fewSizes rounds a number up, so that there are ten statements instead of hundreds: pgx
// keeps each text that it has seen, on the server too, and for each connection.
func fewSizes(n int) int {
	for size := 1; size <= 512; size *= 2 {
		if n <= size {
			return size
		}
	}
	return n
}

// Prune deletes rows that expired or were revoked before a time, at most limit of
// them and none that was imported, and returns their number, also with an error.
//
// One statement for both columns would, of all that is left to delete, read the
// indexes from end to end each time.
func (t *Table) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if limit <= 0 { // some databases take it for no limit
		return 0, ctx.Err()
	}
	for _, column := range []string{"revoked_at", "expires_at"} {
		if n == limit {
			break
		}
		deleted, err := t.write(ctx, "prune", fmt.Sprintf(t.engine.prune, column), micros(before), limit-n)
		n += deleted
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
