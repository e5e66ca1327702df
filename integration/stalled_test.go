package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
	"github.com/go-tokenauth/tokenauth/storetest"
)

// If a server hangs, each call must end with its context. Otherwise calls hold connections although
// no request waits for them any more. lib/pq fails this test: see docs/databases/postgresql.md.
// Case F3.
func TestFrozenServerDelaysNoEndedCall(t *testing.T) {
	leak.NothingLeft(t)
	pg := closing(t, startPostgres)
	m := closing(t, func() (*servers.MariaDBServer, error) { return servers.MariaDB() })
	require.NoError(t, m.CreateDatabase("t"))
	opts := newTable()
	opts.Timeout = time.Minute // so that only the context can end the calls
	stores := map[string]tokenauth.Store{
		"pgx":                     newStore(t, open(t, "pgx", pg.DSN("postgres")), tokenauth.PostgreSQL, opts),
		"mysql":                   newStore(t, open(t, "mysql", m.DSN("t")), tokenauth.MySQL, opts),
		"mysql interpolateParams": newStore(t, open(t, "mysql", m.DSN("t", "interpolateParams=true")), tokenauth.MySQL, opts),
	}
	require.NoError(t, pg.Freeze())
	require.NoError(t, m.Freeze())
	for name, store := range stores {
		t.Run(name, func(t *testing.T) { storetest.RunStalled(t, store) })
	}
	require.NoError(t, pg.Thaw())
	require.NoError(t, m.Thaw())
}
