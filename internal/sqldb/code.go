package sqldb

import (
	"errors"
	"slices"
	"strings"
)

// What a database made of a statement is read from its error without importing a driver.

// errUnchanged means that a statement changed no row though one should have.
var errUnchanged = errors.New("no row was changed")

var (
	// The database undid the statement because of another, and it will do when
	// it is tried again.
	undoneCodes = []string{
		"40001", "40P01", // PostgreSQL: serialization failure, deadlock
		"1213", "1205", // MySQL: deadlock (also Galera's conflicts), lock wait
		"1020", // MariaDB: the row has changed since the transaction began
		"3101", // MySQL: a conflict with another member of a replication group
		"locked",
	}
	// The statement broke a unique key.
	takenCodes = []string{"23505", "1062", "unique",
		"42P07", "42710"} // a table or its type, by two CREATE IF NOT EXISTS at once
	// The server went away while it worked.
	lostCodes = []string{"57P01", "57P02", "57P03", "40003", "1053", "1180", "1317", "1927"}
)

// isUndone reports whether the database undid a statement that will do when it is
// tried again.
func isUndone(err error) bool { return slices.Contains(undoneCodes, code(err)) }

// code returns what a database calls an error: a SQLSTATE of PostgreSQL, a number
// of MySQL, or a word for SQLite, whose drivers agree on nothing but the text.
// It is empty if the error tells none.
func code(err error) string {
	var state interface{ SQLState() string } // pgx, lib/pq
	if errors.As(err, &state) {
		return state.SQLState()
	}
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		if number, ok := strings.CutPrefix(text, "Error "); ok && len(number) > 4 {
			return number[:4] // go-sql-driver/mysql: "Error 1213 (40001): …"
		}
		switch {
		case strings.Contains(text, "database is locked"), strings.Contains(text, "database table is locked"): // the latter with a shared cache
			return "locked"
		case strings.Contains(text, "UNIQUE constraint failed"):
			return "unique"
		}
	}
	return ""
}
