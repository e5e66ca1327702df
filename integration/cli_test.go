package integration

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-tokenauth/tokenauth/integration/servers"
)

// The commands of cmd/tokenauth must give the same results on a server as on SQLite. This test runs
// the test scripts of cmd/tokenauth on each server.
func TestCommandsRunOnServers(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(t testing.TB) string{
		"PostgreSQL": func(t testing.TB) string { return servers.Started(t, postgres).DSN("postgres", "pool_max_conns=4") },
		"MariaDB":    func(t testing.TB) string { return "mysql:" + servers.Started(t, mariaDB).DSN("t") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestScriptsRunAsWritten$", ".")
			test.Dir = "../cmd/tokenauth"
			test.Env = append(os.Environ(), "TOKENAUTH_TEST_DSN="+dsn(t))
			output, err := test.CombinedOutput()
			require.NoError(t, err, "%s", output)
			require.NotContains(t, string(output), "no tests to run")
		})
	}
}
