package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/internal/testing/must"
	"github.com/go-tokenauth/tokenauth/tokenimport"
)

// Drivers return times and keys as different Go types. The import must read the same times and keys
// with each driver, and must read every page.
func TestImportReadsEveryDriversTypes(t *testing.T) {
	const created, rows = "2026-03-01 12:00:00.123456", 700
	all := append(engines(t),
		engine{name: "modernc", driver: "sqlite", dialect: tokenauth.SQLite, dsn: sqliteFile(t) + modernc},
		engine{name: "mattn", driver: "sqlite3", dialect: tokenauth.SQLite, dsn: sqliteFile(t) + mattn + "&_loc=America/New_York"},
	)
	local := all[2]
	local.name, local.dsn = "MariaDB, local time", local.dsn+"&parseTime=true&loc=America%2FNew_York"
	for i, e := range append(all, local) {
		t.Run(e.name, func(t *testing.T) {
			db := open(t, e.driver, e.dsn)
			timeType, stored, quoted := "datetime(6)", created, fmt.Sprintf("`key%d`", i)
			switch e.dialect {
			case tokenauth.PostgreSQL:
				timeType, stored, quoted = "timestamptz", created+"+00", fmt.Sprintf(`"key%d"`, i)
			case tokenauth.SQLite:
				timeType = "datetime"
			}
			users, table := fmt.Sprint("users", i), fmt.Sprint("tokens", i)
			var values []string
			for n := range rows {
				values = append(values, fmt.Sprintf("('%040x', '%s', %d, '')", 7919*n, stored, 1+n%2))
			}
			for _, statement := range []string{
				"CREATE TABLE " + users + " (id bigint PRIMARY KEY, is_active boolean NOT NULL)",
				"INSERT INTO " + users + " VALUES (1, true), (2, false)",
				"CREATE TABLE " + table + " (" + quoted + " varchar(40) PRIMARY KEY, created " + timeType + " NOT NULL, user_id bigint NOT NULL, name varchar(64) NOT NULL)",
				"INSERT INTO " + table + " VALUES " + strings.Join(values, ", "),
			} {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			m := must.Get(tokenauth.New(tokenauth.NewMemoryStore(), "acme", nil))
			opts := &tokenimport.DRFOptions{Table: table, Key: fmt.Sprint("key", i), Users: users, Name: "name"}
			report, err := tokenimport.Run(t.Context(), m, tokenimport.DRF(db, e.dialect, opts), nil)
			require.NoError(t, err)
			require.Equal(t, tokenimport.Report{Read: rows, Imported: rows / 2, Refused: rows / 2}, report)
			tokens, err := m.List(t.Context(), tokenauth.Query{UserID: "1"})
			require.NoError(t, err)
			require.Len(t, tokens, rows/2)
			for _, token := range tokens {
				require.Equal(t, time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), token.CreatedAt)
			}
		})
	}
}
