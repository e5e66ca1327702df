// Package servers starts real database servers for tests, from the packages of
// Debian: each in a temporary folder, on a free port of 127.0.0.1, as an ordinary
// user. It stops, kills and freezes them, and leaves nothing behind.
//
// A server that can't be started is an error, and ErrMissing if its package isn't
// installed, so a test decides itself whether that is a reason to skip:
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
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrMissing means that a file of a server isn't installed. It is wrapped with the
// file's name.
var ErrMissing = errors.New("not installed")

// StopAll closes every server that is still open, the youngest first. It is meant
// for the end of TestMain.
func StopAll() error {
	opened.Lock()
	all := slices.Clone(opened.servers)
	opened.Unlock()
	var errs []error
	for _, s := range slices.Backward(all) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

var opened struct {
	sync.Mutex
	servers []*Server
}

// installed returns the path of a program or library where Debian's packages put
// it, of several versions the highest.
func installed(name string) (string, error) {
	for _, dir := range []string{"/usr/lib/postgresql/*/bin", "/usr/sbin", "/usr/bin", "/usr/lib/galera"} {
		if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

// onPorts calls start with n free ports, and with others if one of them was taken
// before the server had it.
func onPorts[S any](n int, start func(ports []int) (S, error)) (S, error) {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(n)
		if err != nil {
			return *new(S), err
		}
		s, err := start(ports)
		if attempt < 3 && err != nil && taken(err) {
			continue
		}
		return s, err
	}
}

// taken reports whether a server said in its log, which is part of the error, that
// it could not have its port.
func taken(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), syscall.EADDRINUSE.Error())
}

// freePorts returns n ports nobody listens on. They lie below those that Linux gives
// to outgoing connections: one of those could take the port of a server that is down
// for a moment, or even be a connection with itself.
func freePorts(n int) ([]int, error) {
	const lowest, highest = 10_000, 32_767
	var ports []int
	for attempt := 0; len(ports) < n; attempt++ {
		port := lowest + rand.N(highest-lowest+1)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			if attempt < 100 {
				continue
			}
			return nil, fmt.Errorf("no free port: %w", err)
		}
		defer l.Close() // held until all are found, so that they differ
		ports = append(ports, port)
	}
	return ports, nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
