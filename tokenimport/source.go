package tokenimport

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-tokenauth/tokenauth"
)

// A Source reads the tokens of another system from its database. [DRF], [Knox] and [Sanctum] return
// a Source. A Source is safe for concurrent use. The caller closes its database handle.
type Source struct {
	db      *sql.DB
	dialect tokenauth.Dialect
	origin  string

	table   string   // table of tokens; queries name it t
	key     string   // column of table that is unique, not null and indexed
	columns []string // SQL expressions to read beside key; they may use t, but no placeholder

	// read converts the values of the key column and of columns into a row. All text values are
	// strings, even if the driver returns bytes.
	read func(key any, columns []any) row

	err error // error in the options, or nil
}

// A row describes one row of the source. If the spec has a digest, the spec also has an Origin,
// even in a refused row, because an earlier run may have imported the row.
type row struct {
	label   string               // identifies the row for people; never contains a key or a digest
	spec    tokenauth.ImportSpec // the name is not cleaned yet
	refused Reason               // empty if the row is not refused
}

func newSource(db *sql.DB, d tokenauth.Dialect, origin string) *Source {
	s := &Source{db: db, dialect: d, origin: origin}
	switch {
	case db == nil:
		s.err = errors.New("no database handle")
	case d != tokenauth.SQLite && d != tokenauth.PostgreSQL && d != tokenauth.MySQL:
		s.err = fmt.Errorf("unknown dialect %q", d)
	}
	return s
}

// quoted quotes the name of a column or table for an SQL statement. The name comes from the
// options. The name of a table may contain its schema. If the name is invalid, quoted sets s.err.
func (s *Source) quoted(name string) string {
	quote := `"`
	if s.dialect == tokenauth.MySQL {
		quote = "`"
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		if !isName(part) && s.err == nil {
			s.err = fmt.Errorf("name %q of a table or column must consist of letters, digits and _", name)
		}
		parts[i] = quote + part + quote
	}
	return strings.Join(parts, ".")
}

// secret sets s.err if the column with keys or digests is also one of the other columns. The values
// of other columns are stored and shown, so a mistake in the options would publish keys.
func (s *Source) secret(column string, others ...string) {
	for _, other := range others {
		if strings.EqualFold(column, other) && s.err == nil {
			s.err = fmt.Errorf("column %q holds keys or digests, so it must not be used for user IDs or names", column)
		}
	}
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return s != ""
}

// ifExists returns an SQL expression for a column that only some versions of the other system have.
// If the table lacks the column, the name in the inner query refers to the column of the same name
// in the outer query, which is NULL.
func (s *Source) ifExists(column string) string {
	return fmt.Sprintf("(SELECT (SELECT %[1]s FROM %[2]s AS own WHERE own.%[3]s = t.%[3]s) FROM (SELECT NULL AS %[1]s) AS missing)",
		column, s.table, s.key)
}

// timeColumn returns an SQL expression for a column of t with a time, as text.
func (s *Source) timeColumn(name string) string { return s.timeText("t." + s.quoted(name)) }

// timeText returns an SQL expression that converts a time to text. Without this conversion, a
// driver might shift the time, as the MySQL driver does with parseTime and loc. The text also shows
// whether the time has a zone.
func (s *Source) timeText(column string) string {
	switch s.dialect {
	case tokenauth.PostgreSQL:
		return "to_json(" + column + ") #>> '{}'" // ISO 8601, independent of DateStyle
	case tokenauth.MySQL:
		return "CAST(" + column + " AS CHAR)"
	}
	return "CAST(" + column + " AS TEXT)"
}

const pageSize = 500

// page returns the rows whose value in the key column is greater than after, in the order of this
// column, and the value of the last row. If after is nil, page returns the first rows. page closes
// its rows before it returns. It returns an error if two rows have the same value, because the next
// page would omit one of them.
func (s *Source) page(ctx context.Context, after any) (page []row, last any, err error) {
	query := "SELECT * FROM " + s.table
	var args []any
	if after != nil {
		placeholder := "?"
		if s.dialect == tokenauth.PostgreSQL {
			placeholder = "$1"
		}
		query += " WHERE " + s.key + " > " + placeholder
		args = append(args, after)
	}
	// The inner query limits the rows, so that the columns look up users only for these rows.
	query = fmt.Sprintf("SELECT t.%[1]s, %[2]s FROM (%[3]s ORDER BY %[1]s LIMIT %[4]d) AS t ORDER BY t.%[1]s",
		s.key, strings.Join(s.columns, ", "), query, pageSize)
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err returns the error
	for rows.Next() {
		values := make([]any, 1+len(s.columns))
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		for i := range values {
			if b, ok := values[i].([]byte); ok {
				values[i] = string(b)
			}
		}
		if values[0] == last && last != nil {
			return nil, nil, s.ambiguous()
		}
		last = values[0]
		page = append(page, s.read(last, values[1:]))
	}
	if len(page) == pageSize && (last == nil || last == after) {
		return nil, nil, s.ambiguous() // otherwise, Run would read the same page forever
	}
	return page, last, rows.Err()
}

func (s *Source) ambiguous() error {
	return fmt.Errorf("column %s must be unique and not null, with values of one type", s.key)
}

// text returns a value as text. For NULL, it returns the empty string.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// isTrue reports whether a value means true. It returns false for an unknown value.
func isTrue(v any) bool {
	b, err := strconv.ParseBool(text(v))
	return err == nil && b
}

// timeOf parses a time. It returns false if v is unreadable, and the zero time if v is NULL. If v
// has no zone, the time is in the given location.
func timeOf(v any, location *time.Location) (time.Time, bool) {
	if v == nil {
		return time.Time{}, true
	}
	value := strings.Replace(text(v), "T", " ", 1)
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07"} {
		if t, err := time.ParseInLocation(layout, value, location); err == nil {
			return t.UTC(), !t.IsZero() // a zero time would mean "never"
		}
	}
	return time.Time{}, false
}

// isHex reports whether s consists of lower-case hexadecimal digits. The other systems write digits
// in lower case.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
