package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute // a node that joins a cluster copies all data first
	stopTimeout  = 20 * time.Second
	pollTimeout  = 2 * time.Second // a server that is half up may accept and not answer
	pollInterval = 20 * time.Millisecond
)

// A Server is what the servers of this package have in common: a process in a
// folder of its own that listens on a port. Its methods are for one goroutine at a
// time.
type Server struct {
	name    string
	dir     string
	port    int
	runAs   *syscall.Credential // nil: the present user
	command []string
	quit    syscall.Signal                  // asks the server to stop at once, but properly
	answers func(ctx context.Context) error // nil once the server is ready
	prepare func() ([]string, error)        // does what a start needs, and returns more of the command; may be nil
	cleanup func()                          // removes what is outside the folder; may be nil
	db      *sql.DB                         // keeps no connection, for which a server that stops would wait

	leader *os.Process
	ended  chan struct{} // closed once the leader has ended; nil: never started
}

// newServer makes a server's folder and calls setup for the rest. If that fails, no
// trace is left.
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

// Port returns the port the server listens on, from its first start to Close.
func (s *Server) Port() int { return s.port }

// Addr returns the address the server listens on, as in "127.0.0.1:5432".
func (s *Server) Addr() string { return address(s.port) }

// Start starts a server that was stopped or killed: in the same folder, on the same
// port, with the same data. It returns when the server answers; if that fails, it
// isn't running, and the error holds the end of its log.
func (s *Server) Start() error { return s.start() }

func (s *Server) start(extra ...string) error {
	if s.running() {
		return fmt.Errorf("%s is running already", s.name)
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
	if err := s.await("start", s.answers); err != nil {
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

// Stop asks the server to stop and returns when it has ended: with SIGKILL if it
// takes too long. Nothing happens if it isn't running.
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

// Kill ends the server and all its processes with SIGKILL, as a crash would, and
// returns when they have ended. Nothing happens if it isn't running.
func (s *Server) Kill() error {
	if !s.running() {
		return nil
	}
	// At rest none of them can start another that would be overlooked.
	frozen := s.Freeze()
	all := family(s.leader.Pid)
	if err := signal(all, syscall.SIGKILL); err != nil {
		return err
	}
	<-s.ended
	gone := poll(stopTimeout, func(context.Context) error {
		if i := slices.IndexFunc(all, process.exists); i >= 0 {
			return fmt.Errorf("process %d of %s is still there", all[i].pid, s.name)
		}
		return nil
	})
	return errors.Join(frozen, gone)
}

// Freeze stops all processes of the server with SIGSTOP and returns when they stand
// still: then its connections stay open, and no answer comes. Nothing happens if it
// isn't running.
func (s *Server) Freeze() error {
	if !s.running() {
		return nil
	}
	return poll(stopTimeout, func(context.Context) error {
		moving := slices.DeleteFunc(family(s.leader.Pid), process.frozen)
		if len(moving) == 0 {
			return nil
		}
		still := fmt.Errorf("process %d of %s doesn't freeze", moving[0].pid, s.name)
		return errors.Join(still, signal(moving, syscall.SIGSTOP))
	})
}

// Thaw lets a frozen server go on. Nothing happens if it isn't running.
func (s *Server) Thaw() error {
	if !s.running() {
		return nil
	}
	return signal(family(s.leader.Pid), syscall.SIGCONT)
}

// Close stops the server for good and removes its folder. It may be called again.
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
	return errors.Join(err, os.RemoveAll(s.dir))
}

// open makes s.db.
func (s *Server) open(driver, dsn string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	db.SetMaxIdleConns(0)
	s.db = db
	return nil
}

// exec executes a statement.
func (s *Server) exec(ctx context.Context, statement string) error {
	_, err := s.db.ExecContext(ctx, statement)
	return err
}

// ask executes a statement that may take a while.
func (s *Server) ask(statement string) error {
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

// chown gives a file or folder to the server's user.
func (s *Server) chown(name string) error {
	if s.runAs == nil {
		return nil
	}
	return os.Chown(name, int(s.runAs.Uid), int(s.runAs.Gid))
}

// await polls until done returns nil, or the server has ended.
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
		err = errors.New("it has ended")
	}
	log, _ := os.ReadFile(s.logFile())
	return fmt.Errorf("%s: %s: %w\n%s", s.name, what, err, tail(log))
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// tail returns the end of a log: enough to see the reason.
func tail(log []byte) []byte { return log[max(0, len(log)-4096):] }

// poll calls done until it returns nil, each time with a little while to do so.
// After the timeout it returns the last error.
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
