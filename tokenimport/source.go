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

// A Source reads the tokens that another system keeps. It is safe for concurrent use.
// What is wrong with its options is told by [Run].
type Source struct {
	db      *sql.DB
	dialect tokenauth.Dialect
	origin  string

	table   string   // of tokens, which is called t in what follows
	key     string   // a column of it that is unique, not null, and has an index
	columns []string // what is read beside the key: expressions of t; no ?

	// read makes a row of a key and of columns. Text comes as string, whatever the driver
	// makes of it.
	read func(key any, columns []any) row

	err error // of the options
}

// A row is what a source makes of one of its rows. A spec with a digest has the Origin
// too, also if the row is refused: it may have been imported before.
type row struct {
	label   string               // for people: never a key or a digest
	spec    tokenauth.ImportSpec // the name may still be anything
	refused Reason               // empty: it is not
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

// quoted returns a name from the options, of a column or of a table, maybe with its
// schema, as it stands in a statement.
func (s *Source) quoted(name string) string {
	quote := `"`
	if s.dialect == tokenauth.MySQL {
		quote = "`"
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		if !isName(part) && s.err == nil {
			s.err = fmt.Errorf("name %q of a table or column must be letters, digits and _", name)
		}
		parts[i] = quote + part + quote
	}
	return strings.Join(parts, ".")
}

// secret refuses options that have a column of keys or digests read as something else,
// which is stored and shown: a slip of the hand would publish them.
func (s *Source) secret(column string, others ...string) {
	for _, other := range others {
		if strings.EqualFold(column, other) && s.err == nil {
			s.err = fmt.Errorf("column %q holds what nobody must see: it can't be another's too", column)
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

// ifThere returns the expression for a column that not each version of the other system has: NULL
// if the table lacks it, since the name then means the column around it.
func (s *Source) ifThere(column string) string {
	return fmt.Sprintf("(SELECT (SELECT %[1]s FROM %[2]s AS own WHERE own.%[3]s = t.%[3]s) FROM (SELECT NULL AS %[1]s) AS missing)",
		column, s.table, s.key)
}

// timeColumn returns the expression for a column of t that holds a time.
func (s *Source) timeColumn(name string) string { return s.timeText("t." + s.quoted(name)) }

// timeText returns the expression for a time as text, so that no driver bends it (parseTime,
// loc), and it is seen whether it names a zone.
func (s *Source) timeText(column string) string {
	switch s.dialect {
	case tokenauth.PostgreSQL:
		return "to_json(" + column + ") #>> '{}'" // ISO 8601, whatever DateStyle says
	case tokenauth.MySQL:
		return "CAST(" + column + " AS CHAR)"
	}
	return "CAST(" + column + " AS TEXT)"
}

const pageSize = 500

// page returns the rows that follow a key, nil for the first, and the key of the last.
// It leaves no query open. A key that is there twice would have rows left out.
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
	// Users are looked up for these rows alone.
	query = fmt.Sprintf("SELECT t.%[1]s, %[2]s FROM (%[3]s ORDER BY %[1]s LIMIT %[4]d) AS t ORDER BY t.%[1]s",
		s.key, strings.Join(s.columns, ", "), query, pageSize)
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
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
		return nil, nil, s.ambiguous() // or the same page would come again and again
	}
	return page, last, rows.Err()
}

func (s *Source) ambiguous() error {
	return fmt.Errorf("column %s must be unique and not null, with values of one type", s.key)
}

// text returns a value as text, empty for NULL.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// isTrue takes what can't be read for false.
func isTrue(v any) bool {
	b, err := strconv.ParseBool(text(v))
	return err == nil && b
}

// timeOf returns the time that a value stands for, which is of location where it names no
// zone; zero for NULL. It returns false if the value can't be read.
func timeOf(v any, location *time.Location) (time.Time, bool) {
	if v == nil {
		return time.Time{}, true
	}
	value := strings.Replace(text(v), "T", " ", 1)
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07"} {
		if t, err := time.ParseInLocation(layout, value, location); err == nil {
			return t.UTC(), !t.IsZero() // which would mean "never"
		}
	}
	return time.Time{}, false
}

// isHex reports whether s is hexadecimal digits, which these systems write small.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
