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

// keptThread returns a channel of functions. One goroutine calls these functions on a thread of its
// own, and never ends.
//
// With Pdeathsig, Linux kills the servers of a test process that crashes or is killed. But Linux
// sends this signal as soon as the thread that started the server ends, and the Go runtime may end
// any other thread. Therefore the goroutine of keptThread starts all servers.
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

// run runs a program in the folder of the server, as the user of the server. It waits for the end
// of the program and returns its output.
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
	// The variables of the test process, such as PGHOST, must not change what the server does. If all
	// servers had the same TMPDIR, each MariaDB server would remove the temporary tables of the other
	// servers when it starts.
	cmd.Env = []string{"HOME=" + s.dir, "TMPDIR=" + s.dir, "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: s.runAs,
		Setpgid:    true, // sends the signal of Ctrl-C only to the test process, which then stops the servers
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd, nil
}

// credential returns the credential of the Debian user for a server if the test runs as root,
// because the servers refuse to run as root. Otherwise, or if debianUser is empty, it returns nil.
func credential(debianUser string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 || debianUser == "" {
		return nil, nil
	}
	u, err := user.Lookup(debianUser)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		return nil, fmt.Errorf("user %s: %w", debianUser, ErrMissing) // the Debian package creates the user
	}
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// A process is the description of a process in /proc.
type process struct {
	pid, parent int
	state       byte
	begin       string // start time, which differs for a later process with the same pid
	ticks       int    // CPU time of the process and of its children that have ended
}

// ticksPerSecond is the number of ticks per second of CPU time in /proc. It is the same on all
// architectures of Go.
const ticksPerSecond = 100

// CPUTime returns the CPU time that all processes of the server have used.
func (s *Server) CPUTime() time.Duration {
	ticks := 0
	for _, p := range family(s.leader.Pid) {
		ticks += p.ticks
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// family returns a process and all its descendants. A process group does not contain all of them,
// because each process of PostgreSQL and each script of MariaDB creates a group of its own.
func family(pid int) []process {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := make(map[int][]process)
	var all []process
	for _, file := range files {
		p, err := readProcess(file)
		switch {
		case err != nil: // the process has ended meanwhile
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

// signal sends a signal to each process. It ignores processes that have ended.
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
	// The form is "17 (name) S 1 ...". The name may contain any character, so the last ")" ends it.
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

// ended reports whether the process has ended. A zombie process counts as ended.
func (p process) ended() bool { return p.state == 'Z' || p.state == 'X' }

// exists reports whether the process still runs.
func (p process) exists() bool {
	now, err := readProcess(fmt.Sprintf("/proc/%d/stat", p.pid))
	return err == nil && now.begin == p.begin && !now.ended()
}
