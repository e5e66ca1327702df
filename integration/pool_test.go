package integration

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/fixture"
)

// In these tests a service gets no connection. The pool has no free connection, the server accepts
// no more connections, or the server refuses the login.

// If a transaction holds the only connection of the pool, every call must end at its deadline. No
// call may need a second connection, because two such calls could wait for each other forever.
// Case F5.
func TestExhaustedPoolReturns503InTime(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) {
			dsn := e.dsn
			if e.driver == "pgxstore" {
				dsn += "&pool_max_conns=1"
			}
			db := open(t, e.driver, dsn)
			opts := newTable()
			patient := newStore(t, db, e.dialect, opts)
			key, _ := issued(t, patient, "laptop")
			db.SetMaxOpenConns(1)
			store, err := newStoreAs(db, e.dialect, &tokenauth.SQLOptions{Table: opts.Table, Timeout: 20 * time.Millisecond})
			require.NoError(t, err)

			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			for _, call := range calls(false) {
				err := call.do(t.Context(), store)
				requireUnavailable(t, err, call.name)
				require.ErrorIs(t, err, context.DeadlineExceeded, call.name)
			}
			require.Equal(t, http.StatusServiceUnavailable, statusOf(store, key))
			requireAvailable := func(s tokenauth.Store, where string) {
				for _, call := range calls(false) {
					if err := call.do(t.Context(), s); err != nil { // an error such as ErrNotFound
						require.NotEqual(t, http.StatusServiceUnavailable, tokenauth.StatusCode(err),
							"%s, %s: %v", call.name, where, err)
					}
				}
			}
			requireAvailable(patient.With(tx), "in the transaction")
			require.NoError(t, tx.Rollback())
			requireAvailable(patient, "after the transaction")
			require.Equal(t, http.StatusOK, statusOf(patient, key))
		})
	}
}

// A login describes how a service signs in to its database.
type login struct {
	driver   string
	dialect  tokenauth.Dialect
	dsn      func(password string) string
	admin    string   // DSN of the administrator
	prepare  []string // statements that create the user; TABLE stands for the name of the table
	password string   // statement that sets the password; PASSWORD stands for the password
}

// newPostgresLogin starts a server that allows ten connections. All users except the administrator
// need a password.
func newPostgresLogin(t *testing.T) login {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{filepath.Dir(dir), dir} { // the user of the server must be able to read the folder
		require.NoError(t, os.Chmod(folder, 0o755))
	}
	hba := filepath.Join(dir, "pg_hba.conf")
	const lines = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	require.NoError(t, os.WriteFile(hba, []byte(lines), 0o644))
	require.NoError(t, os.Chmod(hba, 0o644)) // WriteFile may have set a stricter mode because of the umask
	pg := closing(t, func() (*servers.PostgresServer, error) {
		return servers.Postgres("fsync=off", "hba_file='"+hba+"'", "max_connections=10")
	})
	return login{
		driver: "pgx", dialect: tokenauth.PostgreSQL, admin: pg.DSN("postgres"),
		dsn: func(password string) string {
			return strings.Replace(pg.DSN("postgres"), "postgres@", "service:"+password+"@", 1)
		},
		prepare:  []string{"CREATE ROLE service LOGIN", "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE TO service"},
		password: "ALTER ROLE service PASSWORD 'PASSWORD'",
	}
}

func newMariaDBLogin(t *testing.T) login {
	t.Helper()
	m := servers.Started(t, mariaDB)
	return login{
		driver: "mysql", dialect: tokenauth.MySQL, admin: m.DSN("t"),
		dsn:      func(password string) string { return strings.Replace(m.DSN("t"), "root@", "service:"+password+"@", 1) },
		prepare:  []string{"CREATE USER service@'%'", "GRANT SELECT, INSERT, UPDATE, DELETE ON t.TABLE TO service@'%'"},
		password: "SET PASSWORD FOR service@'%' = PASSWORD('PASSWORD')",
	}
}

// CheckSchema must report a wrong password when the service starts. If the password changes while
// the service runs, clients must get 503 without details. If the server accepts no more
// connections, clients must get 503 too.
// Cases F5, F14.
func TestWrongPasswordReturns503(t *testing.T) {
	for name, newLogin := range map[string]func(*testing.T) login{"PostgreSQL": newPostgresLogin, "MariaDB": newMariaDBLogin} {
		t.Run(name, func(t *testing.T) {
			l := newLogin(t)
			admin := open(t, l.driver, l.admin)
			opts := newTable()
			key, _ := issued(t, newStore(t, admin, l.dialect, opts), "laptop")
			do := func(statement string) {
				t.Helper()
				_, err := admin.ExecContext(t.Context(), strings.NewReplacer("TABLE", opts.Table).Replace(statement))
				require.NoError(t, err)
			}
			setPassword := func(password string) { do(strings.Replace(l.password, "'PASSWORD'", "'"+password+"'", 1)) }
			for _, statement := range l.prepare {
				do(statement)
			}
			setPassword("right")
			on := func(password string) (*sql.DB, *tokenauth.SQLStore) {
				db := open(t, l.driver, l.dsn(password))
				store, err := newStoreAs(db, l.dialect, opts)
				require.NoError(t, err)
				t.Cleanup(func() { _ = store.Close() })
				return db, store
			}
			_, wrong := on("rather-secret")
			err := wrong.CheckSchema(t.Context())
			requireUnavailable(t, err, "check")
			require.NotContains(t, err.Error(), "rather-secret")
			t.Logf("wrong password, %s: %v", name, err)
			require.Equal(t, http.StatusServiceUnavailable, statusOf(wrong, key))

			db, store := on("right")
			require.NoError(t, store.CheckSchema(t.Context()))
			require.Equal(t, http.StatusOK, statusOf(store, key))
			setPassword("changed")
			db.SetMaxIdleConns(-1) // closes the open connections
			require.Equal(t, http.StatusServiceUnavailable, statusOf(store, key))
			setPassword("right")
			require.Equal(t, http.StatusOK, statusOf(store, key), "the service must recover by itself")
			if l.dialect == tokenauth.PostgreSQL {
				testServerFull(t, l, opts, key)
			}
		})
	}
}

// testServerFull opens all connections that the server allows, and requires that the service then
// responds 503.
func testServerFull(t *testing.T, l login, opts *tokenauth.SQLOptions, key string) {
	t.Helper()
	others, db := open(t, l.driver, l.dsn("right")), open(t, l.driver, l.dsn("right"))
	store, err := newStoreAs(db, l.dialect, opts)
	require.NoError(t, err)
	db.SetMaxIdleConns(-1) // otherwise the first Find that succeeds would keep its connection
	var held []*sql.Conn
	fixture.Await(t, "the server is full", func() bool { // a closed connection may take up space for a while
		if conn, err := others.Conn(t.Context()); err == nil {
			held = append(held, conn)
			return false
		}
		_, err = store.Find(t.Context(), tokenauth.DigestOf(key))
		return err != nil
	})
	require.Less(t, len(held), 20)
	requireUnavailable(t, err, "find")
	require.Equal(t, "53300", sqlState(err))
	require.Equal(t, http.StatusServiceUnavailable, statusOf(store, key))
	for _, conn := range held {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, others.Close())
	fixture.Await(t, "the server accepts connections again", func() bool { return statusOf(store, key) == http.StatusOK })
}
