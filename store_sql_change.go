package tokenauth

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth/internal/sqldb"
)

// A change is an UPDATE of one token, together with a function that makes the same change on a
// model. A model is a MemoryStore that holds the rows involved.
type change struct {
	doing string
	query string // SQL text of an UPDATE
	args  []any

	// guard is a condition that is appended to query. It requires that no other row has the new
	// name or digest. If the engine does not support such conditions, SQLStore.change makes the
	// call on a model before the UPDATE instead.
	guard     string
	guardArgs []any

	target Record                   // user ID, token ID, and the new name or digest
	call   func(*MemoryStore) error // makes the same change on a model
}

func newChange(doing, userID, id string, call func(*MemoryStore) error) *change {
	return &change{doing: doing, target: Record{Token: Token{ID: id, UserID: userID}}, call: call}
}

const (
	setRevoked = "UPDATE {table} SET revoked_at = ?, revoked_by = ?, live_name = NULL, slot = NULL"
	// Not revoked_at IS NULL, because PostgreSQL might choose the index on live tokens.
	whereLive  = " WHERE user_id = ? AND id = ? AND live_name IS NOT NULL"
	notExpired = " AND (expires_at IS NULL OR expires_at > ?)"
)

// Update implements [Store].
func (s *SQLStore) Update(ctx context.Context, userID, id string, p Patch, at time.Time) error {
	c := newChange("update", userID, id, func(m *MemoryStore) error { return m.Update(ctx, userID, id, p, at) })
	set := "hint = hint" // if p is empty, this assignment lets the UPDATE find out whether the row exists
	if p.Name != nil {
		set += ", name = ?, live_name = ?"
		c.args = append(c.args, *p.Name, *p.Name)
		c.target.Token.Name = *p.Name
		c.guard = ` AND NOT EXISTS (SELECT 1 FROM {table} other
			WHERE other.user_id = ? AND other.live_name = ? AND other.id <> ?)`
		c.guardArgs = []any{userID, *p.Name, id}
	}
	if p.Scopes != nil {
		set += ", scopes = ?"
		c.args = append(c.args, strings.Join(*p.Scopes, " "))
	}
	if p.Resources != nil {
		set += ", resources = ?"
		c.args = append(c.args, resourcesValue(*p.Resources))
	}
	if p.ExpiresAt != nil {
		set += ", expires_at = ?"
		c.args = append(c.args, timeValue(*p.ExpiresAt))
	}
	c.query = "UPDATE {table} SET " + set + whereLive + notExpired
	c.args = append(c.args, userID, id, timeValue(at))
	if old := p.Replaces; old != nil {
		c.require("scopes", strings.Join(old.Scopes, " "))
		c.require("resources", resourcesValue(old.Resources))
		c.require("expires_at", timeValue(old.ExpiresAt))
	}
	return s.change(ctx, c)
}

// require adds the condition that a column has a value, which may be nil for NULL.
func (c *change) require(column string, value any) {
	if value == nil {
		c.query += " AND " + column + " IS NULL"
		return
	}
	c.query += " AND " + column + " = ?"
	c.args = append(c.args, value)
}

// Rotate implements [Store].
func (s *SQLStore) Rotate(ctx context.Context, userID, id string, r Rotation, at time.Time) error {
	c := newChange("rotate", userID, id, func(m *MemoryStore) error { return m.Rotate(ctx, userID, id, r, at) })
	c.target.Digest = r.Digest
	// MySQL evaluates the assignments from left to right, so retired_digest must come before
	// digest.
	c.query = `UPDATE {table} SET retired_digest = digest, retired_until = ?, digest = ?, hint = ?,
		generation = generation + 1` + whereLive + " AND generation = ? AND digest <> ?" + notExpired
	c.args = []any{timeValue(r.GraceUntil), r.Digest[:], r.Hint, userID, id, r.Replaces, r.Digest[:], timeValue(at)}
	c.guard = ` AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.digest = ?)
		AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.retired_digest = ?)` // with OR, PostgreSQL may scan the table
	c.guardArgs = []any{r.Digest[:], r.Digest[:]}
	return s.change(ctx, c)
}

// Revoke implements [Store].
func (s *SQLStore) Revoke(ctx context.Context, userID, id string, at time.Time, by string) error {
	c := newChange("revoke", userID, id, func(m *MemoryStore) error { return m.Revoke(ctx, userID, id, at, by) })
	c.query, c.args = setRevoked+whereLive, []any{timeValue(at), textValue(by), userID, id}
	return s.change(ctx, c)
}

// unused is the condition that a token is idle. Its two parameters are unusedSince.
const unused = "created_at <= ? AND (last_used_at IS NULL OR last_used_at <= ?)"

// RevokeExpired implements [Store].
func (s *SQLStore) RevokeExpired(ctx context.Context, userID, id string, at time.Time, by string, unusedSince time.Time) error {
	c := newChange("revoke expired", userID, id, func(m *MemoryStore) error {
		return m.RevokeExpired(ctx, userID, id, at, by, unusedSince)
	})
	since := timeValue(unusedSince) // if nil, the comparisons with NULL are not true
	c.query = setRevoked + whereLive + " AND (expires_at <= ? OR " + unused + ")"
	c.args = []any{timeValue(at), textValue(by), userID, id, timeValue(at), since, since}
	return s.change(ctx, c)
}

// revokeAllStatements are the statements that revoke at most a number of a user's live tokens. They
// find the live tokens by the unique key on user_id and live_name, which has no revoked token, so
// that the cost does not depend on the number of revoked tokens. All calls choose the tokens in the
// same order, so that two calls seldom deadlock. PostgreSQL locks them in the order of Touch,
// because a deadlock takes a second there. The parameters are the time, who revokes, the user ID
// and the number; on MySQL, the time and who revokes are the last ones.
var revokeAllStatements = map[Dialect]string{
	SQLite: setRevoked + ` WHERE id IN (SELECT id FROM {table} WHERE user_id = ? AND live_name IS NOT NULL
		ORDER BY live_name LIMIT ?)`,
	PostgreSQL: setRevoked + ` WHERE id = ANY (ARRAY(SELECT id FROM {table} WHERE live_name IS NOT NULL AND id = ANY (ARRAY(
		SELECT id FROM {table} WHERE user_id = ? AND live_name IS NOT NULL ORDER BY live_name LIMIT ?)) ORDER BY id FOR UPDATE))`,
	// MariaDB does not choose an index that the UPDATE changes, unless a subquery uses the index.
	MySQL: `UPDATE (SELECT id FROM {table} WHERE user_id = ? AND live_name IS NOT NULL
			ORDER BY live_name LIMIT ? FOR UPDATE) chosen
		STRAIGHT_JOIN {table} t ON t.id = chosen.id SET t.revoked_at = ?, t.revoked_by = ?, t.live_name = NULL, t.slot = NULL`,
}

// anyLive returns a live token of a user. Without ORDER BY, PostgreSQL would scan the table if most
// rows belong to the user.
const anyLive = `SELECT {columns} FROM {table} WHERE user_id = ? AND live_name IS NOT NULL
	ORDER BY live_name LIMIT 1`

// RevokeAll implements [Store].
func (s *SQLStore) RevokeAll(ctx context.Context, userID string, at time.Time, by string, limit int) (n int, err error) {
	if err := cmp.Or(ctx.Err(), checkLimit(limit)); err != nil {
		return 0, err
	}
	args := []any{timeValue(at), textValue(by), userID, limit}
	if s.dialect == MySQL {
		args = []any{userID, limit, timeValue(at), textValue(by)}
	}
	err = s.run(ctx, "revoke all", outcomeUnknown, func(ctx context.Context) (err error) {
		for {
			n, err = s.exec(ctx, revokeAllStatements[s.dialect], args...)
			if err != nil || n > 0 {
				return err
			}
			live, err := s.query(ctx, s.latest(anyLive), userID)
			switch {
			case err != nil:
				return err
			case len(live) == 0:
				return s.confirm(ctx, userID)
			}
			// A concurrent call has revoked the tokens that the statement chose. Look for others.
		}
	})
	s.letOthersWrite(ctx, n, 1)
	return n, err
}

// change executes c and retries it after a conflict with a concurrent statement.
func (s *SQLStore) change(ctx context.Context, c *change) error {
	guardByModel := c.guard != "" && !s.engine.Guards
	if !guardByModel {
		c.query += c.guard
		c.args = append(c.args, c.guardArgs...)
	}
	query := s.complete(c.query)
	return s.run(ctx, c.doing, outcomeUnknown, func(ctx context.Context) error {
		if guardByModel {
			// Inside a transaction, the snapshot and thus the model may be outdated. Therefore the
			// UPDATE is executed even if the call on the model changes nothing.
			if _, err := s.callModel(ctx, c, false); err != nil {
				return err
			}
		}
		n, failure := s.conn.Exec(ctx, query, c.args...)
		if failure == nil && n > 0 {
			return nil
		}
		return s.judge(ctx, c, sqldb.HideValues(failure))
	})
}

// judge returns the result of a change whose UPDATE changed no row or failed. failure is the error
// of the UPDATE, or nil.
func (s *SQLStore) judge(ctx context.Context, c *change, failure error) error {
	if s.engine.IsRejected(failure) {
		return failure
	}
	changes, err := s.callModel(ctx, c, true)
	switch {
	case err == nil && !changes: // the row already has the new values
		return s.confirm(ctx, c.target.Token.UserID)
	case err == nil:
		return cmp.Or(failure, errUnchanged)
	case s.engine.IsLost(failure), failure != nil && !isStoreError(err):
		// The UPDATE failed before the model did. If the response was lost, the UPDATE may have changed
		// the row, and later calls may have changed it again. A sentinel error would deny the change.
		return sqldb.WithCause(failure, err)
	}
	return err
}

// callModel loads a model, makes the call of a change on the model, and reports whether the call
// changed the model.
func (s *SQLStore) callModel(ctx context.Context, c *change, latest bool) (changes bool, err error) {
	model, err := s.loadModel(ctx, latest, c.target)
	if err == nil {
		err = c.call(model)
	}
	return model.writes > 0, err
}

// confirm waits until the user's rows are on the synchronous standby, if PostgreSQL has a
// synchronous standby.
//
// A read may return a committed change of another call before the standby has that change. If the
// primary server then fails, the change is lost. A write returns only when the standby has the
// write and all earlier changes. Therefore confirm writes one row without changing its values.
func (s *SQLStore) confirm(ctx context.Context, userID string) error {
	if s.dialect != PostgreSQL {
		return nil
	}
	// For ORDER BY, see anyLive.
	_, err := s.exec(ctx, `UPDATE {table} SET id = id
		WHERE id IN (SELECT id FROM {table} WHERE user_id = ? ORDER BY live_name LIMIT 1)`, userID)
	return err
}
