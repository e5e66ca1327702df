// Package servers starts database servers and reverse proxies of Debian packages for tests, and
// TiDB. Each server has a temporary folder and a free port of 127.0.0.1. Except TiDB, the servers
// do not run as root. Tests can stop, kill and freeze a server.
//
// If a package is not installed, the function that starts the server returns an error that wraps
// ErrMissing. Started then skips the test, or fails it in CI. TestMain stops all servers:
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		servers.StopAll()
//		os.Exit(code)
//	}
package servers

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// ErrMissing means that a file of a server is not installed. The wrapping error names the file.
var ErrMissing = errors.New("not installed")

// Started returns the server that start returns. If the server is not installed, Started skips the
// test. In CI, it fails the test instead.
func Started[S any](t testing.TB, start func() (S, error)) S {
	t.Helper()
	s, err := start()
	switch {
	case errors.Is(err, ErrMissing) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

// A Main runs the tests of a package, and then stops all servers. Pass it to leak.Main.
type Main struct{ Tests interface{ Run() int } }

// Run returns the exit code of the tests. If a server cannot be stopped, Run returns 1.
func (m Main) Run() int {
	code := m.Tests.Run()
	if err := StopAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// StopAll closes all servers that are still open, in the reverse order of their creation.
func StopAll() error {
	opened.Lock()
	all, ports := slices.Clone(opened.servers), slices.Collect(maps.Keys(opened.ports))
	opened.Unlock()
	var errs []error
	for _, s := range slices.Backward(all) {
		errs = append(errs, s.Close())
	}
	release(ports...) // also those that only a GaleraCluster knows
	return errors.Join(errs...)
}

var opened struct {
	sync.Mutex
	servers []*Server
	ports   map[int]net.PacketConn
}

// installed returns the path of a program or library that a Debian package installed. If several
// versions are installed, installed returns the path of the highest version. An absolute path stays
// as it is.
func installed(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range []string{"/usr/lib/postgresql/*/bin", "/usr/sbin", "/usr/bin", "/usr/lib/galera"} {
		if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

// onPorts calls start with n free ports, which stay reserved until release. If another program
// takes one of the ports before the server does, onPorts calls start again with other ports.
func onPorts[S any](n int, start func(ports []int) (S, error)) (S, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(n)
		if err != nil {
			return *new(S), err
		}
		s, err := start(ports)
		if err == nil {
			return s, nil
		}
		release(ports...)
		if attempt == 3 || !taken(err) {
			return s, err
		}
	}
}

// taken reports whether a server failed because another program uses its port. The error contains
// the log of the server.
func taken(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), syscall.EADDRINUSE.Error())
}

// freePorts returns n ports on which no program listens. The ports are below the range from which
// Linux chooses the local ports of outgoing connections. Otherwise a connection could take the port
// of a stopped server, or could even connect to itself.
//
// Until release, the process has a UDP socket with the number of each port. Otherwise another test
// process could choose the port of a server that is stopped, or that is not listening yet.
func freePorts(n int) ([]int, error) {
	const lowest, highest = 10_000, 32_767
	var ports []int
	for attempt := 0; len(ports) < n; attempt++ {
		port := lowest + rand.N(highest-lowest+1)
		if err := reserve(port); err == nil {
			ports = append(ports, port)
		} else if attempt >= 100 {
			release(ports...)
			return nil, fmt.Errorf("no free port: %w", err)
		}
	}
	return ports, nil
}

// reserve reserves a port on which no program listens.
func reserve(port int) error {
	socket, err := net.ListenPacket("udp", address(port))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	opened.Lock()
	defer opened.Unlock()
	if opened.ports == nil {
		opened.ports = map[int]net.PacketConn{}
	}
	opened.ports[port] = socket
	return l.Close()
}

// release ends the reservation of ports. Releasing a port again does nothing.
func release(ports ...int) {
	opened.Lock()
	defer opened.Unlock()
	for _, port := range ports {
		if socket := opened.ports[port]; socket != nil {
			_ = socket.Close()
			delete(opened.ports, port)
		}
	}
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
