package sqldb

import "errors"

// An Engine holds what differs between databases, once table and queries avoid
// what they can: integers for times, IDs made by the caller, comparison byte by byte.
type Engine struct {
	Schema  string // the name of the file that creates the table
	Prepare bool   // whether a prepared statement is worth keeping
	Touch   string // a statement; %s stands for a list of (ID, time)
	Prune   string // a statement with two times and a limit
}

// Engines are the ones known, by name.
var Engines = map[string]*Engine{
	"sqlite": {
		Schema:  "sqlite.sql",
		Prepare: true,
		Touch: `WITH uses_of_{table} (id, at) AS (VALUES %s)
			UPDATE {table} SET last_used_at = max(uses_of_{table}.at, created_at)
			FROM uses_of_{table} WHERE {table}.id = uses_of_{table}.id AND (last_used_at IS NULL OR last_used_at < max(uses_of_{table}.at, created_at))`,
		Prune: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table}
			WHERE origin = '' AND (revoked_at < ? OR expires_at < ?) LIMIT ?)`,
	},
}

// Undone reports whether the database undid a statement that will do when it is
// tried again. It asks what drivers tell, without importing them.
func Undone(err error) bool {
	var sqlite interface{ Code() int }
	return errors.As(err, &sqlite) && sqlite.Code()&0xff == 5 // SQLITE_BUSY and its extended codes
}
