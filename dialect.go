package tokenauth

import (
	"context"
	"database/sql"
	"embed"
	"time"
)

// DB is what a [SQLStore] needs of a database handle. *sql.DB, *sql.Tx and
// *sql.Conn have it.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// A Dialect names the SQL that a database speaks.
type Dialect string

// The dialects.
const (
	SQLite     Dialect = "sqlite"     // SQLite 3.37 or newer
	PostgreSQL Dialect = "postgresql" // PostgreSQL
	MySQL      Dialect = "mysql"      // MySQL and MariaDB
)

// SQLOptions are a [SQLStore]'s settings. Every zero field is the default.
type SQLOptions struct {
	// Table is the name of the table: 1 to 40 letters, digits and _, not starting
	// with a digit. Empty: tokenauth_tokens.
	Table string

	// Timeout is how long a call may take, inside whatever deadline its context
	// has. Zero: 2 seconds.
	Timeout time.Duration
}

//go:embed schema/*.sql
var schemas embed.FS
