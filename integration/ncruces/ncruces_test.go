// Package ncruces runs the conformance suite on ncruces/go-sqlite3, which registers the same driver
// name as mattn/go-sqlite3 and so needs a test binary of its own.
package ncruces

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// The driver ncruces/go-sqlite3 must keep the contract of Store, like every other driver.
func TestConformance(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "tokens.db")+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store, err := tokenauth.NewSQLStore(db, tokenauth.SQLite, &tokenauth.SQLOptions{Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.CreateSchema(t.Context()))
	storetest.Run(t, func(t *testing.T) tokenauth.Store {
		if os.Getenv("TOKENAUTH_LONG") == "" && strings.Contains(t.Name(), "/Large_batches/") {
			t.Skip("only long runs test large batches with this driver")
		}
		_, err := db.ExecContext(t.Context(), "DELETE FROM tokenauth_tokens")
		require.NoError(t, err)
		return store
	})
}
