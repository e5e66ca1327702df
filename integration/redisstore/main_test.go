package redisstore

import (
	"fmt"
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

// startOwn starts a server that the test may stop.
func startOwn(t *testing.T, settings ...string) *servers.RedisServer {
	t.Helper()
	s := servers.Started(t, func() (*servers.RedisServer, error) { return servers.Redis(settings...) })
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
