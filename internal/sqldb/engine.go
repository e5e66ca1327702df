package sqldb

import (
	"fmt"
	"strings"
)

// An Engine holds what differs between databases, once table and queries avoid
// what they can: integers for times, IDs made by the caller, comparison byte by byte.
type Engine struct {
	Schema   string // the name of the file that creates the table
	Remote   bool   // whether a call may be lost on its way
	Numbered bool   // whether placeholders are $1, $2 and so on
	Prepare  bool   // whether a prepared statement is worth keeping

	// Guard tells whether a write may ask for other rows of its table, and an
	// INSERT leave out what conflicts.
	Guard bool
	// Latest is a format: of a SELECT, one that sees in a transaction what others
	// have committed since that began.
	Latest string

	Touch func(uses int) string // a statement with so many pairs of ID and time
	Prune string                // a statement with two times and a limit
}

// Engines are the ones known, by name.
var Engines = map[string]*Engine{
	"sqlite": {
		Schema:  "sqlite.sql",
		Prepare: true,
		Guard:   true,
		Latest:  "%s",
		Touch: func(uses int) string {
			return `WITH uses_of_{table} (id, at) AS (VALUES ` + Marks("(?, ?)", uses) + `)
				UPDATE {table} SET last_used_at = max(uses_of_{table}.at, created_at) FROM uses_of_{table}
				WHERE {table}.id = uses_of_{table}.id AND (last_used_at IS NULL OR last_used_at < max(uses_of_{table}.at, created_at))`
		},
		Prune: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
			WHERE origin = '' AND (revoked_at < ? OR expires_at < ?) LIMIT ?)`,
	},
	"postgresql": {
		Schema:   "postgresql.sql",
		Remote:   true,
		Numbered: true, // and nothing is prepared: pgx does that by itself, and poolers can't
		Guard:    true,
		Latest:   "%s",
		// Rows are locked in one order, or else two calls wait for each other.
		Touch: func(uses int) string {
			return `WITH uses (id, at) AS (VALUES ` + Marks("(CAST(? AS text), CAST(? AS bigint))", uses) + `),
				due AS (SELECT t.id, greatest(uses.at, t.created_at) AS at FROM {table} t JOIN uses ON uses.id = t.id
					WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(uses.at, t.created_at)
					ORDER BY t.id FOR NO KEY UPDATE OF t)
				UPDATE {table} t SET last_used_at = due.at FROM due
				WHERE t.id = due.id AND (t.last_used_at IS NULL OR t.last_used_at < due.at)`
		},
		// The array is made once; a subquery might run again, and delete more.
		Prune: `DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table}
			WHERE origin = '' AND (revoked_at < ? OR expires_at < ?) LIMIT ? FOR UPDATE SKIP LOCKED))`,
	},
	// InnoDB locks the gap where a guard finds nothing, and writers that hold such
	// locks wait for each other: so what a guard would ask is asked before.
	"mysql": {
		Schema:  "mysql.sql",
		Remote:  true,
		Prepare: true,
		Latest:  "(%s LOCK IN SHARE MODE)",
		Touch: func(uses int) string {
			return `UPDATE (SELECT ? AS id, ? AS at` + strings.Repeat(" UNION ALL SELECT ?, ?", uses-1) + `) uses
				STRAIGHT_JOIN {table} t ON t.id = uses.id SET t.last_used_at = greatest(uses.at, t.created_at)
				WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(uses.at, t.created_at)`
		},
		Prune: `DELETE FROM {table} WHERE origin = '' AND (revoked_at < ? OR expires_at < ?) LIMIT ?`,
	},
}

// Marks returns item n times, between commas.
func Marks(item string, n int) string { return strings.Repeat(item+", ", n-1) + item }

// Statements returns the statements of a schema, for drivers that take one at a
// time. No string or comment in it may hold a semicolon.
func Statements(schema string) []string {
	var all []string
	for s := range strings.SplitSeq(schema, ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// CheckTable keeps a table's name to what stands in a statement unquoted, and
// leaves room for the names of its indexes.
func CheckTable(name string) error {
	valid := len(name) > 0 && len(name) <= 40 && (name[0] < '0' || name[0] > '9')
	for i := range len(name) {
		c := name[i]
		valid = valid && (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_')
	}
	if !valid {
		return fmt.Errorf("table name %q must be 1 to 40 letters, digits and _, not starting with a digit", name)
	}
	return nil
}
