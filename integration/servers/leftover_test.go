package servers_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// tempDir creates a folder, makes it the folder of temporary files, and returns it. Unlike the
// folders of t.TempDir, other users can access the files in it.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokenauth-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Setenv("TMPDIR", dir)
	return dir
}

func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func requireDown(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
}

// StopAll must stop every server and remove every folder. Otherwise test runs fill the memory and
// the disk of the machine.
func TestStopAllLeavesNothing(t *testing.T) {
	dir := tempDir(t)
	pg := started(t, postgres)
	m := started(t, mariaDB)
	killed := started(t, postgres)
	require.NoError(t, killed.Kill())
	require.NoError(t, servers.StopAll())
	requireNothingLeft(t, dir)
	requireDown(t, pg.Addr())
	requireDown(t, m.Addr())
	require.NoError(t, servers.StopAll())
}

// A server that does not start must report the reason, and leave no folder.
func TestFailedStartReportsReason(t *testing.T) {
	dir := tempDir(t)
	_, err := servers.Postgres("shared_buffers=wrong")
	skipIfMissing(t, err)
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers"`)
	_, err = servers.MariaDB("no_such_setting=1")
	skipIfMissing(t, err)
	require.ErrorContains(t, err, "unknown variable 'no_such_setting=1'")
	_, err = servers.Redis("no_such_setting 1")
	skipIfMissing(t, err)
	require.ErrorContains(t, err, "no_such_setting")
	requireNothingLeft(t, dir)
}

const abandon = "SERVERS_TEST_ABANDON" // set in the process that TestKilledTestStopsServers starts

// startAndAbandon starts a server from a goroutine whose thread then ends. The server must not end
// with this thread. startAndAbandon prints the address of the server and waits until this process
// is killed.
func startAndAbandon() {
	started := make(chan *servers.MariaDBServer)
	runtime.LockOSThread() // the goroutine below must not run on the first thread, which never ends
	go func() {
		runtime.LockOSThread() // the thread is never unlocked, so it ends with the goroutine
		m, err := servers.MariaDB()
		if err != nil {
			panic(err)
		}
		started <- m
	}()
	m := <-started
	if err := m.CreateDatabase("app"); err != nil {
		panic(err)
	}
	fmt.Println(m.Addr())
	select {}
}

// A test process that is killed must not leave a server running.
func TestKilledTestStopsServers(t *testing.T) {
	started(t, mariaDB) // skips the test if MariaDB is not installed
	tempDir(t)          // removes the files that the killed process leaves
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), abandon+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the process must print an address")
	addr := lines.Text()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	conn.Close()
	require.NoError(t, cmd.Process.Kill())
	requireDown(t, addr)
}
