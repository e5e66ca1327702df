// Package sqldb holds what SQLite, PostgreSQL and MySQL do differently: SQL syntax, error codes,
// and when to retry. It knows nothing about tokens and uses no database connection.
package sqldb

import (
	"strconv"
	"strings"
)

// An Engine describes how a database differs from the others.
type Engine struct {
	// Remote is true for a server, whose connection can break.
	Remote bool

	// Numbered is true if placeholders are $1, $2 and so on, and error codes are SQLSTATEs.
	Numbered bool

	// Guards is true if an UPDATE may have a condition on other rows of its table, and if an
	// INSERT may skip a row that violates a unique key. InnoDB locks the gap between rows if
	// such a condition finds no row, and two writers that hold gap locks deadlock.
	Guards bool

	// Latest is a format for a SELECT. Inside a transaction, the result also sees the rows that
	// other transactions have committed after the transaction took its snapshot.
	Latest string
}

// Engines holds the supported engines by the name of their dialect.
var Engines = map[string]*Engine{
	"sqlite":     {Guards: true, Latest: "%s"},
	"postgresql": {Remote: true, Numbered: true, Guards: true, Latest: "%s"},
	"mysql":      {Remote: true, Latest: "(%s LOCK IN SHARE MODE)"},
}

// Complete replaces {table} and {columns} in a query, and numbers the ? placeholders if the
// engine numbers its placeholders.
func (e *Engine) Complete(query, table, columns string) string {
	query = strings.NewReplacer("{table}", table, "{columns}", columns).Replace(query)
	if !e.Numbered {
		return query
	}
	parts := strings.Split(query, "?")
	for i := range parts[1:] {
		parts[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, "")
}

// WhereIn returns the text after FROM that selects the rows of {table} whose column has one of
// n values of a PostgreSQL type. The query may go on with AND and another condition.
//
// PostgreSQL gets a subquery per value. With IN it would scan a table that has no statistics yet,
// and drivers would keep that plan while the table grows.
func (e *Engine) WhereIn(column, kind string, n int) string {
	if !e.Numbered {
		return "{table} WHERE " + column + " IN (" + Repeat("?", ", ", n) + ")"
	}
	return "(VALUES " + Repeat("(CAST(? AS "+kind+"))", ", ", n) + `) AS wanted_of_{table} (value)
		CROSS JOIN LATERAL (SELECT * FROM {table} WHERE ` + column + ` = wanted_of_{table}.value OFFSET 0) AS found
		WHERE true`
}

// Repeat returns item n times, with a separator between two items.
func Repeat(item, separator string, n int) string { return strings.Repeat(item+separator, n-1) + item }
