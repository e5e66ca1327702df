// Package sqldb holds the differences between SQLite, PostgreSQL and MySQL: SQL syntax, error
// codes, and when to retry. The package does not depend on tokens and uses no database connection.
package sqldb

import (
	"strconv"
	"strings"
)

// An Engine describes how a database differs from the others.
type Engine struct {
	// Remote is true if the database is a server, so that the connection can break.
	Remote bool

	// Numbered is true if placeholders are $1, $2 and so on, and error codes are SQLSTATEs.
	Numbered bool

	// Guards is true if an UPDATE may have a condition on other rows of its table, and if an
	// INSERT may skip a row that violates a unique key. InnoDB locks the gap between rows if
	// such a condition finds no row, and two writers that hold gap locks deadlock.
	Guards bool

	// Latest is a format whose argument is a SELECT. Inside a transaction, the resulting query also
	// returns rows that other transactions have committed after the transaction took its snapshot.
	Latest string

	// LimitWait is a format whose argument is a number of milliseconds. The resulting statement makes
	// later statements of its transaction wait no longer for the lock of a table. RestoreWait ends
	// this limit. Both are empty if other statements do not queue behind a statement that waits.
	LimitWait, RestoreWait string

	quote   string // encloses the name of a table or an index
	catalog string // query of the method Catalog, with placeholders for the name of the table
}

// Engines holds the supported engines by the name of their dialect.
var Engines = map[string]*Engine{
	"sqlite": {Guards: true, Latest: "%s", quote: `"`, catalog: sqliteCatalog},
	"postgresql": {
		Remote: true, Numbered: true, Guards: true, Latest: "%s",
		quote: `"`, catalog: postgresqlCatalog,
		LimitWait: "SET LOCAL lock_timeout = %d", RestoreWait: "SET LOCAL lock_timeout = DEFAULT",
	},
	"mysql": {
		// TiDB refuses LOCK IN SHARE MODE. It executes FOR UPDATE, and takes the text from # to the line
		// break for a comment. The other servers take /*T! … */ for a comment. On these servers, an INSERT
		// that violates a unique key leaves a shared lock on the row with the key. FOR UPDATE would
		// deadlock with another transaction that has such a lock.
		Remote: true, Latest: "(%s /*T! FOR UPDATE #*/ LOCK IN SHARE MODE\n)", quote: "`", catalog: mysqlCatalog,
		LimitWait:   "SET @tokenauth_wait = @@SESSION.lock_wait_timeout, SESSION lock_wait_timeout = greatest(1, %d DIV 1000)",
		RestoreWait: "SET SESSION lock_wait_timeout = @tokenauth_wait", // for the next user of the connection
	},
}

// Complete replaces {table} and {columns} in a query. If the engine numbers its placeholders,
// Complete also replaces each ? by $1, $2 and so on.
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

// WhereIn returns the text after FROM that selects the rows of {table} whose column has one of n
// values. kind is the PostgreSQL type of the values. The caller may append AND and another
// condition.
//
// The name wanted$ of the subquery cannot be the name of a table, because it contains a $.
//
// For PostgreSQL, the text has one subquery per value. With IN, PostgreSQL would scan a table that
// has no statistics yet. Drivers that cache the query plan would keep the slow plan while the table
// grows.
func (e *Engine) WhereIn(column, kind string, n int) string {
	if !e.Numbered {
		return "{table} WHERE " + column + " IN (" + Repeat("?", ", ", n) + ")"
	}
	return "(VALUES " + Repeat("(CAST(? AS "+kind+"))", ", ", n) + `) AS wanted$ (value)
		CROSS JOIN LATERAL (SELECT * FROM {table} WHERE ` + column + ` = wanted$.value OFFSET 0) AS found
		WHERE true`
}

// Repeat returns n copies of item, with separator between two copies.
func Repeat(item, separator string, n int) string { return strings.Repeat(item+separator, n-1) + item }
