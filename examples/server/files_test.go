package main

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/internal/testing/sqlite"
)

// modes returns the modes of the files in a folder, by name.
func modes(t *testing.T, folder string) map[string]fs.FileMode {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	found := map[string]fs.FileMode{}
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		found[entry.Name()] = info.Mode()
	}
	return found
}

// Other users of the machine must not be able to read the database, which holds password hashes,
// nor the files that SQLite creates beside it.
func TestDatabaseFilesArePrivate(t *testing.T) {
	previous := syscall.Umask(0) // the mode of the files must not depend on the umask
	t.Cleanup(func() { syscall.Umask(previous) })
	t.Chdir(t.TempDir())
	folder, err := os.Getwd()
	require.NoError(t, err)
	for _, path := range []string{"relative.db", filepath.Join(folder, "absolute.db"), "a b?c#d%.db", ":memory:"} {
		p := start(t, path)
		require.Equal(t, http.StatusOK, p.do(t, "GET", "/me", p.Key, "").StatusCode)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			require.Equal(t, fs.FileMode(0o600), modes(t, folder)[filepath.Base(path)+suffix], "%s%s", path, suffix)
		}
	}
}

// An operator may let a group read an existing database, for example for backups. The program must
// keep the mode of the file.
func TestExistingDatabaseKeepsMode(t *testing.T) {
	t.Parallel()
	path := sqlite.File(t)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chmod(path, 0o640))
	start(t, path)
	require.Equal(t, fs.FileMode(0o640), modes(t, filepath.Dir(path))[filepath.Base(path)])
}
