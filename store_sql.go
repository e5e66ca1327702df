package tokenauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// SQLStore is a [Store] in one table of a SQL database. It is safe for
// concurrent use where its handle is.
//
// Each method is one statement when it succeeds at once, a Create of several
// records two. One that the database
// undid, because of a lock or a conflict with another, is repeated a few times.
type SQLStore struct {
	table sqldb.Table
	find  *sqldb.Prepared
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
	engine, ok := sqldb.Engines[string(d)]
	if !ok {
		return nil, fmt.Errorf("tokenauth: unknown dialect %q", string(d))
	}
	if opts == nil {
		opts = &SQLOptions{}
	}
	s := &SQLStore{table: sqldb.Table{
		Engine:  engine,
		Name:    cmp.Or(opts.Table, defaultTable),
		Columns: columns,
		Timeout: cmp.Or(opts.Timeout, defaultTimeout),
	}}
	if err := sqldb.CheckTable(s.table.Name); err != nil {
		return nil, fmt.Errorf("tokenauth: %w", err)
	}
	if opts.Timeout < 0 {
		return nil, errors.New("tokenauth: negative timeout")
	}
	return s.With(db), nil
}

// With returns the same store on another handle: on a transaction, all it does
// is part of that. Nothing is repeated there; an error that is not one of this
// package's may leave the transaction undone as a whole, so roll it back.
func (s *SQLStore) With(db DB) *SQLStore {
	on := s.table
	on.Handle = db
	return &SQLStore{table: on, find: on.Prepare(findQuery)}
}

// Close frees the prepared statement that the store keeps, and is for when no
// call runs any more. It leaves the database handle open.
func (s *SQLStore) Close() error { return s.find.Close() }

// Schema returns the statements that create the table, for the service's own
// migrations. Columns may be added, and user_id may become a reference to the
// service's table of users; all else must stay.
func (s *SQLStore) Schema() string {
	schema, err := schemas.ReadFile("schema/" + s.table.Engine.Schema)
	if err != nil {
		panic("tokenauth: " + err.Error()) // it is embedded
	}
	return strings.ReplaceAll(string(schema), defaultTable, s.table.Name)
}

// CreateSchema creates the table and its indexes where they are missing. It may
// run any number of times. It has no deadline but that of ctx.
func (s *SQLStore) CreateSchema(ctx context.Context) error {
	for _, statement := range sqldb.Statements(s.Schema()) {
		err := s.table.Repeat(ctx, "create schema", isAnswer, func(ctx context.Context) error {
			_, err := s.table.Exec(ctx, statement) // two at once may break a key of the database's own
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckSchema asks the database once whether the table is there with all its
// columns. Call it at start: what is missing would else be found by the first request.
func (s *SQLStore) CheckSchema(ctx context.Context) error {
	return s.run(ctx, "check schema", func(ctx context.Context) error {
		_, err := s.query(ctx, "SELECT {columns}, live_name FROM {table} WHERE id = ''")
		return err
	})
}

// Create implements [Store]. A database takes only so many parameters in a
// statement: on SQLite 2,000 records at a time.
func (s *SQLStore) Create(ctx context.Context, records ...Record) error {
	return s.run(ctx, "create", func(ctx context.Context) error {
		if len(records) == 1 && records[0].Retired == nil && s.table.Engine.Guard {
			// A conflict that is no error leaves the caller's transaction alive.
			n, err := s.table.Exec(ctx, `INSERT INTO {table} ({columns}, live_name) SELECT `+marks+`
				WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE retired_digest = ?) ON CONFLICT DO NOTHING`,
				append(values(&records[0]), records[0].Digest[:])...)
			if err != nil || n == 1 {
				return err
			}
		}
		// Several rows are all or nothing only as an insert that fails. No constraint
		// spans current and retired digests, so the table is asked before.
		pending, failure := records, error(nil)
		for {
			rivals, err := s.rivals(ctx, failure != nil, pending...)
			if err != nil {
				return cmp.Or(failure, err)
			}
			before := len(pending)
			if pending, err = rivals.addNew(pending); err != nil || len(pending) == 0 {
				return err
			}
			if failure != nil && len(pending) == before {
				return failure // none is in the way
			}
			if failure = s.insert(ctx, pending); failure == nil || sqldb.IsUndone(failure) {
				return failure
			}
		}
	})
}

// insert adds records. An error means that nothing was added.
func (s *SQLStore) insert(ctx context.Context, records []Record) error {
	var args []any
	for i := range records {
		args = append(args, values(&records[i])...)
	}
	n, err := s.table.Exec(ctx, "INSERT INTO {table} ({columns}, live_name) VALUES "+sqldb.Marks("("+marks+")", len(records)), args...)
	if err == nil && n == 0 {
		return sqldb.ErrUnchanged
	}
	return err
}

// Find implements [Store].
func (s *SQLStore) Find(ctx context.Context, d Digest) (*Record, error) {
	var found *Record
	err := s.run(ctx, "find", func(ctx context.Context) error {
		rows, err := s.find.Query(ctx, d[:], d[:])
		if err != nil {
			return err
		}
		records, err := scanRecords(rows)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return ErrNotFound
		}
		found = &records[0]
		return nil
	})
	return found, err
}

// OR over the two columns costs twice as much on SQLite, which with the limit does
// not look for the second digest where it has found the first.
const findQuery = `SELECT {columns} FROM {table} WHERE digest = ?
	UNION ALL SELECT {columns} FROM {table} WHERE retired_digest = ? LIMIT 1`

// List implements [Store].
func (s *SQLStore) List(ctx context.Context, q Query) ([]Record, error) {
	if q.AllUsers == (q.UserID != "") {
		return nil, errQuery
	}
	where, args := []string{"1 = 1"}, []any(nil)
	add := func(condition string, values ...any) {
		where = append(where, condition)
		args = append(args, values...)
	}
	if q.UserID != "" {
		add("user_id = ?", q.UserID)
	}
	if q.ID != "" {
		add("id = ?", q.ID)
	}
	if !q.Revoked {
		add("revoked_at IS NULL")
	}
	if q.After != (Cursor{}) {
		at := q.After.CreatedAt.UnixMicro()
		add("created_at >= ? AND (created_at > ? OR id > ?)", at, at, q.After.ID)
	}
	query := "SELECT {columns} FROM {table} WHERE " + strings.Join(where, " AND ") + " ORDER BY created_at, id"
	if q.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, q.Limit)
	}
	var records []Record
	err := s.run(ctx, "list", func(ctx context.Context) (err error) {
		records, err = s.query(ctx, query, args...)
		return err
	})
	return records, err
}

// Update implements [Store].
func (s *SQLStore) Update(ctx context.Context, userID, id string, p Patch, at time.Time) error {
	var set []string
	var args []any
	target := Record{Token: Token{ID: id, UserID: userID}}
	guard := ""
	if p.Name != nil {
		target.Token.Name = *p.Name
		set = append(set, "name = ?, live_name = ?")
		args = append(args, *p.Name, *p.Name)
		guard = " AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.user_id = ? AND other.live_name = ? AND other.id <> ?)"
	}
	if p.Scopes != nil {
		set = append(set, "scopes = ?")
		args = append(args, strings.Join(*p.Scopes, " "))
	}
	if p.ExpiresAt != nil {
		set = append(set, "expires_at = ?")
		args = append(args, sqldb.Micros(*p.ExpiresAt))
	}
	if len(set) == 0 {
		set = append(set, "id = id") // still says whether there is such a token
	}
	args = append(args, userID, id, sqldb.Micros(at))
	if guard != "" {
		args = append(args, userID, *p.Name, id)
	}
	query := "UPDATE {table} SET " + strings.Join(set, ", ") + whereLive + " AND (expires_at IS NULL OR expires_at > ?)"
	return s.change(ctx, "update", target, func(m *MemoryStore) error {
		return m.Update(ctx, userID, id, p, at)
	}, query, guard, args...)
}

const whereLive = " WHERE user_id = ? AND id = ? AND revoked_at IS NULL"

// Rotate implements [Store].
func (s *SQLStore) Rotate(ctx context.Context, userID, id string, r Rotation, at time.Time) error {
	target := Record{Token: Token{ID: id, UserID: userID}, Digest: r.Digest}
	// MySQL assigns from left to right: the old digest must be moved first.
	const query = `UPDATE {table} SET retired_digest = digest, retired_until = ?, digest = ?, hint = ?, generation = generation + 1` +
		whereLive + ` AND generation = ? AND (expires_at IS NULL OR expires_at > ?)`
	const guard = ` AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.digest = ? OR other.retired_digest = ?)`
	return s.change(ctx, "rotate", target, func(m *MemoryStore) error {
		return m.Rotate(ctx, userID, id, r, at)
	}, query, guard, sqldb.Micros(r.GraceUntil), r.Digest[:], r.Hint, userID, id, r.Replaces, sqldb.Micros(at), r.Digest[:], r.Digest[:])
}

const setRevoked = "UPDATE {table} SET revoked_at = ?, live_name = NULL, slot = NULL"

// Revoke implements [Store].
func (s *SQLStore) Revoke(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, "revoke", Record{Token: Token{ID: id, UserID: userID}}, func(m *MemoryStore) error {
		return m.Revoke(ctx, userID, id, at)
	}, setRevoked+whereLive, "", sqldb.Micros(at), userID, id)
}

// RevokeExpired implements [Store].
func (s *SQLStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time) error {
	return s.change(ctx, "revoke expired", Record{Token: Token{ID: id, UserID: userID}}, func(m *MemoryStore) error {
		return m.RevokeExpired(ctx, userID, id, at)
	}, setRevoked+whereLive+" AND expires_at <= ?", "", sqldb.Micros(at), userID, id, sqldb.Micros(at))
}

// RevokeAll implements [Store].
func (s *SQLStore) RevokeAll(ctx context.Context, userID string, at time.Time) (int, error) {
	var n int
	err := s.run(ctx, "revoke all", func(ctx context.Context) (err error) {
		n, err = s.table.Exec(ctx, setRevoked+" WHERE user_id = ? AND revoked_at IS NULL", sqldb.Micros(at), userID)
		return err
	})
	return n, err
}

// Touch implements [Store].
func (s *SQLStore) Touch(ctx context.Context, uses ...Use) error {
	latest := map[string]time.Time{}
	for _, use := range uses {
		if at, ok := latest[use.ID]; !ok || use.At.After(at) {
			latest[use.ID] = use.At
		}
	}
	if len(latest) == 0 {
		return ctx.Err()
	}
	var args []any
	for _, id := range slices.Sorted(maps.Keys(latest)) { // rows are locked in one order
		args = append(args, id, latest[id].UnixMicro())
	}
	return s.run(ctx, "touch", func(ctx context.Context) error {
		_, err := s.table.Exec(ctx, s.table.Engine.Touch(len(latest)), args...)
		return err
	})
}

// Prune implements [Store].
func (s *SQLStore) Prune(ctx context.Context, before time.Time, limit int) (int, error) {
	if limit <= 0 { // some databases take it for no limit
		return 0, ctx.Err()
	}
	var n int
	err := s.run(ctx, "prune", func(ctx context.Context) (err error) {
		n, err = s.table.Exec(ctx, s.table.Engine.Prune, sqldb.Micros(before), sqldb.Micros(before), limit)
		return err
	})
	return n, err
}
