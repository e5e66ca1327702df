package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute // a node copies all data before it joins a cluster
	stopTimeout  = 20 * time.Second
	pollTimeout  = 2 * time.Second // a server that is starting may accept a connection and not respond
	pollInterval = 20 * time.Millisecond
)

// A Server is a process that has its own folder and listens on a port. The other types of this
// package embed it. Its methods are not safe for concurrent use.
type Server struct {
	name    string
	dir     string
	port    int
	runAs   *syscall.Credential // nil means the current user
	command []string
	quit    syscall.Signal                  // makes the server close its connections and stop
	ready   func(ctx context.Context) error // returns nil if the server is ready
	prepare func() ([]string, error)        // runs before a start, and returns more arguments; may be nil
	cleanup func()                          // releases what removing the folder does not, such as shared memory and mounts; may be nil
	db      *sql.DB                         // keeps no idle connection, because Stop would wait for it

	leader *os.Process
	ended  chan struct{} // closed when the leader has ended; nil if the server was never started
}

// newServer creates the folder of a server and calls setup. If setup fails, newServer removes the
// folder.
func newServer(name, debianUser string, port int, setup func(s *Server) error) (*Server, error) {
	runAs, err := credential(debianUser)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tokenauth-servers-")
	if err != nil {
		return nil, err
	}
	s := &Server{name: name, dir: dir, port: port, runAs: runAs}
	opened.Lock()
	opened.servers = append(opened.servers, s)
	opened.Unlock()
	if err = s.chown(dir); err == nil {
		err = setup(s)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Port returns the port on which the server listens. The port stays the same until Close.
func (s *Server) Port() int { return s.port }

// Addr returns the address on which the server listens, such as "127.0.0.1:5432".
func (s *Server) Addr() string { return address(s.port) }

// Start starts a server that was stopped or killed, with the same folder, port and data. It returns
// when the server is ready. If Start returns an error, the server is not running, and the error
// contains the end of the server's log.
func (s *Server) Start() error { return s.start() }

func (s *Server) start(extra ...string) error {
	if s.running() {
		return fmt.Errorf("%s is already running", s.name)
	}
	if s.prepare != nil {
		more, err := s.prepare()
		if err != nil {
			return err
		}
		extra = append(extra, more...)
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := s.cmd(context.Background(), slices.Concat(s.command, extra)...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := startOnKeptThread(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	s.leader, s.ended = cmd.Process, ended
	if err := s.await("start", s.ready); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return s.ended != nil
	}
}

// Stop makes the server stop, and returns when its process has ended. If this takes too long, Stop
// calls Kill. If the server is not running, Stop does nothing.
func (s *Server) Stop() error {
	if !s.running() {
		return nil
	}
	if err := s.Thaw(); err != nil {
		return err
	}
	if err := s.leader.Signal(s.quit); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTimeout):
		return s.Kill()
	}
}

// Kill ends all processes of the server with SIGKILL, as in a crash, and returns when they have
// ended. If the server is not running, Kill does nothing.
func (s *Server) Kill() error {
	if !s.running() {
		return nil
	}
	// A frozen process cannot start another process, which family would not return.
	frozen := s.Freeze()
	all := family(s.leader.Pid)
	if err := signal(all, syscall.SIGKILL); err != nil {
		return err
	}
	<-s.ended
	gone := poll(stopTimeout, func(context.Context) error {
		if i := slices.IndexFunc(all, process.exists); i >= 0 {
			return fmt.Errorf("process %d of %s still runs", all[i].pid, s.name)
		}
		return nil
	})
	return errors.Join(frozen, gone)
}

// Freeze stops all processes of the server with SIGSTOP, and returns when they have stopped. A
// frozen server keeps its connections open and does not respond. If the server is not running,
// Freeze does nothing.
func (s *Server) Freeze() error {
	if !s.running() {
		return nil
	}
	return poll(stopTimeout, func(context.Context) error {
		moving := slices.DeleteFunc(family(s.leader.Pid), process.frozen)
		if len(moving) == 0 {
			return nil
		}
		still := fmt.Errorf("process %d of %s does not freeze", moving[0].pid, s.name)
		return errors.Join(still, signal(moving, syscall.SIGSTOP))
	})
}

// Thaw makes a frozen server continue. If the server is not running, Thaw does nothing.
func (s *Server) Thaw() error {
	if !s.running() {
		return nil
	}
	return signal(family(s.leader.Pid), syscall.SIGCONT)
}

// Close stops the server and removes its folder. Another call of Close does nothing.
func (s *Server) Close() error {
	err := s.Stop()
	if s.cleanup != nil {
		s.cleanup()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	opened.Lock()
	opened.servers = slices.DeleteFunc(opened.servers, func(o *Server) bool { return o == s })
	opened.Unlock()
	release(s.port)
	return errors.Join(err, os.RemoveAll(s.dir))
}

// open sets s.db.
func (s *Server) open(driver, dsn string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	db.SetMaxIdleConns(0)
	s.db = db
	return nil
}

func (s *Server) exec(ctx context.Context, statement string) error {
	_, err := s.db.ExecContext(ctx, statement)
	return err
}

// execLong executes a statement that may take as long as startTimeout.
func (s *Server) execLong(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return s.exec(ctx, statement)
}

// write appends lines to a file in the server's folder.
func (s *Server) write(file string, lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(f, line); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// chown makes the user of the server the owner of a file or folder.
func (s *Server) chown(name string) error {
	if s.runAs == nil {
		return nil
	}
	return os.Chown(name, int(s.runAs.Uid), int(s.runAs.Gid))
}

// await calls done repeatedly until done returns nil. If the server ends before, await returns an
// error.
func (s *Server) await(what string, done func(context.Context) error) error {
	ended := false
	err := poll(startTimeout, func(ctx context.Context) error {
		select {
		case <-s.ended:
			ended = true
			return nil
		default:
			return done(ctx)
		}
	})
	if err == nil && !ended {
		return nil
	}
	if ended {
		err = errors.New("the server has ended")
	}
	log, _ := os.ReadFile(s.logFile())
	return fmt.Errorf("%s: %s: %w\n%s", s.name, what, err, tail(log))
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// tail returns the last 4096 bytes of a log, which most likely contain the reason of a failure.
func tail(log []byte) []byte { return log[max(0, len(log)-4096):] }

// poll calls done repeatedly until done returns nil. Each call has a deadline. After the timeout,
// poll returns the last error.
func poll(timeout time.Duration, done func(context.Context) error) error {
	end := time.After(timeout)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), pollTimeout)
		err := done(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-end:
			return fmt.Errorf("not within %v: %w", timeout, err)
		}
	}
}

// dial opens a connection that has the deadline of ctx.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline() // without a deadline, the zero time
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
