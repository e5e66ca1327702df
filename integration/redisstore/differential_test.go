package redisstore

import (
	"testing"

	"github.com/go-tokenauth/tokenauth"
	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/differential"
)

// Each call must return the same as from MemoryStore, because readers copy this example.
func TestRandomCallsMatchMemoryStore(t *testing.T) {
	t.Parallel()
	server := servers.Started(t, shared)
	differential.Run(t, differential.Target{Open: func() tokenauth.Store { return newStore(t, server) }}, 60, 0)
}
