package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Change changes one row, of which it knows the user and the ID.
type Change struct {
	// Target is that row, with what the change gives it that must be unique.
	Target Row

	doing string
	text  string
	args  []any

	// A guard is a condition that finds no other row in the way.
	guard     string
	guardArgs []any
}

func newChange(doing, userID, id string) Change {
	return Change{doing: doing, Target: Row{Token: Token{ID: id, UserID: userID}}}
}

const (
	whereLive  = " WHERE user_id = ? AND id = ? AND revoked_at IS NULL"
	notExpired = " AND (expires_at IS NULL OR expires_at > ?)"
)

// A Patch holds the new values of some columns; nil leaves one alone.
type Patch struct {
	Name      *string
	Scopes    *[]string
	ExpiresAt *time.Time
}

// Update changes a row that is neither revoked nor, at the time at, expired.
func Update(userID, id string, p Patch, at time.Time) Change {
	c := newChange("update", userID, id)
	var set []string
	if p.Name != nil {
		c.Target.Token.Name = *p.Name
		set = append(set, "name = ?, live_name = ?")
		c.args = append(c.args, *p.Name, *p.Name)
		c.guard = " AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.user_id = ? AND other.live_name = ? AND other.id <> ?)"
		c.guardArgs = []any{userID, *p.Name, id}
	}
	if p.Scopes != nil {
		set = append(set, "scopes = ?")
		c.args = append(c.args, strings.Join(*p.Scopes, " "))
	}
	if p.ExpiresAt != nil {
		set = append(set, "expires_at = ?")
		c.args = append(c.args, micros(*p.ExpiresAt))
	}
	if len(set) == 0 {
		set = append(set, "id = id") // still says whether there is such a row
	}
	c.text = "UPDATE {table} SET " + strings.Join(set, ", ") + whereLive + notExpired
	c.args = append(c.args, userID, id, micros(at))
	return c
}

// Rotate replaces the digest of generation replaces in a row that is neither
// revoked nor, at the time at, expired.
func Rotate(userID, id string, replaces int, digest [32]byte, hint string, graceUntil, at time.Time) Change {
	c := newChange("rotate", userID, id)
	c.Target.Digest = digest
	// MySQL assigns from left to right: the old digest must be moved first.
	c.text = `UPDATE {table} SET retired_digest = digest, retired_until = ?, digest = ?, hint = ?, generation = generation + 1` +
		whereLive + ` AND generation = ?` + notExpired
	c.args = []any{micros(graceUntil), digest[:], hint, userID, id, replaces, micros(at)}
	c.guard = ` AND NOT EXISTS (SELECT 1 FROM {table} other WHERE other.digest = ? OR other.retired_digest = ?)`
	c.guardArgs = []any{digest[:], digest[:]}
	return c
}

// Revoke revokes a live row.
func Revoke(userID, id string, at time.Time) Change {
	c := newChange("revoke", userID, id)
	c.text, c.args = setRevoked+whereLive, []any{micros(at), userID, id}
	return c
}

// RevokeExpired revokes a live row that is expired at the time at.
func RevokeExpired(userID, id string, at time.Time) Change {
	c := newChange("revoke expired", userID, id)
	c.text, c.args = setRevoked+whereLive+" AND expires_at <= ?", []any{micros(at), userID, id, micros(at)}
	return c
}

// Change makes a change. That it changed no row proves nothing, nor does a lost
// connection: then ask tells, from Rivals with the same latest, what the change
// comes to. It reports whether the row is as it should be already.
func (t *Table) Change(ctx context.Context, c Change, ask func(ctx context.Context, latest bool) (done bool, err error)) error {
	askFirst := c.guard != "" && !t.engine.guard
	if !askFirst {
		c.text += c.guard
		c.args = append(c.args, c.guardArgs...)
	}
	return t.Run(ctx, c.doing, func(ctx context.Context) error {
		if askFirst {
			// That it seems done already proves nothing in a transaction, which may see
			// what was there when it began.
			if _, err := ask(ctx, false); err != nil {
				return err
			}
		}
		n, failure := t.exec(ctx, c.text, c.args...)
		if failure == nil && n == 0 {
			failure = errUnchanged
		}
		if failure == nil || t.Refused(failure) {
			return failure
		}
		done, err := ask(ctx, true)
		switch {
		case done:
			return t.Confirm(ctx, c.Target.Token.UserID)
		case t.isAnswer(err):
			return err
		case err != nil:
			return fmt.Errorf("%w (%v)", failure, err) // what failed is the change
		}
		return failure
	})
}

// Confirm returns when what the table shows of a user is as safe as what the call
// itself has written. PostgreSQL answers a write when the standby has it, and with
// it all that was committed before; but it shows at once what another call has
// committed and gave up waiting for, and that may be lost with the server.
func (t *Table) Confirm(ctx context.Context, userID string) error {
	if t.engine.confirm == "" {
		return nil
	}
	_, err := t.exec(ctx, t.engine.confirm, userID)
	return err
}
