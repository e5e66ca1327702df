//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A database holds digests of keys, names and user IDs. Other users of the machine must not be able
// to read the files that a command creates. An existing file must keep its mode, because the
// service may need that mode.
func TestCreatedFilesAreReadableByOwnerOnly(t *testing.T) {
	for name, existing := range map[string]os.FileMode{"missing": 0, "existing": 0o640} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			want := os.FileMode(0o600)
			if existing != 0 {
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Chmod(path, existing))
				want = existing
			}
			a := &app{}
			defer a.close()
			cmd := newCommand(a)
			cmd.SetArgs([]string{"schema", "--create", "--dsn", "sqlite:" + path})
			cmd.SetErr(io.Discard)
			require.NoError(t, cmd.ExecuteContext(t.Context()))
			files, err := filepath.Glob(path + "*")
			require.NoError(t, err)
			require.Len(t, files, 3, "the database, its WAL and its shared memory")
			for _, file := range files {
				info, err := os.Stat(file)
				require.NoError(t, err)
				require.Equal(t, want, info.Mode().Perm(), file)
			}
		})
	}
}
