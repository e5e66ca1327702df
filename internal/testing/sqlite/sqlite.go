// Package sqlite opens SQLite databases for tests.
package sqlite

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-tokenauth/tokenauth"
)

// Settings are the settings of the databases that [New] and [Open] open. SQLite does not wait until
// its writes are on the disk, because waiting took half the time of the tests.
const Settings = settings + "&_pragma=synchronous(OFF)"

const settings = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock=immediate"

// Folder creates a folder for databases, in memory if the system has a file system for this. It is
// for programs with the default timeout of the store, which a commit may exceed on a busy disk.
func Folder() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "tokenauth-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "tokenauth-")
}

// File returns the path of a missing file in a new [Folder]. The folder is removed when the test
// ends.
func File(t testing.TB) string {
	t.Helper()
	dir, err := Folder()
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "tokens.db")
}

// New opens a new database file with the [Settings].
func New(t testing.TB) *sql.DB {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "tokens.db"))
}

// Open opens a database file with the [Settings], and creates the file if it does not exist.
func Open(t testing.TB, path string) *sql.DB {
	t.Helper()
	return OpenWith(t, path, Settings)
}

// OpenDurable is like [Open], but SQLite waits until each commit is on the disk. It is for tests
// that kill the process or fill the disk.
func OpenDurable(t testing.TB, path string) *sql.DB {
	t.Helper()
	return OpenWith(t, path, settings+"&_pragma=synchronous(FULL)")
}

// OpenWith opens a database file with the given settings, which are a query of the driver. The test
// closes the database when it ends.
func OpenWith(t testing.TB, path, settings string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+settings)
	require.NoError(t, err)
	db.SetMaxIdleConns(8) // with fewer, concurrent calls open and close connections all the time
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Patient returns options with a timeout of one minute, so that no call times out on a busy
// machine.
func Patient() *tokenauth.SQLOptions { return &tokenauth.SQLOptions{Timeout: time.Minute} }

// NewStore creates the table in db and returns a store that uses it. If opts is nil, NewStore uses
// the options that [Patient] returns.
func NewStore(t testing.TB, db *sql.DB, opts *tokenauth.SQLOptions) *tokenauth.SQLStore {
	t.Helper()
	if opts == nil {
		opts = Patient()
	}
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, opts)
	require.NoError(t, err)
	require.NoError(t, store.CreateSchema(context.Background()))
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// NewPooledStore returns a store on a new database file with at most eight connections, so that
// concurrent calls wait in the pool and not for the lock of the file.
func NewPooledStore(t testing.TB, table string) *tokenauth.SQLStore {
	t.Helper()
	db := New(t)
	db.SetMaxOpenConns(8)
	opts := Patient()
	opts.Table = table
	return NewStore(t, db, opts)
}
