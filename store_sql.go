package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// SQLStore is a [Store] in one table of a SQL database. It is safe for
// concurrent use where its handle is.
//
// Each method is one statement when it succeeds at once, a Create of several
// records and a Prune up to two, and on MySQL a Create, a Rotate and a rename. One that the database undid, because of a lock or a conflict with
// another, is repeated a few times.
type SQLStore struct {
	table *sqldb.Table
}

// NewSQLStore returns a store on db, which stays the caller's to close. It does
// not touch the database: see [SQLStore.CreateSchema] and [SQLStore.CheckSchema].
// A handle without a BeginTx method is taken for a transaction, as by
// [SQLStore.With]. Options may be nil. An unknown dialect, a malformed table
// name and a negative timeout are errors.
func NewSQLStore(db DB, d Dialect, opts *SQLOptions) (*SQLStore, error) {
	if db == nil {
		return nil, errors.New("tokenauth: nil database handle")
	}
	if opts == nil {
		opts = &SQLOptions{}
	}
	table, err := sqldb.Open(string(d), sqldb.Options(*opts), schemas, isAnswer)
	if err != nil {
		return nil, fmt.Errorf("tokenauth: %w", err)
	}
	return &SQLStore{table.On(db)}, nil
}

// isAnswer reports whether err is what a Store says, not a failure to say it.
func isAnswer(err error) bool {
	return isAny(err, ErrNotFound, ErrNameTaken, ErrKeyTaken, ErrSlotTaken, ErrConflict)
}

// With returns the same store on another handle: on a transaction, all it does
// is part of that. Nothing is repeated there; an error that is not one of this
// package's may leave the transaction undone as a whole, so roll it back.
func (s *SQLStore) With(db DB) *SQLStore { return &SQLStore{s.table.On(db)} }

// Close frees the prepared statement that the store keeps, and is for when no
// call runs any more. It leaves the database handle open.
func (s *SQLStore) Close() error { return s.table.Close() }

// Schema returns the statements that create the table, for the service's own
// migrations. Columns may be added, and user_id may become a reference to the
// service's table of users; all else must stay.
func (s *SQLStore) Schema() string { return s.table.Schema() }

// CreateSchema creates the table and its indexes where they are missing. It may
// run any number of times. It has no deadline but that of ctx.
func (s *SQLStore) CreateSchema(ctx context.Context) error { return s.table.CreateSchema(ctx) }

// CheckSchema asks the database once whether the table is there with all its
// columns. Call it at start: what is missing would else be found by the first request.
func (s *SQLStore) CheckSchema(ctx context.Context) error { return s.table.CheckSchema(ctx) }

// Create implements [Store]. A database takes only so many parameters in a
// statement: on SQLite 2,000 records at a time.
func (s *SQLStore) Create(ctx context.Context, records ...Record) error {
	return s.table.Run(ctx, "create", func(ctx context.Context) error {
		done, failure := s.table.InsertNew(ctx, rowsOf(records)...)
		if done || s.table.Refused(failure) {
			return failure
		}
		for pending := records; len(records) > 0; {
			rivals, err := s.rivals(ctx, failure != nil, rowsOf(pending)...)
			if err != nil {
				return cmp.Or(failure, err)
			}
			before := len(pending)
			if pending, err = rivals.addNew(pending); err != nil {
				return err
			}
			if len(pending) == 0 { // all are there already
				return s.table.Confirm(ctx, records[0].Token.UserID)
			}
			if failure != nil && len(pending) == before {
				return failure // none is in the way
			}
			if failure = s.table.Insert(ctx, rowsOf(pending)...); failure == nil || s.table.Refused(failure) {
				return failure
			}
		}
		return ctx.Err()
	})
}

// Find implements [Store].
func (s *SQLStore) Find(ctx context.Context, d Digest) (*Record, error) {
	row, err := s.table.Find(ctx, d)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, ErrNotFound
	}
	return recordOf(row), nil
}

// List implements [Store].
func (s *SQLStore) List(ctx context.Context, q Query) ([]Record, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	rows, err := s.table.List(ctx, sqldb.Filter{
		UserID: q.UserID, IDs: q.IDs, Live: !q.IncludeRevoked,
		AfterTime: q.After.CreatedAt, AfterID: q.After.ID, Limit: q.Limit,
	})
	var records []Record
	for i := range rows {
		records = append(records, *recordOf(&rows[i]))
	}
	return records, err
}

// Update implements [Store].
func (s *SQLStore) Update(ctx context.Context, userID, id string, p Patch, at time.Time) error {
	return s.change(ctx, sqldb.Update(userID, id, sqldb.Patch(p), at), func(m *MemoryStore) error {
		return m.Update(ctx, userID, id, p, at)
	})
}

// Rotate implements [Store].
func (s *SQLStore) Rotate(ctx context.Context, userID, id string, r Rotation, at time.Time) error {
	change := sqldb.Rotate(userID, id, r.Replaces, r.Digest, r.Hint, r.GraceUntil, at)
	return s.change(ctx, change, func(m *MemoryStore) error {
		return m.Rotate(ctx, userID, id, r, at)
	})
}

// Revoke implements [Store].
func (s *SQLStore) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, sqldb.Revoke(userID, id, at), func(m *MemoryStore) error {
		return m.Revoke(ctx, userID, id, at)
	})
}

// RevokeExpired implements [Store].
func (s *SQLStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, sqldb.RevokeExpired(userID, id, at), func(m *MemoryStore) error {
		return m.RevokeExpired(ctx, userID, id, at)
	})
}

// RevokeAll implements [Store].
func (s *SQLStore) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	return s.table.RevokeAll(ctx, userID, at)
}

// Touch implements [Store].
func (s *SQLStore) Touch(ctx context.Context, uses ...Use) error {
	latest := map[string]time.Time{}
	for _, use := range uses {
		if at, ok := latest[use.ID]; !ok || use.At.After(at) {
			latest[use.ID] = use.At
		}
	}
	return s.table.Touch(ctx, latest)
}

// Prune implements [Store].
func (s *SQLStore) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.table.Prune(ctx, before, limit)
}

// change makes a change. Where the table must be asked what it comes to, a
// MemoryStore of the rows concerned says it by the same method: so all stores give
// the same answers.
func (s *SQLStore) change(ctx context.Context, c sqldb.Change, same func(*MemoryStore) error) error {
	return s.table.Change(ctx, c, func(ctx context.Context, latest bool) (done bool, err error) {
		rivals, err := s.rivals(ctx, latest, c.Target)
		if err != nil {
			return false, err
		}
		before := rivals.byID[c.Target.Token.ID]
		err = same(rivals)
		return err == nil && reflect.DeepEqual(before, rivals.byID[c.Target.Token.ID]), err
	})
}

// rivals returns the records that share with rows what must be unique.
func (s *SQLStore) rivals(ctx context.Context, latest bool, rows ...sqldb.Row) (*MemoryStore, error) {
	found, err := s.table.Rivals(ctx, latest, rows...)
	m := NewMemoryStore()
	for i := range found {
		if m.byID[found[i].Token.ID] == nil {
			m.put(recordOf(&found[i]))
		}
	}
	return m, err
}

func rowOf(r *Record) sqldb.Row {
	row := sqldb.Row{Token: sqldb.Token(r.Token), Digest: r.Digest, Slot: r.Slot}
	if r.Retired != nil {
		row.Retired, row.RetiredUntil = (*[32]byte)(&r.Retired.Digest), r.Retired.Until
	}
	return row
}

func rowsOf(records []Record) []sqldb.Row {
	rows := make([]sqldb.Row, len(records))
	for i := range records {
		rows[i] = rowOf(&records[i])
	}
	return rows
}

func recordOf(row *sqldb.Row) *Record {
	r := &Record{Token: Token(row.Token), Digest: row.Digest, Slot: row.Slot}
	if row.Retired != nil {
		r.Retired = &RetiredKey{Digest: *row.Retired, Until: row.RetiredUntil}
	}
	return r
}
