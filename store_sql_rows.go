package tokenauth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// How a SQLStore reads and writes rows, and what it makes of a change that changed none.

const (
	columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
		created_at, expires_at, last_used_at, revoked_at`
	marks = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?" // those, and live_name
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
		records = append(records, Record{})
		r := &records[len(records)-1]
		if err := scanRecord(rows, r); err != nil {
			return nil, fmt.Errorf("row of token %q: %w", r.Token.ID, err)
		}
	}
	return records, rows.Err()
}

func scanRecord(rows *sql.Rows, r *Record) error {
	var (
		scopes          string
		slot            sql.NullInt64
		digest, retired sql.RawBytes
		until           time.Time
	)
	t := &r.Token
	err := rows.Scan(&t.ID, &t.UserID, &t.Name, &slot, &scopes, &t.Hint, &t.Generation, &t.Origin,
		&digest, &retired, sqldb.ScanTime(&until),
		sqldb.ScanTime(&t.CreatedAt), sqldb.ScanTime(&t.ExpiresAt), sqldb.ScanTime(&t.LastUsedAt), sqldb.ScanTime(&t.RevokedAt))
	if err != nil {
		return err
	}
	if scopes != "" {
		t.Scopes = strings.Split(scopes, " ")
	}
	r.Slot = int(slot.Int64)
	if retired != nil {
		r.Retired = &RetiredKey{Until: until}
		if copy(r.Retired.Digest[:], retired) != len(retired) || len(retired) != len(Digest{}) {
			return errors.New("retired digest is not 32 bytes")
		}
	}
	if copy(r.Digest[:], digest) != len(digest) || len(digest) != len(Digest{}) {
		return errors.New("digest is not 32 bytes")
	}
	return nil
}

// isAnswer reports whether err is what a Store says, not a failure to say it.
func isAnswer(err error) bool {
	return isAny(err, ErrNotFound, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrConflict)
}

func (s *SQLStore) run(ctx context.Context, doing string, f func(context.Context) error) error {
	return s.table.Run(ctx, doing, isAnswer, f)
}

// change runs a statement that changes one row, unless guard, a condition whose
// arguments are the last, finds what is in its way. That it changed none proves
// nothing, and a failure may be a conflict: then the table is asked.
func (s *SQLStore) change(ctx context.Context, doing string, target Record, same func(*MemoryStore) error, query, guard string, args ...any) error {
	askFirst := guard != "" && !s.table.Engine.Guard
	if askFirst {
		args = args[:len(args)-strings.Count(guard, "?")]
	} else {
		query += guard
	}
	return s.run(ctx, doing, func(ctx context.Context) error {
		if askFirst {
			if done, err := s.ask(ctx, false, target, same); done || err != nil {
				return err
			}
		}
		n, failure := s.table.Exec(ctx, query, args...)
		if failure == nil && n == 0 {
			failure = sqldb.ErrUnchanged
		}
		if failure == nil || sqldb.IsUndone(failure) {
			return failure
		}
		done, err := s.ask(ctx, true, target, same)
		switch {
		case done || isAnswer(err):
			return err
		case err != nil:
			return fmt.Errorf("%w (%w)", failure, err)
		}
		return failure
	})
}

// ask reads the rows concerned, and a MemoryStore of them says what the change
// comes to: so all stores give the same answers. It reports whether the target is
// as it should be already.
func (s *SQLStore) ask(ctx context.Context, latest bool, target Record, same func(*MemoryStore) error) (done bool, err error) {
	rivals, err := s.rivals(ctx, latest, target)
	if err != nil {
		return false, err
	}
	before := rivals.byID[target.Token.ID]
	err = same(rivals)
	return err == nil && reflect.DeepEqual(before, rivals.byID[target.Token.ID]), err
}

// rivals returns the rows that share with records what must be unique: if latest,
// also those that came after the caller's transaction began.
func (s *SQLStore) rivals(ctx context.Context, latest bool, records ...Record) (*MemoryStore, error) {
	part := "%s"
	if latest && !s.table.Alone() {
		part = s.table.Engine.Latest
	}
	m := NewMemoryStore()
	for chunk := range slices.Chunk(records, 100) { // so that no database has too many parameters
		var ids, digests, names, slots []any
		for i := range chunk {
			r, t := &chunk[i], &chunk[i].Token
			ids = append(ids, t.ID)
			digests = append(digests, r.Digest[:])
			if r.Retired != nil {
				digests = append(digests, r.Retired.Digest[:])
			}
			names = append(names, t.UserID, t.Name)
			slots = append(slots, t.UserID, r.Slot)
		}
		var parts []string
		for _, where := range []string{
			"id IN (" + sqldb.Marks("?", len(ids)) + ")",
			"digest IN (" + sqldb.Marks("?", len(digests)) + ")",
			"retired_digest IN (" + sqldb.Marks("?", len(digests)) + ")",
			strings.Repeat("user_id = ? AND live_name = ? OR ", len(chunk)-1) + "user_id = ? AND live_name = ?",
			strings.Repeat("user_id = ? AND slot = ? OR ", len(chunk)-1) + "user_id = ? AND slot = ?",
		} {
			parts = append(parts, fmt.Sprintf(part, "SELECT {columns} FROM {table} WHERE "+where))
		}
		found, err := s.query(ctx, strings.Join(parts, " UNION ALL "), slices.Concat(ids, digests, digests, names, slots)...)
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
