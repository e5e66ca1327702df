package sqldb

import (
	"database/sql"
	"errors"
	"strings"
	"time"
)

// How values are written and read where database/sql alone would not do. Scanners
// read into the row itself, which also costs fewer allocations.

// micros returns a time as it is stored: as an integer, microseconds since 1970
// in UTC, and NULL for a zero time. So no driver, time zone or session setting can
// bend it.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// integer returns what a driver gives for an integer; ok is false for NULL.
func integer(value any) (n int64, ok bool, err error) {
	if n, ok := value.(int64); ok { // sql's conversion, for other forms, is slower
		return n, true, nil
	}
	var null sql.NullInt64
	err = null.Scan(value)
	return null.Int64, null.Valid, err
}

// A slotColumn reads an integer; NULL is zero.
type slotColumn struct{ to *int }

// Scan implements [sql.Scanner].
func (c slotColumn) Scan(value any) error {
	n, _, err := integer(value)
	*c.to = int(n)
	return err
}

// The times of the years 1 to 9999, but for the zero time.
var (
	earliest = time.Time{}.UnixMicro() + 1
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()
)

// A timeColumn reads a stored time. NULL alone means never: whatever else is no
// time of the years 1 to 9999 is an error.
type timeColumn struct{ to *time.Time }

// Scan implements [sql.Scanner].
func (c timeColumn) Scan(value any) error {
	n, ok, err := integer(value)
	if err != nil {
		return errors.New("not a time")
	}
	if *c.to = (time.Time{}); ok {
		if n < earliest || n > latest {
			return errors.New("time out of range")
		}
		*c.to = time.UnixMicro(n).UTC()
	}
	return nil
}

// A digestColumn reads a digest, which must be there.
type digestColumn struct{ to *[32]byte }

// Scan implements [sql.Scanner].
func (c digestColumn) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok || copy(c.to[:], b) != len(b) || len(b) != len(c.to) {
		return errors.New("digest is not 32 bytes")
	}
	return nil
}

// A retiredColumn reads a digest that may be missing, and then is nil.
type retiredColumn struct{ to **[32]byte }

// Scan implements [sql.Scanner].
func (c retiredColumn) Scan(value any) error {
	if *c.to = nil; value == nil {
		return nil
	}
	*c.to = new([32]byte)
	return digestColumn{*c.to}.Scan(value)
}

// A wordsColumn reads a list of words between spaces; an empty one is nil.
type wordsColumn struct{ to *[]string }

// Scan implements [sql.Scanner].
func (c wordsColumn) Scan(value any) error {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return errors.New("not a text")
	}
	if *c.to = nil; text != "" {
		*c.to = strings.Split(text, " ")
	}
	return nil
}
