package ncruces

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/differential"
	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// Each call must return the same with ncruces/go-sqlite3 as from MemoryStore. Otherwise a service
// behaves differently after it changes its driver.
func TestRandomCallsMatchMemoryStore(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "tokens.db")+sqlite.Settings)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store := sqlite.NewStore(t, db, nil)
	differential.Run(t, differential.OnSQL(t, db, store, "tokenauth_tokens", sql.LevelDefault), 60, 0)
}
