package sqldb

import "strings"

// An engine holds what differs between databases, once table and queries avoid
// what they can: integers for times, IDs made by the caller, comparison byte by byte.
type engine struct {
	schema   string // the name of the file that creates the table
	remote   bool   // whether a call may be lost on its way
	numbered bool   // whether placeholders are $1, $2 and so on
	prepare  bool   // whether a prepared statement is worth keeping

	// guard tells whether a write may ask for other rows of its table, and an
	// INSERT leave out what conflicts.
	guard bool
	// latest is a format: of a SELECT, one that sees in a transaction what others
	// have committed since that began.
	latest string

	// among is, after FROM, the rows in which columns equal one of n tuples; AND and
	// another condition may follow.
	among func(n int, columns ...string) string

	// confirm is a statement, for a user's ID, that writes one of the user's rows
	// again as it is; empty where that proves nothing.
	confirm string

	touch func(uses int) string // a statement with so many pairs of ID and time
	prune string                // a format: of a statement with a time that a column is before, and a limit
}

// engines are the ones known, by name.
var engines = map[string]*engine{
	"sqlite": {
		schema:  "sqlite.sql",
		prepare: true,
		guard:   true,
		latest:  "%s",
		among:   among,
		touch: func(uses int) string {
			return `WITH uses_of_{table} (id, at) AS (VALUES ` + marks("(?, ?)", uses) + `)
				UPDATE {table} SET last_used_at = max(uses_of_{table}.at, created_at) FROM uses_of_{table}
				WHERE {table}.id = uses_of_{table}.id AND (last_used_at IS NULL OR last_used_at < max(uses_of_{table}.at, created_at))`
		},
		prune: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
			WHERE origin = '' AND %s < ? LIMIT ?)`,
	},
	"postgresql": {
		schema:   "postgresql.sql",
		remote:   true,
		numbered: true, // and nothing is prepared: pgx does that by itself, and poolers can't
		guard:    true,
		latest:   "%s",
		among:    amongEach,
		confirm:  "UPDATE {table} SET id = id WHERE id IN (SELECT id FROM {table} WHERE user_id = ? LIMIT 1)",
		// Rows are locked in one order, or else two calls wait for each other. The name of
		// the uses would hide a table of the same name.
		touch: func(uses int) string {
			return `WITH uses_of_{table} (id, at) AS (VALUES ` + marks("(CAST(? AS text), CAST(? AS bigint))", uses) + `),
				due AS (SELECT t.id, greatest(u.at, t.created_at) AS at FROM {table} t JOIN uses_of_{table} u ON u.id = t.id
					WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(u.at, t.created_at)
					ORDER BY t.id FOR NO KEY UPDATE OF t)
				UPDATE {table} t SET last_used_at = due.at FROM due
				WHERE t.id = due.id AND (t.last_used_at IS NULL OR t.last_used_at < due.at)`
		},
		// The array is made once; a subquery might run again, and delete more.
		prune: `DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table}
			WHERE origin = '' AND %s < ? LIMIT ? FOR UPDATE SKIP LOCKED))`,
	},
	// InnoDB locks the gap where a guard finds nothing, and writers that hold such
	// locks wait for each other: so what a guard would ask is asked before.
	"mysql": {
		schema:  "mysql.sql",
		remote:  true,
		prepare: true,
		latest:  "(%s LOCK IN SHARE MODE)",
		among:   among,
		touch: func(uses int) string {
			return `UPDATE (SELECT ? AS id, CAST(? AS SIGNED) AS at` + strings.Repeat(" UNION ALL SELECT ?, CAST(? AS SIGNED)", uses-1) + `) uses
				STRAIGHT_JOIN {table} t ON t.id = uses.id SET t.last_used_at = greatest(uses.at, t.created_at)
				WHERE t.last_used_at IS NULL OR t.last_used_at < greatest(uses.at, t.created_at)`
		},
		prune: `DELETE FROM {table} WHERE origin = '' AND %s < ? LIMIT ?`,
	},
}

func among(n int, columns ...string) string {
	if len(columns) == 1 {
		return "{table} WHERE " + columns[0] + " IN (" + marks("?", n) + ")"
	}
	tuple := "(" + strings.Join(columns, " = ? AND ") + " = ?)"
	return "{table} WHERE (" + strings.Repeat(tuple+" OR ", n-1) + tuple + ")"
}

// amongEach looks for one value after the other. PostgreSQL would else read a table that
// it has no statistics of from end to end, and go on as that grows, since drivers keep
// plans. A user's ID, of which a service may choose the type, stands in tuples alone.
func amongEach(n int, columns ...string) string {
	if len(columns) > 1 {
		return among(n, columns...)
	}
	kind := "text"
	if columns[0] != "id" {
		kind = "bytea"
	}
	return "(VALUES " + marks("(CAST(? AS "+kind+"))", n) + `) AS wanted_of_{table} (value)
		CROSS JOIN LATERAL (SELECT * FROM {table} WHERE ` + columns[0] + " = wanted_of_{table}.value OFFSET 0) AS found WHERE true"
}

// marks returns item n times, between commas.
func marks(item string, n int) string { return strings.Repeat(item+", ", n-1) + item }
