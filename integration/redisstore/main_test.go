package redisstore

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
	"github.com/go-tokenauth/tokenauth/internal/testing/leak"
)

func TestMain(m *testing.M) { leak.Main(servers.Main{Tests: m}) }

// shared starts the server of the tests that do not stop the server.
var shared = sync.OnceValues(func() (*servers.RedisServer, error) { return servers.Redis() })

func started(t *testing.T, start func() (*servers.RedisServer, error)) *servers.RedisServer {
	t.Helper()
	s, err := start()
	if errors.Is(err, servers.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	return s
}

// startOwn starts a server that the test may stop.
func startOwn(t *testing.T, settings ...string) *servers.RedisServer {
	t.Helper()
	s := started(t, func() (*servers.RedisServer, error) { return servers.Redis(settings...) })
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

var names atomic.Int64

// newStore returns an empty store on a server. Its timeout is long, so that the tests do not fail
// on a busy machine.
func newStore(t *testing.T, s *servers.RedisServer) *Store {
	t.Helper()
	o := ClientOptions(s.Addr())
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = time.Minute, time.Minute, time.Minute, time.Minute
	client := redis.NewClient(o)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return New(client, fmt.Sprint("test", names.Add(1)), time.Minute)
}
