package sqldb

import (
	"database/sql"
	"errors"
	"time"
)

// Times are stored as integers, microseconds since 1970 in UTC, and NULL for a
// zero time: so no driver, time zone or session setting can bend them.

// Micros returns a time as it is stored.
func Micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// ScanTime reads a stored time into t. NULL alone means never: whatever else is
// no time of the years 1 to 9999 is an error.
func ScanTime(t *time.Time) sql.Scanner { return timeColumn{t} }

type timeColumn struct{ *time.Time }

// Scan implements [sql.Scanner].
func (c timeColumn) Scan(value any) error {
	var n sql.NullInt64
	if err := n.Scan(value); err != nil {
		return errors.New("not a time")
	}
	if *c.Time = (time.Time{}); n.Valid {
		*c.Time = time.UnixMicro(n.Int64).UTC()
		if c.Year() < 1 || c.Year() > 9999 || c.IsZero() {
			return errors.New("time out of range")
		}
	}
	return nil
}
