package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Servers must not outlive a test that crashes or is killed, hence Pdeathsig. But
// Linux takes the end of the thread that forked for the death of the parent, and Go
// may end a thread at any time. So one goroutine, which keeps its thread to itself
// and never ends, starts them all.
var keptThread = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

func startOnKeptThread(cmd *exec.Cmd) error {
	result := make(chan error)
	keptThread() <- func() { result <- cmd.Start() }
	return <-result
}

// run runs a program in the server's folder, as its user, to the end, and returns
// what it put out.
func (s *Server) run(command ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd, err := s.cmd(ctx, command...)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startOnKeptThread(cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", command[0], err, tail(out.Bytes()))
	}
	return out.Bytes(), nil
}

func (s *Server) cmd(ctx context.Context, command ...string) (*exec.Cmd, error) {
	program, err := installed(command[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.Dir = s.dir
	// Nothing of ours, such as PGHOST, may change what the server does. In a common
	// TMPDIR, each MariaDB that starts would remove the temporary tables of the others.
	cmd.Env = []string{"HOME=" + s.dir, "TMPDIR=" + s.dir, "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: s.runAs,
		Setpgid:    true, // Ctrl-C is for the test alone; the server goes with it
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd, nil
}

// credential returns the user that Debian has for a server, if we are root, as which
// these servers refuse to run.
func credential(debianUser string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(debianUser)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		return nil, fmt.Errorf("user %s: %w", debianUser, ErrMissing) // it comes with the package
	}
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// A process is what /proc says of one.
type process struct {
	pid, parent int
	state       byte
	begin       string // tells it from a later process with the same number
	ticks       int    // of CPU time, with that of the children that have ended
}

// ticksPerSecond is the unit of the times in /proc, which is the same on all architectures of Go.
const ticksPerSecond = 100

// CPUTime returns the CPU time that all processes of the server have used.
func (s *Server) CPUTime() time.Duration {
	ticks := 0
	for _, p := range family(s.leader.Pid) {
		ticks += p.ticks
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// family returns a process and all below it. The process group wouldn't do: each
// process of PostgreSQL makes a group of its own, and so do MariaDB's scripts.
func family(pid int) []process {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := make(map[int][]process)
	var all []process
	for _, file := range files {
		p, err := readProcess(file)
		switch {
		case err != nil: // it has ended meanwhile
		case p.pid == pid:
			all = append(all, p)
		default:
			children[p.parent] = append(children[p.parent], p)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// signal sends a signal to each of them. That one has ended meanwhile is no error.
func signal(all []process, sig syscall.Signal) error {
	var errs []error
	for _, p := range all {
		if err := syscall.Kill(p.pid, sig); err != nil && err != syscall.ESRCH {
			errs = append(errs, fmt.Errorf("%v to process %d: %w", sig, p.pid, err))
		}
	}
	return errors.Join(errs...)
}

func readProcess(file string) (process, error) {
	stat, err := os.ReadFile(file)
	if err != nil {
		return process{}, err
	}
	// "17 (name) S 1 ...": the name may contain anything, so what counts is behind it.
	number, rest, _ := bytes.Cut(stat, []byte(" ("))
	fields := bytes.Fields(rest[bytes.LastIndexByte(rest, ')')+1:])
	if len(fields) < 20 {
		return process{}, fmt.Errorf("%s: %q", file, stat)
	}
	pid, err1 := strconv.Atoi(string(number))
	parent, err2 := strconv.Atoi(string(fields[1]))
	p := process{pid: pid, parent: parent, state: fields[0][0], begin: string(fields[19])}
	errs := []error{err1, err2}
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		ticks, err := strconv.Atoi(string(field))
		p.ticks += ticks
		errs = append(errs, err)
	}
	return p, errors.Join(errs...)
}

func (p process) frozen() bool { return p.state == 'T' || p.state == 't' || p.ended() }

// ended is true also of a process that only waits for its parent to take notice.
func (p process) ended() bool { return p.state == 'Z' || p.state == 'X' }

// exists reports whether the process is there still.
func (p process) exists() bool {
	now, err := readProcess(fmt.Sprintf("/proc/%d/stat", p.pid))
	return err == nil && now.begin == p.begin && !now.ended()
}
