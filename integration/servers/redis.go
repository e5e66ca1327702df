package servers

import (
	"bufio"
	"context"
	"fmt"
	"syscall"
)

// A RedisServer is a Redis server to which every client can connect without a password.
type RedisServer struct{ *Server }

// Redis starts a new Redis server that stores every change on disk before it acknowledges the
// change, and that evicts no keys. The settings are lines of redis.conf, such as "appendonly no".
// They override the settings of this package.
func Redis(settings ...string) (*RedisServer, error) {
	return onPorts(1, func(ports []int) (*RedisServer, error) { return newRedis(ports[0], settings) })
}

func newRedis(port int, settings []string) (*RedisServer, error) {
	s, err := newServer("Redis", "redis", port, func(s *Server) error {
		s.command = []string{"redis-server", "redis.conf"}
		s.quit = syscall.SIGTERM
		s.ready = func(ctx context.Context) error { return pingRedis(ctx, s.Addr()) }
		err := s.write("redis.conf", append([]string{
			"bind 127.0.0.1",
			fmt.Sprintf("port %d", port),
			"dir " + s.dir,
			"save \"\"",
			"appendonly yes",
			"appendfsync always",
			"maxmemory-policy noeviction",
		}, settings...)...)
		if err != nil {
			return err
		}
		return s.Start()
	})
	if err != nil {
		return nil, err
	}
	return &RedisServer{s}, nil
}

// pingRedis returns nil if the server has loaded its data and responds.
func pingRedis(ctx context.Context, addr string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && reply != "+PONG\r\n" {
		err = fmt.Errorf("PING: %q", reply)
	}
	return err
}
