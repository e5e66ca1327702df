package integration

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// An operator's commands must do on a server what they do on SQLite: the scripts of
// cmd/tokenauth run here on each, the one that imports too.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(t testing.TB) string{
		"PostgreSQL": func(t testing.TB) string { return started(t, postgres).DSN("postgres") },
		"MariaDB":    func(t testing.TB) string { return "mysql:" + started(t, mariaDB).DSN("t") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestScripts$", ".")
			test.Dir = "../cmd/tokenauth"
			test.Env = append(os.Environ(), "TOKENAUTH_TEST_DSN="+dsn(t))
			output, err := test.CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}
