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
	n, ok := value.(int64)
	if !ok { // a driver's own form: sql's conversion is slower
		var any sql.NullInt64
		if err := any.Scan(value); err != nil {
			return errors.New("not a time")
		}
		n, ok = any.Int64, any.Valid
	}
	if *c.Time = (time.Time{}); ok {
		*c.Time = time.UnixMicro(n).UTC()
		if c.Year() < 1 || c.Year() > 9999 || c.IsZero() {
			return errors.New("time out of range")
		}
	}
	return nil
}
