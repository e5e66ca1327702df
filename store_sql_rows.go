package tokenauth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// How a SQLStore reads and writes rows, and what it makes of a change that changed none.

const (
	columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
		created_at, expires_at, last_used_at, revoked_at`
	columnCount = 16 // those, and live_name
)

// values returns what a row holds: the columns, in their order, and live_name.
func values(r *Record) []any {
	t := &r.Token
	var slot, retired, retiredUntil, liveName any
	if t.RevokedAt.IsZero() {
		liveName = t.Name
		if r.Slot != 0 {
			slot = r.Slot
		}
	}
	if r.Retired != nil {
		retired, retiredUntil = r.Retired.Digest[:], sqldb.Micros(r.Retired.Until)
	}
	return []any{
		t.ID, t.UserID, t.Name, slot, strings.Join(t.Scopes, " "), t.Hint, t.Generation, t.Origin,
		r.Digest[:], retired, retiredUntil,
		sqldb.Micros(t.CreatedAt), sqldb.Micros(t.ExpiresAt), sqldb.Micros(t.LastUsedAt), sqldb.Micros(t.RevokedAt), liveName,
	}
}

func (s *SQLStore) query(ctx context.Context, query string, args ...any) ([]Record, error) {
	rows, err := s.table.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return scanRecords(rows)
}

// scanRecords reads and closes rows.
func scanRecords(rows *sql.Rows) ([]Record, error) {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var records []Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, fmt.Errorf("row of token %q: %w", r.Token.ID, err)
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

func scanRecord(rows *sql.Rows) (r Record, err error) {
	var (
		scopes          string
		slot            sql.NullInt64
		digest, retired sql.RawBytes
		until           time.Time
	)
	t := &r.Token
	err = rows.Scan(&t.ID, &t.UserID, &t.Name, &slot, &scopes, &t.Hint, &t.Generation, &t.Origin,
		&digest, &retired, sqldb.ScanTime(&until),
		sqldb.ScanTime(&t.CreatedAt), sqldb.ScanTime(&t.ExpiresAt), sqldb.ScanTime(&t.LastUsedAt), sqldb.ScanTime(&t.RevokedAt))
	if err != nil {
		return r, err
	}
	if scopes != "" {
		t.Scopes = strings.Split(scopes, " ")
	}
	r.Slot = int(slot.Int64)
	if retired != nil {
		r.Retired = &RetiredKey{Until: until}
		if copy(r.Retired.Digest[:], retired) != len(retired) || len(retired) != len(Digest{}) {
			return r, errors.New("retired digest is not 32 bytes")
		}
	}
	if copy(r.Digest[:], digest) != len(digest) || len(digest) != len(Digest{}) {
		return r, errors.New("digest is not 32 bytes")
	}
	return r, nil
}

// isAnswer reports whether err is what a Store says, not a failure to say it.
func isAnswer(err error) bool {
	return isAny(err, ErrNotFound, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrConflict)
}

func (s *SQLStore) run(ctx context.Context, doing string, f func(context.Context) error) error {
	return s.table.Run(ctx, doing, isAnswer, f)
}

// change runs a statement that changes one row. That it changed none proves
// nothing, and a failure may be a conflict: then the rows concerned are read,
// and a MemoryStore of them says what the change comes to. So all stores give
// the same answers.
func (s *SQLStore) change(ctx context.Context, doing string, target Record, same func(*MemoryStore) error, query string, args ...any) error {
	return s.run(ctx, doing, func(ctx context.Context) error {
		n, failure := s.table.Exec(ctx, query, args...)
		if failure == nil && n == 0 {
			failure = sqldb.ErrUnchanged
		}
		if failure == nil || sqldb.Undone(failure) {
			return failure
		}
		rivals, err := s.rivals(ctx, target)
		if err != nil {
			return failure
		}
		before := rivals.byID[target.Token.ID]
		if err := same(rivals); err != nil {
			return err
		}
		if reflect.DeepEqual(before, rivals.byID[target.Token.ID]) {
			return nil // it is as it should be
		}
		return failure
	})
}

// rivals returns the rows that share with records what must be unique.
func (s *SQLStore) rivals(ctx context.Context, records ...Record) (*MemoryStore, error) {
	const query = `SELECT {columns} FROM {table} WHERE id = ?
		UNION ALL SELECT {columns} FROM {table} WHERE digest IN (?, ?)
		UNION ALL SELECT {columns} FROM {table} WHERE retired_digest IN (?, ?)
		UNION ALL SELECT {columns} FROM {table} WHERE user_id = ? AND live_name = ?
		UNION ALL SELECT {columns} FROM {table} WHERE user_id = ? AND slot = ?`
	m := NewMemoryStore()
	for i := range records {
		r, t := &records[i], &records[i].Token
		retired := r.Digest[:]
		if r.Retired != nil {
			retired = r.Retired.Digest[:]
		}
		found, err := s.query(ctx, query, t.ID, r.Digest[:], retired, r.Digest[:], retired, t.UserID, t.Name, t.UserID, r.Slot)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if m.byID[found[i].Token.ID] == nil {
				m.add(&found[i])
			}
		}
	}
	return m, nil
}
