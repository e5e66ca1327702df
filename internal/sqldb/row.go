package sqldb

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Row is a row of the table.
type Row struct {
	Token        Token
	Digest       [32]byte
	Retired      *[32]byte // the digest that the last rotation replaced
	RetiredUntil time.Time
	Slot         int // 0: NULL
}

// A Token has the fields of package tokenauth's, which converts the one to the other.
type Token struct {
	ID         string
	UserID     string
	Name       string
	Scopes     []string
	Hint       string
	Generation int
	Origin     string
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time
	RevokedAt  time.Time
}

// columns are those that are read; live_name follows where a row is written.
const columns = `id, user_id, name, slot, scopes, hint, generation, origin, digest, retired_digest, retired_until,
		created_at, expires_at, last_used_at, revoked_at`

// values returns what is written of a row: the columns, in their order, and live_name.
func (r *Row) values() []any {
	t := &r.Token
	var slot, retired, retiredUntil, liveName any
	if t.RevokedAt.IsZero() {
		liveName = t.Name
		if r.Slot != 0 {
			slot = r.Slot
		}
	}
	if r.Retired != nil {
		retired, retiredUntil = r.Retired[:], micros(r.RetiredUntil)
	}
	return []any{
		t.ID, t.UserID, t.Name, slot, strings.Join(t.Scopes, " "), t.Hint, t.Generation, t.Origin,
		r.Digest[:], retired, retiredUntil,
		micros(t.CreatedAt), micros(t.ExpiresAt), micros(t.LastUsedAt), micros(t.RevokedAt), liveName,
	}
}

// scan reads a row.
func (r *Row) scan(rows *sql.Rows) error {
	t := &r.Token
	err := rows.Scan(&t.ID, &t.UserID, &t.Name, slotColumn{&r.Slot}, wordsColumn{&t.Scopes}, &t.Hint, &t.Generation, &t.Origin,
		digestColumn{&r.Digest}, retiredColumn{&r.Retired}, timeColumn{&r.RetiredUntil},
		timeColumn{&t.CreatedAt}, timeColumn{&t.ExpiresAt}, timeColumn{&t.LastUsedAt}, timeColumn{&t.RevokedAt})
	if err != nil {
		return fmt.Errorf("row of token %q: %w", t.ID, err)
	}
	return nil
}

// scanAll reads all rows, and closes them.
func scanAll(rows *sql.Rows, err error) ([]Row, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var all []Row
	for rows.Next() {
		all = append(all, Row{})
		if err := all[len(all)-1].scan(rows); err != nil {
			return nil, err
		}
	}
	return all, rows.Err()
}

// scanFirst reads the first row, or none, and closes them. To ask for a second one would
// be felt. What goes wrong after the first, as in a commit, Close tells.
func scanFirst(rows *sql.Rows, err error) (*Row, error) {
	if err != nil {
		return nil, err
	}
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), rows.Close())
	}
	r := &Row{}
	if err := r.scan(rows); err != nil {
		_ = rows.Close()
		return nil, err
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	return r, nil
}
