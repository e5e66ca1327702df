package integration

import (
	"testing"
	"time"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/storm"
)

// While a user revokes all tokens, a thief with a leaked key may create tokens, and may use these
// to create further tokens. On a server, the transactions overlap. No token may survive.
// Case A5.
func TestRandomMintsEndWithRevokeAll(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(t *testing.T) tokenauth.Store{
		"PostgreSQL": func(t *testing.T) tokenauth.Store {
			return newStore(t, open(t, "pgx", servers.Started(t, postgres).DSN("postgres")), tokenauth.PostgreSQL, nil)
		},
		"MariaDB": func(t *testing.T) tokenauth.Store {
			return newStore(t, open(t, "mysql", servers.Started(t, mariaDB).DSN("t")), tokenauth.MySQL, nil)
		},
		"TiDB": func(t *testing.T) tokenauth.Store {
			return newStore(t, open(t, "mysql", onTiDB()(t)), tokenauth.MySQL, nil)
		},
	} {
		for cache, maxStale := range map[string]time.Duration{"without a cache": 0, "with a cache": 100 * time.Millisecond} {
			t.Run(engine+" "+cache, func(t *testing.T) {
				t.Parallel()
				storm.Run(t, open(t), shortOrLong(50, 1000), maxStale)
			})
		}
	}
}
